package planner

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// grouping is one GROUP BY over a stream while it is compiled.
type grouping struct {
	c     *compiler
	s     *scope
	node  tree
	items []tree // select list, stars expanded and lateral aliases replaced
	names []string
	keys  []tree
	sets  [][]int // numbers of the keys in each grouping set, if there are several
	calls []tree  // distinct aggregate calls
	masks []tree  // distinct GROUPING calls that are columns of the groups, where those are rows of their own
	a     *aggregate

	keyCols  []duck.Column
	callCols []duck.Column
	columns  map[string][]string // columns of each visible relation
	fromSQL  string              // FROM ... WHERE ...
	kept     map[string]string   // SQL of a kept argument -> column
	sees     bool                // count(DISTINCT …) may keep what was seen
}

// aggregate compiles a SELECT with GROUP BY or aggregate functions over a stream into the plan's state
// operator,
// and returns the SELECT over its groups that stands in its place.
func (c *compiler) aggregate(node tree, s *scope) (tree, *relation, error) {
	if err := c.refuseGrouping(node); err != nil {
		return nil, nil, err
	}
	if err := c.refuseWholeRows(node, s); err != nil {
		return nil, nil, err
	}
	splits := c.splits(node)
	n := len(c.ops) + 1
	g := &grouping{c: c, s: s, node: node, columns: map[string][]string{}, kept: map[string]string{},
		a: &aggregate{n: n, in: inTable(n), above: s.main.position()}}
	if s.main.change {
		return g.regroup()
	}
	steps := []func() error{g.describeScope, g.expandStars, g.replaceLateral, g.findKeys, g.findCalls,
		g.collations, g.typed,
		g.timeKey, g.partials, g.statements}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	c.add(g.a, s.main)
	if g.a.emits == touchedGroups {
		c.changes[g.a.out()] = true
	}
	if splits {
		rel, err := g.groupRelation()
		if err != nil {
			return nil, nil, err
		}
		return g.aboveGroups(rel)
	}
	return g.finish()
}

func (c *compiler) refuseGrouping(node tree) error {
	if c.complete() || c.splits(node) {
		return nil
	}
	return c.refuseShapes(node, false)
}

// describeScope finds the columns of every relation that the expressions see.
func (g *grouping) describeScope() error {
	text, err := g.c.render(selectNode([]any{star("")}, g.node.sub("from_table")))
	if err != nil {
		return err
	}
	body := strings.TrimPrefix(text, "SELECT *")
	for _, alias := range g.s.aliases {
		if alias == "" {
			continue
		}
		cols, err := g.c.describe("SELECT " + duck.QuoteIdent(alias) + ".*" + body)
		if err != nil {
			continue // a relation without a usable name: its columns are known by DuckDB alone
		}
		for _, col := range cols {
			if col.Name != PosColumn {
				g.columns[strings.ToLower(alias)] = append(g.columns[strings.ToLower(alias)], col.Name)
			}
		}
	}
	return nil
}

func (g *grouping) hasColumn(name string) bool {
	for _, cols := range g.columns {
		for _, col := range cols {
			if strings.EqualFold(col, name) {
				return true
			}
		}
	}
	return false
}

func (g *grouping) expandStars() error {
	for _, item := range g.node.trees("select_list") {
		if item.class() != "STAR" {
			g.items = append(g.items, item)
			continue
		}
		if err := g.c.hidePosition(tree{"select_list": []any{item}}, g.s); err != nil {
			return err
		}
		text, err := g.c.render(selectNode([]any{item}, g.node.sub("from_table")))
		if err != nil {
			return err
		}
		cols, err := g.c.describe(text)
		if err != nil {
			return err
		}
		if len(item.list("replace_list")) > 0 || item.sub("expr") != nil {
			return g.c.errAt(diag.ShapeUnsupported, item,
				"REPLACE and COLUMNS() beside an aggregate are not supported on a stream").
				WithHint("name the columns")
		}
		for _, col := range cols {
			g.items = append(g.items, columnRef("", col.Name))
		}
	}
	for _, item := range g.items {
		found := false
		walk(item, func(t tree) bool {
			found = found || t.class() == "STAR"
			return t.class() != "SUBQUERY"
		})
		if found {
			return g.c.errAt(diag.ShapeUnsupported, item,
				"COLUMNS() beside an aggregate is not supported on a stream").
				WithHint("name the columns")
		}
	}
	return nil
}

// replaceLateral puts the expression in the place of an alias of an earlier item.
func (g *grouping) replaceLateral() error {
	for i, item := range g.items {
		alias := item.str("alias")
		g.items[i] = asTree(g.unalias(item, i))
		g.items[i]["alias"] = alias
	}
	return nil
}

// unalias replaces references to the aliases of the first n items, where no column has that name.
func (g *grouping) unalias(v any, n int) any {
	return rewrite(v, func(t tree) (any, bool) {
		if t.class() == "SUBQUERY" {
			return t, true
		}
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || len(names) != 1 || g.hasColumn(names[0]) {
			return nil, false
		}
		for _, other := range g.items[:n] {
			if strings.EqualFold(other.str("alias"), names[0]) {
				out := clone(other)
				out["alias"] = ""
				return out, true
			}
		}
		return nil, false
	})
}

