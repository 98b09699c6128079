package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Statement is one SQL statement of a batch, word for word as it runs. What varies by batch stands as $name.
type Statement struct {
	Title   string // what it is for; "" where it belongs to the one before
	SQL     string // "" for a step outside of DuckDB, which Title tells
	When    string // the occasion for it; "": every batch that has something to do there
	Instead []Occasion
	Once    bool // it begins the session
}

// Occasion is what runs in the place of a statement in some batches.
type Occasion struct {
	When string
	SQL  []string
}

// passingView stands for the view over the Arrow records that an import reads, which has a number of its own each time.
const passingView = "__arrow_$n"

// lender stands for the table function that lends rows, which has a number of its own.
const lender = "__rows_$n"

// The statements around a batch.
const (
	BeginSQL    = "BEGIN TRANSACTION"
	CommitSQL   = "COMMIT"
	RollbackSQL = "ROLLBACK"
)

// statements collects them.
type statements struct {
	plan *Plan
	list []Statement
}

func (s *statements) add(title, sql string) *Statement {
	s.list = append(s.list, Statement{Title: title, SQL: sql})
	return &s.list[len(s.list)-1]
}

func (st *Statement) instead(when string, sql ...string) {
	st.Instead = append(st.Instead, Occasion{When: when, SQL: sql})
}

// when adds statements that run on an occasion only.
func (s *statements) when(occasion, title string, sql ...string) {
	for _, text := range sql {
		s.add(title, text).When = occasion
		title = ""
	}
}

// Statements returns every statement that a session of the plan may run for its batches, in order: those that begin it,
// then those of each batch. State versions are read by other ones.
func (p *Plan) Statements() []Statement {
	s := &statements{plan: p}
	s.session()
	for i := range s.list {
		s.list[i].Once = true
	}
	for _, name := range p.Variables() {
		s.when("it has changed", name, SetSQL(name, "$"+name))
	}
	if p.Transactional() {
		s.add("the batch", BeginSQL)
	}
	for i := range p.Inputs {
		s.input(i)
	}
	s.operators()
	s.output()
	s.settle()
	if p.Transactional() {
		s.add("all or nothing", CommitSQL).instead("the batch fails, or is tried to find the rows that make it fail", RollbackSQL)
	}
	s.rewrites()
	return s.list
}

// session is what runs once: state tables, reference tables and macros.
func (s *statements) session() {
	for _, t := range s.plan.StateTables() {
		if t.Keyed {
			s.add(fmt.Sprintf("state table %s is kept by key outside of DuckDB", t.Name), "")
			continue
		}
		s.add("once: state table "+t.Name, t.CreateSQL())
		if len(t.Keys) > 0 {
			s.add("", t.ForgetSQL())
		}
	}
	for _, l := range s.plan.Lent {
		s.add(fmt.Sprintf("once: rows of %s are lent as %s", l.Table, l.Feed), duck.FeedViewSQL(l.Feed, lender))
	}
	for _, t := range s.plan.Tables {
		title := "once: reference table " + t.Name
		if t.Refresh > 0 {
			title = fmt.Sprintf("first and every %s: reference table %s", t.Refresh, t.Name)
		}
		s.imports(title, t.Name, CastList(t.Columns))
		for _, k := range s.plan.Unique {
			if k.Table == t.Name {
				s.add("whether it has a key twice", k.RepeatsSQL())
			}
		}
	}
	for _, m := range s.plan.Macros {
		s.add("once: macro "+m.Name, m.Text)
	}
}

// imports makes a table of Arrow records.
func (s *statements) imports(title, table, selection string) {
	one := duck.ImportSQL(passingView, table, selection, 1)
	st := s.add(title, one[0])
	if several := duck.ImportSQL(passingView, table, selection, 2); len(several) > len(one) {
		st.instead("the rows come in several records", several[:len(several)-1]...)
	}
	s.add("", one[1])
}

// several makes a table of rows that do not fit one record.
func (s *statements) several(st *Statement, table, selection string) {
	for _, records := range []int{1, 2} {
		st.instead("they do not fit one record", duck.ImportSQL(passingView, table, selection, records)...)
	}
}

// lent gives a statement its texts: the one to which all tables of with are lent, and those to which some are not.
func (s *statements) lent(st *Statement, with []string, build func(with []string) string) {
	var lent []string
	for _, t := range with {
		if s.plan.lentOf(t) != nil {
			lent = append(lent, t)
		}
	}
	st.SQL = build(lent)
	for set := range 1<<len(lent) - 1 {
		var some, tables []string
		for i, t := range lent {
			if set>>i&1 == 1 {
				some = append(some, t)
			} else {
				tables = append(tables, t)
			}
		}
		st.instead("there is a table of "+strings.Join(tables, " and "), build(some))
	}
}

