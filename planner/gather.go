package planner

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// Gather is another way to the rows of Result, where these are columns of rows that a join keeps: which of them a row is made
// of is found and put in order by their positions alone, what they hold is read once, and the rows are put together outside of
// DuckDB. It costs a few statements more and saves joining, sorting and reading wide rows, in which one value stands many times.
type Gather struct {
	Pairs   string // SELECT of the positions of what each row is made of
	Sides   []GatherSide
	Columns []duck.Taken // of the result
}

// GatherSide is a state table whose rows a join gives.
type GatherSide struct {
	Table   string
	Tie     string        // the column of Pairs that has the position
	Columns []duck.Column // the position, and what the result has of the table
}

// PairsTable holds the rows of Pairs while they are looked up. The statements of a Gather are those that make it, read it, and
// drop it, and one for each side.
const (
	PairsTable   = "__pairs"
	DropPairsSQL = "DROP TABLE " + PairsTable
)

// MakeSQL makes the table.
func (g *Gather) MakeSQL() string {
	return "CREATE OR REPLACE TEMP TABLE " + PairsTable + " AS\n" + g.Pairs
}

// PairsSQL reads it, a column for each side, in the order of the result.
func (g *Gather) PairsSQL() (string, []duck.Column) {
	var ties []string
	var cols []duck.Column
	for _, s := range g.Sides {
		ties, cols = append(ties, s.Tie), append(cols, duck.Column{Name: s.Tie, Type: "BIGINT"})
	}
	list := strings.Join(ties, ", ")
	return "SELECT " + list + " FROM " + PairsTable + " ORDER BY " + PosColumn + ", " + list, cols
}

// SQL reads the rows of a side that are needed.
func (s *GatherSide) SQL() string {
	names := make([]string, len(s.Columns))
	for i, col := range s.Columns {
		names[i] = duck.QuoteIdent(col.Name)
	}
	return "SELECT " + strings.Join(names, ", ") + " FROM " + s.Table + " WHERE " + PosColumn + " IN (SELECT " + s.Tie + " FROM " +
		PairsTable + ")"
}

// Statements are those of a Gather, in order.
func (g *Gather) Statements() []string {
	pairs, _ := g.PairsSQL()
	out := []string{g.MakeSQL(), pairs}
	for i := range g.Sides {
		out = append(out, g.Sides[i].SQL())
	}
	return append(out, DropPairsSQL)
}

// gather is the Gather of a query over a join, whose select list begins with the columns of the result; nil where one of these
// is more than a column of a source, or of a type that can not be put together.
func (c *compiler) gather(top tree, j *streamJoin, columns []duck.Column) (*Gather, error) {
	g, all := &Gather{}, top.list("select_list")
	for _, l := range j.origins() {
		g.Sides = append(g.Sides, GatherSide{Table: l.side.state(l.n), Tie: l.tie(),
			Columns: []duck.Column{{Name: PosColumn, Type: "BIGINT"}}})
	}
	for n, item := range all[:len(columns)] {
		t := asTree(item)
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || len(names) != 2 {
			return nil, nil //nolint:nilnil // there is none
		}
		l, col := j.leaf(names[1])
		if l.side == nil || !duck.Takes(col.typ) {
			return nil, nil //nolint:nilnil // likewise
		}
		i := slices.Index(j.origins(), l)
		g.Columns = append(g.Columns, duck.Taken{Name: columns[n].Name, Side: i, Column: g.Sides[i].column(col)})
	}
	narrow := clone(top)
	narrow["select_list"] = all[len(columns):]
	sql, err := c.render(narrow)
	g.Pairs = c.chain(sql)
	return g, err
}

// column returns the number of a column, which is read from then on.
func (s *GatherSide) column(col joinColumn) int {
	if i := slices.IndexFunc(s.Columns, func(c duck.Column) bool { return c.Name == col.name }); i >= 0 {
		return i
	}
	s.Columns = append(s.Columns, duck.Column{Name: col.name, Type: col.typ})
	return len(s.Columns) - 1
}
