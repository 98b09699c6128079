package streamtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sort"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// nested brings a list, a struct or a map to the form that is compared: []any of cells, of a struct in the order of
// its fields, of a map one [key, value] for each of its keys in the order of their texts. It is false for a value of
// another shape.
func nested(t arrow.DataType, v any) ([]any, bool) {
	if raw, ok := v.(json.RawMessage); ok {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return nil, false
		}
	}
	switch t := t.(type) {
	case *arrow.StructType:
		return structCells(t, v)
	case *arrow.MapType:
		return mapCells(t, v)
	case arrow.ListLikeType:
		list, ok := v.([]any)
		if !ok {
			return nil, false
		}
		return cells(repeated(t.Elem(), len(list)), list), true
	}
	return nil, false
}

func repeated(t arrow.DataType, n int) []arrow.DataType {
	types := make([]arrow.DataType, n)
	for i := range types {
		types[i] = t
	}
	return types
}

func structCells(t *arrow.StructType, v any) ([]any, bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) > t.NumFields() {
		return nil, false
	}
	out := make([]any, t.NumFields())
	for i, f := range t.Fields() {
		out[i] = cell(f.Type, m[f.Name])
	}
	return out, true
}

// mapCells takes a map, or a list of {key, value}, as JSON has those whose keys are no text.
func mapCells(t *arrow.MapType, v any) ([]any, bool) {
	var out []any
	add := func(k, v any) { out = append(out, []any{cell(t.KeyType(), k), cell(t.ItemType(), v)}) }
	switch v := v.(type) {
	case map[string]any:
		for k, item := range v {
			add(k, item)
		}
	case map[any]any:
		for k, item := range v {
			add(k, item)
		}
	case []any:
		for _, pair := range v {
			m, ok := pair.(map[string]any)
			if !ok || len(m) != 2 {
				return nil, false
			}
			add(m["key"], m["value"])
		}
	default:
		return nil, false
	}
	sort.Slice(out, func(i, j int) bool { return text(out[i]) < text(out[j]) })
	return out, true
}

func nestedText(cells []any) string {
	parts := make([]string, len(cells))
	for i, c := range cells {
		parts[i] = text(c)
	}
	return fmt.Sprintf("[%s]", strings.Join(parts, ", "))
}
