package planner

import (
	"fmt"
	"math"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// limited passes the first rows of a query's whole life, in the order in which they come, and counts them in one row
// of state.
type limited struct {
	n     int
	rel   *relation
	input string
	entry Entry
	skip  int64
	last  int64 // number of the last row that passes; -1: every one after skip
}

// limit compiles LIMIT and OFFSET over rows that are only added.
func (c *compiler) limit(cut *cuts, node tree, rel *relation) (tree, *relation, error) {
	m := cut.limit
	if rel.change || !rel.pos || cut.top && c.mode() == stream.Update {
		return nil, nil, c.errAt(diag.LimitUnsupported, m,
			"LIMIT can not be used here in output mode %s: which rows are the first would change", c.appMode()).
			WithHint("use OUTPUT MODE APPEND for the first rows to come, or aggregate and use OUTPUT MODE COMPLETE")
	}
	most, err := c.constantCount("LIMIT", m.sub("limit"))
	if err != nil {
		return nil, nil, err
	}
	skip, err := c.constantCount("OFFSET", m.sub("offset"))
	if err != nil {
		return nil, nil, err
	}
	o := &limited{n: len(c.ops) + 1, rel: rel, skip: max(0, skip), last: -1}
	if most >= 0 {
		o.last = most
		if o.last > math.MaxInt64-o.skip {
			o.last = math.MaxInt64
		} else {
			o.last += o.skip
		}
	}
	if o.input, err = c.cutRows(node, rel, "LIMIT"); err != nil {
		return nil, nil, err
	}
	o.entry = Entry{Table: inTable(o.n), Raw: rel.raw, Many: !rel.single}
	c.add(o, rel)
	c.nulls = union(c.nulls, rel.nulls)
	out := rel.cut(o.n, o.title())
	top, err := c.outOf(o.n, out)
	return top, out, err
}

func (o *limited) title() string {
	title := "the first rows"
	if o.last >= 0 {
		title = fmt.Sprintf("the first %d rows", o.last-o.skip)
	}
	if o.skip > 0 {
		title += fmt.Sprintf(" after %d", o.skip)
	}
	return title
}

func (o *limited) state() string { return fmt.Sprintf("__limit%d", o.n) }

// seenMax is where counting ends: what comes later makes no difference.
func (o *limited) seenMax() int64 {
	if o.last < 0 {
		return o.skip
	}
	return o.last
}

func (o *limited) operator(bool) *Operator {
	in, state, counted := inTable(o.n), o.state(), fmt.Sprintf("__new%d", o.n)
	before := "coalesce((SELECT seen FROM " + state + "), 0)"
	number := "row_number() OVER (ORDER BY " + PosColumn + ")"
	if o.rel.needsNumber() {
		number = "__n"
	}
	passes := []string{}
	if o.skip > 0 {
		passes = append(passes, fmt.Sprintf("__row > %d", o.skip))
	}
	if o.last >= 0 {
		passes = append(passes, fmt.Sprintf("__row <= %d", o.last))
	}
	if len(passes) == 0 {
		passes = append(passes, "true")
	}
	rows := []string{in}
	cols := list(quoteAll(o.rel.columnNames()), []string{PosColumn})
	return &Operator{Name: fmt.Sprintf("limit %d", o.n),
		Tables: []StateTable{{Name: state, Logical: true, Kind: "counters",
			Columns: []Column{{Column: stream.Column{Name: "seen", Type: "BIGINT"}}}}},
		Layout: []string{"limit " + state, "  " + o.title()},
		Notes:  []string{"lets " + o.title() + " of the query's life pass"},
		Steps: []Step{
			{Title: "rows that come", Table: in, SQL: o.input, Rows: o.rel.tables},
			{Title: "which of them are used", Effect: Count, Entry: &o.entry, Rows: rows},
			{Title: "those that pass", Table: outTable(o.n), Rows: rows,
				SQL: "SELECT " + cols + "\nFROM (SELECT *, " + number + " + " + before + " AS __row FROM " + in +
					")\nWHERE " + strings.Join(passes, " AND ")},
			{Title: "how many rows have come", Table: counted, Rows: rows,
				SQL: fmt.Sprintf("SELECT least(%d, %s + count(*)) AS seen FROM %s", o.seenMax(), before, in)},
			{Effect: Delete, Table: state, Rows: rows},
			{Effect: Insert, Table: state, SQL: "FROM " + counted, Rows: rows},
		}}
}
