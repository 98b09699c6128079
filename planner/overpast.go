package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// overPast is OVER with frames that look a bounded way back in event time. A row waits until the watermark has passed
// it, so that all rows before it are known; it comes out then, and stays as long as later rows see it.
type overPast struct {
	n      int
	part   *part
	sql    string // the SELECT over the part's name, with __new and __pos as its last columns
	rows   int    // how many rows back the frames look, 0: none
	micros int64  // how far back in time
}

func (o *overPast) past() string { return fmt.Sprintf("__past%d", o.n) }
func (o *overPast) now() string  { return fmt.Sprintf("__now%d", o.n) }

// overPastQuery compiles a SELECT whose OVER calls order by event time and look back only, in append mode.
func (c *compiler) overPastQuery(node tree, s *scope, p *part, calls []tree) (tree, *relation, error) {
	o := &overPast{n: p.n, part: p}
	for _, call := range calls {
		if err := o.look(c, call, calls[0], s); err != nil {
			return nil, nil, err
		}
		if !strings.HasSuffix(call.str("start"), "PRECEDING_RANGE") { // which allows one expression only
			call["orders"] = append(call.list("orders"), s.tieBreaks()...)
		}
	}
	_, p.timed = s.lookup(calls[0].trees("orders")[0].sub("expression"))
	p.mark = s.main.marks[strings.ToLower(p.timed)]
	p.entry.Late = p.mark.late(duck.QuoteIdent(p.timed))
	if err := c.refuseModifiers(node); err != nil {
		return nil, nil, err
	}
	rel := &relation{name: outTable(o.n), stream: true, marks: map[string]mark{}, tables: []string{outTable(o.n)},
		sources: s.main.sources, collated: s.main.collated, filtered: true, single: s.single && !unnests(node), pos: true,
		posType: s.main.posType}
	for name, m := range c.outputMarks(node, s) {
		if m == p.mark {
			rel.marks[name] = m
		}
	}
	node["select_list"] = append(node.list("select_list"), columnRef(newColumn, s.alias, newColumn),
		columnRef(PosColumn, s.alias, PosColumn))
	if err := o.bind(c, node, rel); err != nil {
		return nil, nil, err
	}
	dropDuplicates(rel.marks, rel.cols)
	rel.node = &Node{Op: "over the past " + strings.Join(rel.columnNames(), ", "), Below: []*Node{s.main.node}}
	out := selectNode([]any{star("")}, baseTable(rel.name, rel.name, nil))
	rel.name = ""
	return out, rel, nil
}

// newColumn says of a row that it comes out now.
const newColumn = "__new"

func (o *overPast) bind(c *compiler, node tree, rel *relation) error {
	cols := []duck.Column{}
	for _, col := range o.part.columns {
		cols = append(cols, columnOf(col.Name, col.Type))
	}
	cols = append(cols, columnOf(newColumn, "BOOLEAN"), columnOf(PosColumn, o.part.rel.position()))
	if err := c.emptyOut(o.part.name(), cols); err != nil {
		return err
	}
	sql, err := c.render(node)
	if err != nil {
		return err
	}
	o.sql = c.chain(sql)
	described, err := c.describe(sql)
	if err != nil {
		return err
	}
	n := len(described) - 2
	rel.cols = described[:n]
	c.add(o, o.part.rel)
	return c.emptyOut(rel.name, append(described[:n:n], described[n+1]))
}

// look reads how far a call looks back, and refuses one that looks further than is known.
func (o *overPast) look(c *compiler, call, first tree, s *scope) error {
	name := strings.ToLower(call.str("function_name"))
	refuse := func(why string) error {
		return c.errAt(diag.ShapeUnsupported, call, "%s OVER (...) can not be used in output mode append: %s", name, why).
			WithHint("PARTITION BY a window of tumble() or hop(), ORDER BY the event time with a frame such as " +
				"ROWS BETWEEN 10 PRECEDING AND CURRENT ROW, or use OUTPUT MODE UPDATE")
	}
	orders := call.trees("orders")
	if len(orders) == 0 {
		return refuse("rows to come may change it")
	}
	m := s.mark(orders[0].sub("expression"))
	_, column := s.lookup(orders[0].sub("expression"))
	if m.kind == markNone || m.absent || column == "" || orders[0].str("type") == "DESCENDING" {
		return refuse("rows to come may change it, since it does not follow the event time")
	}
	if len(call.trees("partitions")) != len(first.trees("partitions")) || !same(orders[0].sub("expression"),
		first.trees("orders")[0].sub("expression")) || len(o.part.keys) != len(call.trees("partitions")) {
		return refuse("all calls must have the same PARTITION BY and ORDER BY")
	}
	if name == "lag" {
		return o.lookRows(call.sub("offset_expr"), 1, refuse)
	}
	switch name {
	case "lead", "row_number", "rank", "dense_rank", "rank_dense", "percent_rank", "cume_dist", "ntile":
		return refuse("it depends on more than a bounded stretch of the past")
	}
	switch call.str("end") {
	case "CURRENT_ROW_ROWS", "CURRENT_ROW_RANGE", "EXPR_PRECEDING_ROWS", "EXPR_PRECEDING_RANGE":
	default:
		return refuse("its frame reaches into the future")
	}
	switch call.str("start") {
	case "CURRENT_ROW_ROWS", "CURRENT_ROW_RANGE":
		return nil
	case "EXPR_PRECEDING_ROWS":
		return o.lookRows(call.sub("start_expr"), 0, refuse)
	case "EXPR_PRECEDING_RANGE":
		micros, ok := c.micros(call.sub("start_expr"))
		if !ok {
			return refuse("the length of its frame is not a constant INTERVAL without months")
		}
		o.micros = max(o.micros, micros)
		return nil
	}
	return refuse("its frame reaches back without bound")
}