func (g *grouping) hasAggregate(v any) bool {
	found := false
	walk(v, func(t tree) bool {
		found = found || g.c.isAggregate(t)
		return !found && t.class() != "SUBQUERY"
	})
	return found
}

// findKeys lists the group keys as expressions over FROM.
func (g *grouping) findKeys() error {
	if g.node.str("aggregate_handling") == "FORCE_AGGREGATES" {
		for _, item := range g.items {
			// As in DuckDB, an item that reads no column is no key.
			if !g.hasAggregate(item) && varies(item) {
				g.addKey(item)
			}
		}
		return nil
	}
	var exprs []int
	for _, expr := range g.node.trees("group_expressions") {
		if v := expr.sub("value"); expr.class() == "CONSTANT" && v != nil {
			n, err := strconv.Atoi(fmt.Sprint(v["value"]))
			if err == nil && n >= 1 && n <= len(g.items) {
				exprs = append(exprs, g.addKey(g.items[n-1]))
				continue
			}
		}
		exprs = append(exprs, g.addKey(asTree(g.unalias(clone(expr), len(g.items)))))
	}
	return g.findSets(exprs)
}

func (g *grouping) addKey(expr tree) int {
	key := clone(expr)
	key["alias"] = ""
	if i := g.keyOf(key); i >= 0 {
		return i
	}
	g.keys = append(g.keys, key)
	return len(g.keys) - 1
}

// canonical qualifies the columns of an expression where that is certain, so that x and t.x are the same. A name that
// several relations have and that DuckDB took is one of a USING clause, and means the left relation's column.
func (g *grouping) canonical(expr tree) tree {
	return asTree(rewrite(clone(expr), func(t tree) (any, bool) {
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || len(names) != 1 {
			return nil, false
		}
		owner, n := "", 0
		for _, alias := range g.s.aliases {
			for _, col := range g.columns[strings.ToLower(alias)] {
				if strings.EqualFold(col, names[0]) {
					n++
					if owner == "" {
						owner = strings.ToLower(alias)
					}
				}
			}
		}
		if n == 0 || n > 1 && g.rightJoin() {
			return nil, false
		}
		return columnRef(t.str("alias"), owner, names[0]), true
	}))
}

// rightJoin reports whether FROM has a join that keeps rows of its right side, whose USING columns are that side's.
func (g *grouping) rightJoin() bool {
	found := false
	walk(g.node["from_table"], func(t tree) bool {
		found = found || t.str("join_type") == "RIGHT"
		return !found
	})
	return found
}

// keyOf returns the number of the key that an expression is, or -1.
func (g *grouping) keyOf(expr tree) int {
	e := g.canonical(expr)
	for i, k := range g.keys {
		if same(e, g.canonical(k)) {
			return i
		}
	}
	return -1
}

// findCalls lists the distinct aggregate calls.
func (g *grouping) findCalls() error {
	visit := func(v any) {
		walk(v, func(t tree) bool {
			if t.class() == "SUBQUERY" {
				return false
			}
			if !g.c.isAggregate(t) {
				return true
			}
			if g.callOf(t) < 0 {
				call := clone(t)
				call["alias"] = ""
				g.calls = append(g.calls, call)
			}
			return false
		})
	}
	for _, item := range g.items {
		visit(item)
	}
	for _, part := range []string{"having", "modifiers"} {
		visit(g.node[part])
	}
	return nil
}

func (g *grouping) callOf(t tree) int {
	e := g.canonical(t)
	for i, call := range g.calls {
		if same(e, g.canonical(call)) {
			return i
		}
	}
	return -1
}

// collations refuses what would be compared under a collation: columns of the state have none.
func (g *grouping) collations() error {
	at := tree(nil)
	for _, part := range append(append([]tree(nil), g.keys...), g.calls...) {
		if t := collated(part); t != nil && at == nil {
			at = t
		}
	}
	if at == nil && !g.s.main.collated {
		return nil
	}
	if at == nil {
		at = g.node
	}
	return g.c.errAt(diag.AggregateUnsupported, at, "COLLATE below an aggregate is not supported on a stream").
		WithHint("group by or compare lower(x) for NOCASE, strip_accents(x) for NOACCENT")
}

// collated returns the first COLLATE in an expression, or nil.
func collated(v any) tree {
	var found tree
	walk(v, func(t tree) bool {
		if found == nil && t.str("class") == "COLLATE" {
			found = t.sub("child")
		}
		return found == nil
	})
	return found
}

