package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// finish returns the SELECT over the emitted groups that stands in the place of the grouped one.
func (g *grouping) finish() (tree, *relation, error) {
	rel := &relation{stream: true, sources: g.s.main.sources, nulls: g.s.main.nulls, marks: map[string]mark{},
		filtered: g.node.sub("having") != nil, ordered: true, single: !unnests(tree{"select_list": itemList(g.items)}),
		tables: []string{g.a.out()}, arrives: g.a.emits == closedGroups, change: g.a.emits == touchedGroups,
		keyed: append([]mark{}, g.a.marks...), many: unnests(tree{"select_list": itemList(g.items)})}
	if g.a.timed() {
		rel.nulls = nil
	}
	g.a.numbered = g.c.depth > 1 && !g.c.complete()
	items := make([]any, len(g.items))
	for i, item := range g.items {
		key := g.keyBehind(item)
		out := asTree(g.replace(clone(item)))
		out["alias"] = g.names[i]
		items[i] = out
		m := g.timeOf(item)
		m.key = key + 1
		if g.namesSet(item) {
			m.key = len(g.keys) + 1
		}
		if m != (mark{}) {
			rel.marks[strings.ToLower(g.names[i])] = m
		}
	}
	if g.a.numbered {
		rel.posType = g.a.positionType()
		rel.pos, rel.single, rel.ordered = true, rel.change && rel.single, false
		items = append(items, columnRef(PosColumn, PosColumn))
	}
	node := selectNode(items, baseTable(g.a.out(), g.a.out(), nil))
	if having := g.node.sub("having"); having != nil {
		node["where_clause"] = g.replace(g.unaliasFirst(clone(having)))
	}
	node["qualify"] = g.replace(cloneAny(g.node["qualify"]))
	modifiers := []any{}
	for _, m := range g.node.trees("modifiers") {
		modifiers = append(modifiers, g.modifier(clone(m)))
	}
	if orders := g.keyOrder(); len(orders) > 0 && !hasOrder(modifiers) && !g.a.numbered {
		modifiers = append([]any{tree{"type": "ORDER_MODIFIER", "orders": orders}}, modifiers...)
	}
	node["modifiers"] = modifiers
	if err := g.checkFinish(node, rel); err != nil {
		return nil, nil, err
	}
	rel.tagsOf(node.trees("select_list"), &scope{from: &from{main: &relation{}}})
	rel.node = g.describeNode()
	return node, rel, nil
}

func hasOrder(modifiers []any) bool {
	for _, m := range modifiers {
		if asTree(m).str("type") == "ORDER_MODIFIER" {
			return true
		}
	}
	return false
}

func (g *grouping) keyOrder() []any {
	var orders []any
	for _, k := range g.a.keys {
		orders = append(orders, orderBy("ASCENDING", "ORDER_DEFAULT", columnRef("", k.Name)))
	}
	return orders
}

// modifier rewrites ORDER BY: names of the result stay, keys break ties.
func (g *grouping) modifier(m tree) tree {
	for _, o := range m.trees("orders") {
		e := o.sub("expression")
		names := e.names("column_names")
		if e.class() == "CONSTANT" || e.class() == "STAR" || len(names) == 1 && g.isName(names[0]) {
			continue
		}
		o["expression"] = g.replace(e)
	}
	if m.str("type") == "ORDER_MODIFIER" {
		m["orders"] = append(m.list("orders"), g.keyOrder()...)
	}
	return m
}