func (o *overPast) lookRows(expr tree, absent int, refuse func(string) error) error {
	n := absent
	if expr != nil {
		if _, err := fmt.Sscan(fmt.Sprint(expr.sub("value")["value"]), &n); err != nil || expr.class() != "CONSTANT" {
			return refuse("how far it looks back is not a constant")
		}
	}
	o.rows = max(o.rows, n)
	return nil
}

func (o *overPast) operator(bool) *Operator {
	p := o.part
	main, past := p.table(), p.table()
	past.Name, past.Logical = o.past(), false
	main.Waits = "true"
	past.Kind, past.Closes, past.Shown = "past", "", "SELECT * EXCLUDE ("+PosColumn+") FROM "+o.past()
	if o.rows == 0 {
		past.Closes = o.seen()
	}
	cols := list(p.quoted("r."), []string{"r." + PosColumn})
	partition := p.samePartition("r", "t")
	visible := "(SELECT " + list(p.quoted("r."), []string{"false AS " + newColumn, "r." + PosColumn}) + " FROM " + o.past() +
		" r SEMI JOIN " + o.now() + " t ON " + partition + "\nUNION ALL SELECT " +
		list(p.quoted("r."), []string{"true AS " + newColumn, "r." + PosColumn}) + " FROM " + o.now() + " r)"
	now := []string{o.now()}
	op := &Operator{Name: fmt.Sprintf("over the past %d", o.n), Tables: []StateTable{main, past}, Timed: true,
		Layout: append(p.layout("over the past"), fmt.Sprintf("  looks back %d rows, %d µs", o.rows, o.micros), "  gives "+o.sql),
		Holds:  append(p.holds(), "  gives "+o.sql),
		Notes: []string{fmt.Sprintf("emits a row when %s, %s", p.closes(), p.mark.note()),
			"drops a row as late when " + p.entry.Late, o.note()}}
	op.Steps = append(p.read(), p.store()...)
	op.Steps = append(op.Steps,
		Step{Title: "rows whose past is known", Table: o.now(), Time: true,
			SQL: "SELECT " + cols + " FROM " + p.kept() + " r WHERE " + p.closes()},
		Step{Title: "what they give", Table: outTable(o.n), Rows: now,
			SQL: "SELECT * EXCLUDE (" + newColumn + ") FROM (\n" + replaceName(o.sql, p.name(), visible) + "\n) WHERE " + newColumn},
		Step{Title: "they are the past now", Effect: Insert, Table: o.past(), SQL: "SELECT " + cols + " FROM " + o.now() + " r",
			Rows: now, Touch: o.now()},
		Step{Title: "free them", Effect: Delete, Table: p.kept(), SQL: "WHERE " + p.closes(), Time: true, Frees: true,
			Touch: p.kept() + " WHERE " + p.closes()},
		o.forget(partition))
	return op
}

// samePartition is the condition that two relations with the columns of the part's rows are of one partition.
func (p *part) samePartition(a, b string) string {
	parts := []string{"true"}
	for i, k := range p.keys {
		if i == 0 {
			parts = parts[:0]
		}
		n := duck.QuoteIdent(k)
		parts = append(parts, fmt.Sprintf("%s.%s IS NOT DISTINCT FROM %s.%s", a, n, b, n))
	}
	return strings.Join(parts, " AND ")
}

func (o *overPast) note() string {
	switch {
	case o.rows > 0 && len(o.part.keys) > 0:
		return fmt.Sprintf("keeps the last %d rows of each partition for ever: the state grows with the number of partitions", o.rows)
	case o.rows > 0:
		return fmt.Sprintf("keeps the last %d rows", o.rows)
	}
	return "frees a row of " + o.past() + " when " + o.seen() + " <= " + getVariable(VarWatermark)
}

// seen is until when rows to come look back at a row.
func (o *overPast) seen() string {
	return fmt.Sprintf("%s + to_microseconds(%d)", duck.QuoteIdent(o.part.timed), o.part.mark.lag+o.micros)
}

// forget lets the past go that no row to come looks back at.
func (o *overPast) forget(partition string) Step {
	timed := o.seen() + " <= " + getVariable(VarWatermark)
	st := Step{Title: "forget the past that nobody will see", Effect: Delete, Table: o.past(), SQL: "WHERE " + timed,
		Time: true, Touch: o.past() + " WHERE " + timed}
	if o.rows == 0 {
		return st
	}
	over := "ORDER BY " + duck.QuoteIdent(o.part.timed) + " DESC, " + PosColumn + " DESC"
	if !o.part.rel.single {
		for _, name := range o.part.quoted("") {
			over += ", " + name + " DESC NULLS FIRST"
		}
	}
	if len(o.part.keys) > 0 {
		names := make([]string, len(o.part.keys))
		for i, k := range o.part.keys {
			names[i] = duck.QuoteIdent(k)
		}
		over = "PARTITION BY " + strings.Join(names, ", ") + " " + over
	}
	gone := "(SELECT r.rowid AS __row, r." + PosColumn + " FROM " + o.past() + " r SEMI JOIN " + o.now() + " t ON " + partition +
		fmt.Sprintf(" WHERE %s QUALIFY row_number() OVER (%s) > %d)", timed, over, o.rows)
	st.SQL, st.Touch, st.Rows = "WHERE rowid IN (SELECT __row FROM "+gone+")", gone, []string{o.now()}
	return st
}
