package planner

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// dedup passes the first row of each key, in the order in which rows come, and keeps the keys.
type dedup struct {
	n       int
	rel     *relation // with the hidden columns
	out     *relation
	input   string
	entry   Entry
	keys    []Column // __k1, ...; Expr is the column of the batch's rows
	shown   []string // what the keys are, for reading and for the layout
	timed   string   // the key that frees keys, or ""
	mark    mark
	horizon time.Duration // 0: none
	time    string        // column with the time that the horizon counts from
}

// hideTargets adds what DISTINCT ON names to the select list, as hidden columns at its end, and the time that
// dedup_horizon counts from.
func (c *compiler) hideTargets(cut *cuts, node tree, s *scope, grouped bool) error {
	cut.grouped = grouped
	defer c.noteItems(cut, node)
	for _, t := range cut.distinct.trees("distinct_on_targets") {
		name, err := c.hide(cut, node, t)
		if err != nil {
			return err
		}
		cut.on = append(cut.on, name)
	}
	for i, o := range cut.orders {
		name, err := c.hide(cut, node, o.sub("expression"))
		if err != nil {
			return err
		}
		cut.orders[i] = orderBy(o.str("type"), o.str("null_order"), columnRef("", name))
	}
	if grouped || c.horizon() == 0 {
		return nil
	}
	best := mark{}
	column := ""
	for _, col := range s.main.cols {
		m := s.main.marks[strings.ToLower(col.Name)]
		if m.kind != markNone && !m.absent && (best.kind == markNone || m.kind < best.kind) {
			best, column = m, col.Name
		}
	}
	if column != "" {
		cut.hidden++
		cut.time, cut.timeMark = "__time", best
		node["select_list"] = append(node.list("select_list"), columnRef(cut.time, s.alias, column))
	}
	return nil
}

// hide returns the name in the select list of what DISTINCT ON or its ORDER BY names, which is added to it if it is not
// there.
func (c *compiler) hide(cut *cuts, node, t tree) (string, error) {
	if name := c.selected(node, t); name != "" {
		return name, nil
	}
	item := clone(t)
	if t.class() == "CONSTANT" {
		item = numbered(node, t)
	}
	if item == nil || t.class() == "STAR" {
		return "", c.errAt(diag.ShapeUnsupported, t, "DISTINCT ON and its ORDER BY need columns or expressions here").
			WithHint("write the column's name")
	}
	cut.hidden++
	name := fmt.Sprintf("__d%d", cut.hidden)
	item["alias"] = name
	node["select_list"] = append(node.list("select_list"), item)
	return name, nil
}

// numbered returns a copy of the item that a number in DISTINCT ON means, or nil. Behind a star it is not known.
func numbered(node, t tree) tree {
	n, err := strconv.Atoi(fmt.Sprint(t.sub("value")["value"]))
	items := node.trees("select_list")
	if err != nil || n < 1 || n > len(items) {
		return nil
	}
	for _, item := range items[:n] {
		if item.class() == "STAR" {
			return nil
		}
	}
	return clone(items[n-1])
}

// noteItems notes what the items of a select list are, for reading and for the layout.
func (c *compiler) noteItems(cut *cuts, node tree) {
	cut.exprs = map[string]string{}
	for _, item := range node.trees("select_list") {
		name := item.str("alias")
		if names := item.names("column_names"); name == "" && len(names) > 0 {
			name = names[len(names)-1]
		}
		if sql, err := c.exprSQL(item); err == nil && name != "" {
			cut.exprs[strings.ToLower(name)] = sql
		}
	}
}

// selected returns the name in the result that a target is, or "".
func (c *compiler) selected(node, target tree) string {
	names := target.names("column_names")
	for _, item := range node.trees("select_list") {
		if alias := item.str("alias"); len(names) == 1 && alias != "" && strings.EqualFold(alias, names[0]) {
			return alias
		}
	}
	for _, item := range node.trees("select_list") {
		alias := item.str("alias")
		if alias == "" && len(names) > 0 {
			alias = names[len(names)-1]
		}
		if alias != "" && same(item, target) {
			return alias
		}
	}
	return ""
}

func (c *compiler) horizon() time.Duration { return c.q.Options.Duration("dedup_horizon") }

