package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// asofJoin is an ASOF join of two streams: a left row waits until all right rows up to its time are known, and takes
// the latest of its key. Of right rows that no waiting or coming left row is later than, one per key stays.
type asofJoin struct {
	*streamJoin

	early, late *term     // the times of left and right
	keys        []asofKey // the equalities
	equal       string    // them, as SQL
	hold        int64     // microseconds: a right row is past when its time is that much behind the watermark
	next        bool      // a left row takes the next right row, not the latest
}

// asofKey is an equality between the sides, as SQL of either.
type asofKey struct{ left, right string }

func (a *asofJoin) now() string  { return fmt.Sprintf("__now%d", a.n) }
func (a *asofJoin) gone() string { return fmt.Sprintf("__gone%d", a.n) }

// joinAsof compiles an ASOF join of two streams.
func (c *compiler) joinAsof(t tree, j *streamJoin, take *filter) (*from, error) {
	if err := c.refuseAsof(t, j); err != nil {
		return nil, err
	}
	if err := c.sideNames(t, j); err != nil {
		return nil, err
	}
	conditions, err := c.joinConditions(t, j)
	if err != nil {
		return nil, err
	}
	if n := len(conditions); len(t.names("using_columns")) > 0 {
		conditions[n-1]["type"] = "COMPARE_GREATERTHANOREQUALTO"
	}
	if err := c.sideColumns(t, j); err != nil {
		return nil, err
	}
	// Of WHERE only what is on the left side alone says the same below the join.
	outer := *j
	outer.kind = "LEFT"
	take.conditions(c, &outer)
	a := &asofJoin{streamJoin: j}
	both := j.split(c, conditions)
	if j.kind == "LEFT" && len(j.left.own) > 0 { // a LEFT JOIN keeps the rows, but DuckDB's ASOF LEFT JOIN drops them
		return nil, c.errAt(diag.JoinUnsupported, t, "a condition of ASOF LEFT JOIN that is on its left side "+
			"alone is not supported").WithHint("put it into WHERE to drop left rows, or into CASE around the right columns")
	}
	j.n = len(c.ops) + 1
	if err := a.times(c, t, both); err != nil {
		return nil, err
	}
	if err := a.matchingKeys(c, t, both); err != nil {
		return nil, err
	}
	if err := a.finish(c, t, both); err != nil {
		return nil, err
	}
	return c.asofRelation(t, a)
}

// refuseAsof refuses ASOF joins that no condition can mend.
func (c *compiler) refuseAsof(t tree, j *streamJoin) error {
	switch {
	case j.kind != "INNER" && j.kind != "LEFT":
		return c.errAt(diag.JoinUnsupported, t, "an ASOF %s JOIN of two streams is not supported", j.kind).
			WithHint("use ASOF JOIN or ASOF LEFT JOIN, with the rows that are to come out on the left")
	case c.q.Mode == stream.Update:
		return c.errAt(diag.UpdateUnsupported, t, "an ASOF JOIN of two streams can not run in output mode UPDATE: "+
			"which right row a left row takes is known only when it is final").WithHint("use OUTPUT MODE APPEND")
	}
	return nil
}

// times finds the inequality, and when left rows come out and right ones are past.
func (a *asofJoin) times(c *compiler, t tree, both []tree) error {
	s := a.scope(c)
	for _, condition := range both {
		op, l, r := condition.str("type"), condition.sub("left"), condition.sub("right")
		if condition.class() != "COMPARISON" || !a.across(condition) || op == "COMPARE_NOTEQUAL" ||
			op == "COMPARE_DISTINCT_FROM" {
			return c.errAt(diag.JoinUnsupported, t, "an ASOF JOIN of two streams compares its sides with equalities and "+
				"one inequality of times alone").WithHint("put other conditions on both sides into WHERE")
		}
		if err := a.comparison(c, s, condition); err != nil {
			return err
		}
		if op == "COMPARE_EQUAL" || op == "COMPARE_NOT_DISTINCT_FROM" {
			continue
		}
		if right, _ := reads(r); right {
			op, l, r = turned(op), r, l
		}
		a.next = op == "COMPARE_LESSTHANOREQUALTO" || op == "COMPARE_LESSTHAN"
		a.early, a.late = a.term(s, l), a.term(s, r)
	}
	for _, side := range a.sides() {
		if time := a.time(side); time == nil || time.mark.kind == markNone {
			return a.timeless(c, t, side)
		}
	}
	early, late := a.early.mark.lag-a.early.offset, a.late.mark.lag-a.late.offset
	a.hold = max(early, late) + a.late.offset
	return nil
}

