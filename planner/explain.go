package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Explain returns the plan as text: the operators, what is kept and what frees it, and the SQL of a batch,
// word
// for word.
func (p *Plan) Explain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "query %s, output mode %s\n", p.Query, p.Mode)
	p.explainTree(&b)
	p.explainState(&b)
	p.explainSQL(&b)
	return b.String()
}

func (p *Plan) explainTree(b *strings.Builder) {
	var visit func(n *Node, depth int)
	visit = func(n *Node, depth int) {
		if n == nil {
			return
		}
		pad := strings.Repeat("  ", depth)
		fmt.Fprintf(b, "%s%s\n", pad, n.Op)
		for _, d := range n.Detail {
			fmt.Fprintf(b, "%s  | %s\n", pad, d)
		}
		for _, c := range n.Below {
			visit(c, depth+1)
		}
	}
	visit(p.Root, 0)
	names := make([]string, len(p.Tables))
	for i, t := range p.Tables {
		names[i] = t.Name
	}
	if len(names) > 0 {
		fmt.Fprintf(b, "reference tables: %s\n", strings.Join(names, ", "))
	}
	if len(p.Keys) > 0 {
		keys := make([]string, len(p.Keys))
		for i, k := range p.Keys {
			keys[i] = p.Schema[k].Name
		}
		fmt.Fprintf(b, "rows are named by: %s\n", strings.Join(keys, ", "))
	}
	if p.UsesWatermark() {
		fmt.Fprintf(b, "watermark policy: %s\n", p.Policy)
	}
}

func (p *Plan) explainState(b *strings.Builder) {
	if p.Agg == nil {
		b.WriteString("state: none\n")
		return
	}
	for _, t := range p.StateTables() {
		fmt.Fprintf(b, "state table %s (%s)\n", t.Name, t.Definition())
	}
	switch {
	case p.Agg.Closed != "" && p.Mode == stream.Append:
		fmt.Fprintf(b, "emits and frees a group when %s, %s\n", p.Agg.Closed, p.Agg.Time.Note)
	case p.Agg.Closed != "":
		fmt.Fprintf(b, "frees a group when %s, %s\n", p.Agg.Closed, p.Agg.Time.Note)
	default:
		b.WriteString("nothing frees the groups: the state grows with their number\n")
	}
	if p.Agg.Late != "" {
		fmt.Fprintf(b, "drops a row as late when %s\n", p.Agg.Late)
	}
}

func (p *Plan) explainSQL(b *strings.Builder) {
	section := func(title, sql string) {
		if title != "" {
			fmt.Fprintf(b, "-- %s\n", title)
		}
		if sql != "" {
			fmt.Fprintf(b, "%s;\n", sql)
		}
	}
	for _, in := range p.Inputs {
		section("rows of "+in.Table, "CREATE OR REPLACE TEMP TABLE "+duck.QuoteIdent(in.Table)+
			" AS\nSELECT "+in.Select+"\nFROM (the batch's decoded rows, as Arrow)")
	}
	if p.Agg == nil {
		if p.Counted {
			section("result", "CREATE OR REPLACE TEMP TABLE "+resultTable+" AS\n"+p.Input)
		}
		section("output", p.Result)
		section("besides: counts of rows used, and of impossible event times", "")
		return
	}
	for _, s := range p.Agg.Steps(p) {
		section(s.Title, s.SQL)
	}
	section("output", p.Result)
	section("besides: counts of rows used and late and of impossible event times, and the keys that a state version needs", "")
}

// Step is one statement of a batch.
type Step struct {
	Title string
	SQL   string
	Name  string // which of the step constants
}

// The steps of an aggregate, in the order they run.
const (
	StepInput  = "input"
	StepBefore = "before"
	StepMerge  = "merge"
	StepDelete = "delete"
	StepInsert = "insert"
	StepRows   = "rows"
	StepOut    = "out"
	StepFree   = "free"
	StepForget = "forget"
)

// Steps returns the statements of a batch in order. Those of a batch without rows are StepOut, StepFree and
// StepForget.
func (a *Aggregate) Steps(p *Plan) []Step {
	create := func(table,
		sql string) string {
		return "CREATE OR REPLACE TEMP TABLE " + table + " AS\n" + sql
	}
	steps := []Step{{Name: StepInput, Title: "what the batch's rows add", SQL: create(a.In, p.Input)}}
	if p.Retracts {
		steps = append(steps, Step{Name: StepBefore, Title: "touched groups as they were",
			SQL: create(a.Out, a.Before)})
	}
	steps = append(steps, Step{Name: StepMerge, Title: "touched groups, merged", SQL: create(a.New, a.Merge)})
	remove := "DELETE FROM " + a.Table
	if len(a.Keys) > 0 {
		remove += " s USING " + a.New + " n WHERE " + a.sameKeys("s", "n")
	}
	steps = append(steps,
		Step{Name: StepDelete, Title: "replace them", SQL: remove},
		Step{Name: StepInsert, Title: "", SQL: "INSERT INTO " + a.Table + " FROM " + a.New})
	if a.Rows != nil {
		steps = append(steps, Step{Name: StepRows, Title: "keep the rows",
			SQL: "INSERT INTO " + a.Rows.Table + " " + a.Rows.Append})
	}
	steps = append(steps, Step{Name: StepOut, Title: "groups to emit", SQL: create(a.Out, a.OutSQL)})
	if a.Closed != "" {
		steps = append(steps, Step{Name: StepFree, Title: "free closed groups",
			SQL: "DELETE FROM " + a.Table + " WHERE " + a.Closed})
		if a.Rows != nil {
			steps = append(steps, Step{Name: StepForget, Title: "and their rows",
				SQL: "DELETE FROM " + a.Rows.Table + " WHERE " + a.Closed})
		}
	}
	return steps
}
