package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// input writes the SELECT of the batch's rows of a side, in which named says that something names single rows.
func (s *joinSide) input(c *compiler, n int, named bool) error {
	can := append([]string(nil), s.notNull...)
	for i := range can {
		can[i] += " IS NOT NULL"
	}
	var where []string
	for _, part := range []struct {
		from []tree
		to   *[]string
	}{{s.where, &where}, {s.own, &can}} {
		for _, t := range part.from {
			sql, err := c.exprSQL(t)
			if err != nil {
				return err
			}
			*part.to = append(*part.to, "("+sql+")")
		}
	}
	if !s.preserv {
		where, can = append(where, can...), nil
	}
	items := append([]string{}, s.columnNames(s.alias+".")...)
	s.id = PosColumn
	if named && !s.from.single {
		s.id = idColumn
		order := append([]string{s.alias + "." + PosColumn}, s.columnNames(s.alias+".")...)
		items = append(items, fmt.Sprintf("(CAST(%s AS BIGINT) << 31) + row_number() OVER (ORDER BY %s) AS %s",
			getVariable(VarBatch), strings.Join(order, ", "), idColumn))
	}
	if len(can) > 0 {
		s.flagged = true
		items = append(items, "coalesce("+strings.Join(can, " AND ")+", false) AS "+canColumn)
	}
	sql := "SELECT " + strings.Join(append(items, s.alias+"."+PosColumn), ",\n  ") + "\nFROM (" + s.rows + ") " + s.alias
	if len(where) > 0 {
		sql += "\nWHERE " + strings.Join(where, " AND ")
	}
	s.rows = c.chain(sql)
	if s.preserv && s.entry.Late != "" { // without a time a row is not late, but has no match
		s.entry.Late = "coalesce(" + s.entry.Late + ", false)"
	}
	s.entry.Table, s.entry.Raw, s.entry.Many = s.in(n), s.from.main.raw, !s.from.single
	return nil
}

// columnNames lists the columns that the side keeps, for a select list.
func (s *joinSide) columnNames(prefix string) []string {
	out := make([]string, len(s.columns))
	for i, col := range s.columns {
		out[i] = prefix + duck.QuoteIdent(col.name)
	}
	return out
}

// stored lists all columns of the side's state.
func (s *joinSide) stored() string {
	cols := s.columnNames("")
	if s.id != PosColumn {
		cols = append(cols, s.id)
	}
	return strings.Join(append(cols, PosColumn), ", ")
}

// table is the side's state.
func (s *joinSide) table(n int) StateTable {
	t := StateTable{Name: s.state(n), Keys: []string{PosColumn}, Logical: true, Kind: s.name + "_rows", Closes: s.until()}
	if cols := s.columnNames(""); len(cols) > 0 {
		t.Shown = "SELECT " + strings.Join(cols, ", ") + " FROM " + s.state(n)
	}
	for _, col := range s.columns {
		t.Columns = append(t.Columns, Column{Column: stream.Column{Name: col.name, Type: col.typ}})
	}
	if s.id != PosColumn {
		t.Columns = append(t.Columns, Column{Column: stream.Column{Name: s.id, Type: "BIGINT"}})
	}
	t.Columns = append(t.Columns, Column{Column: stream.Column{Name: PosColumn, Type: s.from.main.position()}})
	return t
}

// matchedTable holds which rows of the state have come out with a match, and until when that matters.
func (s *joinSide) matchedTable(n int) StateTable {
	return StateTable{Name: s.matched(n), Keys: []string{idColumn}, Kind: s.name + "_matched", Closes: "__until", Columns: []Column{
		{Column: stream.Column{Name: idColumn, Type: s.idType()}}, {Column: stream.Column{Name: "__until", Type: "TIMESTAMP"}}}}
}

// waits is the condition on kept rows that come out without a match when they are freed, or "".
func (j *streamJoin) waits(s *joinSide) string {
	switch {
	case !s.preserv || len(s.frees) == 0:
		return ""
	case j.remembers(s):
		return s.id + " NOT IN (SELECT " + idColumn + " FROM " + s.matched(j.n) + ")"
	}
	return "true" // those with a match have gone
}

