package nexmark

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/stream"
)

// Outcome is what a sink holds after the rows that were delivered to it: in append mode all of them, in
// update mode the last one of each key that was not deleted since. Cells are Go values as rowenc.Value gives
// them.
type Outcome struct {
	mode  stream.Mode
	keys  []int
	rows  [][]any
	byKey map[string][]any
}

// NewOutcome returns the Outcome of no rows. keys are the places of the columns that name a row in update
// mode.
func NewOutcome(mode stream.Mode, keys []int) *Outcome {
	return &Outcome{mode: mode, keys: keys, byKey: map[string][]any{}}
}

// Add delivers a row. The Outcome keeps it.
func (o *Outcome) Add(row []any, deleted bool) error {
	if o.mode == stream.Append {
		if deleted {
			return errors.New("a row is deleted in append mode")
		}
		o.rows = append(o.rows, row)
		return nil
	}
	var key strings.Builder
	for _, k := range o.keys {
		fmt.Fprintf(&key, "%T %q ", row[k], fmt.Sprint(row[k]))
	}
	if deleted {
		delete(o.byKey, key.String())
	} else {
		o.byKey[key.String()] = row
	}
	return nil
}

// Rows returns the rows, in no order that means anything.
func (o *Outcome) Rows() [][]any {
	if o.mode == stream.Append {
		return o.rows
	}
	rows := make([][]any, 0, len(o.byKey))
	for _, row := range o.byKey {
		rows = append(rows, row)
	}
	return rows
}

// floatTolerance is the relative difference at which two DOUBLEs still count as equal: sums of them depend on
// the order in which they are added.
const floatTolerance = 1e-9

// comparableRow is a row in a form that can be sorted: the cells that must be equal as text, and the others.
type comparableRow struct {
	exact  string
	floats []float64
}

func comparableRows(rows [][]any) []comparableRow {
	out := make([]comparableRow, len(rows))
	for i, row := range rows {
		var b strings.Builder
		for _, v := range row {
			switch v := v.(type) {
			case float64:
				out[i].floats = append(out[i].floats, v)
				b.WriteString("float64, ")
			case string:
				fmt.Fprintf(&b, "%q, ", v)
			case json.RawMessage:
				fmt.Fprintf(&b, "%s, ", v)
			default:
				fmt.Fprintf(&b, "%v, ", v)
			}
		}
		out[i].exact = strings.TrimSuffix(b.String(), ", ")
	}
	slices.SortFunc(out, comparableRow.compare)
	return out
}

// compare gives 0 for rows that count as equal.
func (a comparableRow) compare(b comparableRow) int {
	if c := strings.Compare(a.exact, b.exact); c != 0 {
		return c
	}
	for i, x := range a.floats {
		y := b.floats[i]
		if math.Abs(x-y) <= floatTolerance*max(math.Abs(x), math.Abs(y)) {
			continue
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

func (a comparableRow) String() string {
	if len(a.floats) == 0 {
		return a.exact
	}
	return fmt.Sprintf("%s with %v", a.exact, a.floats)
}

// Diff compares two results without regard to the order of rows. It returns "" if they are equal, floats to
// 1e-9 of their size and everything else exactly, or else which rows are missing in got and which are too
// many.
func Diff(got, want [][]any) string {
	const shown = 10
	have, need := comparableRows(got), comparableRows(want)
	var lines []string
	missing, extra := 0, 0
	note := func(count *int, what string, row comparableRow) {
		if *count++; *count <= shown {
			lines = append(lines, what+row.String())
		}
	}
	for len(have) > 0 || len(need) > 0 {
		switch {
		case len(have) == 0 || len(need) > 0 && need[0].compare(have[0]) < 0:
			note(&missing, "- ", need[0])
			need = need[1:]
		case len(need) == 0 || have[0].compare(need[0]) < 0:
			note(&extra, "+ ", have[0])
			have = have[1:]
		default:
			have, need = have[1:], need[1:]
		}
	}
	if missing+extra == 0 {
		return ""
	}
	return fmt.Sprintf("%d rows instead of %d: %d are missing (-), %d are too many (+)\n%s",
		len(got), len(want), missing, extra, strings.Join(lines, "\n"))
}
