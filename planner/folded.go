package planner

import (
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
)

// RowsColumn counts the rows behind a group's partials, of an entry that is counted by its groups.
const RowsColumn = "__n"

// merges returns how the keyed state itself merges each partial, or nil: then DuckDB does. Arguments that are kept, and
// what the groups were before the batch, need the touched groups in DuckDB anyway.
func (a *aggregate) merges(old bool) []keyed.Merge {
	if a.rows != nil || old {
		return nil
	}
	out := make([]keyed.Merge, len(a.partials))
	for i, p := range a.partials {
		if p.fold == keyed.NoMerge {
			return nil
		}
		out[i] = p.fold
	}
	return out
}

// foldedSteps merge the batch's rows with the groups, which never come to DuckDB for it. Where rows can be counted by
// their groups, since none is late and none comes twice, one statement is all.
func (a *aggregate) foldedSteps(how []keyed.Merge) []Step {
	at, counted := !a.entry.Raw, a.entry.Raw && (!a.entry.Many || a.entry.Unique != nil) && a.alone()
	if len(a.seen) > 0 { // the rows are read several times
		at, counted = false, false
	}
	fold := Step{Title: "touched groups, merged", Effect: Fold, State: a.state(), Merges: how}
	if a.emits == touchedGroups {
		fold.Table = a.new()
	}
	once := fold
	once.Rows = a.from
	once.SQL = duck.WithSQL([]string{duck.QuoteIdent(a.in) + " AS (\n" + a.input + "\n)"}, a.deltaSQL(counted))
	if counted {
		once.Entry = &a.entry
	}
	apart := fold
	apart.Rows, apart.SQL = []string{a.in}, a.deltaSQL(false)
	steps := []Step{{Title: "what the batch's rows add", Table: a.in, SQL: a.input, Rows: a.from},
		{Title: "which of them are used and late", Effect: Count, Entry: &a.entry, Rows: []string{a.in}}}
	steps = append(append(steps, a.seenSteps()...), apart)
	switch {
	case at || counted && a.entry.Late == "" && !a.entry.Many:
		return []Step{once}
	case !counted:
		return steps
	}
	for i := range steps {
		steps[i].When = Delayed
	}
	once.When = Punctual
	return append([]Step{once}, steps...)
}

// deltaSQL aggregates the batch's rows by group: what they add to the groups, and how many of them there are: where
// they are counted none is late.
func (a *aggregate) deltaSQL(counted bool) string {
	if a.panes != nil {
		return a.panesSQL(counted, false)
	}
	keys := a.keyNames("")
	var merged []string
	for _, p := range a.partials {
		merged = append(merged, p.merge+" AS "+duck.QuoteIdent(p.Name))
	}
	if counted {
		merged = append(merged, "count(*) AS "+RowsColumn)
	}
	return "SELECT " + list(keys, merged) + "\nFROM " + a.adds(counted) + "\nGROUP BY " + strings.Join(keys, ", ")
}
