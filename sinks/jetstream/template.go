package jetstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/stream"
)

// template is a subject with columns in it.
type template struct {
	prefix string // the literal tokens before the first column
	parts  []part
}

// part is literal text, or a column if that is not negative.
type part struct {
	text   string
	column int
}

func (t template) dynamic() bool {
	return slices.ContainsFunc(t.parts, func(p part) bool { return p.column >= 0 })
}

// parseTemplate reads a subject such as out.{country}. In update mode it may have key columns only, so that all changes
// of a key are on one subject. If the subject names the key (keyed), a literal one gets the key columns as further
// tokens, and one with columns must have each of them.
func parseTemplate(cfg stream.SinkConfig, text string, keyed bool) (template, error) {
	wrong := func(format string, args ...any) error {
		return diag.New(diag.BadOption, "subject %q of sink %q %s", text, cfg.Name, fmt.Sprintf(format, args...)).OfOption("subject").
			WithHint("write tokens with dots between them, without spaces, * and >; {column} stands for a value of the row")
	}
	keyed = keyed && cfg.Mode == stream.Update
	if cfg.Mode == stream.Update && cfg.Unnamed {
		return template{}, diag.New(diag.SinkMode, "sink %q: output mode UPDATE writes changes of rows that a key names, "+
			"and the result has no columns that name its rows", cfg.Name).
			WithHint("select every GROUP BY column as it is, or use OUTPUT MODE APPEND")
	}
	if keyed && !strings.Contains(text, "{") {
		for _, k := range cfg.Keys {
			text += ".{" + cfg.Schema.Field(k).Name + "}"
		}
	}
	var t template
	var columns []int
	for rest := text; rest != ""; {
		open := strings.IndexByte(rest, '{')
		if open < 0 {
			t.parts = append(t.parts, part{rest, -1})
			break
		}
		end := strings.IndexByte(rest, '}')
		if end < open {
			return t, wrong("has a brace without its partner")
		}
		if open > 0 {
			t.parts = append(t.parts, part{rest[:open], -1})
		}
		name := rest[open+1 : end]
		found := cfg.Schema.FieldIndices(name)
		if len(found) != 1 {
			return t, unknownColumn(cfg, text, name)
		}
		t.parts = append(t.parts, part{"", found[0]})
		columns = append(columns, found[0])
		rest = rest[end+1:]
	}
	t.prefix = literalPrefix(text)
	if t.prefix == "" {
		return t, wrong("must begin with a token that has no column")
	}
	if strings.ContainsAny(text, "*>") || !natsconn.ValidSubject(string(t.render(nil, nil, 0))) {
		return t, wrong("is not a subject to publish to")
	}
	if cfg.Mode == stream.Update {
		for _, k := range cfg.Keys {
			if keyed && !slices.Contains(columns, k) {
				return t, wrong("must have every key column in update mode, and lacks {%s}", cfg.Schema.Field(k).Name)
			}
		}
		for _, c := range columns {
			if !slices.Contains(cfg.Keys, c) {
				return t, wrong("may have only key columns in update mode, and has {%s}", cfg.Schema.Field(c).Name)
			}
		}
	}
	return t, nil
}

func unknownColumn(cfg stream.SinkConfig, text, name string) error {
	var names []string
	for _, f := range cfg.Schema.Fields() {
		names = append(names, f.Name)
	}
	e := diag.New(diag.UnknownColumn, "subject %q of sink %q names column %q, which the result does not have",
		text, cfg.Name, name).WithNote("columns of the result: %s", strings.Join(names, ", "))
	if near := diag.Near(name, names); near != "" {
		return e.WithHint("did you mean {%s}?", near)
	}
	return e
}

// literalPrefix returns the tokens of a template before the first one with a column.
func literalPrefix(text string) string {
	open := strings.IndexByte(text, '{')
	if open < 0 {
		return text
	}
	dot := strings.LastIndexByte(text[:open], '.')
	return text[:max(0, dot)]
}

// pattern matches every subject that render gives: a token with a column in it may be any.
func (t template) pattern() string {
	const column = "\x00"
	var text strings.Builder
	for _, p := range t.parts {
		if p.column >= 0 {
			text.WriteString(column)
		}
		text.WriteString(p.text)
	}
	tokens := strings.Split(text.String(), ".")
	for i, token := range tokens {
		if strings.Contains(token, column) {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}

// render appends the subject of a row. Without rows every column is the token x.
func (t template) render(dst []byte, rows *rowenc.Rows, row int) []byte {
	for _, p := range t.parts {
		switch {
		case p.column < 0:
			dst = append(dst, p.text...)
		case rows == nil:
			dst = append(dst, 'x')
		default:
			dst = appendToken(dst, rows, p.column, row)
		}
	}
	return dst
}

// appendToken appends a value as a token. What a token may not hold is written as %XX, so that different
// values stay different subjects: NULL is %N and the empty text is %.
func appendToken(dst []byte, rows *rowenc.Rows, column, row int) []byte {
	start := len(dst)
	dst, ok := rows.Text(dst, column, row)
	if !ok {
		return append(dst, "%N"...)
	}
	value := string(dst[start:])
	if value == "" {
		return append(dst, '%')
	}
	return escapeToken(dst[:start], value)
}

func escapeToken(dst []byte, value string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(value) {
		switch c := value[i]; {
		case c <= ' ' || c == '.' || c == '*' || c == '>' || c == '%' || c == 0x7f:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