func (a *asofJoin) time(s *joinSide) *term {
	if s == a.left {
		return a.early
	}
	return a.late
}

// timeless refuses a side whose time has no watermark.
func (a *asofJoin) timeless(c *compiler, t tree, s *joinSide) error {
	which := "latest"
	if a.next {
		which = "next"
	}
	fault := c.errAt(diag.JoinUnsupported, t, "this ASOF JOIN could never tell which row is the %s: what it compares "+
		"on its %s side (%s) is no time with a watermark", which, s.name, strings.Join(s.from.main.sources, ", "))
	if len(s.marked) > 0 {
		return fault.WithHint("compare %s, which has one", s.marked[0])
	}
	for _, src := range c.app.Sources {
		if !slices.Contains(s.from.main.sources, src.Name) {
			continue
		}
		if src.Watermark != nil {
			return fault.WithHint("let %s of %s, which has one, come through to this join: not out of the side of an outer "+
				"join that may be missing, and changed by nothing but a constant interval", src.Watermark.Column, src.Name)
		}
		time := "ts"
		for _, col := range slices.Backward(src.Columns) {
			if col.Type == "TIMESTAMP" {
				time = col.Name
			}
		}
		return fault.WithHint("add  WATERMARK FOR %s AS %s - INTERVAL '10 seconds'  to CREATE SOURCE %s", time, time, src.Name)
	}
	return fault.WithHint("compare a time of a source with a WATERMARK")
}

// matchingKeys collects the equalities. Right rows are told apart by their own values: types have to be such that two
// of them that equal one left value are equal to each other.
func (a *asofJoin) matchingKeys(c *compiler, t tree, both []tree) error {
	var equal []tree
	for _, condition := range both {
		if op := condition.str("type"); op != "COMPARE_EQUAL" && op != "COMPARE_NOT_DISTINCT_FROM" {
			continue
		}
		l, r := condition.sub("left"), condition.sub("right")
		if right, _ := reads(r); right {
			l, r = r, l
		}
		equal = append(equal, condition)
		left, err := c.exprSQL(l)
		if err != nil {
			return err
		}
		right, err := c.exprSQL(r)
		if err != nil {
			return err
		}
		a.keys = append(a.keys, asofKey{left, right})
		cols, err := c.describe("SELECT " + left + ", " + right + " FROM " + a.left.nothing() + ", " + a.right.nothing())
		if err != nil {
			return err
		}
		if lt, rt := cols[0].Type, cols[1].Type; lt != rt && (!wholeNumber(lt) || !wholeNumber(rt)) {
			return c.errAt(diag.JoinUnsupported, t, "an ASOF JOIN of two streams can not compare keys of types %s and %s",
				lt, rt).WithHint("CAST one of them to the type of the other")
		}
	}
	if len(equal) == 0 {
		return nil
	}
	var err error
	a.equal, err = c.exprSQL(asTree(conjunction(equal)))
	return err
}

// nothing is a relation with the side's columns.
func (s *joinSide) nothing() string {
	items := []string{"1 AS " + PosColumn}
	for _, col := range s.columns {
		items = append(items, "CAST(NULL AS "+col.typ+") AS "+duck.QuoteIdent(col.name))
	}
	return "(SELECT " + strings.Join(items, ", ") + ") " + s.alias
}

// wholeNumber reports whether values of a type stay different in any wider type of that kind.
func wholeNumber(typ string) bool {
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT":
		return true
	}
	return false
}

