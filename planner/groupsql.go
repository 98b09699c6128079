package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/stream"
)

// aggregate is a GROUP BY that keeps one row of state per group: partial columns that merge, and the argument rows
// of calls whose partials do not.
type aggregate struct {
	n        int      // number of the operator
	in       string   // temporary table of the batch's rows
	above    string   // the type of their positions
	entry    Entry    // those rows, for counting
	from     []string // the tables whose rows make them
	input    string   // SELECT of them
	keys     []Column // __k1 ...; Expr is what they are computed from
	partials []partial
	rows     *keptRows // what aggregates that do not merge need, or nil
	seen     []*seen   // what count(DISTINCT …) has counted
	time     *timeKey  // which key closes a group; nil when nothing does
	values   []value   // __a1 ...: the aggregates' values from the partials
	emits    groups
	numbered bool        // the emitted groups carry __pos
	panes    *panes      // for hop()
	seeded   bool        // the group of all rows is there before any row is
	alone    func() bool // the rows are those of the one source, and enter nowhere else

	marks  []mark   // what is known of each key
	shown  []string // the partial column that a key is shown by, or ""
	firsts []string // row_number() columns over the kept rows, for DISTINCT

	names []string // what the query calls the keys, then the values
}

// groups says which groups a batch emits.
type groups int

const (
	closedGroups groups = iota
	touchedGroups
	allGroups
)

// partial is one column of the state table.
type partial struct {
	Column
	init  string      // its value for one row, over the query's FROM
	merge string      // aggregate over the column that merges rows of state and input, ordered by __pos
	fold  keyed.Merge // the same in a keyed state, of two values at a time, or NoMerge

	counts bool // values that are new to the group, and no rows
}

// keptRows is the table of rows behind aggregates that do not merge: one row per group and batch, with a list per
// column.
type keptRows struct {
	columns []Column
	chunk   string // SELECT of the batch's chunk per group
}

// value is the value of one aggregate call of the query.
type value struct {
	name string
	typ  string
	call string // as the query has it
	expr string // over the state table's columns (alias g) and the kept rows' aggregates (alias h)
	held string // the call over the kept rows, when it needs them
}

// timeKey says when a group is closed.
type timeKey struct {
	key  string // column of the state table
	mark mark
	note string // for EXPLAIN
}

func (a *aggregate) state() string { return fmt.Sprintf("__state%d", a.n) }
func (a *aggregate) kept() string  { return fmt.Sprintf("__rows%d", a.n) }
func (a *aggregate) new() string   { return fmt.Sprintf("__new%d", a.n) }
func (a *aggregate) out() string   { return outTable(a.n) }

func inTable(n int) string  { return fmt.Sprintf("__in%d", n) }
func outTable(n int) string { return fmt.Sprintf("__out%d", n) }

// OldTable names what the rows of an operator's out table were before the batch.
func OldTable(out string) string { return "__old" + strings.TrimPrefix(out, "__out") }

func oldTable(n int) string { return fmt.Sprintf("__old%d", n) }

// keep adds a column to the kept rows.
func (a *aggregate) keep(col Column) {
	if a.rows == nil {
		a.rows = &keptRows{}
	}
	a.rows.columns = append(a.rows.columns, col)
}

func (a *aggregate) keyNames(prefix string) []string {
	names := make([]string, len(a.keys))
	for i, k := range a.keys {
		names[i] = prefix + duck.QuoteIdent(k.Name)
	}
	return names
}

// sameKeys is the join condition of two relations with the keys.
func (a *aggregate) sameKeys(l, r string) string {
	if len(a.keys) == 0 {
		return "true"
	}
	parts := make([]string, len(a.keys))
	for i, k := range a.keys {
		n := duck.QuoteIdent(k.Name)
		parts[i] = fmt.Sprintf("%s.%s IS NOT DISTINCT FROM %s.%s", l, n, r, n)
	}
	return strings.Join(parts, " AND ")
}