// input is how the rows of source number i enter.
func (s *statements) input(i int) {
	in := &s.plan.Inputs[i]
	st := s.add("rows of "+in.Table, duck.FeedImportSQL(s.plan.lentOf(in.Table).Feed, in.Table, in.Select))
	if in.Lent {
		st.When = "some have to be taken out; else what reads them takes them as they are lent"
	}
	s.several(st, in.Table, in.Select)
	if in.EventTime == "" {
		return
	}
	if in.computedTime() {
		s.add("their event times", in.TimesSQL(i))
	}
	s.when("the run is over a stretch of event time", "other times", in.BeforeSQL("$from"), in.NotBeforeSQL("$to"))
	s.when("there are any", "impossible times", SetSQL(VarLatest(i), "$"+VarLatest(i)), in.ImpossibleSQL(i),
		in.RemoveImpossibleSQL(i))
}

// operators are their steps.
func (s *statements) operators() {
	if s.plan.Shared {
		s.add("what becomes of each row", ShareTableSQL)
	}
	for _, op := range s.plan.Ops {
		s.add(op.Name+":", "")
		for i := range op.Steps {
			s.step(op, &op.Steps[i])
		}
	}
	if s.plan.staged() {
		s.lent(s.add("result", ""), s.plan.With, s.plan.InputSQL)
	}
}

func (s *statements) step(op *Operator, st *Step) {
	switch st.Effect {
	case Count:
		s.count(st)
	case Create:
		s.changing(st)
		of := &s.list[len(s.list)-1]
		empty := &Statement{}
		s.lent(empty, st.With, func(with []string) string { return st.EmptySQL(s.plan.WithSQL(with)) })
		of.instead("there is nothing for it", empty.SQL)
		of.Instead = append(of.Instead, empty.Instead...)
	case Lookup:
		t := op.table(st.State)
		s.query("it has any", st.Title+": the keys that "+t.Name+" is asked for", st, t.Described()[:len(t.Keys)])
		s.given(st, t, "what it has of them")
	case Admit:
		t := op.table(st.State)
		s.query("", st.Title+": "+t.Name+" adds their bits to its own", st, t.Described())
		s.given(st, t, "with the bits that are new")
	case Fold:
		s.fold(op.table(st.State), st)
	case Put:
		t := op.table(st.State)
		s.add(st.Title+": what "+t.Name+" takes", orWhy(duck.ReadSQL(st.SQL, t.Described())))
	case Expire:
		t := op.table(st.State)
		s.add(fmt.Sprintf("%s: those that %s lets go %s", st.Title, t.Name, st.SQL), "")
		if st.Table != "" {
			s.given(st, t, "what they were")
		}
	case Append:
		s.changing(st)
	case Insert, Delete:
		s.change(op.table(st.Table), st)
	}
}

// changing is a step that is one statement of DuckDB.
func (s *statements) changing(st *Step) {
	s.lent(s.add(st.Title, ""), st.With, func(with []string) string { return st.Statement(s.plan.WithSQL(with)) })
	s.list[len(s.list)-1].When = st.When.Note()
	s.explainNear(st.Near, func(near []string) string { return st.Statement(append(near, s.plan.WithSQL(st.With)...)) })
}

// query reads what a step selects.
func (s *statements) query(when, title string, st *Step, cols []duck.Column) {
	s.lent(s.add(title, ""), st.With, func(with []string) string {
		return orWhy(duck.QuerySQL(s.plan.WithSQL(with), st.SQL, cols))
	})
	s.list[len(s.list)-1].When = when
}

// fold merges what a step selects into the keyed state.
func (s *statements) fold(t *StateTable, st *Step) {
	s.query(st.When.Note(), fmt.Sprintf("%s: %s %s", st.Title, t.Name, st.folds(t)), st, st.Folded(t))
	if st.Table != "" {
		s.given(st, t, "what they are then")
	}
}

// Folded are the columns that a Fold selects.
func (st *Step) Folded(t *StateTable) []duck.Column {
	cols := t.Described()
	if st.Entry != nil && st.Order == nil {
		cols = append(cols, duck.Column{Name: RowsColumn, Type: "BIGINT"})
	}
	return cols
}

// folds says what becomes of rows that a Fold selects.
func (st *Step) folds(t *StateTable) string {
	words := make([]string, len(st.Merges))
	for i, m := range st.Merges {
		words[i] = m.String()
	}
	if st.Order == nil {
		return "takes them in, column by column after the keys: " + strings.Join(words, ", ")
	}
	for _, o := range st.Order {
		words = append(words, duck.QuoteIdent(t.Columns[o.Column].Name)+orderWords(o))
	}
	return "keeps of each key the first by " + strings.Join(words, ", ")
}

