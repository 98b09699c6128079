package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// regroup compiles a GROUP BY over rows that may change: it keeps them, and evaluates the groups that the batch
// touched anew. So a group is right whatever its aggregates are, and however its rows come and go.
func (g *grouping) regroup() (tree, *relation, error) {
	for _, step := range []func() error{g.describeScope, g.expandStars, g.replaceLateral, g.findKeys, g.findCalls,
		g.collations, g.typed} {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	c := g.c
	o := &partitioned{n: g.a.n, what: "aggregate", emits: touchedGroups, one: len(g.keys) == 0 || len(g.emptySets()) > 0}
	g.a.emits = touchedGroups
	rel := &relation{name: outTable(o.n), stream: true, marks: map[string]mark{}, tables: []string{outTable(o.n)},
		sources: g.s.main.sources, nulls: g.s.main.nulls, filtered: true, single: true, change: true, retracts: true, pos: true, keyed: []mark{}}
	node, err := g.groupsAnew()
	if err != nil {
		return nil, nil, err
	}
	p, err := c.newPart(o, node, g.s)
	if err != nil {
		return nil, nil, err
	}
	var own []tree
	for i, k := range g.keys {
		if g.s.own(k) && g.everySet(i) {
			own = append(own, k)
		}
	}
	if err := p.partition(c, g.s, own); err != nil {
		return nil, nil, err
	}
	g.setKey()
	rel.posType = g.a.positionType()
	sql, err := g.evaluated(node)
	if err != nil {
		return nil, nil, err
	}
	if err := c.bind(o, rel, sql); err != nil {
		return nil, nil, err
	}
	rel.node = &Node{Op: "aggregate again, by " + strings.Join(p.keys, ", "), Below: []*Node{g.s.main.node}}
	for i, k := range g.a.keys {
		m := g.a.marks[i]
		rel.keyed = append(rel.keyed, m)
		m.key = i + 1
		rel.marks[k.Name] = m
	}
	g.markMasks(rel)
	return g.aboveGroups(rel)
}

// evaluated is the SELECT of the groups over the rows of a partition.
func (g *grouping) evaluated(node tree) (string, error) {
	if len(g.sets) > 0 {
		g.findMasks()
		return g.setsAnew(node)
	}
	node["select_list"] = append(node.list("select_list"), g.groupPosition())
	return g.c.render(node)
}

// markMasks says which GROUPING calls name the grouping set.
func (g *grouping) markMasks(rel *relation) {
	for i, call := range g.masks {
		if g.namesSet(call) {
			rel.marks[maskColumn(i)] = mark{key: len(g.keys) + 1}
		}
	}
}

// groupsAnew is the SELECT of keys and aggregates, named as the operator's columns are.
func (g *grouping) groupsAnew() (tree, error) {
	var items, groups, set []any
	for i, k := range g.keys {
		sql, err := g.c.exprSQL(k)
		if err != nil {
			return nil, err
		}
		col := Column{Column: stream.Column{Name: fmt.Sprintf("__k%d", i+1), Type: g.keyCols[i].Type}, Expr: sql}
		g.a.keys = append(g.a.keys, col)
		g.a.marks, g.a.shown = append(g.a.marks, g.s.mark(k)), append(g.a.shown, "")
		item := clone(k)
		item["alias"] = col.Name
		items, groups, set = append(items, item), append(groups, number(i+1)), append(set, i)
	}
	for i, call := range g.calls {
		name := fmt.Sprintf("__a%d", i+1)
		g.a.values = append(g.a.values, value{name: name, typ: g.callCols[i].Type})
		item := clone(call)
		inOrder(item, g)
		item["alias"] = name
		items = append(items, item)
	}
	n := selectNode(items, g.node.sub("from_table"))
	n["where_clause"] = g.node["where_clause"]
	if len(groups) > 0 {
		n["group_expressions"], n["group_sets"] = groups, []any{set}
	}
	return n, nil
}

// groupPosition is __pos of a group: its keys.
func (g *grouping) groupPosition() tree {
	if len(g.keys) == 0 {
		n := number(0)
		n["alias"] = PosColumn
		n.sub("value").sub("type")["id"] = "BIGINT"
		return n
	}
	fields := make([]any, len(g.keys))
	for i, k := range g.keys {
		f := clone(k)
		f["alias"] = fmt.Sprintf("k%d", i+1)
		fields[i] = f
	}
	return function(PosColumn, "struct_pack", fields...)
}

// inOrder gives every aggregate call whose value depends on the order of rows that of their positions.
func inOrder(v any, g *grouping) {
	walk(v, func(t tree) bool {
		if t.class() == "SUBQUERY" {
			return false
		}
		if !g.c.isAggregate(t) {
			return true
		}
		by := t.sub("order_bys")
		switch {
		case by == nil || unordered(t.function()):
		case t.flag("distinct") && len(by.list("orders")) == 0:
			if args := t.trees("children"); len(args) > 0 {
				by["orders"] = []any{orderBy("ASCENDING", "ORDER_DEFAULT", clone(args[0]))}
			}
		case !t.flag("distinct"):
			orders := append(by.list("orders"), orderBy("ASCENDING", "ORDER_DEFAULT", columnRef("", g.s.alias, PosColumn)))
			for _, a := range t.trees("children") {
				if a.class() == "COLUMN_REF" && !g.s.single {
					orders = append(orders, orderBy("ASCENDING", "ORDER_DEFAULT", clone(a)))
				}
			}
			by["orders"] = orders
		}
		return false
	})
}

// unordered names the aggregates whose value does not depend on the order of rows to the last bit.
func unordered(name string) bool {
	switch name {
	case "count_star", "count_if", "countif", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor":
		return true
	}
	return orderFree(name)
}

// groupRelation is the relation of the groups that an aggregate emits: its keys and values.
func (g *grouping) groupRelation() (*relation, error) {
	g.a.numbered = true
	if err := g.shownMasks(); err != nil {
		return nil, err
	}
	rel := &relation{stream: true, sources: g.s.main.sources, nulls: g.s.main.nulls, marks: map[string]mark{},
		filtered: g.node.sub("having") != nil, single: g.a.emits == touchedGroups, pos: true, tables: []string{g.a.out()},
		arrives: g.a.emits == closedGroups, change: g.a.emits == touchedGroups, keyed: append([]mark{}, g.a.marks...), name: g.a.out(),
		posType: g.a.positionType(), node: g.describeNode()}
	if g.a.timed() {
		rel.nulls = nil
	}
	for i, k := range g.a.keys {
		rel.cols = append(rel.cols, columnOf(k.Name, k.Type))
		m := mark{}
		if i < len(g.keys) {
			m = g.timeOf(g.keys[i])
		}
		m.key = i + 1
		rel.marks[k.Name] = m
	}
	for _, v := range g.a.values {
		rel.cols = append(rel.cols, columnOf(v.name, v.typ))
	}
	g.markMasks(rel)
	return rel, g.c.emptyOut(g.a.out(), append(slices.Clone(rel.cols), columnOf(PosColumn, rel.posType)))
}

// shownMasks makes columns of the GROUPING calls, from the number of the group's set.
func (g *grouping) shownMasks() error {
	if len(g.sets) == 0 {
		return nil
	}
	g.findMasks()
	for i, call := range g.masks {
		text, err := g.c.exprSQL(call)
		if err != nil {
			return err
		}
		masks := make([]string, len(g.sets))
		for j, set := range g.sets {
			masks[j] = fmt.Sprint(g.mask(set, call))
		}
		g.a.values = append(g.a.values, value{name: maskColumn(i), typ: "BIGINT", call: text,
			expr: fmt.Sprintf("CAST(list_extract([%s], g.%s) AS BIGINT)", strings.Join(masks, ", "), g.a.keys[len(g.keys)].Name)})
	}
	return nil
}

// aboveGroups compiles what stands in one SELECT with GROUP BY but is evaluated over its groups.
func (g *grouping) aboveGroups(rel *relation) (tree, *relation, error) {
	c := g.c
	items := make([]any, len(g.items))
	for i, item := range g.items {
		out := asTree(g.replace(clone(item)))
		out["alias"] = g.names[i]
		items[i] = out
	}
	node := selectNode(items, baseTable(g.a.out(), g.a.out(), nil))
	if having := g.node.sub("having"); having != nil {
		node["where_clause"] = g.replace(g.unaliasFirst(clone(having)))
	}
	node["qualify"] = g.replace(cloneAny(g.node["qualify"]))
	modifiers := []any{}
	for _, m := range g.node.trees("modifiers") {
		modifiers = append(modifiers, g.replace(clone(m)))
	}
	node["modifiers"] = modifiers
	f := &from{aliases: []string{g.a.out()}, streams: map[string]*relation{g.a.out(): rel}, main: rel, alias: g.a.out(),
		single: rel.single}
	return c.ungrouped(node, &scope{from: f, c: c, env: g.s.env})
}

// splits reports whether a SELECT with GROUP BY has parts that are evaluated over its groups.
func (c *compiler) splits(node tree) bool {
	if c.mode() == stream.Complete {
		return false
	}
	if len(overCalls(node)) > 0 || node.sub("qualify") != nil {
		return true
	}
	for _, m := range node.trees("modifiers") {
		switch m.str("type") {
		case "DISTINCT_MODIFIER", "LIMIT_MODIFIER":
			return true
		}
	}
	return false
}

func columnOf(name, typ string) duck.Column { return duck.Column{Name: name, Type: typ} }

// function is a call in a syntax tree.
func function(alias, name string, args ...any) tree {
	return tree{"class": "FUNCTION", "type": "FUNCTION", "alias": alias, "query_location": synthetic,
		"function_name": name, "schema": "", "children": args, "filter": nil,
		"order_bys": tree{"type": "ORDER_MODIFIER", "orders": []any{}}, "distinct": false, "is_operator": false,
		"export_state": false, "catalog": ""}
}