func getVariable(name string) string { return "getvariable('" + name + "')" }

// timed reports whether the watermark frees groups.
func (a *aggregate) timed() bool { return a.time != nil && a.emits != allGroups }

func (a *aggregate) closed() string { return a.time.mark.closed(duck.QuoteIdent(a.time.key)) }

// statements writes the SQL of the operator's input.
func (g *grouping) statements() error {
	a := g.a
	switch g.c.mode() {
	case stream.Append:
		a.emits = closedGroups
	case stream.Update:
		a.emits = touchedGroups
	default:
		a.emits = allGroups
	}
	a.entry = Entry{Table: a.in, Raw: g.s.main.raw, Many: !g.s.single || len(g.sets) > 0}
	if len(g.sets) == 0 {
		a.entry.Unique = g.s.unique
	}
	if a.timed() {
		a.entry.Late = a.time.mark.late(duck.QuoteIdent(a.time.key))
	}
	if a.panes = g.findPanes(); a.panes != nil {
		g.fromSQL = replaceName(g.fromSQL, a.panes.hop.name, duck.QuoteIdent(a.panes.hop.panes))
		a.entry.Many, a.entry.Unique = len(g.s.aliases) > 1, nil
	}
	a.input = g.inputSQL()
	a.alone = func() bool { return len(g.c.sources) == 1 && !g.c.shared() }
	a.from = g.s.main.tables
	g.name()
	if a.rows != nil {
		a.rows.finish(a, g.s.single)
	}
	return nil
}

// operator is the finished operator. With old, what the touched groups were before the batch is wanted too.
func (a *aggregate) operator(old bool) *Operator {
	op := &Operator{Name: fmt.Sprintf("aggregate %d", a.n), Tables: a.tables(), Timed: a.timed(),
		Layout: a.layout(), Holds: a.holds(), Global: len(a.keys) == 0 || a.seeded}
	if a.keyed() {
		return a.keyedOperator(op, old)
	}
	touched := []string{a.in}
	op.Steps = []Step{{Title: "what the batch's rows add", Table: a.in, SQL: a.input, Rows: a.from},
		{Title: "which of them are used and late", Effect: Count, Entry: &a.entry, Rows: touched}}
	if a.panes != nil {
		op.Steps = append(op.Steps, Step{Title: "panes in their windows", Table: a.delta(), SQL: a.panesSQL(false, true), Rows: touched})
	}
	if old {
		op.Steps = append(op.Steps, Step{Title: "touched groups as they were", Table: oldTable(a.n),
			SQL: a.outSQL("SELECT s.* FROM " + a.state() + " s" + a.touched("s")), Rows: touched})
	}
	remove := ""
	if len(a.keys) > 0 {
		remove = "s USING " + a.new() + " n WHERE " + a.sameKeys("s", "n")
	}
	op.Steps = append(op.Steps,
		Step{Title: "touched groups, merged", Table: a.new(), SQL: a.mergeSQL(), Rows: touched},
		Step{Title: "replace them", Effect: Delete, Table: a.state(), SQL: remove, Rows: touched},
		Step{Effect: Insert, Table: a.state(), SQL: "FROM " + a.new(), Rows: touched, Touch: a.new()})
	if a.rows != nil {
		op.Steps = append(op.Steps, Step{Title: "keep the rows", Effect: Insert, Table: a.kept(), SQL: a.rows.chunk,
			Rows: touched, Touch: a.kept() + " WHERE " + BatchColumn + " = " + getVariable(VarBatch)})
	}
	out := Step{Title: "groups to emit", Table: a.out(), SQL: a.outSQL(a.groupsSQL())}
	switch a.emits {
	case touchedGroups:
		out.Rows = touched
	case closedGroups:
		out.Time = true
	}
	op.Steps = append(op.Steps, out)
	a.free(op)
	return op
}

