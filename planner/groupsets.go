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
	g.c.naming = "select every GROUP BY column as it is, and grouping_id() of all of them"
	for i := range g.keys {
		if !g.everySet(i) { // NULL in some sets, whatever bound of a window it is
			g.a.marks[i] = mark{}
		}
	}
	g.a.keys = append(g.a.keys, Column{Column: stream.Column{Name: fmt.Sprintf("__k%d", len(g.keys)+1), Type: "INTEGER"},
		Expr: g.setsText()})
	g.a.marks = append(g.a.marks, mark{})
	g.a.shown = append(g.a.shown, "")
}

// setsText is the grouping sets as text.
func (g *grouping) setsText() string {
	texts := make([]string, len(g.sets))
	for i, set := range g.sets {
		names := make([]string, len(set))
		for j, k := range set {
			names[j] = g.a.keys[k].Expr
		}
		texts[i] = "(" + strings.Join(names, ", ") + ")"
	}
	return "grouping sets " + strings.Join(texts, ", ")
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

// twinSets reports whether two grouping sets have the same keys.
func (g *grouping) twinSets() bool {
	seen := map[string]bool{}
	for _, set := range g.sets {
		keys := slices.Compact(slices.Sorted(slices.Values(set)))
		if text := fmt.Sprint(keys); seen[text] {
			return true
		} else {
			seen[text] = true
		}
	}
	return false
}

// emptySets returns the numbers of the grouping sets without keys.
func (g *grouping) emptySets() []int {
	var out []int
	for i, set := range g.sets {
		if len(set) == 0 {
			out = append(out, i)
		}
	}
	return out
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

// mask is what GROUPING(...) says of the groups of a set.
func (g *grouping) mask(set []int, t tree) int {
	bits := 0
	for _, arg := range t.trees("children") {
		bits <<= 1
		if !slices.Contains(set, g.keyOf(arg)) {
			bits |= 1
		}
	}
	return bits
}

// findMasks lists the distinct GROUPING calls.
func (g *grouping) findMasks() {
	visit := func(v any) {
		walk(v, func(t tree) bool {
			if isGrouping(t) && g.maskOf(t) < 0 {
				call := clone(t)
				call["alias"] = ""
				g.masks = append(g.masks, call)
			}
			return t.class() != "SUBQUERY"
		})
	}
	for _, item := range g.items {
		visit(item)
	}
	for _, part := range []string{"having", "qualify", "modifiers"} {
		visit(g.node[part])
	}
}

func (g *grouping) maskOf(t tree) int {
	return slices.IndexFunc(g.masks, func(call tree) bool { return same(t, call) })
}

func maskColumn(i int) string { return fmt.Sprintf("__g%d", i+1) }

// groupingValue is what GROUPING(...) says, from the number of the group's set.
func (g *grouping) groupingValue(t tree) tree {
	if i := g.maskOf(t); i >= 0 {
		return columnRef(t.str("alias"), maskColumn(i))
	}
	values := []any{}
	for _, set := range g.sets {
		values = append(values, number(g.mask(set, t)))
	}
	value := number(0)
	if len(values) > 0 {
		value = function("", "list_extract", function("", "list_value", values...), columnRef("", g.a.keys[len(g.keys)].Name))
	}
	return tree{"class": "CAST", "type": "OPERATOR_CAST", "alias": t.str("alias"), "query_location": synthetic,
		"child": value, "cast_type": tree{"id": "BIGINT", "type_info": nil}, "try_cast": false}
}

// namesSet reports whether an item tells the grouping sets apart: GROUPING of all keys, where no two sets have the same.
func (g *grouping) namesSet(item tree) bool {
	if !isGrouping(item) || g.twinSets() {
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

// setsAnew is the SELECT of the groups of all sets over the rows of a partition, one after the other. Node has the keys
// and the calls in its select list.
func (g *grouping) setsAnew(node tree) (string, error) {
	c := g.c
	rows := selectNode([]any{star("")}, clone(node.sub("from_table")))
	rows["where_clause"] = cloneAny(node["where_clause"])
	from, err := c.render(rows)
	if err != nil {
		return "", err
	}
	var calls []string
	for i, item := range node.trees("select_list")[len(g.keys):] {
		sql, err := c.exprSQL(item)
		if err != nil {
			return "", err
		}
		calls = append(calls, sql+" AS "+g.a.values[i].name)
	}
	selects := make([]string, len(g.sets))
	for n, set := range g.sets {
		var items, fields, by []string
		for i, k := range g.a.keys {
			expr := k.Expr
			switch {
			case i == len(g.keys):
				expr = fmt.Sprintf("CAST(%d AS INTEGER)", n+1)
			case !slices.Contains(set, i):
				expr = "CAST(NULL AS " + k.Type + ")"
			default:
				by = append(by, fmt.Sprint(i+1))
			}
			items, fields = append(items, expr+" AS "+k.Name), append(fields, fmt.Sprintf("k%d := %s", i+1, expr))
		}
		for i, call := range g.masks {
			items = append(items, fmt.Sprintf("CAST(%d AS BIGINT) AS %s", g.mask(set, call), maskColumn(i)))
		}
		if len(by) == 0 {
			by = []string{"()"}
		}
		selects[n] = "SELECT " + list(items, calls, []string{"struct_pack(" + strings.Join(fields, ", ") + ") AS " + PosColumn}) +
			strings.TrimPrefix(from, "SELECT *") + " GROUP BY " + strings.Join(by, ", ")
	}
	return strings.Join(selects, "\nUNION ALL "), nil
}
