package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// partitioned keeps the rows of its inputs and evaluates a SELECT over whole partitions of them: those that the batch
// touched, those that the watermark has closed, or all. It is how everything runs that is right only over all rows
// of a partition: OVER, ranks, INTERSECT and EXCEPT, and whatever stands above rows that may still change.
type partitioned struct {
	n     int
	what  string // for EXPLAIN
	parts []*part
	sql   string // the SELECT, over the names of the parts, with __pos as its last column
	emits groups
	top   bool  // rows that are not in the result can never come back: they are let go
	one   bool  // there is a row even over no rows, as of an aggregate without GROUP BY
	lead  *lead // one row of each partition is kept, by key; or nil

	fallen string // of top, where a position does not name a row: SELECT of those of the part that are not in the result
}

// part is one input of a partitioned operator.
type part struct {
	n, i    int
	rel     *relation
	input   string   // SELECT of the batch's rows
	old     string   // SELECT of what they were, if the rows of rel change
	columns []Column // of the kept rows, without __pos
	keys    []string // names of the columns that say which partition a row is in
	timed   string   // column that closes rows, or ""
	mark    mark     // of timed
	marks   []mark   // of keys
	entry   Entry

	items []any // what input selects, but __pos
	from  tree
	where any
}

func (p *part) suffix() string {
	if p.i == 0 {
		return fmt.Sprint(p.n)
	}
	return fmt.Sprintf("%d_%d", p.n, p.i+1)
}

// name stands for the part's rows in the operator's SELECT.
func (p *part) name() string { return "__part" + p.suffix() }
func (p *part) in() string   { return "__in" + p.suffix() }
func (p *part) gone() string { return "__gone" + p.suffix() }
func (p *part) kept() string { return "__rows" + p.suffix() }

// quoted are the kept columns for a select list.
func (p *part) quoted(prefix string) []string {
	out := make([]string, len(p.columns))
	for i, c := range p.columns {
		out[i] = prefix + duck.QuoteIdent(c.Name)
	}
	return out
}

// keyList selects the partition as columns __t1, __t2, ...
func (p *part) keyList() string {
	if len(p.keys) == 0 {
		return "0 AS __t1"
	}
	out := make([]string, len(p.keys))
	for i, k := range p.keys {
		out[i] = fmt.Sprintf("%s AS __t%d", duck.QuoteIdent(k), i+1)
	}
	return strings.Join(out, ", ")
}

// typeOf is the type of a kept column.
func (p *part) typeOf(name string) string {
	for _, col := range p.columns {
		if strings.EqualFold(col.Name, name) {
			return col.Type
		}
	}
	return ""
}

// touched is the condition that a kept row r is in a touched partition t.
func (p *part) touched() string {
	if len(p.keys) == 0 {
		return "t.__t1 = 0"
	}
	out := make([]string, len(p.keys))
	for i, k := range p.keys {
		out[i] = fmt.Sprintf("r.%s IS NOT DISTINCT FROM t.__t%d", duck.QuoteIdent(k), i+1)
	}
	return strings.Join(out, " AND ")
}

func (p *part) closes() string { return p.mark.closed(duck.QuoteIdent(p.timed)) }

func (o *partitioned) touchTable() string { return fmt.Sprintf("__touch%d", o.n) }

// over is the operator's SELECT over the rows that a batch evaluates.
func (o *partitioned) over() string {
	sql := o.sql
	for _, p := range o.parts {
		rows := "SELECT " + list(p.quoted("r."), []string{"r." + PosColumn}) + " FROM " + p.kept() + " r"
		switch o.emits {
		case touchedGroups:
			rows += " SEMI JOIN " + o.touchTable() + " t ON " + p.touched()
		case closedGroups:
			rows += " WHERE " + p.closes()
		}
		sql = replaceName(sql, p.name(), "("+rows+")")
	}
	return sql
}