// distinctGroups compiles DISTINCT over rows that may change: each distinct row is a group of its own.
func (c *compiler) distinctGroups(node tree, rel *relation) (tree, *relation, error) {
	in, err := c.named(node, rel, "distinct")
	if err != nil {
		return nil, nil, err
	}
	var items, groups, set []any
	for i, col := range in.cols {
		items, groups, set = append(items, columnRef("", col.Name)), append(groups, number(i+1)), append(set, i)
	}
	n := selectNode(items, baseTable(in.name, in.name, nil))
	n["group_expressions"], n["group_sets"] = groups, []any{set}
	s := &scope{c: c, from: &from{aliases: []string{in.name}, streams: map[string]*relation{in.name: in}, main: in,
		alias: in.name, single: in.single}}
	return c.aggregate(n, s)
}

// firstOfEach compiles DISTINCT ON whose row for a key may be another later: over rows that may change, and with an
// ORDER BY. It is the first by rank in the partition of its key.
func (c *compiler) firstOfEach(cut *cuts, node tree, rel *relation) (tree, *relation, error) {
	timed := false
	over := make([]string, len(cut.on))
	for i, name := range cut.on {
		m := rel.marks[strings.ToLower(name)]
		timed = timed || m.kind != markNone && !m.absent
		over[i] = duck.QuoteIdent(name)
	}
	if c.emission() == closedGroups && !timed {
		return nil, nil, c.errAt(diag.OrderByUnsupported, distinctAt(node, cut.distinct),
			"DISTINCT ON with ORDER BY in output mode APPEND: a row that comes later could be the one to keep").
			WithHint("drop the ORDER BY to keep the first of each key to come, add window_start or window_end of tumble() " +
				"or hop() to the ON list, or use OUTPUT MODE UPDATE")
	}
	in, err := c.named(node, rel, "distinct")
	if err != nil {
		return nil, nil, err
	}
	if err := c.distinctNames(rel, "DISTINCT ON"); err != nil {
		return nil, nil, err
	}
	ranked, err := c.template("SELECT 1 QUALIFY row_number() OVER (PARTITION BY " + strings.Join(over, ", ") + ") = 1")
	if err != nil {
		return nil, nil, err
	}
	first := ranked.sub("qualify")
	c.naming = "select every expression of DISTINCT ON as it is"
	first.sub("left")["orders"] = itemList(cut.orders)
	var items []any
	for _, col := range rel.cols[:len(rel.cols)-cut.hidden] {
		items = append(items, columnRef("", col.Name))
	}
	n := selectNode(items, baseTable(in.name, in.name, nil))
	n["qualify"] = first
	s := &scope{c: c, from: &from{aliases: []string{in.name}, streams: map[string]*relation{in.name: in}, main: in,
		alias: in.name, single: in.single}}
	return c.ranked(n, s)
}

