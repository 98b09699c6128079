package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// keep adds a column to the kept rows.
func (a *Aggregate) keep(col Column) {
	if a.Rows == nil {
		a.Rows = &KeptRows{Table: rowsTable}
	}
	a.Rows.Columns = append(a.Rows.Columns, col)
}

func (a *Aggregate) keyNames(prefix string) []string {
	names := make([]string, len(a.Keys))
	for i, k := range a.Keys {
		names[i] = prefix + duck.QuoteIdent(k.Name)
	}
	return names
}

// sameKeys is the join condition of two relations with the keys.
func (a *Aggregate) sameKeys(l, r string) string {
	if len(a.Keys) == 0 {
		return "true"
	}
	parts := make([]string, len(a.Keys))
	for i, k := range a.Keys {
		n := duck.QuoteIdent(k.Name)
		parts[i] = fmt.Sprintf("%s.%s IS NOT DISTINCT FROM %s.%s", l, n, r, n)
	}
	return strings.Join(parts, " AND ")
}

func getVariable(name string) string { return "getvariable('" + name + "')" }

// statements writes the SQL of the operator.
func (g *grouping) statements() error {
	a := g.a
	if a.Time != nil && !g.c.complete() {
		a.Null = duck.QuoteIdent(a.Time.Key) + " IS NULL"
		a.Late = a.Time.End + " <= " + getVariable(VarLate)
		a.Closed = a.Time.End + " <= " + getVariable(VarWatermark)
	}
	switch g.c.mode() {
	case stream.Append:
		a.Groups = "closed"
	case stream.Update:
		a.Groups = "touched"
	default:
		a.Groups = "all"
	}
	g.c.input = g.inputSQL()
	a.Merge = a.mergeSQL()
	if a.Rows != nil {
		a.Rows.finish(a)
	}
	a.OutSQL = a.outSQL(a.groupsSQL())
	a.Before = a.outSQL("SELECT s.* FROM " + a.Table + " s" + a.touched("s"))
	return nil
}

// inputSQL selects what the batch's rows add: keys, initial partials, arguments to keep, and their position.
func (g *grouping) inputSQL() string {
	var items []string
	for _, k := range g.a.Keys {
		items = append(items, k.Expr+" AS "+duck.QuoteIdent(k.Name))
	}
	for _, p := range g.a.Partials {
		items = append(items, p.Init+" AS "+duck.QuoteIdent(p.Name))
	}
	if g.a.Rows != nil {
		for _, v := range g.a.Rows.Columns {
			items = append(items, v.Expr+" AS "+duck.QuoteIdent(v.Name))
		}
	}
	items = append(items, duck.QuoteIdent(g.s.alias)+"."+PosColumn)
	return g.c.chain(0, "SELECT "+strings.Join(items, ",\n  ")+"\n"+strings.TrimSpace(g.fromSQL))
}

// live is the WHERE clause that leaves late rows and rows without time out.
func (a *Aggregate) live() string {
	if a.Late == "" {
		return ""
	}
	// NULL does not pass either.
	return " WHERE " + a.Time.End + " > " + getVariable(VarLate)
}

// touched restricts rows of the state to the groups of the batch.
func (a *Aggregate) touched(alias string) string {
	if len(a.Keys) == 0 {
		return ""
	}
	return " SEMI JOIN " + a.In + " i ON " + a.sameKeys(alias, "i")
}

func (a *Aggregate) mergeSQL() string {
	keys := a.keyNames("")
	var merged, columns, prefixed []string
	for _, p := range a.Partials {
		n := duck.QuoteIdent(p.Name)
		merged = append(merged, p.Merge+" AS "+n)
		columns = append(columns, n)
		prefixed = append(prefixed, "s."+n)
	}
	from := "SELECT " + list(a.keyNames("s."), prefixed, []string{"CAST(-1 AS BIGINT) AS " + PosColumn}) +
		"\n  FROM " + a.Table + " s" + a.touched("s") +
		"\n  UNION ALL\n  SELECT " + list(keys, columns, []string{PosColumn}) + " FROM " + a.In + a.live()
	group := ""
	if len(keys) > 0 {
		group = "\nGROUP BY " + strings.Join(keys, ", ")
	}
	return "SELECT " + list(keys, merged) + "\nFROM (\n  " + from + "\n)" + group
}

func list(parts ...[]string) string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return strings.Join(all, ", ")
}

// groupsSQL selects the groups that a batch emits.
func (a *Aggregate) groupsSQL() string {
	switch a.Groups {
	case "closed":
		return "SELECT * FROM " + a.Table + " WHERE " + a.Closed
	case "touched":
		return "SELECT * FROM " + a.New
	}
	return "SELECT * FROM " + a.Table
}

// outSQL selects keys and values of groups.
func (a *Aggregate) outSQL(groups string) string {
	items := a.keyNames("g.")
	for i, p := range a.shown {
		if p != "" {
			items[i] = p + " AS " + duck.QuoteIdent(a.Keys[i].Name)
		}
	}
	for _, f := range a.Finish {
		items = append(items, f.Expr+" AS "+duck.QuoteIdent(f.Name))
	}
	sql := "SELECT " + strings.Join(items, ", ") + "\nFROM (" + groups + ") g"
	if a.Rows == nil {
		return sql
	}
	return sql + "\nJOIN (" + a.heldSQL(groups) + "\n) h ON " + a.sameKeys("g", "h")
}