// replaceName puts text in the place of a generated name.
func replaceName(sql, name, text string) string {
	var b strings.Builder
	for {
		i := strings.Index(sql, name)
		if i < 0 {
			break
		}
		end := i + len(name)
		if end < len(sql) && isWordByte(sql[end]) {
			b.WriteString(sql[:end])
			sql = sql[end:]
			continue
		}
		b.WriteString(strings.TrimSuffix(sql[:i], `"`))
		b.WriteString(text)
		sql = strings.TrimPrefix(sql[end:], `"`)
	}
	return b.String() + sql
}

// operator is the finished operator. With old, what the touched partitions gave before the batch is wanted too.
func (o *partitioned) operator(old bool) *Operator {
	if o.lead != nil {
		return o.leadOperator(old)
	}
	op := &Operator{Name: fmt.Sprintf("%s %d", o.what, o.n)}
	o.begin(op)
	for _, p := range o.parts {
		table := p.table()
		if table.Closes != "" && o.emits == closedGroups {
			table.Waits = "true"
		}
		op.Tables = append(op.Tables, table)
		op.Layout, op.Holds = append(op.Layout, p.layout(o.what)...), append(op.Holds, p.holds()...)
		op.Steps = append(op.Steps, p.read()...)
	}
	op.Layout, op.Holds = append(op.Layout, "  gives "+o.sql), append(op.Holds, "  gives "+o.sql)
	touched := []string{o.touchTable()}
	if o.emits == touchedGroups {
		op.Steps = append(op.Steps, o.touchStep())
		if old {
			op.Steps = append(op.Steps, Step{Title: "what the touched partitions gave", Table: oldTable(o.n),
				SQL: o.gave(), Rows: touched})
		}
	}
	for _, p := range o.parts {
		op.Steps = append(op.Steps, p.store()...)
	}
	out := Step{Title: "what they give now", Table: outTable(o.n), SQL: o.over(), Rows: touched}
	switch o.emits {
	case closedGroups:
		out.Title, out.Rows, out.Time = "what the closed partitions give", nil, true
	case allGroups:
		out.Title, out.Rows = "what all rows give", nil
	}
	op.Steps = append(op.Steps, out)
	if o.one {
		op.Steps = append(op.Steps, Step{Title: "there is a row from now on", Effect: Insert, Table: o.began(),
			SQL: "SELECT true WHERE NOT EXISTS (FROM " + o.began() + ")", Rows: touched})
	}
	o.free(op)
	return op
}

// began names the state table that has a row as soon as the operator has given one.
func (o *partitioned) began() string { return fmt.Sprintf("__began%d", o.n) }

// begin makes the steps of an operator that has a row over no rows run in its first batch, whatever comes.
func (o *partitioned) begin(op *Operator) {
	if !o.one {
		return
	}
	op.Global = true
	op.Tables = append(op.Tables, StateTable{Name: o.began(), Kind: "began",
		Columns: []Column{{Column: stream.Column{Name: "began", Type: "BOOLEAN"}}}})
}

// gave is what the touched partitions gave before the batch: nothing, if it is the first.
func (o *partitioned) gave() string {
	if !o.one {
		return o.over()
	}
	return "SELECT * FROM (\n" + o.over() + "\n) WHERE EXISTS (FROM " + o.began() + ")"
}

func (o *partitioned) touchStep() Step {
	var from, rows []string
	for _, p := range o.parts {
		from = append(from, "SELECT "+p.keyList()+" FROM "+p.in()+p.live())
		rows = append(rows, p.in())
		if p.rel.change {
			from = append(from, "SELECT "+p.keyList()+" FROM "+p.gone())
			rows = append(rows, p.gone())
		}
	}
	return Step{Title: "touched partitions", Table: o.touchTable(), Rows: rows,
		SQL: "SELECT DISTINCT * FROM (\n  " + strings.Join(from, "\n  UNION ALL\n  ") + "\n)"}
}

