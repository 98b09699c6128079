package sqlfront

import "github.com/tidemill/tidemill/internal/diag"

// Split returns the span of each statement of text: from its first to its last token, without the semicolon.
// It follows DuckDB's quoting rules and never fails; what is between the spans is white space, comments and
// semicolons.
func Split(text string) []diag.Span {
	var spans []diag.Span
	for _, toks := range statements(scan(text), text) {
		spans = append(spans, diag.Span{Start: toks[0].start, End: toks[len(toks)-1].end})
	}
	return spans
}
