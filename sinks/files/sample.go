package files

import (
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

const (
	// sampleRows is how many rows say what a column is like. A file of fewer costs little, however it is written.
	sampleRows = 2048
	// sampleDistinct is how many different values of the sample are too many for a dictionary.
	sampleDistinct = sampleRows / 2
)

// manyValued names the columns of r, which may be nil, whose values hardly repeat, so that a dictionary of them would be made
// value by value only to be given up once it is too large. Such are numbers, times and texts; other columns are not looked at.
func manyValued(r arrow.Record) []string {
	if r == nil || r.NumRows() < sampleRows {
		return nil
	}
	var names []string
	for i, f := range r.Schema().Fields() {
		if distinct(r.Column(i)) > sampleDistinct {
			names = append(names, f.Name)
		}
	}
	return names
}

// distinct counts the different values of a sample from all over the column, 0 for one that is not looked at.
func distinct(column arrow.Array) int {
	switch a := column.(type) {
	case *array.Int32:
		return differing(a.Len(), a.Value)
	case *array.Int64:
		return differing(a.Len(), a.Value)
	case *array.Float64:
		return differing(a.Len(), a.Value)
	case *array.Timestamp:
		return differing(a.Len(), a.Value)
	case *array.String:
		return differing(a.Len(), a.Value)
	}
	return 0
}

func differing[T comparable](rows int, value func(int) T) int {
	seen := make(map[T]struct{}, sampleRows)
	for i := range sampleRows {
		seen[value(int(int64(i)*int64(rows)/sampleRows))] = struct{}{}
	}
	return len(seen)
}