// remembers reports whether the side has to know which of its rows came out with a match.
func (j *streamJoin) remembers(s *joinSide) bool { return s.preserv && !j.semi() }

// live is the condition on the batch's rows that take part in matching.
func (s *joinSide) live() string {
	var parts []string
	if s.entry.Late != "" {
		parts = append(parts, s.entry.Live())
	}
	if s.flagged {
		parts = append(parts, canColumn)
	}
	if len(parts) == 0 {
		return "true"
	}
	return strings.Join(parts, " AND ")
}

// fresh selects the batch's rows that take part in matching, all the state's and those as well.
func (j *streamJoin) fresh(s *joinSide) string {
	return "(SELECT " + s.stored() + " FROM " + s.in(j.n) + " WHERE " + s.live() + ") " + s.alias
}

func (j *streamJoin) all(s *joinSide) string {
	return "(\n  SELECT " + s.stored() + " FROM " + s.state(j.n) + "\n  UNION ALL SELECT " + s.stored() + " FROM " +
		s.in(j.n) + " WHERE " + s.live() + ") " + s.alias
}

// outColumns are the columns of the join's rows.
func (j *streamJoin) outColumns() []duck.Column {
	var out []duck.Column
	for _, s := range j.sides() {
		if j.semi() && s == j.right {
			continue
		}
		for _, col := range s.columns {
			out = append(out, duck.Column{Name: col.name, Type: col.typ})
		}
	}
	for _, s := range j.sides() {
		if j.remembers(s) || j.semi() && s == j.left {
			out = append(out, duck.Column{Name: s.outID(), Type: s.idType()})
		}
	}
	return append(out, duck.Column{Name: PosColumn, Type: j.positionType()})
}

// idType is the type of what names a row of the side.
func (s *joinSide) idType() string {
	if s.id == idColumn {
		return "BIGINT"
	}
	return s.from.main.position()
}

// numbers reports whether the positions of both sides are numbers, of which a pair takes the greater one.
func (j *streamJoin) numbers() bool {
	return j.left.from.main.position() == "BIGINT" && j.right.from.main.position() == "BIGINT"
}

// positionType is the type of what a row comes out with.
func (j *streamJoin) positionType() string {
	switch {
	case j.semi():
		return j.left.from.main.position()
	case j.numbers():
		return "BIGINT"
	}
	return "STRUCT(l " + j.left.from.main.position() + ", r " + j.right.from.main.position() + ")"
}

// position is what a row of the join comes out with.
func (j *streamJoin) position(left, right bool) string {
	l, r := leftAlias+"."+PosColumn, rightAlias+"."+PosColumn
	switch {
	case j.semi():
		return l
	case !j.numbers():
		if !left {
			l = "CAST(NULL AS " + j.left.from.main.position() + ")"
		}
		if !right {
			r = "CAST(NULL AS " + j.right.from.main.position() + ")"
		}
		return "struct_pack(l := " + l + ", r := " + r + ") AS " + PosColumn
	case !right:
		return l
	case !left:
		return r
	}
	return "greatest(" + l + ", " + r + ") AS " + PosColumn
}

// items selects the join's rows. A side that is left out is NULL, and a row without a match has no id.
func (j *streamJoin) items(left, right bool) string {
	var items []string
	for _, s := range j.sides() {
		there := left && s == j.left || right && s == j.right
		for _, col := range s.columns {
			switch n := duck.QuoteIdent(col.name); {
			case j.semi() && s == j.right:
			case there:
				items = append(items, s.alias+"."+n)
			default:
				items = append(items, "CAST(NULL AS "+col.typ+") AS "+n)
			}
		}
	}
	matched := left && right
	for _, s := range j.sides() {
		switch {
		case j.semi() && s == j.left || j.remembers(s) && matched:
			items = append(items, s.alias+"."+s.id+" AS "+s.outID())
		case j.remembers(s):
			items = append(items, "CAST(NULL AS "+s.idType()+") AS "+s.outID())
		}
	}
	return strings.Join(append(items, j.position(left, right)), ", ")
}

