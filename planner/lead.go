package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/stream"
)

// A SELECT that keeps one row of each partition, the first by row_number(), needs no more of its state than that row, as
// long as rows are only added: one that comes takes its place or is forgotten. The row is kept by key outside DuckDB.

// lead is the order in which one row of each partition comes first.
type lead struct {
	order []keyed.Order // by columns of the state, the position last
	by    []string      // the same for the layout
	alone func() bool   // the rows are those of the one source, and enter nowhere else
}

// findLead returns the order of a SELECT that keeps the first row of each partition by one rank, or nil if it is another
// one. Expressions of the order become columns of the part.
func (c *compiler) findLead(o *partitioned, node tree, s *scope) (*lead, error) {
	rank, op, limit := rankLimit(node, s)
	p := o.parts[0]
	if op == "COMPARE_LESSTHAN" {
		limit--
	}
	if limit != 1 || !strings.EqualFold(rank.str("function_name"), "row_number") || o.emits == allGroups ||
		!s.main.single || s.main.posType != "" || s.main.collated || collated(rank) != nil || !p.keptByKey(rank) {
		return nil, nil
	}
	orders := rank.trees("orders")
	orders = orders[:len(orders)-len(s.tieBreaks())]
	names, err := c.leadColumns(p, s, orders)
	if names == nil || err != nil {
		return nil, err
	}
	p.keysFirst()
	l := &lead{alone: func() bool { return len(c.sources) == 1 && !c.shared() }}
	for i, name := range names {
		at := slices.IndexFunc(p.columns, func(col Column) bool { return strings.EqualFold(col.Name, name) })
		by := keyed.Order{Column: at, Descending: strings.HasPrefix(orders[i].str("type"), "DESC"),
			NullsFirst: orders[i].str("null_order") == "NULLS_FIRST"}
		l.order, l.by = append(l.order, by), append(l.by, p.columns[at].Expr+orderWords(by))
	}
	l.order = append(l.order, keyed.Order{Column: len(p.columns)})
	return l, p.render(c, s)
}

// orderWords are what stands behind an expression in ORDER BY.
func orderWords(o keyed.Order) string {
	words := ""
	if o.Descending {
		words = " DESC"
	}
	if o.NullsFirst {
		words += " NULLS FIRST"
	}
	return words
}

// keptByKey reports whether the rows may be kept by the partition of a rank. A month and 30 days, which are equal and one
// group, are two partitions.
func (p *part) keptByKey(rank tree) bool {
	seen := map[string]bool{}
	for _, key := range p.keys {
		seen[strings.ToLower(key)] = true
		if strings.Contains(p.typeOf(key), "INTERVAL") {
			return false
		}
	}
	for _, col := range p.columns {
		if !duck.LentAsIs(col.Type) {
			return false
		}
	}
	timed := p.timed == "" || strings.HasPrefix(p.typeOf(p.timed), "TIMESTAMP")
	return timed && len(p.keys) > 0 && len(seen) == len(p.keys) && len(rank.trees("partitions")) == len(p.keys)
}

// leadColumns returns the kept columns that rows are put in order by; expressions become some. It returns nil where what
// comes first is for DuckDB to say.
func (c *compiler) leadColumns(p *part, s *scope, orders []tree) ([]string, error) {
	names := []string{}
	var items []any
	var columns []Column
	for i, o := range orders {
		e := o.sub("expression")
		cols, err := c.typesOf(e, p.from)
		if err != nil || !s.own(e) || !ordered(cols[0].Type) || Mentions(fmt.Sprint(e), "getvariable") {
			return nil, nil //nolint:nilerr // what is wrong with it shows itself where the whole SELECT is bound
		}
		if _, name := s.lookup(e); name != "" {
			names = append(names, name)
			continue
		}
		sql, err := c.exprSQL(e)
		if err != nil {
			return nil, err
		}
		item, name := clone(e), fmt.Sprintf("__o%d", i+1)
		item["alias"] = name
		items = append(items, item)
		columns = append(columns, Column{Column: stream.Column{Name: name, Type: cols[0].Type}, Expr: sql})
		names = append(names, name)
	}
	p.items, p.columns = append(p.items, items...), append(p.columns, columns...)
	return names, nil
}

// ordered reports whether a keyed store puts values of a type into the order that DuckDB does.
func ordered(typ string) bool {
	switch typ {
	case "BOOLEAN", "FLOAT", "DOUBLE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "VARCHAR", "BLOB":
		return true
	}
	return wholeNumber(typ) && typ != "HUGEINT" && typ != "UHUGEINT" ||
		strings.HasPrefix(typ, "DECIMAL(") && !strings.HasSuffix(typ, "]")
}

// keysFirst puts the columns of the partition before the others, in their own order.
func (p *part) keysFirst() {
	var items []any
	var columns []Column
	for _, key := range p.keys {
		at := slices.IndexFunc(p.columns, func(col Column) bool { return strings.EqualFold(col.Name, key) })
		items, columns = append(items, p.items[at]), append(columns, p.columns[at])
		p.items, p.columns = slices.Delete(p.items, at, at+1), slices.Delete(p.columns, at, at+1)
	}
	p.items, p.columns = append(items, p.items...), append(columns, p.columns...)
}