// free adds what lets closed groups go.
func (a *aggregate) free(op *Operator) {
	a.notes(op)
	if !a.timed() {
		return
	}
	op.Steps = append(op.Steps, Step{Title: "free closed groups", Effect: Delete, Table: a.state(),
		SQL: "WHERE " + a.closed(), Time: true, Frees: true, Touch: a.state() + " WHERE " + a.closed()})
	if a.rows != nil {
		op.Steps = append(op.Steps, Step{Title: "and their rows", Effect: Delete, Table: a.kept(),
			SQL: "WHERE " + a.closed(), Time: true, Frees: true, Touch: a.kept() + " WHERE " + a.closed()})
	}
}

func (a *aggregate) tables() []StateTable {
	main := StateTable{Name: a.state(), Logical: true, Kind: "groups", Closes: a.closes(), Shown: a.readable(), Keyed: a.keyed()}
	if main.Keyed && a.timed() {
		main.Time, main.Ahead = a.time.key, a.time.mark.ahead()
	}
	if a.timed() && a.emits == closedGroups {
		main.Waits = "true"
	}
	for _, k := range a.keys {
		main.Columns = append(main.Columns, k)
		main.Keys = append(main.Keys, k.Name)
	}
	for _, c := range a.partials {
		main.Columns = append(main.Columns, c.readable())
	}
	list := []StateTable{main}
	for _, s := range a.seen {
		list = append(list, s.table(a))
	}
	if a.rows == nil {
		return list
	}
	rows := StateTable{Name: a.kept(), Columns: a.rows.columns, Kind: "kept", Closes: a.closes()}
	for _, k := range a.keys {
		rows.Keys = append(rows.Keys, k.Name)
	}
	rows.Keys = append(rows.Keys, BatchColumn)
	return append(list, rows)
}

func (a *aggregate) layout() []string {
	lines := []string{"aggregate " + a.state()}
	for _, k := range a.keys {
		lines = append(lines, fmt.Sprintf("  key %s %s = %s", k.Name, k.Type, k.Expr))
	}
	lines = append(lines, a.holds()...)
	if a.time != nil {
		lines = append(lines, "  freed by "+a.time.mark.closes(duck.QuoteIdent(a.time.key)))
	}
	return lines
}

// holds says what a group is kept as.
func (a *aggregate) holds() []string {
	var lines []string
	for _, c := range a.partials {
		lines = append(lines, fmt.Sprintf("  partial %s %s = %s of %s", c.Name, c.Type, c.merge, c.init))
	}
	for _, s := range a.seen {
		lines = append(lines, s.holds()...)
	}
	if a.rows != nil {
		for _, c := range a.rows.columns {
			lines = append(lines, fmt.Sprintf("  kept %s %s = %s", c.Name, c.Type, c.Expr))
		}
	}
	return lines
}

// inputSQL selects what the batch's rows add: keys, initial partials, arguments to keep, and their position.
func (g *grouping) inputSQL() string {
	var rest []string
	if g.a.rows != nil {
		for _, v := range g.a.rows.columns {
			rest = append(rest, v.Expr+" AS "+duck.QuoteIdent(v.Name))
		}
	}
	for _, s := range g.a.seen {
		rest = append(rest, s.items()...)
	}
	rest = append(rest, duck.QuoteIdent(g.s.alias)+"."+PosColumn)
	var selects []string
	for set := range max(1, len(g.sets)) {
		selects = append(selects, "SELECT "+strings.Join(append(g.inSet(set), rest...), ",\n  ")+"\n"+strings.TrimSpace(g.fromSQL))
	}
	for _, set := range g.emptySets() {
		selects = append(selects, g.seed(set))
		g.a.seeded = true
	}
	return g.c.chain(strings.Join(selects, "\nUNION ALL\n"))
}

