package planner

import "github.com/tidemill/tidemill/internal/duck"

// An inner join of sources whose rows all stay needs no tables of the batch's rows: they are put into the state first,
// where their positions tell them from those that were there, and the join's rows are made of the state alone. What such a
// join gives can be made again at any time, so one above it keeps none of it: three sources that are joined are three tables.

// stays reports whether this is such a join. Its sides must have been looked at for times.
func (j *streamJoin) stays() bool {
	for _, s := range j.sides() {
		if len(s.frees) > 0 || s.entry.Late != "" || !s.raw() && s.remade() == nil {
			return false
		}
	}
	return j.kind == "INNER"
}

// raw reports whether a side's rows are those of a source.
func (s *joinSide) raw() bool {
	return s.from.main.raw && s.from.single && s.from.main.position() == "BIGINT"
}

// remade is the join whose rows a side can make again, or nil: nothing else stands between the two.
func (s *joinSide) remade() *streamJoin {
	below := s.from.main.join
	if below == nil || len(s.where)+len(s.own) > 0 || s.tree.str("type") != "BASE_TABLE" || s.tree.str("table_name") != below.out() {
		return nil
	}
	return below
}

// remade reports whether the join gives the same rows whenever they are made.
func (j *streamJoin) remade() bool { return j.stays() && j.again }

// takeMade lets sides have the rows of joins below as they are made.
func (j *streamJoin) takeMade(c *compiler) (err error) {
	if !j.stays() {
		return nil
	}
	for _, s := range j.sides() {
		if s.made = s.remade(); s.made == nil {
			continue
		}
		s.made.taken, s.made.tied = true, true
		items := s.chosen
		for _, tie := range s.made.ties("") {
			items = append(items, columnRef(tie, s.from.alias, tie))
		}
		if s.rows, err = c.render(selectNode(items, s.tree)); err != nil {
			return err
		}
	}
	return nil
}

// staySteps are the steps of such a join.
func (j *streamJoin) staySteps() []Step {
	var steps []Step
	for _, s := range j.sides() {
		if s.made != nil {
			continue
		}
		fresh := s.state(j.n) + " WHERE " + PosColumn + " >= " + getVariable(VarFirst(0))
		s.entry.Table = "(SELECT " + PosColumn + " FROM " + fresh + ")"
		steps = append(steps, Step{Title: "keep the " + s.name + " rows", Effect: Insert, Table: s.state(j.n), SQL: s.rows,
			Rows: s.from.main.tables, Touch: fresh},
			Step{Title: "which of them are used", Effect: Count, Entry: &s.entry, Rows: s.from.main.tables})
	}
	if j.taken {
		return steps
	}
	return append(steps, Step{Title: "new left rows with all right ones, and kept left rows with new right ones", Table: j.out(),
		SQL: j.made(">="), Rows: j.tables()})
}

// tables are the batch's tables that the join's rows are made from.
func (j *streamJoin) tables() []string {
	var out []string
	for _, s := range j.sides() {
		from := s.from.main.tables
		if s.made != nil {
			from = s.made.tables()
		}
		out = union(out, from)
	}
	return out
}

// made selects rows of the join by how their positions compare with the batch's first one; "" is all of them.
func (j *streamJoin) made(op string) string {
	rows := func(left, right string) string {
		return "SELECT " + j.items(true, true) + "\nFROM " + j.kept(j.left, left) + "\nJOIN " + j.kept(j.right, right) + "\nON " + j.on
	}
	if op != ">=" {
		return rows(op, op)
	}
	return rows(">=", "") + "\nUNION ALL " + rows("<", ">=")
}

// kept selects the same of a side.
func (j *streamJoin) kept(s *joinSide, op string) string {
	if s.made != nil {
		with := s.made.out() + " AS NOT MATERIALIZED (\n" + s.made.made(op) + "\n)"
		return "(\n" + duck.WithSQL([]string{with}, s.rows) + "\n) " + s.alias
	}
	where := ""
	if op != "" {
		where = " WHERE " + PosColumn + " " + op + " " + getVariable(VarFirst(0))
	}
	return "(SELECT " + s.stored() + " FROM " + s.state(j.n) + where + ") " + s.alias
}
