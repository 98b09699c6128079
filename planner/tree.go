package planner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// tree is a node of DuckDB's JSON syntax tree. Numbers are json.Number, since synthetic nodes carry the
// position
// 18446744073709551615. Positions are byte offsets in the application's text, not in the body.
type tree map[string]any

func decodeTree(data []byte) (tree, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var raw map[string]any
	if err := d.Decode(&raw); err != nil {
		return nil, fmt.Errorf("decode syntax tree: %w", err)
	}
	return asTree(convert(raw)), nil
}

// convert gives every object of a decoded document the type tree.
func convert(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = convert(e)
		}
		return tree(v)
	case []any:
		for i, e := range v {
			v[i] = convert(e)
		}
	}
	return v
}

func asTree(v any) tree {
	t, ok := v.(tree)
	if !ok {
		return nil
	}
	return t
}

func (t tree) str(key string) string {
	s, ok := t[key].(string)
	if !ok {
		return ""
	}
	return s
}

func (t tree) flag(key string) bool {
	b, ok := t[key].(bool)
	return ok && b
}

func (t tree) sub(key string) tree { return asTree(t[key]) }

func (t tree) list(key string) []any {
	l, ok := t[key].([]any)
	if !ok {
		return nil
	}
	return l
}

// trees returns the objects of a list.
func (t tree) trees(key string) []tree {
	l := t.list(key)
	out := make([]tree, 0, len(l))
	for _, e := range l {
		if s := asTree(e); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// names returns the strings of a list.
func (t tree) names(key string) []string {
	l := t.list(key)
	out := make([]string, 0, len(l))
	for _, e := range l {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// class is the expression class, or the kind of a query node or table reference.
func (t tree) class() string {
	if c := t.str("class"); c != "" {
		return c
	}
	return t.str("type")
}

// function returns the lower-case name of a function call, or "".
func (t tree) function() string {
	if t.class() != "FUNCTION" {
		return ""
	}
	return strings.ToLower(t.str("function_name"))
}

// at returns the offset of a node in the application's text, or -1 for one that DuckDB made up.
func (t tree) at() int {
	n, ok := t["query_location"].(json.Number)
	if !ok {
		return -1
	}
	v, err := strconv.ParseInt(n.String(), 10, 64)
	if err != nil {
		return -1
	}
	return int(v)
}

// shift moves every position by offset, which makes offsets in a body offsets in the text.
func shift(v any, offset int) {
	walk(v, func(t tree) bool {
		if p := t.at(); p >= 0 {
			t["query_location"] = json.Number(strconv.Itoa(p + offset))
		}
		return true
	})
}

// firstAt returns the smallest position in the node and what lies below it, or -1.
func firstAt(v any) int {
	first := -1
	walk(v, func(t tree) bool {
		if p := t.at(); p >= 0 && (first < 0 || p < first) {
			first = p
		}
		return true
	})
	return first
}

// walk calls f on every object in depth-first order of sorted keys; f returns false to skip what lies below.
func walk(v any, f func(tree) bool) {
	switch v := v.(type) {
	case tree:
		if v == nil || !f(v) {
			return
		}
		for _, k := range sortedKeys(v) {
			walk(v[k], f)
		}
	case []any:
		for _, e := range v {
			walk(e, f)
		}
	}
}

// rewrite replaces objects from the top down: f returns the replacement and true, or false to go on below.
func rewrite(v any, f func(tree) (any, bool)) any {
	switch v := v.(type) {
	case tree:
		if v == nil {
			return v
		}
		if n, ok := f(v); ok {
			return n
		}
		for _, k := range sortedKeys(v) {
			v[k] = rewrite(v[k], f)
		}
		return v
	case []any:
		for i, e := range v {
			v[i] = rewrite(e, f)
		}
	}
	return v
}

func clone[T any](v T) T {
	c, ok := cloneAny(v).(T)
	if !ok {
		var zero T
		return zero
	}
	return c
}

func cloneAny(v any) any {
	switch v := v.(type) {
	case tree:
		c := make(tree, len(v))
		for k, e := range v {
			c[k] = cloneAny(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = cloneAny(e)
		}
		return c
	}
	return v
}

// same reports whether two expressions are alike but for their positions, aliases and the case of names.
func same(a, b tree) bool { return reflect.DeepEqual(bare(a, true), bare(b, true)) }

func bare(v any, top bool) any {
	switch v := v.(type) {
	case tree:
		c := make(map[string]any, len(v))
		for k, e := range v {
			switch k {
			case "query_location":
			case "alias":
				if !top {
					c[k] = e
				}
			case "column_names":
				c[k] = lowerAll(e)
			default:
				c[k] = bare(e, false)
			}
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = bare(e, false)
		}
		return c
	}
	return v
}

func lowerAll(v any) any {
	l, ok := v.([]any)
	if !ok {
		return v
	}
	c := make([]any, len(l))
	for i, e := range l {
		c[i] = e
		if s, ok := e.(string); ok {
			c[i] = strings.ToLower(s)
		}
	}
	return c
}

// synthetic is the position DuckDB gives nodes that stand nowhere in the text.
const synthetic = json.Number("18446744073709551615")

func columnRef(alias string, names ...string) tree {
	parts := make([]any, len(names))
	for i, n := range names {
		parts[i] = n
	}
	return tree{"class": "COLUMN_REF", "type": "COLUMN_REF", "alias": alias, "query_location": synthetic,
		"column_names": parts}
}

func baseTable(name, alias string, columns []any) tree {
	if columns == nil {
		columns = []any{}
	}
	return tree{"type": "BASE_TABLE", "alias": alias, "sample": nil, "query_location": synthetic,
		"schema_name": "", "table_name": name, "column_name_alias": columns, "catalog_name": ""}
}

// number is an integer constant.
func number(n int) tree {
	return tree{"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": synthetic,
		"value": tree{"type": tree{"id": "INTEGER", "type_info": nil}, "is_null": false, "value": n}}
}

func emptyWith() tree { return tree{"map": []any{}} }

// selectNode is SELECT items FROM from, with every property that DuckDB insists on.
func selectNode(items []any, from tree) tree {
	return tree{"type": "SELECT_NODE", "modifiers": []any{}, "cte_map": emptyWith(), "select_list": items,
		"from_table": from, "where_clause": nil, "group_expressions": []any{}, "group_sets": []any{},
		"aggregate_handling": "STANDARD_HANDLING", "having": nil, "sample": nil, "qualify": nil}
}

func orderBy(kind, nulls string, expr tree) tree {
	return tree{"type": kind, "null_order": nulls, "expression": expr}
}

func sortedKeys(t tree) []string {
	keys := make([]string, 0, len(t))
	for k := range t {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
