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
	for i := range p.Inputs {
		if in := &p.Inputs[i]; len(in.Unread) > 0 {
			what := "checked only"
			if p.Sources[i].Parquet() {
				what = "left in the files"
			}
			fmt.Fprintf(b, "columns of %s that are %s: %s\n", in.Table, what, strings.Join(in.Unread, ", "))
		}
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

// explainSQL prints every statement, word for word and in order; what may stand in the place of one follows at the end.
func (p *Plan) explainSQL(b *strings.Builder) {
	list := p.Statements()
	fmt.Fprintf(b, "-- what runs, in order: $name stands for what varies, %s for the view over a table's Arrow records\n", passingView)
	title := ""
	for _, s := range list {
		switch {
		case s.Title != "" && s.When != "":
			fmt.Fprintf(b, "-- %s, when %s\n", s.Title, s.When)
		case s.Title != "":
			fmt.Fprintf(b, "-- %s\n", s.Title)
		}
		if s.SQL != "" {
			fmt.Fprintf(b, "%s;\n", s.SQL)
		}
	}
	for _, s := range list {
		if s.Title != "" {
			title = s.Title
		}
		for _, o := range s.Instead {
			fmt.Fprintf(b, "-- in the place of %q, when %s\n", title, o.When)
			for _, sql := range o.SQL {
				fmt.Fprintf(b, "%s;\n", sql)
			}
		}
	}
}

// ResultSQL is Result with the tables that are lent to it.
func (p *Plan) ResultSQL(with []string) string {
	if p.staged() {
		return p.Result // they are lent to Input
	}
	return duck.WithSQL(p.WithSQL(with), p.Result)
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
	var match, alike []string
	for i, c := range p.Schema {
		n := duck.QuoteIdent(c.Name)
		cols[i] = "a." + n
		alike = append(alike, "b."+n+" IS NOT DISTINCT FROM a."+n)
		gone[i] = "CAST(NULL AS " + c.Type + ") AS " + n
		if slices.Contains(p.Keys, i) {
			gone[i] = "b." + n
			match = append(match, "b."+n+" IS NOT DISTINCT FROM a."+n)
		}
	}
	after := AfterTable + " a"
	switch {
	case p.Changed && len(p.Keys) > 0: // no two rows of one of the tables are alike
		after = AfterTable + " a ANTI JOIN " + BeforeTable + " b ON " + strings.Join(alike, " AND ")
	case p.Changed:
		after = "(FROM " + AfterTable + " EXCEPT ALL FROM " + BeforeTable + ") a"
	}
	on := "true"
	if len(match) > 0 {
		on = strings.Join(match, " AND ")
	}
	return "SELECT " + strings.Join(cols, ", ") + ", '" + stream.OpUpsert + "' AS " + stream.OpColumn +
		" FROM " + after + " UNION ALL SELECT " +
		strings.Join(gone, ", ") + ", '" + stream.OpDelete + "' FROM " + BeforeTable + " b ANTI JOIN " + AfterTable + " a ON " + on
}