// given makes a step's table of rows of a keyed state, or lends them.
func (s *statements) given(st *Step, t *StateTable, title string) {
	if l := s.plan.lentOf(st.Table); l != nil {
		note := s.add(fmt.Sprintf("%s is lent as %s", title, l.Feed), "")
		s.several(note, st.Table, t.CastList())
		return
	}
	from := len(s.list)
	s.imports(title, st.Table, t.CastList())
	for i := from; i < len(s.list); i++ {
		s.list[i].When = "there are any"
	}
	s.list[from].instead("there are none", t.EmptySQL(st.Table))
}

func (s *statements) count(st *Step) {
	if !st.Entry.Raw {
		return
	}
	s.add(st.Title, st.Entry.CountSQL(len(s.plan.Inputs))).When = st.When.Note()
	switch {
	case s.plan.Shared:
		s.add("note them", st.Entry.ShareSQL())
	case st.Entry.Late != "":
		s.when("there are any", "the late rows", st.Entry.LateSQL())
	}
}

// change moves a state table in DuckDB.
func (s *statements) change(t *StateTable, st *Step) {
	touch := func(effect Effect) {
		if st.Touch != "" && len(t.Keys) > 0 && st.Effect == effect {
			s.when("there has been a state version", "the changed keys, for the next one", t.TouchSQL(st.Touch))
		}
	}
	touch(Delete)
	s.changing(st)
	if st.Effect == Delete {
		s.list[len(s.list)-1].When = "it has rows"
	}
	touch(Insert)
}

// The tables that a result which may take rows back is made of.
const (
	BeforeTable = "__before"
	AfterTable  = "__after"
)

// output reads the result.
func (s *statements) output() {
	p := s.plan
	sql, cols := p.ResultSQL, p.Schema
	if p.Retracts {
		s.add("the result as it was", p.BeforeSQL())
		s.lent(s.add("the result as it is", ""), p.With, p.AfterSQL)
		sql = func([]string) string { return p.RetractSQL() }
		cols = append(cols[:len(cols):len(cols)], stream.Column{Name: stream.OpColumn, Type: "VARCHAR"})
	}
	with := p.With
	if p.Retracts || p.staged() {
		with = nil // what they are lent to comes before
	}
	s.lent(s.add("output", ""), with, func(with []string) string {
		return orWhy(duck.QuerySQL(nil, sql(with), described(cols)))
	})
	if p.Gather != nil {
		s.list[len(s.list)-1].instead("the batch has many rows", p.Gather.Statements()...)
	}
	s.explainNear(p.Near, func(near []string) string {
		return orWhy(duck.QuerySQL(append(near, p.WithSQL(p.With)...), p.Result, described(cols)))
	})
}

// settle counts what is left to count.
func (s *statements) settle() {
	switch {
	case s.plan.Shared:
		s.add("what became of each row", SharedSQL)
	case s.plan.staged():
		s.add("rows used", s.plan.UsedSQL())
	}
}

// rewrites are what a batch is followed by now and then.
func (s *statements) rewrites() {
	for _, t := range s.plan.StateTables() {
		if t.Keyed {
			continue
		}
		if len(t.Keys) > 0 {
			s.when("they are many more than its rows", "forget the changed keys of "+t.Name, t.ForgetSQL())
		}
		s.when("more of it is dead than alive", "rewrite "+t.Name, t.RewriteSQL())
	}
}

// orWhy returns SQL, or in its place a comment that says why there is none: a result's type that can not leave DuckDB,
// which the sinks refuse.
func orWhy(sql string, err error) string {
	if err != nil {
		return "-- " + err.Error()
	}
	return sql
}

// InputSQL keeps the result's rows with their positions, of a plan without operators. lent are the tables whose rows it
// takes as they are lent.
func (p *Plan) InputSQL(lent []string) string {
	return "CREATE OR REPLACE TEMP TABLE " + resultTable + " AS\n" + duck.WithSQL(p.WithSQL(lent), p.Input)
}

// BeforeSQL keeps the result as it was before the batch.
func (p *Plan) BeforeSQL() string {
	return "CREATE OR REPLACE TEMP TABLE " + BeforeTable + " AS\n" + p.Before
}

// AfterSQL keeps the result as it is after the batch. lent are as for InputSQL.
func (p *Plan) AfterSQL(lent []string) string {
	return "CREATE OR REPLACE TEMP TABLE " + AfterTable + " AS\n" + p.ResultSQL(lent)
}

// CastList selects columns in their declared types, since Arrow has fewer types than DuckDB.
func CastList(cols []stream.Column) string {
	items := make([]string, len(cols))
	for i, c := range cols {
		items[i] = castAs(c)
	}
	return strings.Join(items, ", ")
}

// castAs gives a column its type.
func castAs(c stream.Column) string {
	n := duck.QuoteIdent(c.Name)
	return "CAST(" + n + " AS " + c.Type + ") AS " + n
}

// described are columns as DuckDB describes them.
func described(cols []stream.Column) []duck.Column {
	out := make([]duck.Column, len(cols))
	for i, c := range cols {
		out[i] = duck.Column{Name: c.Name, Type: c.Type}
	}
	return out
}