// free adds what lets rows go.
func (o *partitioned) free(op *Operator) {
	if o.top {
		p := o.parts[0]
		op.Steps = append(op.Steps, Step{Title: "rows that can not come back", Effect: Delete, Table: p.kept(), SQL: o.drops(),
			Rows: []string{o.touchTable()}, Touch: p.kept() + " r SEMI JOIN " + o.touchTable() + " t ON " + p.touched()})
		op.Notes = append(op.Notes, "keeps only the rows that are in the result")
	}
	for _, p := range o.parts {
		if p.timed == "" || o.emits == allGroups {
			if !o.top {
				op.Notes = append(op.Notes, "nothing frees the rows in "+p.kept()+": the state grows with their number")
			}
			continue
		}
		op.Timed = true
		op.Notes = append(op.Notes, fmt.Sprintf("frees a row of %s when %s, %s", p.kept(), p.closes(), p.mark.note()))
		if p.entry.Late != "" {
			op.Notes = append(op.Notes, "drops a row as late when "+p.entry.Late)
		}
		op.Steps = append(op.Steps, Step{Title: "free closed rows", Effect: Delete, Table: p.kept(),
			SQL: "WHERE " + p.closes(), Time: true, Frees: true, Touch: p.kept() + " WHERE " + p.closes()})
	}
}

// read makes the tables of the batch's rows.
func (p *part) read() []Step {
	steps := []Step{{Title: "rows that come", Table: p.in(), SQL: p.input, Rows: p.rel.tables},
		{Title: "which of them are used and late", Effect: Count, Entry: &p.entry, Rows: []string{p.in()}}}
	if p.rel.change {
		olds := make([]string, len(p.rel.tables))
		for i, t := range p.rel.tables {
			olds[i] = OldTable(t)
		}
		steps = append(steps, Step{Title: "rows that go", Table: p.gone(), SQL: p.old, Rows: olds})
	}
	return steps
}

func (p *part) live() string {
	if p.timed == "" {
		return ""
	}
	if p.entry.Late == "" {
		return " WHERE " + duck.QuoteIdent(p.timed) + " IS NOT NULL"
	}
	return " WHERE NOT (" + p.entry.Late + ")"
}

// store brings the kept rows up to date.
func (p *part) store() []Step {
	var steps []Step
	if p.rel.change {
		steps = append(steps, Step{Title: "take back what has changed", Effect: Delete, Table: p.kept(),
			SQL:   "r USING " + p.gone() + " g WHERE r." + PosColumn + " IS NOT DISTINCT FROM g." + PosColumn,
			Touch: p.gone(), Rows: []string{p.gone()}})
	}
	return append(steps, Step{Title: "keep the rows", Effect: Insert, Table: p.kept(),
		SQL:  "SELECT " + list(p.quoted(""), []string{PosColumn}) + " FROM " + p.in() + p.live(),
		Rows: []string{p.in()}, Touch: p.in() + p.live()})
}

func (p *part) table() StateTable {
	t := StateTable{Name: p.kept(), Logical: true, Keys: []string{PosColumn}, Kind: "rows"}
	if len(p.columns) > 0 {
		t.Shown = "SELECT * EXCLUDE (" + PosColumn + ") FROM " + p.kept()
	}
	if p.timed != "" {
		t.Closes = p.mark.closes(duck.QuoteIdent(p.timed))
	}
	t.Columns = append(t.Columns, p.columns...)
	t.Columns = append(t.Columns, Column{Column: stream.Column{Name: PosColumn, Type: p.rel.position()}})
	return t
}

// holds says what of its rows is kept.
func (p *part) holds() []string {
	lines := make([]string, len(p.columns))
	for i, c := range p.columns {
		lines[i] = fmt.Sprintf("  kept %s %s = %s", c.Name, c.Type, c.Expr)
	}
	return lines
}

func (p *part) layout(what string) []string {
	lines := []string{what + " " + p.kept()}
	lines = append(lines, p.holds()...)
	if p.timed != "" {
		lines = append(lines, "  freed by "+p.mark.closes(duck.QuoteIdent(p.timed)))
	}
	return lines
}

// position is the type of a relation's __pos.
func (r *relation) position() string {
	if r.posType == "" {
		return "BIGINT"
	}
	return r.posType
}
