package difftest

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// statement is a declaration and where the user wrote it.
type statement struct {
	at   int
	text string
}

// MemorySQL writes an application anew with one of its queries, every source a memory source of the same
// columns (those from the transport are given like the others), and one memory sink. Late rows are kept. batchRows is how
// many rows of a source a batch takes at most, so that it may leave some for the next one; zero: all there are.
func MemorySQL(app *planner.App, q *planner.Query, batchRows int) string {
	options := "connector = 'memory'"
	if batchRows > 0 {
		options += fmt.Sprintf(", max_rows_per_batch = %d", batchRows)
	}
	var list []statement
	names := map[string]bool{}
	for _, s := range app.Sources {
		list = append(list, statement{s.Span.Start, DeclareSource(s, options)})
		names[strings.ToLower(s.Name)] = true
	}
	for _, t := range app.Tables {
		refresh := ""
		if t.Refresh > 0 {
			refresh = fmt.Sprintf(" REFRESH EVERY '%s'", t.Refresh)
		}
		text := fmt.Sprintf("CREATE TABLE %s%s AS\n%s;", duck.QuoteIdent(t.Name), refresh, t.Body)
		list = append(list, statement{t.At, text})
		names[strings.ToLower(t.Name)] = true
	}
	for _, v := range app.Views {
		list = append(list, statement{v.At, fmt.Sprintf("CREATE VIEW %s AS\n%s;", duck.QuoteIdent(v.Name), v.Body)})
		names[strings.ToLower(v.Name)] = true
	}
	for _, m := range app.Macros {
		list = append(list, statement{m.At, strings.TrimRight(strings.TrimSpace(m.Text), ";") + ";"})
		names[strings.ToLower(m.Name)] = true
	}
	sort.SliceStable(list, func(i, j int) bool { return list[i].at < list[j].at })
	names[strings.ToLower(q.Name)] = true
	sink := "out"
	for names[sink] {
		sink += "_"
	}
	with := []string{"late = 'dead_letter'",
		fmt.Sprintf("watermark_policy = '%s'", q.Options.String("watermark_policy"))}
	if q.Options.Has("idle_timeout") {
		with = append(with, fmt.Sprintf("idle_timeout = '%s'", q.Options.Duration("idle_timeout")))
	}
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.text + "\n")
	}
	fmt.Fprintf(&b, "CREATE SINK %s WITH (connector = 'memory');\n"+
		"CREATE QUERY %s INTO %s OUTPUT MODE %s WITH (%s) AS\n%s;\n",
		sink, q.Name, sink, strings.ToUpper(q.Mode.String()), strings.Join(with, ", "),
		strings.TrimRight(q.Body, "; \n"))
	return b.String()
}

// DeclareSource writes the statement of a source with the same columns and watermark, and other options.
// Columns from the transport become columns like the others, unless keep names them.
func DeclareSource(s *planner.Source, options string, keep ...string) string {
	parts := make([]string, 0, len(s.Columns)+1)
	for _, c := range s.Columns {
		text := duck.QuoteIdent(c.Name) + " " + c.Type
		switch {
		case c.Expr != "":
			text += " AS (" + c.Expr + ")"
		case c.Metadata && slices.Contains(keep, c.Name):
			text += " METADATA"
		}
		parts = append(parts, text)
	}
	if w := s.Watermark; w != nil {
		col := duck.QuoteIdent(w.Column)
		parts = append(parts, fmt.Sprintf("WATERMARK FOR %s AS %s - INTERVAL '%d microseconds'", col, col,
			w.Delay.Microseconds()))
	}
	return fmt.Sprintf("CREATE SOURCE %s (\n  %s\n) WITH (%s);", s.Name, strings.Join(parts, ",\n  "), options)
}
