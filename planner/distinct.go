package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/stream"
)

// seen is a keyed state with the values of one argument that count(DISTINCT …) has counted, by group: the group's keys,
// the value, and a bit for each FILTER under which it was. What a batch brings that was not there is added to the
// groups as rows are, so that a batch costs what its rows cost and not what the groups hold.
type seen struct {
	state, fresh string // the state, and the table of a batch's rows of it with the bits that are new
	arg          Column // of the batch's rows
	mask         string // likewise: its name
	filters      []string
	partials     []string // the partial column that counts what has the bit of each filter
}

const (
	seenMax    = 62 // bits of a BIGINT, less its sign
	seenValue  = "__d"
	seenBits   = "__m"
	countMerge = "CAST(coalesce(sum(%s), 0) AS BIGINT)"
)

// distinct keeps count(DISTINCT x) by the values that were seen, if the groups are kept by key.
func (g *grouping) distinct(name string, args []string, filter string, f *value) (bool, error) {
	if !g.sees || name != "count" || len(args) != 1 {
		return false, nil
	}
	cols, err := g.c.describe("SELECT " + args[0] + g.fromSQL)
	if err != nil {
		return false, err
	}
	typ := cols[0].Type
	if manyFaced(typ) || inexact(typ) || strings.Contains(typ, "STRUCT(") {
		return false, nil
	}
	if filter == "" {
		filter = "true"
	}
	set := g.seenOf(args[0], typ)
	for i, known := range set.filters {
		if known == filter {
			f.expr = "g." + duck.QuoteIdent(set.partials[i])
			return true, nil
		}
	}
	partialName := fmt.Sprintf("__p%d", len(g.a.partials)+1)
	g.a.partials = append(g.a.partials, partial{
		Column: Column{Column: stream.Column{Name: partialName, Type: "BIGINT"}, Expr: countedAs(args[0], filter)}, init: "CAST(0 AS BIGINT)", merge: fmt.Sprintf(countMerge, duck.QuoteIdent(partialName)), fold: keyed.Sum, counts: true})
	set.filters, set.partials = append(set.filters, filter), append(set.partials, partialName)
	f.expr = "g." + duck.QuoteIdent(partialName)
	return true, nil
}

// inexact reports whether the state, whose rows are Arrow's, can not hold every value of a type as it is.
func inexact(typ string) bool {
	for _, part := range []string{"TIMESTAMP_", "HUGEINT", "UNION("} {
		if strings.Contains(typ, part) {
			return true
		}
	}
	return false
}

func countedAs(arg, filter string) string {
	if filter == "true" {
		return "count(DISTINCT " + arg + ")"
	}
	return "count(DISTINCT " + arg + ") FILTER (" + filter + ")"
}

// seenOf returns the state of an argument that has a bit left.
func (g *grouping) seenOf(arg, typ string) *seen {
	for _, s := range g.a.seen {
		if s.arg.Expr == arg && len(s.filters) < seenMax {
			return s
		}
	}
	n := len(g.a.seen) + 1
	s := &seen{state: fmt.Sprintf("__seen%d_%d", g.a.n, n), fresh: fmt.Sprintf("__fresh%d_%d", g.a.n, n),
		mask: fmt.Sprintf("%s%d", seenBits, n),
		arg:  Column{Column: stream.Column{Name: fmt.Sprintf("%s%d", seenValue, n), Type: typ}, Expr: arg}}
	g.a.seen = append(g.a.seen, s)
	return s
}

// ordered reports whether a partial takes rows in their order, in which what new values add has no place.
func (a *aggregate) ordered() bool {
	return slices.ContainsFunc(a.partials, func(p partial) bool { return strings.Contains(p.merge, "ORDER BY") })
}