// distinct compiles DISTINCT and DISTINCT ON over rows that are only added. The last columns of rel may be hidden.
func (c *compiler) distinct(cut *cuts, node tree, rel *relation) (tree, *relation, error) {
	on := len(cut.distinct.list("distinct_on_targets")) > 0
	switch {
	case rel.change && rel.pos && !on:
		return c.distinctGroups(node, rel)
	case rel.pos && on && (rel.change || cut.orders != nil):
		return c.firstOfEach(cut, node, rel)
	}
	if rel.change || !rel.pos {
		what, hint := "SELECT DISTINCT beside an aggregate", "the groups are distinct already"
		if !cut.grouped {
			what, hint = "DISTINCT over rows that may still change",
				"use OUTPUT MODE APPEND, or group by the columns"
		}
		return nil, nil, c.errAt(diag.ShapeUnsupported, distinctAt(node, cut.distinct),
			"%s is not supported on a stream in output mode %s", what, c.appMode()).WithHint("%s", hint)
	}
	if rel.collated {
		return nil, nil, c.errAt(diag.ShapeUnsupported, distinctAt(node, cut.distinct),
			"COLLATE below DISTINCT is not supported on a stream").
			WithHint("select lower(x) for NOCASE, strip_accents(x) for NOACCENT")
	}
	input, err := c.cutRows(node, rel, "DISTINCT")
	if err != nil {
		return nil, nil, err
	}
	o := &dedup{n: len(c.ops) + 1, rel: rel, input: input}
	o.entry = Entry{Table: inTable(o.n), Raw: rel.raw, Many: !rel.single}
	visible := rel.cols[:len(rel.cols)-cut.hidden]
	names := cut.on
	if len(names) == 0 {
		for _, col := range visible {
			names = append(names, col.Name)
		}
	}
	for i, name := range names {
		col, _ := rel.column(name)
		o.keys = append(o.keys, Column{Column: stream.Column{Name: fmt.Sprintf("__k%d", i+1), Type: col.Type},
			Expr: duck.QuoteIdent(col.Name)})
		if m := rel.marks[strings.ToLower(name)]; m.kind > o.mark.kind && !m.absent && !c.complete() {
			o.timed, o.mark = col.Name, m
		}
	}
	if err := c.boundBy(o, cut); err != nil {
		return nil, nil, err
	}
	detail := "each key for ever"
	switch {
	case o.timed != "":
		detail = "each key until the watermark passes " + duck.QuoteIdent(o.timed)
	case o.horizon > 0:
		detail = fmt.Sprintf("each key for %s of event time", o.horizon)
	}
	o.shown = make([]string, len(names))
	for i, name := range names {
		if o.shown[i] = cut.exprs[strings.ToLower(name)]; o.shown[i] == "" {
			o.shown[i] = name
		}
	}
	o.out = rel.cut(o.n, "distinct on "+strings.Join(o.shown, ", "), "keeps "+detail)
	o.out.cols = visible
	if o.timed != "" || o.horizon > 0 {
		o.out.nulls = nil
	}
	c.nulls = union(c.nulls, o.out.nulls)
	c.add(o, rel)
	top, err := c.outOf(o.n, o.out)
	return top, o.out, err
}

// boundBy says what frees the keys: a time among them, or the horizon.
func (c *compiler) boundBy(o *dedup, cut *cuts) error {
	if o.timed != "" {
		o.entry.Late = o.mark.late(duck.QuoteIdent(o.timed))
		return nil
	}
	if c.complete() {
		return nil
	}
	if c.horizon() == 0 {
		c.warnings = append(c.warnings, fmt.Sprintf("DISTINCT keeps every key for ever: about %d bytes each; "+
			"put a watermarked time in it, or bound it with dedup_horizon", o.table().RowBytes()))
		return nil
	}
	o.time, o.mark = cut.time, cut.timeMark
	for _, col := range o.rel.cols {
		if m := o.rel.marks[strings.ToLower(col.Name)]; o.time == "" && m.kind != markNone && !m.absent {
			o.time, o.mark = col.Name, m
		}
	}
	if o.time == "" {
		return diag.New(diag.BadOption, "dedup_horizon needs a watermark: nothing says when its time is over").
			At(c.app.Text, c.q.Span).
			WithHint("add  WATERMARK FOR ts AS ts - INTERVAL '10 seconds'  to CREATE SOURCE, or drop the option")
	}
	o.horizon = c.horizon()
	c.horizons = append(c.horizons, o.horizon)
	o.entry.Late = o.mark.late(duck.QuoteIdent(o.time))
	return nil
}

func (o *dedup) state() string { return fmt.Sprintf("__seen%d", o.n) }

const expiresColumn = "__expires"

func (o *dedup) table() StateTable {
	t := StateTable{Name: o.state(), Logical: true, Kind: "keys"}
	for _, k := range o.keys {
		t.Columns = append(t.Columns, k)
		t.Keys = append(t.Keys, k.Name)
		if o.timed != "" && k.Expr == duck.QuoteIdent(o.timed) {
			t.Closes = o.mark.closes(k.Name)
		}
	}
	if o.horizon > 0 {
		t.Columns = append(t.Columns, Column{Column: stream.Column{Name: expiresColumn, Type: "TIMESTAMP"}})
		t.Closes = expiresColumn
	}
	return t
}