func (j *streamJoin) operator(bool) *Operator {
	op := &Operator{Name: fmt.Sprintf("join %d", j.n), Layout: j.layout(), Holds: j.holds(), Notes: j.notes()}
	for _, s := range j.sides() {
		if s.made != nil {
			continue
		}
		table := s.table(j.n)
		table.Waits = j.waits(s)
		op.Tables = append(op.Tables, table)
		op.Timed = op.Timed || len(s.frees) > 0
	}
	if j.stays() {
		op.Steps = j.staySteps()
		return op
	}
	for _, s := range j.sides() {
		if j.remembers(s) {
			op.Tables = append(op.Tables, s.matchedTable(j.n))
		}
		op.Steps = append(op.Steps,
			Step{Title: "the batch's rows of the " + s.name + " side", Table: s.in(j.n), SQL: s.rows, Rows: s.from.main.tables},
			Step{Title: "which of them are used and late", Effect: Count, Entry: &s.entry, Rows: []string{s.in(j.n)}})
	}
	switch j.kind {
	case "SEMI":
		j.match(op, j.out(), "DISTINCT "+j.items(true, true))
	case "ANTI":
		j.match(op, j.hit(), "DISTINCT "+leftAlias+"."+j.left.id+" AS "+j.left.outID()+", "+leftAlias+"."+PosColumn)
		op.Steps = append(op.Steps, Step{Title: "rows without a match", Table: j.out(), SQL: "SELECT " +
			j.items(true, false) + "\nFROM " + j.left.state(j.n) + " " + leftAlias + " WHERE false", Time: true})
	default:
		j.match(op, j.out(), j.items(true, true))
	}
	for _, s := range j.sides() {
		j.remember(op, s)
	}
	for _, s := range j.sides() {
		j.alone(op, s)
	}
	for _, s := range j.sides() {
		j.store(op, s)
	}
	return op
}

// match adds the steps that join the batch's rows with what is there. It is never a SEMI JOIN: when DuckDB turns the
// sides of one around, a match by the equality alone counts as one.
func (j *streamJoin) match(op *Operator, table, items string) {
	op.Steps = append(op.Steps,
		Step{Title: "new left rows with all right ones", Table: table, Rows: []string{j.left.in(j.n)},
			SQL: "SELECT " + items + "\nFROM " + j.fresh(j.left) + "\nJOIN " + j.all(j.right) + "\nON " + j.on},
		Step{Title: "kept left rows with new right ones", Effect: Append, Table: table, Rows: []string{j.right.in(j.n)},
			SQL: "SELECT " + items + "\nFROM " + j.left.state(j.n) + " " + leftAlias + "\nJOIN " + j.fresh(j.right) +
				"\nON " + j.on})
}

// remember notes which rows that stay came out with a match.
func (j *streamJoin) remember(op *Operator, s *joinSide) {
	if !j.remembers(s) {
		return
	}
	fresh := "SELECT DISTINCT " + s.outID() + " AS " + idColumn + ", " + s.until() + " AS __until FROM " + j.out() +
		" WHERE NOT (" + s.closed() + ")"
	op.Steps = append(op.Steps, Step{Title: "remember which " + s.name + " rows have a match", Effect: Insert,
		Table: s.matched(j.n), Rows: []string{j.out()}, Touch: "(" + fresh + ")",
		SQL: "SELECT m.* FROM (" + fresh + ") m\nANTI JOIN " + s.matched(j.n) + " k ON k." + idColumn + " = m." + idColumn})
}