// finish writes the sides' inputs.
func (a *asofJoin) finish(c *compiler, t tree, both []tree) error {
	on, err := c.exprSQL(asTree(conjunction(both)))
	if err != nil {
		return err
	}
	a.on = on
	a.dropTwins()
	for _, s := range a.sides() {
		a.leaves(s)
		many := !s.from.single
		f := *s.from
		f.single, s.from = true, &f // nothing names single rows: they need no number of their own
		if err := s.input(c, a.n, true); err != nil {
			return err
		}
		s.entry.Many = many
	}
	if a.next {
		return a.leaveNext(c, t)
	}
	for i, f := range a.right.frees { // a left row that waits may still take it
		a.right.frees[i].wait = max(f.wait, f.mark.lag)
	}
	if len(a.right.frees) == 0 && len(a.keys) > 0 {
		table := a.right.table(a.n)
		c.warnings = append(c.warnings, fmt.Sprintf("the ASOF JOIN keeps the latest right row (%s) of every key for ever, "+
			"about %d bytes each", strings.Join(a.right.from.main.sources, ", "), table.RowBytes()))
	}
	return nil
}

// asofRelation puts the operator's rows in the place of the join.
func (c *compiler) asofRelation(t tree, a *asofJoin) (*from, error) {
	out := a.out()
	l, r := a.left.from.main, a.right.from.main
	rel := &relation{name: out, marks: a.outMarks(), stream: true, pos: true, tables: []string{out}, filtered: true,
		single: !a.left.entry.Many, posType: l.posType, sources: union(l.sources, r.sources), nulls: union(a.nulls(a.left), a.nulls(a.right))}
	for _, s := range a.sides() {
		for _, col := range s.columns {
			rel.cols = append(rel.cols, duck.Column{Name: col.name, Type: col.typ})
		}
		if s.from.main.raw {
			c.nulls = union(c.nulls, a.nulls(s))
		}
	}
	rel.node = a.node(c)
	cols := append(append([]duck.Column(nil), rel.cols...), duck.Column{Name: PosColumn, Type: rel.position()})
	if err := c.emptyOut(out, cols); err != nil {
		return nil, err
	}
	c.add(a, l, r)
	f, err := c.inPlace(t, a.streamJoin, rel)
	if err == nil {
		f.drops = a.kind == "INNER"
	}
	return f, err
}

// nulls are the sources whose rows may come out without event time.
func (a *asofJoin) nulls(s *joinSide) []string {
	rel := s.from.main
	if !s.preserv && rel.raw && len(rel.sources) == 1 && a.time(s).mark.source == rel.sources[0] {
		return nil
	}
	return rel.nulls
}

// outMarks says what is known of times in the rows: those of the left side stay until the right side has come as far.
func (a *asofJoin) outMarks() map[string]mark {
	marks := map[string]mark{}
	for column, m := range a.left.marks {
		wait, ok := a.left.wait(column, m)
		if !ok {
			continue
		}
		m.lag, m.key = max(m.lag, wait), 0
		if m.window != "" {
			m.window = fmt.Sprintf("%s.%s.%s", a.out(), a.left.name, m.window)
		}
		marks[column] = m
	}
	if a.next {
		a.nextMarks(marks)
	}
	return marks
}

// items selects the rows that come out.
func (a *asofJoin) items(matched bool) string {
	items := a.left.columnNames(leftAlias + ".")
	for _, col := range a.right.columns {
		name := duck.QuoteIdent(col.name)
		if matched {
			items = append(items, rightAlias+"."+name)
		} else {
			items = append(items, "CAST(NULL AS "+col.typ+") AS "+name)
		}
	}
	return strings.Join(append(items, leftAlias+"."+PosColumn), ", ")
}

// latest numbers right rows of the same values: first is the one with the latest time, and of several the last to come.
// The order is explicit to the last value.
func (a *asofJoin) latest(same []string) string {
	over := "ORDER BY " + a.late.sql + " DESC, " + rightAlias + "." + PosColumn + " DESC"
	if a.right.entry.Many {
		for _, name := range a.right.columnNames(rightAlias + ".") {
			over += ", " + name + " DESC"
		}
	}
	if len(same) > 0 {
		over = "PARTITION BY " + strings.Join(same, ", ") + " " + over
	}
	return "row_number() OVER (" + over + ")"
}