// heldSQL evaluates the calls that need rows.
func (a *Aggregate) heldSQL(groups string) string {
	keys := a.keyNames("")
	rows := a.keyNames("r.")
	rows = append(rows, "unnest(r."+PosColumn+") AS "+PosColumn)
	for _, c := range a.Rows.Columns[len(a.Keys)+2:] {
		n := duck.QuoteIdent(c.Name)
		rows = append(rows, "unnest(r."+n+") AS "+n)
	}
	semi := ""
	if len(keys) > 0 {
		semi = " SEMI JOIN (" + groups + ") g ON " + a.sameKeys("r", "g")
	}
	from := "SELECT " + strings.Join(rows, ", ") + " FROM " + a.Rows.Table + " r" + semi
	if len(a.firsts) > 0 {
		from = "SELECT *, " + strings.Join(a.firsts, ", ") + " FROM (" + from + ")"
	}
	held := append([]string(nil), keys...)
	for _, f := range a.Finish {
		if f.Held != "" {
			held = append(held, f.Held+" AS "+duck.QuoteIdent(f.Name))
		}
	}
	group := ""
	if len(keys) > 0 {
		group = " GROUP BY " + strings.Join(keys, ", ")
	}
	return "\n  SELECT " + strings.Join(held, ", ") + "\n  FROM (" + from + ")" + group
}

// finish turns the kept arguments into the columns of the chunk table.
func (r *KeptRows) finish(a *Aggregate) {
	values := r.Columns
	r.Columns = append([]Column(nil), a.Keys...)
	r.Columns = append(r.Columns, Column{Column: stream.Column{Name: BatchColumn, Type: "BIGINT"}},
		Column{Column: stream.Column{Name: PosColumn, Type: "BIGINT[]"}})
	items := append(a.keyNames(""), "CAST("+getVariable(VarBatch)+" AS BIGINT) AS "+BatchColumn,
		"list("+PosColumn+" ORDER BY "+PosColumn+") AS "+PosColumn)
	for _, v := range values {
		n := duck.QuoteIdent(v.Name)
		items = append(items, "list("+n+" ORDER BY "+PosColumn+") AS "+n)
		v.Type += "[]"
		r.Columns = append(r.Columns, v)
	}
	keys := append(a.keyNames(""), BatchColumn)
	r.Append = "SELECT " + strings.Join(items, ", ") + " FROM " + a.In + a.live()
	if len(a.Keys) > 0 {
		r.Append += " GROUP BY " + strings.Join(keys[:len(a.Keys)], ", ")
	} else {
		r.Append += " HAVING count(*) > 0"
	}
}

// finish returns the SELECT over the emitted groups that stands in the place of the grouped one.
func (g *grouping) finish() (tree, *relation, error) {
	rel := &relation{stream: true, sources: g.s.main.sources, nulls: g.s.main.nulls, marks: map[string]mark{},
		filtered: g.node.sub("having") != nil, ordered: true, single: !unnests(tree{"select_list": itemList(g.items)})}
	if g.a.Null != "" {
		rel.nulls = nil
	}
	items := make([]any, len(g.items))
	for i, item := range g.items {
		key := g.keyBehind(item)
		out := asTree(g.replace(clone(item)))
		out["alias"] = g.names[i]
		items[i] = out
		if key >= 0 {
			rel.marks[strings.ToLower(g.names[i])] = mark{kind: markKey, key: key}
		}
	}
	node := selectNode(items, baseTable(outTable, outTable, nil))
	if having := g.node.sub("having"); having != nil {
		node["where_clause"] = g.replace(g.unaliasFirst(clone(having)))
	}
	modifiers := []any{}
	for _, m := range g.node.trees("modifiers") {
		modifiers = append(modifiers, g.modifier(clone(m)))
	}
	if orders := g.keyOrder(); len(orders) > 0 && !hasOrder(modifiers) {
		modifiers = append([]any{tree{"type": "ORDER_MODIFIER", "orders": orders}}, modifiers...)
	}
	node["modifiers"] = modifiers
	// The generated CTEs so far feed the operator; those to come read its groups.
	g.c.below = len(g.c.with)
	if err := g.checkFinish(node, rel); err != nil {
		return nil, nil, err
	}
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
	for _, k := range g.a.Keys {
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
			return columnRef(t.str("alias"), g.a.Keys[i].Name), true
		}
		if t.class() == "SUBQUERY" {
			return t, true
		}
		if g.c.isAggregate(t) {
			if i := g.callOf(t); i >= 0 {
				return columnRef(t.str("alias"), g.a.Finish[i].Name), true
			}
		}
		return nil, false
	})
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
	cols := make([]string, 0, len(g.a.Keys)+len(g.a.Finish))
	for _, k := range g.a.Keys {
		cols = append(cols, duck.QuoteIdent(k.Name)+" "+k.Type)
	}
	for _, f := range g.a.Finish {
		cols = append(cols, duck.QuoteIdent(f.Name)+" "+f.Type)
	}
	if _, err := g.c.db.Exec(g.c.ctx, "CREATE OR REPLACE TEMP TABLE "+outTable+" ("+strings.Join(cols,
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
	rel.cols = described
	return err
}

func (g *grouping) describeNode() *Node {
	n := &Node{Op: "aggregate"}
	keys := make([]string, len(g.a.Keys))
	for i, k := range g.a.Keys {
		keys[i] = k.Expr
	}
	if len(keys) > 0 {
		n.Op += " by " + strings.Join(keys, ", ")
	}
	for _, f := range g.a.Finish {
		how := "merged"
		if f.Held != "" {
			how = "from kept rows"
		}
		n.Detail = append(n.Detail, fmt.Sprintf("%s %s, %s", f.Call, f.Type, how))
	}
	if t := g.node.sub("where_clause"); t != nil {
		if sql, err := g.c.exprSQL(t); err == nil {
			n.Detail = append(n.Detail, "filter "+sql)
		}
	}
	n.Below = []*Node{g.s.main.node}
	return n
}