// typed asks DuckDB for the types of keys and calls, and for the names of the result.
func (g *grouping) typed() error {
	list := make([]any, 0, len(g.keys)+len(g.calls))
	groups := make([]any, 0, len(g.keys))
	set := make([]any, 0, len(g.keys))
	for i, k := range g.keys {
		list = append(list, clone(k))
		groups = append(groups, number(i+1)) // a key that is a number would be read as a position
		set = append(set, i)
	}
	for _, call := range g.calls {
		list = append(list, clone(call))
	}
	if len(list) == 0 {
		return g.c.errAt(diag.AggregateUnsupported, g.node,
			"the query groups by nothing and aggregates nothing").
			WithHint("add an aggregate such as count(*)")
	}
	n := selectNode(list, clone(g.node.sub("from_table")))
	n["where_clause"] = cloneAny(g.node["where_clause"])
	if len(groups) > 0 {
		n["group_expressions"], n["group_sets"] = groups, []any{set}
	}
	text, err := g.c.render(n)
	if err != nil {
		return err
	}
	cols, err := g.c.describe(text)
	if err != nil {
		return err
	}
	for i, col := range cols {
		if i < len(g.keys) {
			err = g.storable(g.keys[i], col.Type)
		} else {
			err = g.storable(g.calls[i-len(g.keys)], col.Type)
		}
		if err != nil {
			return err
		}
	}
	g.keyCols, g.callCols = cols[:len(g.keys)], cols[len(g.keys):]
	g.node["select_list"] = itemList(g.items)
	original, err := g.c.render(g.node)
	if err != nil {
		return err
	}
	named, err := g.c.describe(original)
	if err != nil {
		return err
	}
	for _, col := range named {
		g.names = append(g.names, col.Name)
	}
	n = selectNode([]any{star("")}, clone(g.node.sub("from_table")))
	n["where_clause"] = cloneAny(g.node["where_clause"])
	text, err = g.c.render(n)
	g.fromSQL = strings.TrimPrefix(text, "SELECT *")
	return err
}

// storable refuses a type that no table can have: a STRUCT whose fields have no names.
func (g *grouping) storable(at tree, typ string) error {
	if !strings.Contains(typ, "STRUCT(") {
		return nil
	}
	if _, err := g.c.db.Describe(g.c.ctx, "SELECT CAST(NULL AS "+typ+")"); asDuckError(err) == nil {
		return err
	}
	return g.c.errAt(diag.AggregateUnsupported, at, "type %s has fields without names, which can not be kept", typ).
		WithHint("write {'a': x, 'b': y} for (x, y)")
}

func itemList(items []tree) []any {
	out := make([]any, len(items))
	for i, t := range items {
		out[i] = t
	}
	return out
}

// timeKey finds the key that closes groups, and refuses append mode without one.
func (g *grouping) timeKey() error {
	best := mark{}
	at := -1
	for i, k := range g.keys {
		m := g.s.mark(k)
		if m.kind > best.kind && !m.absent && best.kind != markEnd && g.everySet(i) {
			best, at = m, i
		}
	}
	if at < 0 {
		if g.c.mode() == stream.Append {
			return g.needsWatermark()
		}
		return nil
	}
	key := fmt.Sprintf("__k%d", at+1)
	g.a.time = &timeKey{key: key, mark: best, note: best.note()}
	return nil
}

// watermarked returns the source of that name if it has a watermark, or nil.
func (c *compiler) watermarked(name string) *Source {
	for _, s := range c.app.Sources {
		if s.Name == name && s.Watermark != nil {
			return s
		}
	}
	return nil
}

func (g *grouping) needsWatermark() error {
	const message = "output mode APPEND can never output this aggregation: it has no watermark on its keys"
	const hint = "group by window_start or window_end of tumble() or hop() " +
		"over the watermarked column, or use OUTPUT MODE UPDATE"
	for _, w := range g.c.windows {
		if w.name == "session" && w.marked && g.s.main.marks[windowEnd].kind == markEnd {
			return g.c.errAt(diag.AppendNeedsWatermark, g.node, message).
				WithHint("group by the key, window_start and window_end: how late a session ends is known " +
					"by its window_end alone")
		}
		if s := g.c.watermarked(w.source); !w.marked && s != nil {
			return g.c.errAt(diag.AppendNeedsWatermark, w.at, message).
				WithLabel("this is not the column %q of source %q as it is, which has the watermark",
					s.Watermark.Column, s.Name).
				WithHint("compute the time in a column of the source and give that the watermark, " +
					"or use OUTPUT MODE UPDATE")
		}
		if !w.marked && strings.Contains(w.source, ", ") {
			return g.c.errAt(diag.AppendNeedsWatermark, w.at, message).
				WithLabel("nothing is known of how late %q comes out of what stands below, so no window is ever complete", w.column).
				WithHint("use a time with a watermark of one side as it is, or OUTPUT MODE UPDATE")
		}
		if !w.marked {
			return g.c.errAt(diag.AppendNeedsWatermark, w.at, message).
				WithLabel("source %q has no watermark on %q, so no window is ever complete", w.source,
					w.column).
				WithHint("add  WATERMARK FOR %s AS %s - INTERVAL '10 seconds'  "+
					"to CREATE SOURCE %s, or use OUTPUT MODE UPDATE",
					w.column, w.column, w.source)
		}
	}
	at := g.node
	if exprs := g.node.trees("group_expressions"); len(exprs) > 0 {
		at = exprs[0]
	}
	return g.c.errAt(diag.AppendNeedsWatermark, at, message).WithHint(hint)
}