func (o *partitioned) known() string       { return fmt.Sprintf("__known%d", o.n) }
func (o *partitioned) new() string         { return fmt.Sprintf("__new%d", o.n) }
func (o *partitioned) closedTable() string { return fmt.Sprintf("__closed%d", o.n) }

// leadOperator is the operator over rows that are kept by key.
func (o *partitioned) leadOperator(old bool) *Operator {
	p, table := o.parts[0], o.leadTable()
	op := &Operator{Name: fmt.Sprintf("%s %d", o.what, o.n), Tables: []StateTable{table}, Timed: p.timed != "",
		Notes: []string{"keeps one row of each partition, the first"}}
	op.Holds = append(p.holds(), "  first by "+strings.Join(append(o.lead.by, "arrival"), ", "))
	op.Layout = append([]string{o.what + " " + table.Name + ", one row for each of " + strings.Join(p.keys, ", ")}, op.Holds...)
	if p.timed != "" {
		op.Layout = append(op.Layout, "  freed by "+p.mark.closes(duck.QuoteIdent(p.timed)))
	}
	op.Steps = o.leadSteps(old)
	from, title := o.new(), "what the partitions that have changed give now"
	expire := Step{Title: "free closed rows", Effect: Expire, State: table.Name, Time: true}
	if p.timed != "" {
		expire.SQL = "WHERE " + p.closes()
	}
	if o.emits == closedGroups {
		from, title = o.closedTable(), "what the closed partitions give"
		expire.Title, expire.Table = "closed rows", from
		op.Steps = append(op.Steps, expire)
	}
	op.Steps = append(op.Steps, Step{Title: title, Table: outTable(o.n), SQL: o.overRows("FROM " + from),
		Rows: []string{from}, Like: from})
	if p.timed == "" {
		op.Notes = append(op.Notes, "nothing frees the rows in "+table.Name+": the state grows with the number of partitions")
		return op
	}
	op.Notes = append(op.Notes, fmt.Sprintf("frees a row of %s when %s, %s", table.Name, p.closes(), p.mark.note()),
		"drops a row as late when "+p.entry.Late)
	if o.emits != closedGroups {
		op.Steps = append(op.Steps, expire)
	}
	return op
}

func (o *partitioned) leadTable() StateTable {
	p := o.parts[0]
	t := p.table()
	t.Keyed, t.Keys = true, nil
	for _, col := range p.columns[:len(p.keys)] {
		t.Keys = append(t.Keys, col.Name)
	}
	if p.timed != "" {
		t.Time, t.Ahead = p.timed, p.mark.ahead()
		if o.emits == closedGroups {
			t.Waits = "true"
		}
	}
	return t
}

// leadSteps bring the kept rows up to date: in one statement where the rows that come can be counted by it, since none is
// late, and nobody wants to know what was there before.
func (o *partitioned) leadSteps(old bool) []Step {
	p := o.parts[0]
	fold := Step{Title: "the first of each partition", Effect: Fold, State: p.kept(), Order: o.lead.order}
	if o.emits == touchedGroups {
		fold.Table = o.new()
	}
	once := fold
	once.Rows, once.SQL = p.rel.tables, p.input
	if live := p.live(); live != "" {
		once.SQL = "FROM (\n" + p.input + "\n)" + live
	}
	counted := p.entry.Raw && o.lead.alone() && !old
	if counted {
		once.Entry = &p.entry
	}
	if !old && !p.entry.Raw || counted && p.entry.Late == "" {
		return []Step{once}
	}
	steps := p.read()
	fold.Rows, fold.SQL = []string{p.in()}, "FROM "+p.in()+p.live()
	if old {
		steps = append(steps, Step{Title: "touched partitions as they are", Effect: Lookup, Table: o.known(), State: p.kept(),
			SQL: "SELECT DISTINCT " + list(p.quotedKeys("")) + " FROM " + p.in() + p.live(), Rows: []string{p.in()}})
	}
	steps = append(steps, fold)
	if old {
		steps = append(steps, Step{Title: "what those that have changed gave", Table: oldTable(o.n), Rows: []string{o.known()},
			SQL: o.overRows("SELECT r.* FROM " + o.known() + " r SEMI JOIN " + o.new() + " t ON " + o.sameKeys())})
	}
	if !counted {
		return steps
	}
	for i := range steps {
		steps[i].When = Delayed
	}
	once.When = Punctual
	return append([]Step{once}, steps...)
}

// overRows is the operator's SELECT over rows of the state.
func (o *partitioned) overRows(rows string) string {
	return replaceName(o.sql, o.parts[0].name(), "("+rows+")")
}

func (p *part) quotedKeys(prefix string) []string {
	out := make([]string, len(p.keys))
	for i, key := range p.keys {
		out[i] = prefix + duck.QuoteIdent(key)
	}
	return out
}

func (o *partitioned) sameKeys() string {
	l, r := o.parts[0].quotedKeys("r."), o.parts[0].quotedKeys("t.")
	parts := make([]string, len(l))
	for i := range l {
		parts[i] = l[i] + " IS NOT DISTINCT FROM " + r[i]
	}
	return strings.Join(parts, " AND ")
}
