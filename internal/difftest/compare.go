package difftest

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/rowenc"
)

// Values returns the rows of records, values as rowenc.Value gives them.
func Values(records []arrow.Record) [][]any {
	var rows [][]any
	for _, rec := range records {
		for i := range int(rec.NumRows()) {
			row := make([]any, rec.NumCols())
			for j := range row {
				row[j] = rowenc.Value(rec.Column(j), i)
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// Diff compares two multisets of rows and returns "" if they are the same, else the rows that only one of
// them has. Values are compared as they are, floats to the last bit, except those of the columns of near:
// they are the same to 1e-9 of the greater.
func Diff(got, want [][]any, near map[int]bool) string {
	extra, missing := subtract(got, want), subtract(want, got)
	if len(near) > 0 {
		extra, missing = pair(extra, missing, near)
	}
	if len(extra) == 0 && len(missing) == 0 {
		return ""
	}
	return show("- missing", missing) + show("+ extra  ", extra)
}

// subtract returns the rows of a that are left when each of b has taken one that is the same.
func subtract(a, b [][]any) [][]any {
	count := map[string]int{}
	for _, row := range b {
		count[Text(row)]++
	}
	var left [][]any
	for _, row := range a {
		key := Text(row)
		if count[key] > 0 {
			count[key]--
			continue
		}
		left = append(left, row)
	}
	return left
}

// pair takes out rows that differ in nothing but the last digits of the columns of near.
func pair(a, b [][]any, near map[int]bool) (restA, restB [][]any) {
	used := make([]bool, len(b))
	for _, row := range a {
		found := false
		for i := range b {
			if !used[i] && alike(row, b[i], near) {
				used[i], found = true, true
				break
			}
		}
		if !found {
			restA = append(restA, row)
		}
	}
	for i, row := range b {
		if !used[i] {
			restB = append(restB, row)
		}
	}
	return restA, restB
}

func alike(a, b []any, near map[int]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, okX := a[i].(float64)
		y, okY := b[i].(float64)
		if near[i] && okX && okY {
			if math.Abs(x-y) > 1e-9*math.Max(math.Abs(x), math.Abs(y)) {
				return false
			}
		} else if cellText(a[i]) != cellText(b[i]) {
			return false
		}
	}
	return true
}

// Text shows a row, every digit and the sign of zero kept.
func Text(row []any) string {
	cells := make([]string, len(row))
	for i, v := range row {
		cells[i] = cellText(v)
	}
	return strings.Join(cells, ", ")
}

func cellText(v any) string {
	switch x := v.(type) {
	case nil:
		return "NULL"
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	case json.RawMessage:
		return string(x)
	case string:
		return strconv.QuoteToGraphic(x)
	}
	return fmt.Sprint(v)
}

const shownRows = 20

func show(prefix string, rows [][]any) string {
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = fmt.Sprintf("  %s [%s]\n", prefix, Text(r))
	}
	sort.Strings(lines)
	if len(lines) > shownRows {
		lines = append(lines[:shownRows], fmt.Sprintf("  … and %d more\n", len(lines)-shownRows))
	}
	return strings.Join(lines, "")
}