func (a *asofJoin) rightKeys() []string {
	out := make([]string, len(a.keys))
	for i, k := range a.keys {
		out[i] = k.right
	}
	return out
}

// past is the condition on right rows that are no later than any left row that waits or may come.
func (a *asofJoin) past(variable string) string {
	return a.late.sql + minus(getVariable(variable), a.hold)
}

func (a *asofJoin) operator(bool) *Operator {
	l, r := a.left, a.right
	waiting := l.table(a.n)
	op := &Operator{Name: fmt.Sprintf("asof join %d", a.n), Timed: true, Layout: a.layout(), Holds: a.holds(), Notes: a.notes()}
	for _, s := range a.sides() {
		op.Steps = append(op.Steps,
			Step{Title: "the batch's rows of the " + s.name + " side", Table: s.in(a.n), SQL: s.rows, Rows: s.from.main.tables},
			Step{Title: "which of them are used and late", Effect: Count, Entry: &s.entry, Rows: []string{s.in(a.n)}})
	}
	if !a.next || a.kind == "LEFT" {
		waiting.Waits = "true"
	}
	op.Tables = []StateTable{waiting, r.table(a.n)}
	op.Steps = append(op.Steps, a.keep(r))
	if a.next {
		a.takeNext(op)
		return op
	}
	op.Steps = append(op.Steps,
		Step{Title: "left rows up to whose time all right rows are known", Table: a.now(), Time: true,
			SQL: "SELECT " + l.stored() + " FROM " + l.state(a.n) + " WHERE " + l.closed() + "\nUNION ALL SELECT " +
				l.stored() + " FROM " + l.in(a.n) + " WHERE " + l.live() + " AND " + l.closed()},
		a.match())
	a.alone(op)
	a.keepLeft(op)
	a.freeRight(op)
	return op
}

// keep keeps the batch's rows of a side.
func (a *asofJoin) keep(s *joinSide) Step {
	return Step{Title: "keep the " + s.name + " rows", Effect: Insert, Table: s.state(a.n), Rows: []string{s.in(a.n)},
		Touch: s.in(a.n) + " WHERE " + s.live(),
		SQL:   "SELECT " + s.stored() + " FROM " + s.in(a.n) + " WHERE " + s.live()}
}

// alone adds the left rows that can take none at all.
func (a *asofJoin) alone(op *Operator) {
	l := a.left
	if l.flagged {
		op.Steps = append(op.Steps, Step{Title: "left rows that can take none", Effect: Append, Table: a.out(),
			Rows: []string{l.in(a.n)}, SQL: "SELECT " + a.items(false) + "\nFROM " + l.in(a.n) + " " + leftAlias + " WHERE " +
				l.entry.Live() + " AND NOT " + canColumn})
	}
}

// match joins the left rows that come out. Of right rows with one key and time, the last to come is left for DuckDB to
// find.
func (a *asofJoin) match() Step {
	rows := "SELECT " + rightAlias + ".* FROM " + a.right.state(a.n) + " " + rightAlias
	if a.equal != "" {
		rows += "\n  SEMI JOIN " + a.now() + " " + leftAlias + " ON " + a.equal
	}
	kind := "ASOF JOIN"
	if a.kind == "LEFT" {
		kind = "ASOF LEFT JOIN"
	}
	return Step{Title: "each with the latest right row of its key, the last to come of several", Table: a.out(),
		Rows: []string{a.now()}, SQL: "SELECT " + a.items(true) + "\nFROM " + a.now() + " " + leftAlias + "\n" + kind +
			" (\n  " + rows + "\n  QUALIFY " + a.latest(append(a.rightKeys(), a.late.sql)) + " = 1) " + rightAlias +
			"\nON " + a.on}
}

