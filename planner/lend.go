package planner

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// Lent are rows that come from outside DuckDB and are read by one statement of a batch. They are lent to it, and a
// table of them is not made.
type Lent struct {
	Table   string        // by which the statement reads them
	Feed    string        // the view under which they are lent
	Columns []duck.Column // of the view
	Select  string        // select list over these
	Compute bool          // whether Select makes something of them, rather than naming them
	InOrder bool          // the order of rows matters
	Steps   []string      // what may stand for Select, see duck.FeedStepsSQL; nil: nothing
}

// SQL returns the common table expressions that stand before the statement.
func (l *Lent) SQL() string {
	switch {
	case l.Steps != nil:
		return duck.FeedStepsSQL(l.Feed, l.Table, l.Steps...)
	case l.Compute && l.InOrder:
		return duck.FeedInOrderSQL(l.Feed, l.Table, l.Select)
	}
	return duck.FeedSQL(l.Feed, l.Table, l.Select, l.Compute)
}

// lentOf returns what is lent under the name of a table, or nil.
func (p *Plan) lentOf(table string) *Lent {
	for i := range p.Lent {
		if p.Lent[i].Table == table {
			return &p.Lent[i]
		}
	}
	return nil
}

// WithSQL returns the common table expressions of tables that are lent.
func (p *Plan) WithSQL(tables []string) []string {
	var out []string
	for _, t := range tables {
		if l := p.lentOf(t); l != nil {
			out = append(out, l.SQL())
		}
	}
	return out
}

// reader is one statement of a batch.
type reader struct {
	texts []string  // in which it names what it reads
	rows  []string  // tables that it looks at the rows of
	with  *[]string // where it takes lent rows; nil if it can not
	when  When
}

// names reports whether it may read a table: an alias, what stands before a dot, and a column behind one, are none.
func (r *reader) names(table string) bool { return r.times(table) > 0 }

func (r *reader) times(table string) int {
	return mentions(strings.Join(r.texts, "\n"), table, func(before, after string) bool {
		after = strings.TrimPrefix(after, `"`)
		before = strings.TrimSuffix(before, `"`)
		return !strings.HasSuffix(before, " as ") && !strings.HasSuffix(before, ".") && !strings.HasPrefix(after, ".")
	})
}

// Mentions reports whether SQL may name something: whether the name is a word of the text, whatever it means there.
func Mentions(sql, name string) bool {
	return mentions(sql, name, func(string, string) bool { return true }) > 0
}

// mentions counts the places of Mentions that count, by what stands before and after the name, in lower case.
func mentions(sql, name string, counts func(before, after string) bool) (n int) {
	sql = strings.ToLower(sql)
	name = strings.ToLower(strings.Trim(duck.QuoteIdent(name), `"`))
	for at := 0; ; {
		i := strings.Index(sql[at:], name)
		if i < 0 {
			return n
		}
		before, after := sql[:at+i], sql[at+i+len(name):]
		if (before == "" || !isWordByte(before[len(before)-1])) && (after == "" || !isWordByte(after[0])) &&
			counts(before, after) {
			n++
		}
		at += i + 1
	}
}

// readers lists the statements of a batch that read something.
func (p *Plan) readers() []*reader {
	var out []*reader
	for _, op := range p.Ops {
		for i := range op.Steps {
			st := &op.Steps[i]
			r := &reader{texts: []string{st.SQL, st.Touch}, rows: st.Rows, when: st.When}
			if st.Effect == Count {
				r.texts = []string{st.Entry.Table, st.Entry.Late}
			}
			switch st.Effect {
			case Create, Append, Insert, Fold, Lookup, Admit:
				r.with = &st.With
			}
			out = append(out, r)
		}
	}
	result := &reader{texts: []string{p.Result}, rows: p.Emits, with: &p.With}
	if p.staged() {
		result.texts = []string{p.Input}
	}
	out = append(out, result, &reader{texts: []string{p.Before}})
	for _, m := range p.Macros {
		out = append(out, &reader{texts: []string{m.Text}})
	}
	return out
}

// onlyReader returns the statement that reads a table in any batch: one, or one for each kind of batch.
func onlyReader(all []*reader, table string) []*reader {
	var out []*reader
	for _, r := range all {
		if !r.names(table) {
			continue
		}
		for _, o := range out {
			if o.when == Always || r.when == Always || o.when == r.when {
				return nil
			}
		}
		if r.with == nil {
			return nil
		}
		out = append(out, r)
	}
	return out
}

