package streamtest

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
)

// table is rows with the types of their columns.
type table struct {
	names  []string
	types  []arrow.DataType
	widths []int // how many columns rows may have, where not all have all
	rows   [][]any
}

// cell brings a value to the form that values of type t are compared in: *big.Rat for exact numbers, float64,
// bool, string, or []any for what nests. Both sides of a comparison go through it.
func cell(t arrow.DataType, v any) any {
	if v == nil {
		return nil
	}
	switch t.ID() {
	case arrow.FLOAT32, arrow.FLOAT64, arrow.FLOAT16:
		if f, ok := number(v); ok {
			return f
		}
	case arrow.TIMESTAMP, arrow.DATE32, arrow.DATE64:
		if at, ok := moment(v); ok {
			return at
		}
	case arrow.BOOL:
		return v
	case arrow.TIME32, arrow.TIME64:
		if at, err := time.Parse("15:04:05.999999", fmt.Sprint(v)); err == nil {
			return at.Format("15:04:05.999999")
		}
	case arrow.LIST, arrow.STRUCT, arrow.MAP, arrow.LARGE_LIST, arrow.FIXED_SIZE_LIST:
		if list, ok := nested(t, v); ok {
			return list
		}
	case arrow.BINARY, arrow.LARGE_BINARY:
		return blob(v)
	case arrow.STRING, arrow.LARGE_STRING:
		return fmt.Sprint(plain(v))
	default:
		if r, ok := exact(v); ok {
			return r
		}
	}
	return fmt.Sprint(plain(v))
}

func plain(v any) any {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v
}

func number(v any) (float64, bool) {
	r, ok := exact(v)
	if ok {
		f, _ := r.Float64()
		return f, true
	}
	switch x := v.(type) {
	case float64:
		return x, true
	case float32:
		return float64(x), true
	case string:
		switch strings.ToLower(x) {
		case "nan", ".nan":
			return math.NaN(), true
		case "inf", "infinity", ".inf":
			return math.Inf(1), true
		case "-inf", "-infinity", "-.inf":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

func exact(v any) (*big.Rat, bool) {
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, false
	}
	return new(big.Rat).SetString(fmt.Sprint(v))
}

func moment(v any) (string, bool) {
	const layout = "2006-01-02 15:04:05.999999"
	switch x := v.(type) {
	case time.Time:
		return x.UTC().Format(layout), true
	case string:
		x = strings.Replace(strings.TrimSuffix(x, "Z"), "T", " ", 1)
		for _, form := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02"} {
			if at, err := time.Parse(form, x); err == nil {
				return at.Format(layout), true
			}
		}
	}
	return "", false
}

// same reports whether two cells of one column are equal: NULL equals NULL, floats to 1e-9 relative.
func same(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && (x == y || math.IsNaN(x) && math.IsNaN(y) || math.Abs(x-y) <= 1e-9*math.Max(math.Abs(x), math.Abs(y)))
	case *big.Rat:
		y, ok := b.(*big.Rat)
		return ok && x.Cmp(y) == 0
	case []any:
		y, ok := b.([]any)
		return ok && sameRow(x, y)
	}
	if _, ok := b.([]any); ok {
		return false
	}
	return a == b
}

func sameRow(a, b []any) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !same(a[i], b[i]) {
			return false
		}
	}
	return true
}

// expected brings a step's rows to the form of t's columns.
func (t *table) expected(rows []any) ([][]any, error) {
	out := make([][]any, 0, len(rows))
	for _, r := range rows {
		list, ok := r.([]any)
		if !ok {
			return nil, fmt.Errorf("a row must be a list, not %v", r)
		}
		if t.types != nil && len(list) != len(t.types) && !slices.Contains(t.widths, len(list)) {
			return nil, fmt.Errorf("row %v has %d values, the sink has %d columns (%s)", r, len(list), len(t.types),
				strings.Join(t.names, ", "))
		}
		row := make([]any, len(list))
		for i, v := range list {
			row[i] = v
			if t.types != nil {
				row[i] = cell(t.types[i], v)
			}
		}
		out = append(out, row)
	}
	return out, nil
}

// diff returns "" if the rows are the same, in any order unless ordered, else what is missing and what is too much.
func diff(got, want [][]any, ordered bool) string {
	if ordered {
		if len(got) == len(want) {
			equal := true
			for i := range got {
				equal = equal && sameRow(got[i], want[i])
			}
			if equal {
				return ""
			}
		}
		return "in order:\n" + show("+", got) + "expected:\n" + show("-", want)
	}
	left := append([][]any(nil), got...)
	var missing [][]any
	for _, w := range want {
		found := -1
		for i, g := range left {
			if sameRow(g, w) {
				found = i
				break
			}
		}
		if found < 0 {
			missing = append(missing, w)
			continue
		}
		left = append(left[:found], left[found+1:]...)
	}
	if len(missing) == 0 && len(left) == 0 {
		return ""
	}
	return show("- missing", missing) + show("+ extra  ", left)
}

func show(prefix string, rows [][]any) string {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = fmt.Sprintf("      %s [%s]\n", prefix, strings.Join(texts(r), ", "))
	}
	sort.Strings(lines)
	const most = 20
	if len(lines) > most {
		lines = append(lines[:most], fmt.Sprintf("      … and %d more\n", len(lines)-most))
	}
	return strings.Join(lines, "")
}

func texts(row []any) []string {
	out := make([]string, len(row))
	for i, v := range row {
		out[i] = text(v)
	}
	return out
}

// text shows a cell.
func text(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case *big.Rat:
		return x.RatString()
	case string:
		return "'" + x + "'"
	case []any:
		return nestedText(x)
	}
	return fmt.Sprint(v)
}
