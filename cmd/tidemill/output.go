package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/rowenc"
)

// listing is a table of results for people and for scripts: one set of names for both.
type listing struct {
	columns  []string
	right    map[string]bool // numbers, set to the right in a table
	rows     [][]any
	verbatim bool // headings as they are, not in upper case
}

func (l *listing) add(values ...any) { l.rows = append(l.rows, values) }

// outputFlags adds -o and --json to a command and returns the chosen form: table on a terminal, jsonl otherwise.
func (e *env) outputFlags(c *cobra.Command) func() (string, error) {
	form := c.Flags().StringP("output", "o", "",
		"table, json, jsonl or csv (default: table on a terminal, else jsonl)")
	asJSON := c.Flags().Bool("json", false, "the same as -o json")
	return func() (string, error) {
		switch {
		case *asJSON && *form != "" && *form != "json":
			return "", diag.New(diag.Usage, "--json and -o %s exclude each other", *form)
		case *asJSON:
			return "json", nil
		case *form == "" && e.tty:
			return "table", nil
		case *form == "":
			return "jsonl", nil
		}
		for _, known := range outputForms() {
			if *form == known {
				return known, nil
			}
		}
		return "", diag.New(diag.Usage, "output form %q is not one of %s", *form, strings.Join(outputForms(),
			", "))
	}
}

func outputForms() []string { return []string{"table", "json", "jsonl", "csv"} }

// print writes the listing to w in one form.
func (l *listing) print(w io.Writer, form string) error {
	var err error
	switch form {
	case "json":
		objects := make([]object, len(l.rows))
		for i := range l.rows {
			objects[i] = l.object(i)
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		err = enc.Encode(objects)
	case "jsonl":
		enc := json.NewEncoder(w)
		for i := range l.rows {
			if err == nil {
				err = enc.Encode(l.object(i))
			}
		}
	case "csv":
		err = l.csv(w)
	default:
		_, err = io.WriteString(w, l.table())
	}
	if err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// object is one row for JSON, its fields in the order of the columns.
type object struct {
	names  []string
	values []any
}

func (l *listing) object(i int) object { return object{l.columns, l.rows[i]} }

// MarshalJSON keeps the order, which a map would lose.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, name := range o.names {
		if i > 0 {
			b = append(b, ',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, err //nolint:wrapcheck // print wraps it
		}
		value, err := json.Marshal(o.values[i])
		if err != nil {
			return nil, err //nolint:wrapcheck // print wraps it
		}
		b = append(append(append(b, key...), ':'), value...)
	}
	return append(b, '}'), nil
}

func (l *listing) csv(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(l.columns); err != nil {
		return err //nolint:wrapcheck // print wraps it
	}
	for _, row := range l.rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = text(v)
		}
		if err := out.Write(cells); err != nil {
			return err //nolint:wrapcheck // print wraps it
		}
	}
	out.Flush()
	return out.Error() //nolint:wrapcheck // print wraps it
}

// table lays the rows out in columns, headings in upper case, numbers to the right.
func (l *listing) table() string {
	cells := make([][]string, 1, len(l.rows)+1)
	for _, name := range l.columns {
		if !l.verbatim {
			name = strings.ToUpper(strings.ReplaceAll(name, "_", " "))
		}
		cells[0] = append(cells[0], rowenc.Plain(name))
	}
	for _, row := range l.rows {
		line := make([]string, len(row))
		for i, v := range row {
			line[i] = rowenc.Plain(text(v))
		}
		cells = append(cells, line)
	}
	widths := make([]int, len(l.columns))
	for _, row := range cells {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range cells {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if l.right[l.columns[i]] {
				cell = pad + cell
			} else {
				cell += pad
			}
			line.WriteString(cell + "  ")
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

func text(v any) string {
	switch x := v.(type) {
	case nil:
		return ""
	case float64:
		return fmt.Sprintf("%.1f", x)
	case fmt.Stringer:
		return x.String()
	}
	return fmt.Sprint(v)
}

// printRecord writes a listing of fields and values as one object.
func (l *listing) printRecord(w io.Writer, indent bool) error {
	var o object
	for _, row := range l.rows {
		o.names, o.values = append(o.names, text(row[0])), append(o.values, row[1])
	}
	enc := json.NewEncoder(w)
	if indent {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(o); err != nil {
		return fmt.Errorf("write output: %w", err)
	}
	return nil
}

// set makes a set of names.
func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// sortedNames returns the keys of a map in ascending order.
func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}
