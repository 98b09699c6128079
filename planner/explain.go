package planner

import (
	"fmt"
	"slices"
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
	if len(p.Ops) == 0 {
		b.WriteString("state: none\n")
	}
	for _, op := range p.Ops {
		for _, t := range op.Tables {
			fmt.Fprintf(b, "state table %s (%s), about %d bytes a row\n", t.Name, t.Definition(), t.RowBytes())
		}
		for _, n := range op.Notes {
			fmt.Fprintf(b, "%s\n", n)
		}
	}
	for _, w := range p.Warnings {
		fmt.Fprintf(b, "warning: %s\n", w)
	}
}

// explainSQL prints every statement that a batch may run, in order.
func (p *Plan) explainSQL(b *strings.Builder) {
	section := func(title, sql string) {
		if title != "" {
			fmt.Fprintf(b, "-- %s\n", title)
		}
		if sql != "" {
			fmt.Fprintf(b, "%s;\n", sql)
		}
	}
	for i := range p.Inputs {
		p.Inputs[i].explain(i, section)
	}
	if p.Shared {
		section("what becomes of each row", ShareTableSQL)
	}
	for _, op := range p.Ops {
		fmt.Fprintf(b, "-- %s:\n", op.Name)
		for _, s := range op.Steps {
			p.explainStep(op, s, section)
		}
	}
	p.explainOutput(section)
}

func (p *Plan) explainStep(op *Operator, s Step, section func(title, sql string)) {
	if s.Effect == Count {
		if s.Entry.Raw {
			section(s.Title, s.Entry.CountSQL(len(p.Inputs)))
			if p.Shared {
				section("note them", s.Entry.ShareSQL())
			} else if s.Entry.Late != "" {
				section("the late rows, if there are any", s.Entry.LateSQL())
			}
		}
		return
	}
	t := op.table(s.Table)
	touch := t != nil && s.Touch != "" && len(t.Keys) > 0
	if touch && s.Effect == Delete {
		section("remember the changed keys for the next state version", t.TouchSQL(s.Touch))
	}
	section(s.Title, s.Statement())
	if touch && s.Effect == Insert {
		section("remember the changed keys for the next state version", t.TouchSQL(s.Touch))
	}
}

func (p *Plan) explainOutput(section func(title, sql string)) {
	if p.Shared {
		section("count them", SharedSQL)
	}
	if len(p.Ops) == 0 && p.Counted {
		section("result", "CREATE OR REPLACE TEMP TABLE "+resultTable+" AS\n"+p.Input)
	}
	if p.Retracts {
		section("the result as it was", "CREATE OR REPLACE TEMP TABLE __before AS\n"+p.Before)
		section("the result as it is", "CREATE OR REPLACE TEMP TABLE __after AS\n"+p.Result)
		section("output", p.RetractSQL())
	} else {
		section("output", p.Result)
	}
	if len(p.Ops) == 0 && p.Counted {
		section("rows used", p.UsedSQL())
	}
}

// UsedSQL counts, for each source, the rows that are in the result of a plan without operators.
func (p *Plan) UsedSQL() string {
	items := make([]string, len(p.Inputs))
	for i := range p.Inputs {
		items[i] = fmt.Sprintf("count(DISTINCT %s)", PosColumn)
		if len(p.Inputs) > 1 {
			items[i] += fmt.Sprintf(" FILTER (WHERE %s >= %s AND %s < %s)", PosColumn, getVariable(VarFirst(i)), PosColumn,
				getVariable(VarFirst(i+1)))
		}
	}
	return "SELECT " + strings.Join(items, ",\n  ") + "\nFROM " + resultTable
}

// RetractSQL gives the rows as they are now, and the keys of those that are no more.
func (p *Plan) RetractSQL() string {
	cols := make([]string, len(p.Schema))
	gone := make([]string, len(p.Schema))
	var match []string
	for i, c := range p.Schema {
		n := duck.QuoteIdent(c.Name)
		cols[i] = n
		gone[i] = "CAST(NULL AS " + c.Type + ") AS " + n
		if slices.Contains(p.Keys, i) {
			gone[i] = "b." + n
			match = append(match, "b."+n+" IS NOT DISTINCT FROM a."+n)
		}
	}
	after := "__after"
	if p.Changed {
		after = "(FROM __after EXCEPT ALL FROM __before)"
	}
	on := "true"
	if len(match) > 0 {
		on = strings.Join(match, " AND ")
	}
	return "SELECT " + strings.Join(cols, ", ") + ", '" + stream.OpUpsert + "' AS " + stream.OpColumn +
		" FROM " + after + " UNION ALL SELECT " +
		strings.Join(gone, ", ") + ", '" + stream.OpDelete + "' FROM __before b ANTI JOIN __after a ON " + on
}