func (g *grouping) isName(name string) bool {
	for _, n := range g.names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// unaliasFirst replaces aliases of the select list, which HAVING looks up before columns.
func (g *grouping) unaliasFirst(v any) any {
	return rewrite(v, func(t tree) (any, bool) {
		if t.class() == "SUBQUERY" || g.c.isAggregate(t) {
			return t, true
		}
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || len(names) != 1 {
			return nil, false
		}
		for _, item := range g.items {
			if strings.EqualFold(item.str("alias"), names[0]) {
				return clone(item), true
			}
		}
		return nil, false
	})
}

// replace puts the columns of the emitted groups in the place of keys and aggregate calls.
func (g *grouping) replace(v any) any {
	return rewrite(v, func(t tree) (any, bool) {
		if t.str("class") == "" {
			return nil, false
		}
		if i := g.keyOf(t); i >= 0 {
			return columnRef(t.str("alias"), g.a.keys[i].Name), true
		}
		if t.class() == "SUBQUERY" {
			return t, true
		}
		if isGrouping(t) {
			return g.groupingValue(t), true
		}
		if g.c.isAggregate(t) {
			if i := g.callOf(t); i >= 0 {
				return columnRef(t.str("alias"), g.a.values[i].name), true
			}
		}
		return nil, false
	})
}

// timeOf is what is known of an item that is the time that closes a group, or that time moved by a constant.
func (g *grouping) timeOf(item tree) mark {
	key := g.keyOf(item)
	for root := item; key < 0 && (root.function() == "+" || root.function() == "-"); key = g.keyOf(root) {
		root = root.trees("children")[0]
	}
	if key < 0 || g.a.time == nil {
		return mark{}
	}
	t := g.a.time.mark
	if g.a.keys[key].Name != g.a.time.key && (t.window == "" || t.window != g.a.marks[key].window) {
		return mark{} // another time, of which a closed group says nothing
	}
	return g.s.mark(item)
}

// keyBehind returns the key that an item shows one to one, or -1: the key itself, or a window's bound as a number or
// text.
func (g *grouping) keyBehind(item tree) int {
	for t := item; t != nil; {
		if i := g.keyOf(t); i >= 0 {
			if m := g.s.mark(g.keys[i]); same(t, item) || (m.kind == markStart || m.kind == markEnd) && m.whole {
				return i
			}
			return -1
		}
		name := t.function()
		switch {
		case t.class() == "CAST" && !t.flag("try_cast") && exactCast(t):
			t = t.sub("child")
		case name == "epoch" || name == "epoch_us" || name == "epoch_ms":
			t = t.trees("children")[0]
		default:
			return -1
		}
	}
	return -1
}

// exactCast reports whether different whole seconds stay different in a cast, or fail.
func exactCast(t tree) bool {
	switch t.sub("cast_type").str("id") {
	case "INTEGER", "BIGINT", "HUGEINT", "UINTEGER", "UBIGINT", "DOUBLE", "VARCHAR", "TIMESTAMP", "TIMESTAMP_NS",
		"TIMESTAMP_MS", "TIMESTAMP_S":
		return true
	}
	return false
}

// checkFinish binds the SELECT over the groups, which fails where a subquery reads columns of the grouped
// one.
func (g *grouping) checkFinish(node tree, rel *relation) error {
	cols := make([]string, 0, len(g.a.keys)+len(g.a.values))
	for _, k := range g.a.keys {
		cols = append(cols, duck.QuoteIdent(k.Name)+" "+k.Type)
	}
	for _, f := range g.a.values {
		cols = append(cols, duck.QuoteIdent(f.name)+" "+f.typ)
	}
	if g.a.numbered {
		cols = append(cols, PosColumn+" "+g.a.positionType())
	}
	if _, err := g.c.db.Exec(g.c.ctx, "CREATE OR REPLACE TEMP TABLE "+g.a.out()+" ("+strings.Join(cols,
		", ")+")"); err != nil {
		return fmt.Errorf("bind groups of query %q: %w", g.c.q.Name, err)
	}
	sql, err := g.c.render(node)
	if err != nil {
		return err
	}
	described, err := g.c.describe(sql)
	if asDuckError(err) != nil {
		return g.c.errAt(diag.ShapeUnsupported, g.node, "this aggregate is not supported on a stream: %s",
			firstLine(asDuckError(err).Message)).
			WithHint("move subqueries that read columns of the stream into a query of their own")
	}
	if rel.pos && len(described) > 0 {
		described = described[:len(described)-1]
	}
	rel.cols = described
	return err
}

func (g *grouping) describeNode() *Node {
	n := &Node{Op: "aggregate"}
	keys := make([]string, len(g.a.keys))
	for i, k := range g.a.keys {
		keys[i] = k.Expr
	}
	if len(keys) > 0 {
		n.Op += " by " + strings.Join(keys, ", ")
	}
	for _, f := range g.a.values {
		how := "merged"
		if f.held != "" {
			how = "from kept rows"
		}
		n.Detail = append(n.Detail, fmt.Sprintf("%s %s, %s", f.call, f.typ, how))
	}
	if t := g.node.sub("where_clause"); t != nil {
		if sql, err := g.c.exprSQL(t); err == nil {
			n.Detail = append(n.Detail, "filter "+sql)
		}
	}
	n.Below = []*Node{g.s.main.node}
	return n
}
