package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// keyed reports whether the groups are kept by key outside DuckDB. A table there has to be read through twice for
// every batch, however small that is; where all groups are emitted each time, or there is only one, a table it is.
func (a *aggregate) keyed() bool {
	return a.emits != allGroups && len(a.keys) > 0 && !a.seeded
}

func (a *aggregate) known() string       { return fmt.Sprintf("__known%d", a.n) }
func (a *aggregate) closedTable() string { return fmt.Sprintf("__closed%d", a.n) }

// keyedOperator is the operator over a keyed state.
func (a *aggregate) keyedOperator(op *Operator, old bool) *Operator {
	if how := a.merges(old); how != nil {
		op.Steps = a.foldedSteps(how)
		return a.keyedOutput(op)
	}
	touched := []string{a.in}
	op.Steps = []Step{{Title: "what the batch's rows add", Table: a.in, SQL: a.input, Rows: a.from},
		{Title: "which of them are used and late", Effect: Count, Entry: &a.entry, Rows: touched}}
	live := a.live()
	if a.panes != nil {
		live = ""
		op.Steps = append(op.Steps, Step{Title: "panes in their windows", Table: a.delta(), SQL: a.panesSQL(false, true), Rows: touched})
	}
	op.Steps = append(op.Steps, a.seenSteps()...)
	op.Steps = append(op.Steps, Step{Title: "touched groups as they are", Effect: Lookup, Table: a.known(), State: a.state(),
		SQL: "SELECT DISTINCT " + strings.Join(a.keyNames(""), ", ") + " FROM " + a.delta() + live, Rows: touched})
	if old {
		op.Steps = append(op.Steps, Step{Title: "what they gave before", Table: oldTable(a.n),
			SQL: a.outSQL("SELECT * FROM " + a.known()), Rows: touched})
	}
	op.Steps = append(op.Steps,
		Step{Title: "touched groups, merged", Table: a.new(), SQL: a.mergeSQL(), Rows: touched},
		Step{Title: "keep them", Effect: Put, State: a.state(), SQL: a.new(), Rows: touched})
	if a.rows != nil {
		op.Steps = append(op.Steps, Step{Title: "keep the rows", Effect: Insert, Table: a.kept(), SQL: a.rows.chunk,
			Rows: touched, Touch: a.kept() + " WHERE " + BatchColumn + " = " + getVariable(VarBatch)})
	}
	return a.keyedOutput(op)
}

// keyedOutput adds what gives the groups out and lets closed ones go.
func (a *aggregate) keyedOutput(op *Operator) *Operator {
	out := Step{Title: "groups to emit", Table: a.out(), SQL: a.outSQL(a.groupsSQL()), Rows: []string{a.new()}}
	if a.rows == nil {
		out.Like = a.new()
	}
	if a.emits == closedGroups {
		op.Steps = append(op.Steps, Step{Title: "closed groups", Effect: Expire, Table: a.closedTable(), State: a.state(),
			SQL: "WHERE " + a.closed(), Time: true})
		out.Rows = []string{a.closedTable()}
		if a.rows == nil {
			out.Like = a.closedTable()
		}
	}
	op.Steps = append(op.Steps, out)
	if a.emits != closedGroups && a.timed() {
		op.Steps = append(op.Steps, Step{Title: "free closed groups", Effect: Expire, State: a.state(),
			SQL: "WHERE " + a.closed(), Time: true})
	}
	a.notes(op)
	a.forget(op)
	if a.rows != nil && a.timed() {
		op.Steps = append(op.Steps, Step{Title: "free their rows", Effect: Delete, Table: a.kept(),
			SQL: "WHERE " + a.closed(), Time: true, Frees: true, Touch: a.kept() + " WHERE " + a.closed()})
	}
	return op
}

// notes say what emits and frees groups, and what is late.
func (a *aggregate) notes(op *Operator) {
	if !a.timed() {
		op.Notes = []string{"nothing frees the groups: the state grows with their number"}
		return
	}
	verb := "frees"
	if a.emits == closedGroups {
		verb = "emits and frees"
	}
	op.Notes = []string{fmt.Sprintf("%s a group when %s, %s", verb, a.closed(), a.time.note),
		"drops a row as late when " + a.entry.Late}
}

// Described returns the columns of a state table as DuckDB types them.
func (t StateTable) Described() []duck.Column {
	cols := make([]duck.Column, len(t.Columns))
	for i, c := range t.Columns {
		cols[i] = duck.Column{Name: c.Name, Type: c.Type}
	}
	return cols
}