// live is the WHERE clause that leaves late rows and rows without time out.
func (a *aggregate) live() string {
	if !a.timed() {
		return ""
	}
	// NULL does not pass either.
	return " WHERE " + a.time.mark.closes(duck.QuoteIdent(a.time.key)) + " > " + getVariable(VarLate)
}

// alive is live for a statement that runs where no row of the batch is late, if punctual: then all times that close a group
// are to come, but for NULL, which no bound of a window in whole seconds is. DuckDB would find such a bound twice for it.
func (a *aggregate) alive(punctual bool) string {
	switch {
	case !punctual || !a.timed():
		return a.live()
	case a.time.mark.kind != markEvent && a.time.mark.whole:
		return ""
	}
	return " WHERE " + duck.QuoteIdent(a.time.key) + " IS NOT NULL"
}

// touched restricts rows of the state to the groups of the batch.
func (a *aggregate) touched(alias string) string {
	if len(a.keys) == 0 {
		return ""
	}
	return " SEMI JOIN " + a.delta() + " i ON " + a.sameKeys(alias, "i")
}

func (a *aggregate) mergeSQL() string {
	keys := a.keyNames("")
	var merged, columns, prefixed []string
	for _, p := range a.partials {
		n := duck.QuoteIdent(p.Name)
		merged = append(merged, p.merge+" AS "+n)
		columns = append(columns, n)
		prefixed = append(prefixed, "s."+n)
	}
	known := a.state() + " s" + a.touched("s")
	if a.keyed() {
		known = a.known() + " s"
	}
	first := "CAST(-1 AS BIGINT) AS " + PosColumn
	if a.above != "BIGINT" {
		first = "CAST(NULL AS " + a.above + ") AS " + PosColumn
	}
	from := "SELECT " + list(a.keyNames("s."), prefixed, []string{first}) +
		"\n  FROM " + known +
		"\n  UNION ALL\n  SELECT " + list(keys, columns, []string{PosColumn}) + " FROM " + a.delta()
	if a.panes == nil {
		from += a.live()
	}
	for _, s := range a.seen {
		from += "\n  UNION ALL\n  SELECT *, NULL FROM (" + s.added(a) + ")"
	}
	group := ""
	if len(keys) > 0 {
		group = "\nGROUP BY " + strings.Join(keys, ", ")
	}
	return "SELECT " + list(keys, merged) + "\nFROM (\n  " + from + "\n)" + group
}

func list(parts ...[]string) string {
	var all []string
	for _, p := range parts {
		all = append(all, p...)
	}
	return strings.Join(all, ", ")
}

// groupsSQL selects the groups that a batch emits.
func (a *aggregate) groupsSQL() string {
	switch a.emits {
	case closedGroups:
		if a.keyed() {
			return "SELECT * FROM " + a.closedTable()
		}
		return "SELECT * FROM " + a.state() + " WHERE " + a.closed()
	case touchedGroups:
		return "SELECT * FROM " + a.new()
	}
	return "SELECT * FROM " + a.state()
}

// outSQL selects keys and values of groups.
func (a *aggregate) outSQL(groups string) string {
	items := a.keyNames("g.")
	for i, p := range a.shown {
		if p != "" {
			items[i] = p + " AS " + duck.QuoteIdent(a.keys[i].Name)
		}
	}
	for _, f := range a.values {
		items = append(items, f.expr+" AS "+duck.QuoteIdent(f.name))
	}
	if a.numbered {
		items = append(items, a.position()+" AS "+PosColumn)
	}
	sql := "SELECT " + strings.Join(items, ", ") + "\nFROM (" + groups + ") g"
	if a.rows == nil {
		return sql
	}
	join := "\nJOIN ("
	if a.seeded {
		join = "\nLEFT JOIN ("
	}
	return sql + join + a.heldSQL(groups) + "\n) h ON " + a.sameKeys("g", "h")
}

