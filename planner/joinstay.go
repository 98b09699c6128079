package planner

import (
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// An inner join of sources whose rows all stay needs no tables of the batch's rows: they are put into the state first,
// where their positions tell them from those that were there, and the join's rows are made of the state alone. What such a
// join gives can be made again at any time, so one above it keeps none of it: three sources that are joined are three tables.

// stays reports whether this is such a join. Of three sources DuckDB may compare any two first, so that must not fail. Its sides
// must have been looked at for times.
func (j *streamJoin) stays() bool {
	for _, s := range j.sides() {
		if len(s.frees) > 0 || s.entry.Late != "" || !s.raw() && (!j.again || s.remade() == nil) {
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
	for _, col := range s.columns {
		if l, _ := below.behind(col); l.side == nil {
			return nil
		}
	}
	return below
}

// remade reports whether the join gives the same rows whenever they are made.
func (j *streamJoin) remade() bool { return j.stays() && j.again }

// takeMade lets sides have the rows of joins below as they are made.
func (j *streamJoin) takeMade(c *compiler, on tree) (err error) {
	if !j.stays() {
		return nil
	}
	for _, s := range j.sides() {
		if s.made = s.remade(); s.made != nil {
			s.made.taken = true
		}
	}
	j.findEquals(on)
	whole := rewrite(clone(on), func(t tree) (any, bool) {
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || names[0] != leftAlias && names[0] != rightAlias {
			return nil, false
		}
		l, col := j.leaf(names[1])
		return columnRef("", l.alias(), col.name), true
	})
	j.whole, err = c.exprSQL(asTree(whole))
	return err
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
		SQL: j.fromLeaves(), Rows: j.tables(), Near: j.near()})
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

// fromLeaves selects the rows of the join that are made of a new row of some source: new ones of one source, of those before it
// the old ones alone, of those behind it all. All sources are joined in one FROM, whose order DuckDB is free to choose: it begins
// with the new rows, where what a subquery joins would be joined first.
func (j *streamJoin) fromLeaves() string {
	var parts []string
	leaves := j.origins()
	for i := range leaves {
		ops := map[leaf]string{leaves[i]: ">="}
		for _, before := range leaves[:i] {
			ops[before] = "<"
		}
		parts = append(parts, "SELECT "+j.leafItems()+"\nFROM "+j.joined(ops))
	}
	return strings.Join(parts, "\nUNION ALL ")
}

// leafItems are the columns of the join's rows, of those of the sources.
func (j *streamJoin) leafItems() string {
	var items, positions []string
	for _, s := range j.sides() {
		for _, col := range s.columns {
			l, from := j.leaf(col.name)
			items = append(items, l.alias()+"."+duck.QuoteIdent(from.name)+" AS "+duck.QuoteIdent(col.name))
		}
	}
	for _, l := range j.origins() {
		position := l.alias() + "." + PosColumn
		positions = append(positions, position)
		if j.tied {
			items = append(items, position+" AS "+l.tie())
		}
	}
	return strings.Join(append(items, "greatest("+strings.Join(positions, ", ")+") AS "+PosColumn), ", ")
}

// joined joins what is kept of the sources: of each the rows whose positions compare so with the batch's first one, or all.
func (j *streamJoin) joined(ops map[leaf]string) string {
	var parts []string
	for _, s := range j.sides() {
		if s.made != nil {
			parts = append(parts, "("+s.made.joined(ops)+")")
			continue
		}
		l, where := leaf{s, j.n}, ""
		if op := ops[l]; op != "" {
			where = " WHERE " + PosColumn + " " + op + " " + getVariable(VarFirst(0))
		}
		parts = append(parts, "(SELECT "+s.stored()+" FROM "+s.state(j.n)+where+") "+l.alias())
	}
	return strings.Join(parts, "\nJOIN ") + "\nON " + j.whole
}
