package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// findSets reads GROUPING SETS, ROLLUP and CUBE: every set is a list of key numbers. Each row then goes into one group
// of every set, and the number of the set, from 1, is a key beside the others.
func (g *grouping) findSets(exprs []int) error {
	sets := g.node.list("group_sets")
	if len(sets) <= 1 {
		return nil
	}
	for _, s := range sets {
		list, ok := s.([]any)
		if !ok {
			continue
		}
		set := []int{}
		for _, e := range list {
			var i int
			if _, err := fmt.Sscan(fmt.Sprint(e), &i); err != nil || i >= len(exprs) {
				return g.c.errAt(diag.AggregateUnsupported, g.node, "these grouping sets can not be read").
					WithHint("write one query per grouping")
			}
			set = append(set, exprs[i])
		}
		g.sets = append(g.sets, set)
	}
	return nil
}

// everySet reports whether all grouping sets have a key.
func (g *grouping) everySet(key int) bool {
	for _, set := range g.sets {
		if !slices.Contains(set, key) {
			return false
		}
	}
	return true
}

// setKey adds the number of the grouping set to the keys.
func (g *grouping) setKey() {
	if len(g.sets) == 0 {
		return
	}
	texts := make([]string, len(g.sets))
	for i, set := range g.sets {
		names := make([]string, len(set))
		for j, k := range set {
			names[j] = g.a.keys[k].Expr
		}
		texts[i] = "(" + strings.Join(names, ", ") + ")"
	}
	g.a.keys = append(g.a.keys, Column{Column: stream.Column{Name: fmt.Sprintf("__k%d", len(g.keys)+1), Type: "INTEGER"},
		Expr: "grouping sets " + strings.Join(texts, ", ")})
	g.a.marks = append(g.a.marks, mark{})
	g.a.shown = append(g.a.shown, "")
}

// inSet returns the key items of the input for one grouping set.
func (g *grouping) inSet(set int) []string {
	var items []string
	for i, k := range g.a.keys {
		expr := k.Expr
		switch {
		case len(g.sets) == 0:
		case i == len(g.keys):
			expr = fmt.Sprintf("CAST(%d AS INTEGER)", set+1)
		case !slices.Contains(g.sets[set], i):
			expr = "CAST(NULL AS " + k.Type + ")"
		}
		items = append(items, expr+" AS "+duck.QuoteIdent(k.Name))
	}
	for _, p := range g.a.partials {
		init := p.init
		for i, shown := range g.a.shown {
			if len(g.sets) > 0 && i < len(g.keys) && shown == "g."+duck.QuoteIdent(p.Name) && !slices.Contains(g.sets[set], i) {
				init = "CAST(NULL AS " + p.Type + ")"
			}
		}
		items = append(items, init+" AS "+duck.QuoteIdent(p.Name))
	}
	return items
}

// emptySet returns the number of the grouping set without keys, or -1.
func (g *grouping) emptySet() int {
	return slices.IndexFunc(g.sets, func(set []int) bool { return len(set) == 0 })
}

// seed is what makes the group of all rows before there is one, as an aggregate without GROUP BY has its row. It has
// no position, so that it counts as no row.
func (g *grouping) seed(set int) string {
	var items []string
	null := func(name, typ string) {
		items = append(items, "CAST(NULL AS "+typ+") AS "+duck.QuoteIdent(name))
	}
	for i, k := range g.a.keys {
		if i == len(g.keys) {
			items = append(items, fmt.Sprintf("CAST(%d AS INTEGER) AS %s", set+1, duck.QuoteIdent(k.Name)))
			continue
		}
		null(k.Name, k.Type)
	}
	for _, p := range g.a.partials {
		null(p.Name, p.Type)
	}
	if g.a.rows != nil {
		for _, v := range g.a.rows.columns {
			null(v.Name, v.Type)
		}
	}
	null(PosColumn, g.a.above)
	return "SELECT " + strings.Join(items, ", ") + "\nWHERE NOT EXISTS (FROM " + g.a.state() + ")"
}

// isGrouping reports whether an expression is GROUPING(...) or GROUPING_ID(...).
func isGrouping(t tree) bool { return t.str("type") == "GROUPING_FUNCTION" }

// groupingValue is what GROUPING(...) says, from the number of the group's set.
func (g *grouping) groupingValue(t tree) tree {
	values := []any{}
	for _, set := range g.sets {
		bits := 0
		for _, arg := range t.trees("children") {
			bits <<= 1
			if !slices.Contains(set, g.keyOf(arg)) {
				bits |= 1
			}
		}
		values = append(values, number(bits))
	}
	value := number(0)
	if len(values) > 0 {
		value = function("", "list_extract", function("", "list_value", values...), columnRef("", g.a.keys[len(g.keys)].Name))
	}
	return tree{"class": "CAST", "type": "OPERATOR_CAST", "alias": t.str("alias"), "query_location": synthetic,
		"child": value, "cast_type": tree{"id": "BIGINT", "type_info": nil}, "try_cast": false}
}

// namesSet reports whether an item tells the grouping sets apart: GROUPING of all keys.
func (g *grouping) namesSet(item tree) bool {
	if !isGrouping(item) {
		return false
	}
	for i := range g.keys {
		found := g.everySet(i)
		for _, arg := range item.trees("children") {
			found = found || g.keyOf(arg) == i
		}
		if !found {
			return false
		}
	}
	return true
}
