package console

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/stream"
)

const (
	cellMin   = 6    // a column is not cut below this
	cellBytes = 4096 // of a value, what may be looked at; nothing shows more
)

// table is text ready to be laid out.
type table struct {
	names []string
	right []bool // numbers stand to the right
	cells [][]string
}

// tableOf takes the first rows of a result, with an op column in front if there is one.
func tableOf(r stream.Batch, rows int) table {
	t := table{}
	columns := make([]int, 0, r.Schema.NumFields()+1)
	if r.Op {
		columns, t.names, t.right = append(columns, r.Schema.NumFields()), append(t.names, "op"), append(t.right, false)
	}
	for i, f := range r.Schema.Fields() {
		columns, t.names = append(columns, i), append(t.names, rowenc.Plain(f.Name))
		t.right = append(t.right, rowenc.Numeric(f.Type))
	}
	for _, rec := range r.Records {
		bound := rowenc.Bind(rec, -1)
		for i := 0; i < int(rec.NumRows()) && len(t.cells) < rows; i++ {
			row := make([]string, len(columns))
			for at, c := range columns {
				row[at] = cell(bound, c, i)
			}
			t.cells = append(t.cells, row)
		}
	}
	return t
}

func cell(rows *rowenc.Rows, column, row int) string {
	text, ok := rows.Text(nil, column, row)
	if !ok {
		return "NULL"
	}
	if len(text) > cellBytes {
		text = text[:cellBytes]
	}
	return rowenc.Plain(string(text))
}

// render draws the table at most width wide: the widest columns are cut first, and columns that do not fit
// even so are named below.
func (t table) render(b *strings.Builder, width int) {
	widths, shown := t.layout(width)
	rule := func(left, middle, right string) {
		parts := make([]string, shown)
		for i := range parts {
			parts[i] = strings.Repeat("─", widths[i]+2)
		}
		b.WriteString(left + strings.Join(parts, middle) + right + "\n")
	}
	line := func(cells []string) {
		for i := range shown {
			b.WriteString("│ " + fit(cells[i], widths[i], t.right[i]) + " ")
		}
		b.WriteString("│\n")
	}
	rule("┌", "┬", "┐")
	line(t.names)
	rule("├", "┼", "┤")
	for _, cells := range t.cells {
		line(cells)
	}
	rule("└", "┴", "┘")
	if hidden := t.names[shown:]; len(hidden) > 0 {
		fmt.Fprintf(b, "… %s more: %s\n", counted(int64(len(hidden)), "column"), fitTo(strings.Join(hidden, ", "), width))
	}
}

// layout returns the width of each column and how many are shown.
func (t table) layout(width int) (widths []int, shown int) {
	widths = make([]int, len(t.names))
	for i, name := range t.names {
		widths[i] = max(1, columnsOf(name))
		for _, cells := range t.cells {
			widths[i] = max(widths[i], columnsOf(cells[i]))
		}
	}
	for shown = len(widths); shown > 1; shown-- {
		least := 1
		for _, w := range widths[:shown] {
			least += min(w, cellMin) + 3
		}
		if least <= width {
			break
		}
	}
	total := 1
	for _, w := range widths[:shown] {
		total += w + 3
	}
	for total > width {
		widest := 0
		for i, w := range widths[:shown] {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= cellMin {
			break
		}
		widths[widest]--
		total--
	}
	return widths, shown
}

// fit pads or cuts text to exactly width columns.
func fit(text string, width int, right bool) string {
	text = fitTo(text, width)
	pad := strings.Repeat(" ", max(0, width-columnsOf(text)))
	if right {
		return pad + text
	}
	return text + pad
}

func fitTo(text string, width int) string {
	if columnsOf(text) <= width {
		return text
	}
	var b strings.Builder
	used := 0
	for _, r := range text {
		if used += runeColumns(r); used > width-1 {
			break
		}
		b.WriteRune(r)
	}
	return b.String() + "…"
}

func columnsOf(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is how many columns terminals give a rune: none to combining marks, two to East Asian wide ones
// and emoji.
func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000:
		return 2
	}
	return 1
}