// alone adds the rows that come out without a match: those that can have none at once, others when they leave.
func (j *streamJoin) alone(op *Operator, s *joinSide) {
	if !s.preserv {
		return
	}
	items := j.items(s == j.left, s == j.right)
	if s.flagged {
		live := "NOT " + canColumn
		if s.entry.Late != "" {
			live = s.entry.Live() + " AND " + live
		}
		op.Steps = append(op.Steps, Step{Title: s.name + " rows that nothing can match", Effect: Append, Table: j.out(),
			Rows: []string{s.in(j.n)}, SQL: "SELECT " + items + "\nFROM " + s.in(j.n) + " " + s.alias + " WHERE " + live})
	}
	known := "SELECT " + idColumn + " FROM " + s.matched(j.n) + " UNION ALL SELECT " + s.outID() + " FROM " + j.out()
	if j.semi() {
		known = "SELECT " + s.outID() + " AS " + idColumn + " FROM " + j.hit()
	}
	op.Steps = append(op.Steps, Step{Title: s.name + " rows that nothing has matched in time", Effect: Append,
		Table: j.out(), Time: true, SQL: "SELECT " + items + "\nFROM (\n  SELECT " + s.stored() + " FROM " + s.state(j.n) +
			" WHERE " + s.closed() + "\n  UNION ALL SELECT " + s.stored() + " FROM " + s.in(j.n) + " WHERE " + s.live() +
			" AND " + s.closed() + ") " + s.alias + "\nANTI JOIN (" + known + ") k ON k." + idColumn + " = " + s.alias +
			"." + s.id})
}

// store keeps the batch's rows that may still match, and lets go of those that can not any more.
func (j *streamJoin) store(op *Operator, s *joinSide) {
	n, hits := j.n, ""
	keep := s.live()
	if len(s.frees) > 0 {
		keep += " AND NOT (" + s.closed() + ")"
	}
	if j.semi() && s == j.left {
		hits = j.out()
		if j.kind == "ANTI" {
			hits = j.hit()
		}
		keep += " AND " + s.id + " NOT IN (SELECT " + s.outID() + " FROM " + hits + ")"
		op.Steps = append(op.Steps, Step{Title: "let matched rows go", Effect: Delete, Table: s.state(n),
			Rows: []string{hits}, Touch: hits, SQL: "WHERE " + s.id + " IN (SELECT " + s.outID() + " FROM " + hits + ")"})
	}
	op.Steps = append(op.Steps, Step{Title: "keep the " + s.name + " rows", Effect: Insert, Table: s.state(n),
		Rows: []string{s.in(n)}, Touch: s.in(n) + " WHERE " + keep,
		SQL: "SELECT " + s.stored() + " FROM " + s.in(n) + " WHERE " + keep})
	if len(s.frees) == 0 {
		return
	}
	op.Steps = append(op.Steps, Step{Title: "free " + s.name + " rows that can match no more", Effect: Delete,
		Table: s.state(n), SQL: "WHERE " + s.closed(), Time: true, Frees: true, Touch: s.state(n) + " WHERE " + s.closed()})
	if j.remembers(s) {
		gone := "WHERE __until <= " + getVariable(VarWatermark)
		op.Steps = append(op.Steps, Step{Title: "and that they matched", Effect: Delete, Table: s.matched(n), SQL: gone,
			Time: true, Frees: true, Touch: s.matched(n) + " " + gone})
	}
}

// holds says which columns of its rows are kept.
func (s *joinSide) holds() []string {
	lines := make([]string, len(s.columns))
	for i, col := range s.columns {
		lines[i] = fmt.Sprintf("  %s %s %s", s.name, col.name, col.typ)
	}
	return lines
}

func (j *streamJoin) holds() []string {
	var lines []string
	for _, s := range j.sides() {
		if s.made == nil {
			lines = append(lines, s.holds()...)
		}
	}
	return lines
}

func (j *streamJoin) layout() []string {
	lines := []string{fmt.Sprintf("join %d %s on %s", j.n, strings.ToLower(j.kind), j.on)}
	for _, s := range j.sides() {
		if s.made != nil {
			lines = append(lines, fmt.Sprintf("  %s rows of join %d", s.name, s.made.n))
			continue
		}
		lines = append(lines, s.holds()...)
		if !s.from.single && s.id == PosColumn {
			lines = append(lines, "  "+s.name+" rows have no number of their own")
		}
		switch {
		case len(s.frees) == 0:
			lines = append(lines, "  "+s.name+" rows stay")
		default:
			lines = append(lines, "  "+s.name+" rows freed by "+s.until())
		}
	}
	return lines
}