// shorten leaves out tables that are made to be read once.
func (p *Plan) shorten() {
	if !p.mergeOutput() {
		p.Gather = nil
	}
	p.lendInputs()
	for _, op := range p.Ops {
		for _, st := range op.Steps {
			if st.Table != "" && (st.Effect == Lookup || st.Effect == Expire || st.Effect == Fold || st.Effect == Admit) {
				p.lendState(op, st)
			}
		}
	}
}

// mergeOutput makes the last operator's output a part of the result that reads it, and reports whether it is.
func (p *Plan) mergeOutput() bool {
	if len(p.Ops) == 0 || p.Retracts || p.Before != "" {
		return false
	}
	op := p.Ops[len(p.Ops)-1]
	at := slices.IndexFunc(op.Steps, func(s Step) bool { return s.Effect == Create && s.Table == outTable(len(p.Ops)) })
	if at < 0 || !Mentions(p.Result, op.Steps[at].Table) {
		return false
	}
	out := op.Steps[at]
	always := out.Rows == nil && !out.Time && p.Emits == nil
	// Nothing moves the state between it and the result, and without those rows it has none.
	last := at == len(op.Steps)-1 && out.Rows != nil && !out.Time && !op.Global
	if !always && (out.Like == "" && !last || !slices.Equal(p.Emits, []string{out.Table})) {
		return false
	}
	for _, r := range p.readers() {
		if r.with != &p.With && (r.names(out.Table) || slices.Contains(r.rows, out.Table)) {
			return false
		}
	}
	op.Steps = slices.Delete(op.Steps, at, at+1)
	with := []string{out.Table + " AS (\n" + out.SQL + "\n)"}
	p.Result, p.Near = duck.WithSQL(with, p.Result), out.Near
	if p.Gather != nil {
		p.Gather.Pairs = duck.WithSQL(with, p.Gather.Pairs)
	}
	switch {
	case out.Like != "":
		p.Emits = []string{out.Like}
	case !always:
		p.Emits = out.Rows
	}
	return true
}

// lendInputs finds the sources whose rows one statement reads. A computed event time makes a table necessary: it is
// looked at before.
func (p *Plan) lendInputs() {
	all := p.readers()
	for i := range p.Inputs {
		in := &p.Inputs[i]
		by := onlyReader(all, in.Table)
		in.Lent = len(by) > 0 && !in.computedTime()
		cols := append(described(in.Declared), duck.Column{Name: PosColumn, Type: "BIGINT"})
		lent := Lent{Table: in.Table, Feed: "__batch_" + in.Table, Columns: cols, Select: in.Select,
			Compute: in.Computes || in.steps != nil || !lentAsIs(cols)}
		once := !slices.ContainsFunc(by, func(r *reader) bool { return r.times(in.Table) > 1 })
		if once && !in.Computes && lentAsIs(cols) {
			lent.Steps = in.steps
		}
		p.Lent = append(p.Lent, lent)
		if in.Lent {
			take(by, in.Table)
		}
	}
}

// keepOrder keeps the rows of a plan without operators in order where DuckDB may change it: its filters over a materialized
// expression hold back a few rows until more come, and let many pass them, and so do joins.
func (p *Plan) keepOrder(rel *relation) {
	switch {
	case len(p.Ops) > 0 || p.Counted:
		return
	case rel.mixed:
		p.Result += " ORDER BY " + PosColumn
		return
	case rel.filtered && p.Inputs[0].Lent:
		p.Lent[0].InOrder = true
	}
	p.Straight = true
}

func lentAsIs(cols []duck.Column) bool {
	return !slices.ContainsFunc(cols, func(c duck.Column) bool { return !duck.LentAsIs(c.Type) })
}

func take(by []*reader, table string) {
	for _, r := range by {
		*r.with = append(*r.with, table)
	}
}

// lendState does the same for rows of a keyed state.
func (p *Plan) lendState(op *Operator, st Step) {
	if p.lentOf(st.Table) != nil {
		return // of both kinds of batches
	}
	by := onlyReader(p.readers(), st.Table)
	if len(by) == 0 {
		return
	}
	t := op.table(st.State)
	cols := t.Described()
	p.Lent = append(p.Lent, Lent{Table: st.Table, Feed: "__lent_" + strings.TrimLeft(st.Table, "_"), Columns: cols,
		Select: t.CastList(), Compute: !lentAsIs(cols)})
	take(by, st.Table)
}
