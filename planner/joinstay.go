package planner

import (
	"strings"
)

// An inner join of two sources whose rows all stay needs no tables of the batch's rows: they are put into the state first,
// where their positions tell them from those that were there, and the join's rows are made of the state alone.

// stays reports whether this is such a join.
func (j *streamJoin) stays() bool {
	for _, s := range j.sides() {
		if len(s.frees) > 0 || s.entry.Late != "" || !s.entry.Raw || s.id != PosColumn || s.from.main.position() != "BIGINT" {
			return false
		}
	}
	return j.kind == "INNER"
}

// staySteps are the steps of such a join.
func (j *streamJoin) staySteps() []Step {
	var steps []Step
	out := Step{Title: "new left rows with all right ones, and kept left rows with new right ones", Table: j.out()}
	for _, s := range j.sides() {
		fresh := s.state(j.n) + " WHERE " + PosColumn + " >= " + getVariable(VarFirst(0))
		s.entry.Table = "(SELECT " + PosColumn + " FROM " + fresh + ")"
		steps = append(steps, Step{Title: "keep the " + s.name + " rows", Effect: Insert, Table: s.state(j.n), SQL: s.rows,
			Rows: s.from.main.tables, Touch: fresh},
			Step{Title: "which of them are used", Effect: Count, Entry: &s.entry, Rows: s.from.main.tables})
		out.Rows = union(out.Rows, s.from.main.tables)
	}
	fresh, all := j.kept(j.left, ">="), j.kept(j.right, "")
	before, after := j.kept(j.left, "<"), j.kept(j.right, ">=")
	items := "SELECT " + j.items(true, true)
	out.SQL = strings.Join([]string{items, "FROM " + fresh, "JOIN " + all, "ON " + j.on, "UNION ALL " + items, "FROM " + before,
		"JOIN " + after, "ON " + j.on}, "\n")
	return append(steps, out)
}

// kept selects rows of a side's state by how their positions compare with the batch's first one; "" is all of them.
func (j *streamJoin) kept(s *joinSide, op string) string {
	where := ""
	if op != "" {
		where = " WHERE " + PosColumn + " " + op + " " + getVariable(VarFirst(0))
	}
	return "(SELECT " + s.stored() + " FROM " + s.state(j.n) + where + ") " + s.alias
}