// position numbers emitted groups for the operators above. Closed groups come in the order of their times, whatever
// the batches were; touched ones are named by their keys.
func (a *aggregate) position() string {
	if a.emits == closedGroups {
		return "epoch_us(" + a.time.mark.closes("g."+duck.QuoteIdent(a.time.key)) + ")"
	}
	fields := make([]string, len(a.keys))
	for i, k := range a.keys {
		fields[i] = fmt.Sprintf("k%d := g.%s", i+1, duck.QuoteIdent(k.Name))
	}
	if len(fields) == 0 {
		return "CAST(0 AS BIGINT)"
	}
	return "struct_pack(" + strings.Join(fields, ", ") + ")"
}

// positionType is the type of position.
func (a *aggregate) positionType() string {
	if a.emits == closedGroups || len(a.keys) == 0 {
		return "BIGINT"
	}
	fields := make([]string, len(a.keys))
	for i, k := range a.keys {
		fields[i] = fmt.Sprintf("k%d %s", i+1, k.Type)
	}
	return "STRUCT(" + strings.Join(fields, ", ") + ")"
}

// heldSQL evaluates the calls that need rows.
func (a *aggregate) heldSQL(groups string) string {
	keys := a.keyNames("")
	rows := a.keyNames("r.")
	rows = append(rows, "unnest(r."+PosColumn+") AS "+PosColumn)
	for _, c := range a.rows.columns[len(a.keys)+2:] {
		n := duck.QuoteIdent(c.Name)
		rows = append(rows, "unnest(r."+n+") AS "+n)
	}
	semi := ""
	if len(keys) > 0 {
		semi = " SEMI JOIN (" + groups + ") g ON " + a.sameKeys("r", "g")
	}
	from := "SELECT " + strings.Join(rows, ", ") + " FROM " + a.kept() + " r" + semi
	if len(a.firsts) > 0 {
		from = "SELECT *, " + strings.Join(a.firsts, ", ") + " FROM (" + from + ")"
	}
	held := append([]string(nil), keys...)
	for _, f := range a.values {
		if f.held != "" {
			held = append(held, f.held+" AS "+duck.QuoteIdent(f.name))
		}
	}
	group := ""
	if len(keys) > 0 {
		group = " GROUP BY " + strings.Join(keys, ", ")
	}
	return "\n  SELECT " + strings.Join(held, ", ") + "\n  FROM (" + from + ")" + group
}

// finish turns the kept arguments into the columns of the chunk table.
func (r *keptRows) finish(a *aggregate, single bool) {
	values := r.columns
	r.columns = append([]Column(nil), a.keys...)
	r.columns = append(r.columns, Column{Column: stream.Column{Name: BatchColumn, Type: "BIGINT"}},
		Column{Column: stream.Column{Name: PosColumn, Type: a.above + "[]"}})
	items := append(a.keyNames(""), "CAST("+getVariable(VarBatch)+" AS BIGINT) AS "+BatchColumn,
		"list("+PosColumn+" ORDER BY "+PosColumn+") AS "+PosColumn)
	order := PosColumn
	for _, v := range values {
		if !single { // rows of one position: every list in the same order
			order += ", " + duck.QuoteIdent(v.Name)
		}
	}
	for _, v := range values {
		n := duck.QuoteIdent(v.Name)
		items = append(items, "list("+n+" ORDER BY "+order+") AS "+n)
		v.Type += "[]"
		r.columns = append(r.columns, v)
	}
	keys := append(a.keyNames(""), BatchColumn)
	r.chunk = "SELECT " + strings.Join(items, ", ") + " FROM " + a.in + a.live()
	if a.seeded {
		r.chunk += " WHERE " + PosColumn + " IS NOT NULL"
	}
	if len(a.keys) > 0 {
		r.chunk += " GROUP BY " + strings.Join(keys[:len(a.keys)], ", ")
	} else {
		r.chunk += " HAVING count(*) > 0"
	}
}