// readable selects the keys under the names of the query.
func (o *dedup) readable() string {
	names := make([]string, len(o.keys))
	for i := range o.keys {
		names[i] = strings.Trim(o.shown[i], `"`)
	}
	items := make([]string, len(o.keys))
	for i, name := range distinct(names) {
		items[i] = o.keys[i].Name + " AS " + duck.QuoteIdent(name)
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + o.state()
}

// expires is when the horizon lets a row's key go.
func (o *dedup) expires() string {
	return fmt.Sprintf("%s + to_microseconds(%d)", o.mark.closes(duck.QuoteIdent(o.time)), o.horizon.Microseconds())
}

func (o *dedup) operator(bool) *Operator {
	in, table := inTable(o.n), o.table()
	table.Shown = o.readable()
	rows := []string{in}
	visible := list(quoteAll(o.out.columnNames()), []string{PosColumn})
	first := outTable(o.n)
	if len(o.rel.cols) > len(o.out.cols) {
		first = fmt.Sprintf("__new%d", o.n)
	}
	op := &Operator{Name: fmt.Sprintf("distinct %d", o.n), Tables: []StateTable{table}, Layout: o.layout(),
		Timed: o.entry.Late != ""}
	op.Steps = []Step{{Title: "rows that come", Table: in, SQL: o.input, Rows: o.rel.tables},
		{Title: "which of them are used and late", Effect: Count, Entry: &o.entry, Rows: rows},
		{Title: "the first of each key that is new", Table: first, SQL: o.firstSQL(), Rows: rows}}
	fresh := []string{first}
	if first != outTable(o.n) {
		op.Steps = append(op.Steps, Step{Title: "without what is hidden", Table: outTable(o.n),
			SQL: "SELECT " + visible + " FROM " + first, Rows: fresh})
	}
	items := make([]string, len(o.keys))
	for i, k := range o.keys {
		items[i] = k.Expr + " AS " + k.Name
	}
	if o.horizon > 0 {
		items = append(items, o.expires()+" AS "+expiresColumn)
	}
	keys := "SELECT " + strings.Join(items, ", ") + " FROM " + first
	op.Steps = append(op.Steps, Step{Title: "keep the keys", Effect: Insert, Table: o.state(), SQL: keys, Rows: fresh,
		Touch: "(" + keys + ")"})
	o.free(op)
	return op
}

// firstSQL selects the first of the batch's live rows of each key that the state does not have.
func (o *dedup) firstSQL() string {
	in := inTable(o.n)
	number := PosColumn
	if o.rel.needsNumber() {
		number = "__n"
	}
	match, exprs := make([]string, len(o.keys)), make([]string, len(o.keys))
	for i, k := range o.keys {
		match[i] = fmt.Sprintf("i.%s IS NOT DISTINCT FROM s.%s", k.Expr, k.Name)
		exprs[i] = k.Expr
	}
	live := ""
	if o.entry.Late != "" {
		live = " WHERE " + o.entry.Live()
	}
	return "SELECT " + list(quoteAll(o.rel.columnNames()), []string{PosColumn}) +
		"\nFROM (SELECT * FROM " + in + live + ") i\nANTI JOIN " + o.state() + " s ON " + strings.Join(match, " AND ") +
		"\nWHERE i." + number + " IN (SELECT min(" + number + ") FROM " + in + live + " GROUP BY " +
		strings.Join(exprs, ", ") + ")"
}

// free adds what lets keys go.
func (o *dedup) free(op *Operator) {
	var closed, note string
	switch {
	case o.horizon > 0:
		closed = expiresColumn + " <= " + getVariable(VarWatermark)
		note = fmt.Sprintf("%s of event time after the first row of it", o.horizon)
	case o.timed != "":
		for _, k := range o.keys {
			if k.Expr == duck.QuoteIdent(o.timed) {
				closed = o.mark.closed(k.Name)
			}
		}
		note = o.mark.note()
	default:
		op.Notes = []string{"nothing frees the keys: the state grows with their number"}
		return
	}
	op.Notes = []string{fmt.Sprintf("frees a key when %s, %s", closed, note),
		"drops a row as late when " + o.entry.Late}
	op.Steps = append(op.Steps, Step{Title: "free closed keys", Effect: Delete, Table: o.state(), SQL: "WHERE " + closed,
		Time: true, Frees: true, Touch: o.state() + " WHERE " + closed})
}

func (o *dedup) layout() []string {
	lines := []string{"distinct " + o.state()}
	for i, k := range o.keys {
		lines = append(lines, fmt.Sprintf("  key %s %s = %s", k.Name, k.Type, o.shown[i]))
	}
	switch {
	case o.horizon > 0:
		lines = append(lines, "  freed by "+o.expires())
	case o.timed != "":
		lines = append(lines, "  freed by "+o.mark.closes(duck.QuoteIdent(o.timed)))
	}
	return lines
}