// keepLeft keeps the left rows that wait, and lets go of those that came out.
func (a *asofJoin) keepLeft(op *Operator) {
	l := a.left
	keep := l.live() + " AND NOT (" + l.closed() + ")"
	op.Steps = append(op.Steps,
		Step{Title: "keep the left rows that wait", Effect: Insert, Table: l.state(a.n), Rows: []string{l.in(a.n)},
			Touch: l.in(a.n) + " WHERE " + keep, SQL: "SELECT " + l.stored() + " FROM " + l.in(a.n) + " WHERE " + keep},
		Step{Title: "free those that came out", Effect: Delete, Table: l.state(a.n), SQL: "WHERE " + l.closed(),
			Rows: []string{a.now()}, Time: true, Frees: true, Touch: l.state(a.n) + " WHERE " + l.closed()})
}

// freeRight leaves one right row per key of those that are past. Only keys with a row that has become so since the batch
// before can have more.
func (a *asofJoin) freeRight(op *Operator) {
	r := a.right
	state := r.state(a.n)
	if len(r.frees) > 0 {
		op.Steps = append(op.Steps, Step{Title: "free right rows that none can take any more", Effect: Delete, Table: state,
			SQL: "WHERE " + r.closed(), Time: true, Frees: true, Touch: state + " WHERE " + r.closed()})
	}
	sql := "SELECT " + rightAlias + ".rowid AS __row, " + rightAlias + "." + PosColumn + "\nFROM " + state + " " + rightAlias
	if len(a.keys) > 0 {
		items, on := make([]string, len(a.keys)), make([]string, len(a.keys))
		for i, k := range a.keys {
			items[i] = fmt.Sprintf("%s AS __k%d", k.right, i+1)
			on[i] = fmt.Sprintf("__p.__k%d IS NOT DISTINCT FROM %s", i+1, k.right)
		}
		sql += "\nSEMI JOIN (SELECT " + strings.Join(items, ", ") + " FROM " + state + " " + rightAlias + " WHERE " +
			a.past(VarWatermark) + " AND NOT (" + a.past(VarLate) + ")) __p\nON " + strings.Join(on, " AND ")
	}
	sql += "\nWHERE " + a.past(VarWatermark) + "\nQUALIFY " + a.latest(a.rightKeys()) + " > 1"
	op.Steps = append(op.Steps,
		Step{Title: "right rows that a later one of their key stands before", Table: a.gone(), Time: true, SQL: sql},
		Step{Title: "free them", Effect: Delete, Table: state, SQL: "r USING " + a.gone() + " g WHERE r.rowid = g.__row",
			Rows: []string{a.gone()}, Time: true, Frees: true, Touch: a.gone()})
}

// notes say in words when rows leave.
func (a *asofJoin) notes() []string {
	if a.next {
		return a.nextNotes()
	}
	out := []string{"a left row comes out and is freed when " + a.left.closed(),
		"of right rows with " + a.right.shown(a.past(VarWatermark)) + " the latest of each key stays, the others are freed"}
	if len(a.right.frees) > 0 {
		out = append(out, "frees a right row when "+a.right.closed())
	} else if len(a.keys) > 0 {
		out = append(out, "the state grows with the number of keys: the latest right row of a key is never freed")
	}
	for _, s := range a.sides() {
		out = append(out, fmt.Sprintf("drops a %s row as late when %s", s.name, s.entry.Late))
	}
	return out
}

// node describes the join for EXPLAIN.
func (a *asofJoin) node(c *compiler) *Node {
	n := a.streamJoin.node(c)
	n.Op = "asof " + n.Op
	var detail []string
	for _, d := range n.Detail {
		switch {
		case a.next && strings.HasSuffix(d, "rows are never freed"):
			d = "left rows are freed when the next right row of their key is past"
		case strings.HasSuffix(d, "rows are never freed"):
			d = "right rows are freed when a later one of their key is past; one per key stays"
		}
		detail = append(detail, d)
	}
	n.Detail = detail
	return n
}

func (a *asofJoin) layout() []string {
	lines := a.streamJoin.layout()
	lines[0] = "asof " + lines[0]
	if a.next {
		return append(lines, fmt.Sprintf("  a left row takes the next right row by %s when that is %s behind", a.late.sql, duration(a.hold)))
	}
	return append(lines, fmt.Sprintf("  one right row per key stays by %s, of those %s behind", a.late.sql, duration(a.hold)))
}
