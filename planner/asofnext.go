package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// An ASOF join by <= or < gives each left row the next right row of its key. A right row is past when all right rows up
// to its time are known and all left rows up to it: those that wait for it take it then, and it is freed. A left row
// waits until its next right row is past, or until windows in its key have closed and no other can come.

// leaveNext says when the rows of either side leave.
func (a *asofJoin) leaveNext(c *compiler, t tree) error {
	a.right.frees = []leave{{sql: a.right.shown(a.late.sql), column: a.late.column, wait: a.hold, mark: a.late.mark, bounds: true}}
	for i, f := range a.left.frees { // the right rows of the window are all known then
		a.left.frees[i].wait = max(f.wait, f.mark.lag)
	}
	if len(a.left.frees) > 0 {
		return nil
	}
	if a.kind == "LEFT" {
		return c.errAt(diag.JoinUnsupported, t, "this ASOF LEFT JOIN could never tell that a left row has no next row: one may "+
			"come at any time").WithHint("use ASOF JOIN, or join on equal windows of tumble() or hop() as well")
	}
	table := a.left.table(a.n)
	c.warn("the ASOF JOIN keeps a left row (%s) until the next right row of its key has come, for ever if none does, about "+
		"%d bytes each", strings.Join(a.left.from.main.sources, ", "), table.RowBytes())
	return nil
}

// nextMarks adds what is known of the right side's time: a row comes out when it is past at the latest.
func (a *asofJoin) nextMarks(marks map[string]mark) {
	m, ok := a.right.marks[a.late.column]
	if !ok || m.kind == markNone {
		return
	}
	wait := a.hold
	if m.kind == markStart {
		wait -= m.size
	}
	m.lag, m.key, m.absent = max(m.lag, wait), 0, m.absent || a.kind == "LEFT"
	if m.window != "" {
		m.window = fmt.Sprintf("%s.%s.%s", a.out(), a.right.name, m.window)
	}
	marks[a.late.column] = m
}

// takeNext adds the steps of the operator behind those that bring the batch's rows.
func (a *asofJoin) takeNext(op *Operator) {
	l, r := a.left, a.right
	now := []string{a.now()}
	op.Steps = append(op.Steps, a.keep(l),
		Step{Title: "left rows with the next right row of their key, the last to come of several", Table: a.now(), Time: true,
			SQL: a.nextSQL()},
		Step{Title: "they come out", Table: a.out(), Rows: now, SQL: "SELECT * EXCLUDE (__row) FROM " + a.now()})
	a.alone(op)
	op.Steps = append(op.Steps, Step{Title: "free them", Effect: Delete, Table: l.state(a.n), Rows: now, Time: true,
		Frees: true, Touch: a.now(), SQL: "l USING " + a.now() + " n WHERE l.rowid = n.__row"})
	if len(l.frees) > 0 && a.kind == "INNER" {
		op.Steps = append(op.Steps, Step{Title: "free left rows that can take none any more", Effect: Delete,
			Table: l.state(a.n), Time: true, Frees: true, SQL: "WHERE " + l.closed(), Touch: l.state(a.n) + " WHERE " + l.closed()})
	}
	op.Steps = append(op.Steps, Step{Title: "free right rows that are past", Effect: Delete, Table: r.state(a.n), Time: true,
		Frees: true, SQL: "WHERE " + r.closed(), Touch: r.state(a.n) + " WHERE " + r.closed()})
}

// nextSQL joins the left rows with the right ones that are past, and those whose windows have closed with all.
func (a *asofJoin) nextSQL() string {
	past := " WHERE " + a.right.closed()
	if len(a.left.frees) == 0 {
		return a.nextOf("", past, "ASOF JOIN")
	}
	kind := "ASOF JOIN"
	if a.kind == "LEFT" {
		kind = "ASOF LEFT JOIN"
	}
	closed := a.left.closed()
	return a.nextOf(" WHERE NOT ("+closed+")", past, "ASOF JOIN") + "\nUNION ALL " + a.nextOf(" WHERE "+closed, "", kind)
}

func (a *asofJoin) nextOf(left, right, kind string) string {
	return "SELECT " + a.items(true) + ", " + leftAlias + ".__row\nFROM (SELECT *, rowid AS __row FROM " + a.left.state(a.n) + left +
		") " + leftAlias + "\n" + kind + " (\n  SELECT * FROM " + a.right.state(a.n) + " " + rightAlias + right + "\n  QUALIFY " +
		a.latest(append(a.rightKeys(), a.late.sql)) + " = 1) " + rightAlias + "\nON " + a.on
}

// nextNotes say in words when rows leave.
func (a *asofJoin) nextNotes() []string {
	out := []string{"a right row is past and freed when " + a.right.closed(),
		"a left row comes out and is freed when the next right row of its key is past"}
	if len(a.left.frees) > 0 {
		out = append(out, "or when "+a.left.closed())
	} else {
		out = append(out, "left rows for which none comes are never freed")
	}
	for _, s := range a.sides() {
		out = append(out, fmt.Sprintf("drops a %s row as late when %s", s.name, s.entry.Late))
	}
	return out
}