// items are what the batch's rows have beside keys and partials.
func (s *seen) items() []string {
	bits := make([]string, len(s.filters))
	for i, filter := range s.filters {
		bits[i] = fmt.Sprintf("CASE WHEN %s THEN %d ELSE 0 END", filter, int64(1)<<i)
	}
	return []string{s.arg.Expr + " AS " + s.arg.Name, "CAST(" + strings.Join(bits, " + ") + " AS BIGINT) AS " + s.mask}
}

// table is the state table.
func (s *seen) table(a *aggregate) StateTable {
	t := StateTable{Name: s.state, Kind: "values", Closes: a.closes(), Keyed: true}
	if a.timed() {
		t.Time, t.Ahead = a.time.key, a.time.mark.ahead()
	}
	for _, k := range a.keys {
		t.Columns, t.Keys = append(t.Columns, k), append(t.Keys, k.Name)
	}
	t.Columns = append(t.Columns, Column{Column: stream.Column{Name: seenValue, Type: s.arg.Type}, Expr: s.arg.Expr},
		Column{Column: stream.Column{Name: seenBits, Type: "BIGINT"}})
	t.Keys = append(t.Keys, seenValue)
	return t
}

// holds says what the state has, for the layout.
func (s *seen) holds() []string {
	lines := make([]string, len(s.filters))
	for i, filter := range s.filters {
		lines[i] = fmt.Sprintf("  seen %s bit %d, counted in %s: %s where %s", s.state, i, s.partials[i], s.arg.Expr, filter)
	}
	return lines
}

// step finds what of a batch was not seen before.
func (s *seen) step(a *aggregate) Step {
	keys := append(a.keyNames(""), s.arg.Name)
	return Step{Title: "values that their groups have not seen", Effect: Admit, Table: s.fresh, State: s.state,
		Rows: []string{a.in},
		SQL: "SELECT " + strings.Join(a.keyNames(""), ", ") + ", " + s.arg.Name + " AS " + seenValue + ", bit_or(" + s.mask +
			") AS " + seenBits + "\nFROM " + a.in + a.live() + "\nGROUP BY " + strings.Join(keys, ", ") +
			"\nHAVING " + s.arg.Name + " IS NOT NULL AND bit_or(" + s.mask + ") <> 0"}
}

// added selects what the values that are new add to the groups, in the columns of the batch's rows.
func (s *seen) added(a *aggregate) string {
	items := a.keyNames("")
	for _, p := range a.partials {
		item := "CAST(NULL AS " + p.Type + ")"
		for bit, name := range s.partials {
			if name == p.Name {
				item = fmt.Sprintf("(%s >> %d) & 1", seenBits, bit)
			}
		}
		items = append(items, item+" AS "+duck.QuoteIdent(p.Name))
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + s.fresh + " WHERE " + seenBits + " <> 0"
}

// seenSteps find what of a batch its groups have not seen.
func (a *aggregate) seenSteps() []Step {
	steps := make([]Step, len(a.seen))
	for i, s := range a.seen {
		steps[i] = s.step(a)
	}
	return steps
}

// forget lets the values of closed groups go.
func (a *aggregate) forget(op *Operator) {
	if !a.timed() {
		return
	}
	for _, s := range a.seen {
		op.Steps = append(op.Steps, Step{Title: "free the values that they have seen", Effect: Expire, State: s.state,
			SQL: "WHERE " + a.closed(), Time: true})
	}
}

// adds are all rows that a batch adds to the groups, with keys and partials: its own, and what new values add. None of them
// is late if punctual.
func (a *aggregate) adds(punctual bool) string {
	own := a.in + a.alive(punctual)
	if len(a.seen) == 0 {
		return own
	}
	columns := a.keyNames("")
	for _, p := range a.partials {
		columns = append(columns, duck.QuoteIdent(p.Name))
	}
	parts := []string{"SELECT " + strings.Join(columns, ", ") + " FROM " + own}
	for _, s := range a.seen {
		parts = append(parts, s.added(a))
	}
	return "(\n  " + strings.Join(parts, "\n  UNION ALL\n  ") + "\n)"
}
