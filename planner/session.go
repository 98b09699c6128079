package planner

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// SessionMacro is session() as a table macro, behind CREATE MACRO. An event up to the end of what came before it, to
// the microsecond, joins. The windows order by time alone: events of one time are peers, and so in one session,
// whatever order they are in.
const SessionMacro = `session(__src, __ts, __key, __gap) AS TABLE
  SELECT * EXCLUDE (__end, __new, __id),
    min(__ts) OVER (PARTITION BY __key, __id) AS window_start,
    max(__end) OVER (PARTITION BY __key, __id) AS window_end
  FROM (
    SELECT *, sum(__new) OVER (PARTITION BY __key ORDER BY __ts) AS __id
    FROM (
      SELECT *, CASE WHEN __ts <= max(__end) OVER (PARTITION BY __key ORDER BY __ts
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS __new
      FROM (SELECT *, __ts + __gap AS __end FROM query_table(__src) WHERE __ts + __gap > __ts)))`

// sessionBinding types a body as SessionMacro does, with errors that name what the body has.
const sessionBinding = "session(__src, __ts, __key, __gap) AS TABLE SELECT *, __ts AS window_start, " +
	"__ts + __gap AS window_end FROM query_table(__src) WHERE __ts IS NOT NULL AND __key IS NOT DISTINCT FROM __key"

// sessions puts rows into sessions: it keeps the rows of open ones, with the sessions themselves, and for a while
// where closed ones were.
type sessions struct {
	n      int
	rel    *relation
	cols   []duck.Column // of rel, those that are kept
	keys   []string      // names of the columns
	types  []string      // of keys
	input  string
	entry  Entry
	mark   mark // of window_end; its kind is markNone if no watermark closes sessions
	emits  groups
	gap    string // for reading
	micros int64  // of a constant gap, or 0
	twice  bool   // positions may occur twice: rows have a number __n among those of theirs
}

// sessionColumns are the names that the statements give to columns of their own.
func sessionColumns() []string {
	return []string{"__start", "__end", "__n", "__at", "__done", "__shut", "__first", "__island", "__gap", "__until"}
}

// sessionKeys returns the columns of the key argument, or nil.
func sessionKeys(key tree) []string {
	parts := []tree{key}
	if key.function() == "row" {
		parts = key.trees("children")
	}
	var names []string
	for _, p := range parts {
		if p.class() != "COLUMN_REF" || len(p.names("column_names")) != 1 {
			return nil
		}
		names = append(names, p.names("column_names")[0])
	}
	return names
}

// session compiles session() over rows that are only added.
func (c *compiler) session(fn tree, rel *relation, ts string) (*relation, error) {
	args := fn.trees("children")
	gap, micros, err := c.sessionGap(fn, args[3], rel)
	if err != nil {
		return nil, err
	}
	o := &sessions{n: len(c.ops) + 1, rel: rel, gap: gap, micros: micros, emits: c.emission(), twice: !rel.single}
	for _, name := range sessionKeys(args[2]) {
		col, ok := rel.column(name)
		if !ok {
			return nil, c.errAt(diag.UnknownColumn, args[2], "%q has no column %q", args[0].names("column_names")[0], name).
				WithNote("columns here: %s", strings.Join(rel.columnNames(), ", "))
		}
		o.keys, o.types = append(o.keys, col.Name), append(o.types, col.Type)
	}
	if err := c.checkSession(o, args, ts); err != nil {
		return nil, err
	}
	quoted := duck.QuoteIdent(ts)
	sql := fmt.Sprintf("SELECT *, %s AS __start, %s + (%s) AS __end\nFROM %s WHERE %s + (%s) > %s", quoted, quoted, gap,
		duck.QuoteIdent(rel.name), quoted, gap, quoted)
	out := &relation{stream: true, sources: rel.sources, marks: map[string]mark{}, filtered: true,
		node: &Node{Op: fmt.Sprintf("session on %s by %s, gap %s", ts, strings.Join(o.keys, ", "), gap),
			Below: []*Node{rel.node}}}
	o.cols = c.sessionRows(o)
	out.cols = append(slices.Clone(o.cols), duck.Column{Name: windowStart, Type: "TIMESTAMP"},
		duck.Column{Name: windowEnd, Type: "TIMESTAMP"})
	if !rel.pos {
		out.name = c.fresh("session")
		c.define(out.name, "SELECT "+list(quoteAll(columnNames(out.cols)))+" FROM ("+o.islands("("+sql+")")+")")
		return out, nil
	}
	return out, c.sessionOperator(o, out, sql, ts, args)
}

// sessionRows returns the columns of the rows that come out: those that the SELECT around session() mentions, and the
// key. Where it may mean any, all do, and in complete mode, where a row may be meant as a whole.
func (c *compiler) sessionRows(o *sessions) []duck.Column {
	if c.wanted == nil || o.emits == allGroups {
		return o.rel.cols
	}
	return slices.DeleteFunc(slices.Clone(o.rel.cols), func(col duck.Column) bool {
		return !c.wanted[strings.ToLower(col.Name)] && !slices.Contains(o.keys, col.Name)
	})
}

// sessionOperator registers the operator and says what its rows are.
func (c *compiler) sessionOperator(o *sessions, out *relation, sql, ts string, args []tree) error {
	rel := o.rel
	event := rel.marks[strings.ToLower(ts)].event()
	if event.kind == markEvent && o.emits != allGroups {
		o.mark = mark{kind: markEnd, lag: event.lag}
	}
	c.windows = append(c.windows, windowUse{name: "session", source: strings.Join(rel.sources, ", "), column: ts,
		marked: event.kind == markEvent, at: args[1]})
	if o.emits == closedGroups && !o.timed() {
		g := &grouping{c: c, s: &scope{from: &from{main: rel}, c: c}, node: args[1]}
		return g.needsWatermark()
	}
	o.entry = Entry{Table: inTable(o.n), Raw: rel.raw, Many: !rel.single}
	if o.timed() {
		o.entry.Late = o.mark.late("__end") + " OR __shut"
		o.entry.Each = !rel.single
	}
	o.input = o.inputSQL(c, sql)
	out.name, out.tables = outTable(o.n), []string{outTable(o.n)}
	out.pos, out.single = o.emits != allGroups, o.emits != allGroups && (rel.single || o.emits == touchedGroups)
	out.posType = rel.posType
	out.change, out.retracts, out.many = o.emits == touchedGroups, o.emits == touchedGroups, o.emits == touchedGroups
	if o.timed() {
		m := o.mark
		m.window = outTable(o.n)
		out.marks[windowEnd] = m
	}
	cols := slices.Clone(out.cols)
	if out.pos {
		if out.change && o.twice {
			out.posType = "STRUCT(p " + rel.position() + ", n BIGINT)"
		}
		cols = append(cols, duck.Column{Name: PosColumn, Type: out.position()})
	}
	if !o.timed() {
		c.warnings = append(c.warnings, fmt.Sprintf("session() keeps every row for ever: about %d bytes each",
			o.rowsTable().RowBytes()))
	}
	c.add(o, rel)
	if out.change {
		c.changes[out.name] = true
	}
	return c.emptyOut(out.name, cols)
}

// sessionGap checks the gap and returns its SQL: a constant, and how many microseconds that is, or an expression over the
// row and 0.
func (c *compiler) sessionGap(fn, gap tree, rel *relation) (string, int64, error) {
	if firstAt(gap) < 0 {
		gap["query_location"] = fn["query_location"]
	}
	constant, plain := true, true
	walk(gap, func(t tree) bool {
		constant = constant && t.class() != "COLUMN_REF"
		plain = plain && t.class() != "SUBQUERY" && t.class() != "PARAMETER" && t.str("class") != "WINDOW" &&
			!c.isAggregate(t) && len(t.names("column_names")) <= 1
		return plain
	})
	if !plain {
		return "", 0, c.errAt(diag.WindowInvalid, gap, "the gap of session() must be a constant or an expression over "+
			"bare columns of the row").WithHint("write INTERVAL '5 minutes', or compute the gap in a WITH query")
	}
	if constant {
		return c.interval("session", "gap", gap)
	}
	sql, err := c.exprSQL(gap)
	if err != nil {
		return "", 0, err
	}
	cols, err := c.describe("SELECT " + sql + " AS gap FROM " + duck.QuoteIdent(rel.name))
	if err != nil {
		return "", 0, err
	}
	if cols[0].Type != "INTERVAL" {
		return "", 0, c.errAt(diag.WindowInvalid, gap, "the gap of session() must be an INTERVAL, this is %s", cols[0].Type).
			WithHint("write  to_seconds(n)  for a number of seconds")
	}
	return sql, 0, nil
}

func (c *compiler) checkSession(o *sessions, args []tree, ts string) error {
	rel := o.rel
	if rel.change {
		return c.errAt(diag.ShapeUnsupported, args[0],
			"session() over rows that may still change is not supported in output mode %s", c.appMode()).
			WithHint("use OUTPUT MODE APPEND")
	}
	if rel.collated {
		return c.errAt(diag.ShapeUnsupported, args[0], "COLLATE below session() is not supported on a stream").
			WithHint("select lower(x) for NOCASE, strip_accents(x) for NOACCENT")
	}
	for _, name := range sessionColumns() {
		if _, taken := rel.column(name); taken {
			return c.errAt(diag.WindowInvalid, args[0], "a column below session() is named %s, which it uses itself", name).
				WithHint("rename it")
		}
	}
	return c.distinctNames(rel, "session()")
}

func (o *sessions) timed() bool { return o.mark.kind == markEnd }

func (o *sessions) kept() string    { return fmt.Sprintf("__rows%d", o.n) }
func (o *sessions) open() string    { return fmt.Sprintf("__sessions%d", o.n) }
func (o *sessions) done() string    { return fmt.Sprintf("__done%d", o.n) }
func (o *sessions) touched() string { return fmt.Sprintf("__touch%d", o.n) }
func (o *sessions) merged() string  { return fmt.Sprintf("__new%d", o.n) }
func (o *sessions) closing() string { return fmt.Sprintf("__closed%d", o.n) }
func (o *sessions) leaving() string { return fmt.Sprintf("__gone%d", o.n) }

func (o *sessions) keyList() string { return strings.Join(quoteAll(o.keys), ", ") }

// same is the condition that two relations have the same key.
func (o *sessions) same(l, r string) string {
	parts := make([]string, len(o.keys))
	for i, k := range quoteAll(o.keys) {
		parts[i] = fmt.Sprintf("%s.%s IS NOT DISTINCT FROM %s.%s", l, k, r, k)
	}
	return strings.Join(parts, " AND ")
}

// columns are those of the rows, with what names them.
func (o *sessions) columns() []string {
	names := make([]string, len(o.cols))
	for i, col := range o.cols {
		names[i] = duck.QuoteIdent(col.Name)
	}
	return append(names, o.position()...)
}

func (o *sessions) position() []string {
	if o.twice {
		return []string{PosColumn, "__n"}
	}
	return []string{PosColumn}
}

// numbered numbers the spans of each key in a relation with __start and __end: those that overlap or touch have the
// same __island.
func (o *sessions) numbered(rows string) string {
	return "SELECT *, sum(__first) OVER (PARTITION BY " + o.keyList() + " ORDER BY __start) AS __island\n" +
		"FROM (SELECT *, CASE WHEN __start <= max(__end) OVER (PARTITION BY " + o.keyList() + " ORDER BY __start\n" +
		"  ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) THEN 0 ELSE 1 END AS __first\nFROM " + rows + ")"
}

// islands puts rows with __start and __end into their sessions.
func (o *sessions) islands(rows string) string {
	return "SELECT * EXCLUDE (__first, __island), min(__start) OVER island AS window_start, " +
		"max(__end) OVER island AS window_end\nFROM (" + o.numbered(rows) + ")\n" +
		"WINDOW island AS (PARTITION BY " + o.keyList() + ", __island)"
}

// inputSQL selects the batch's rows with the spans that they keep open. __shut says that a row touches a session that
// is closed already.
func (o *sessions) inputSQL(c *compiler, sql string) string {
	if o.twice {
		sql = "SELECT *, row_number() OVER (PARTITION BY " + PosColumn + " ORDER BY " + o.rel.order("") + ") AS __n\nFROM (" +
			sql + ")"
	}
	cols := list(o.columns(), []string{"__start", "__end"})
	if !o.timed() {
		return c.chain("SELECT " + cols + "\nFROM (" + sql + ")")
	}
	touches := " JOIN " + o.done() + " d ON " + o.same("c", "d") + " AND d.__start <= c.__end AND d.__end >= c.__start"
	return "WITH came AS MATERIALIZED (" + c.chain("SELECT "+cols+"\nFROM ("+sql+")") +
		")\nSELECT c.*, false AS __shut FROM came c ANTI" + touches +
		"\nUNION ALL SELECT c.*, true FROM came c SEMI" + touches
}

// live leaves late rows out.
func (o *sessions) live() string {
	if !o.timed() {
		return ""
	}
	return " WHERE " + o.entry.Live()
}

// within puts kept rows into given sessions of their keys. Sessions of a key do not touch, so a row that is in one of
// them begins within that one alone.
func (o *sessions) within(sessions string) string {
	return "\nFROM (SELECT r.*, s.__start AS window_start, s.__end AS window_end FROM " + o.kept() + " r JOIN " + sessions +
		" s ON " + o.same("r", "s") + " AND r.__start BETWEEN s.__start AND s.__end)"
}

// result is the select list of the rows that come out.
func (o *sessions) result() string {
	cols := append(quoteAll(columnNames(o.cols)), windowStart, windowEnd)
	switch {
	case o.emits == touchedGroups && o.twice:
		cols = append(cols, "struct_pack(p := "+PosColumn+", n := __n) AS "+PosColumn)
	case o.emits != allGroups:
		cols = append(cols, PosColumn)
	}
	return "SELECT " + strings.Join(cols, ", ")
}

func (o *sessions) rowsTable() StateTable {
	t := StateTable{Name: o.kept(), Keys: []string{PosColumn}, Logical: o.emits == allGroups, Kind: "rows",
		Shown: "SELECT " + strings.Join(quoteAll(columnNames(o.cols)), ", ") + " FROM " + o.kept()}
	for _, col := range o.cols {
		t.Columns = append(t.Columns, Column{Column: stream.Column{Name: col.Name, Type: col.Type}})
	}
	t.Columns = append(t.Columns, stateColumns(o.rel.position(), PosColumn)...)
	if o.twice {
		t.Columns = append(t.Columns, stateColumns("BIGINT", "__n")...)
	}
	t.Columns = append(t.Columns, stateColumns("TIMESTAMP", "__start", "__end")...)
	return t
}

func stateColumns(typ string, names ...string) []Column {
	cols := make([]Column, len(names))
	for i, n := range names {
		cols[i] = Column{Column: stream.Column{Name: n, Type: typ}}
	}
	return cols
}

func (o *sessions) tables() []StateTable {
	if o.emits == allGroups {
		return []StateTable{o.rowsTable()}
	}
	var keys []Column
	for i, k := range o.keys {
		keys = append(keys, stateColumns(o.types[i], k)...)
	}
	open := StateTable{Name: o.open(), Keys: o.keys, Logical: true, Kind: "sessions",
		Shown:   "SELECT " + o.keyList() + ", __start AS window_start, __end AS window_end FROM " + o.open(),
		Columns: append(slices.Clone(keys), stateColumns("TIMESTAMP", "__start", "__end")...)}
	open.Columns = append(open.Columns, stateColumns("BIGINT", "__gap")...)
	tables := []StateTable{open, o.rowsTable()}
	if o.timed() {
		tables[0].Closes = o.mark.closes("__end")
		if o.emits == closedGroups {
			tables[0].Waits = "true"
		}
		tables = append(tables, StateTable{Name: o.done(), Keys: o.keys, Kind: "closed", Closes: o.mark.closes("__until"),
			Columns: append(slices.Clone(keys), stateColumns("TIMESTAMP", "__start", "__end", "__until")...)})
	}
	return tables
}

func (o *sessions) holds() []string {
	var lines []string
	for _, t := range o.tables() {
		lines = append(lines, "  "+t.Name+" "+t.Definition())
	}
	return lines
}

func (o *sessions) layout() []string {
	lines := []string{"session " + o.kept(), "  by " + strings.Join(o.keys, ", "), "  gap " + o.gap}
	lines = append(lines, o.holds()...)
	if o.timed() {
		lines = append(lines, "  freed by "+o.mark.closes("__end"))
	}
	return lines
}

// operator is the finished operator. With old, what the rows of the touched keys were before the batch is wanted too.
func (o *sessions) operator(old bool) *Operator {
	op := &Operator{Name: fmt.Sprintf("session %d", o.n), Tables: o.tables(), Layout: o.layout(), Holds: o.holds(), Timed: o.timed()}
	in := []string{inTable(o.n)}
	op.Steps = []Step{{Title: "rows that come, and whether they touch a session that is closed", Table: inTable(o.n),
		SQL: o.input, Rows: o.rel.tables},
		{Title: "which of them are used and late", Effect: Count, Entry: &o.entry, Rows: in}}
	if !o.timed() {
		op.Steps[0].Title = "rows that come"
	}
	keep := Step{Title: "keep the rows", Effect: Insert, Table: o.kept(), Rows: in, Touch: inTable(o.n) + o.live(),
		SQL: "SELECT " + list(o.columns(), []string{"__start", "__end"}) + " FROM " + inTable(o.n) + o.live()}
	if o.emits == allGroups {
		op.Notes = []string{"nothing frees the rows: the state grows with their number"}
		op.Steps = append(op.Steps, keep, Step{Title: "all rows in their sessions", Table: outTable(o.n),
			SQL: o.result() + "\nFROM (" + o.islands(o.kept()) + ")\nORDER BY " + strings.Join(o.position(), ", ")})
		return op
	}
	touched := []string{o.touched()}
	op.Steps = append(op.Steps, Step{Title: "touched keys", Table: o.touched(), Rows: in,
		SQL: "SELECT DISTINCT " + o.keyList() + " FROM " + inTable(o.n) + o.live()})
	if old {
		op.Steps = append(op.Steps, Step{Title: "their rows as they were", Table: oldTable(o.n), Rows: touched,
			SQL: o.result() + o.within("(SELECT s.* FROM "+o.open()+" s SEMI JOIN "+o.touched()+" t ON "+o.same("s", "t")+")")})
	}
	op.Steps = append(op.Steps,
		Step{Title: "their sessions, merged", Table: o.merged(), SQL: o.mergeSQL(), Rows: touched},
		Step{Title: "replace them", Effect: Delete, Table: o.open(), Rows: touched,
			SQL: "s USING " + o.touched() + " t WHERE " + o.same("s", "t")},
		Step{Effect: Insert, Table: o.open(), SQL: "FROM " + o.merged(), Rows: touched, Touch: o.merged()}, keep)
	if o.emits == touchedGroups {
		op.Steps = append(op.Steps, Step{Title: "their rows as they are", Table: outTable(o.n), Rows: touched,
			SQL: o.result() + o.within(o.merged())})
	}
	o.free(op)
	return op
}

// cameSQL selects the spans of the rows that came. Of those that begin in one stretch no longer than the gap, which are in
// one session whatever else comes, it makes one: putting spans in order costs more than grouping them.
func (o *sessions) cameSQL() string {
	from := " FROM " + inTable(o.n) + o.live()
	if o.micros == 0 {
		return "SELECT " + o.keyList() + ", __start, __end, epoch_us(__end) - epoch_us(__start)" + from
	}
	return fmt.Sprintf("SELECT %s, min(__start), max(__end), max(epoch_us(__end) - epoch_us(__start))%s\n  GROUP BY %s, "+
		"epoch_us(__start) >> %d", o.keyList(), from, o.keyList(), bits.Len64(uint64(o.micros))-1)
}

// mergeSQL gives the sessions of the touched keys: those that were open and the rows that came, joined where they
// overlap or touch.
func (o *sessions) mergeSQL() string {
	spans := "(SELECT s.* FROM " + o.open() + " s SEMI JOIN " + o.touched() + " t ON " + o.same("s", "t") +
		"\n  UNION ALL " + o.cameSQL() + ")"
	return "SELECT " + o.keyList() + ", min(__start) AS __start, max(__end) AS __end, max(__gap) AS __gap\nFROM (" +
		o.numbered(spans) + ")\nGROUP BY " + o.keyList() + ", __island"
}

// free lets closed sessions go, in append mode as the result.
func (o *sessions) free(op *Operator) {
	if !o.timed() {
		op.Notes = []string{"nothing frees the sessions: the state grows with the number of rows"}
		return
	}
	closed, over := o.mark.closed("__end"), o.mark.closed("__until")
	verb := "frees"
	if o.emits == closedGroups {
		verb = "emits and frees"
	}
	op.Notes = []string{fmt.Sprintf("%s a session when %s, %s", verb, closed, o.mark.note()),
		"remembers where it was until " + over, "drops a row as late when " + o.entry.Late}
	shut := []string{o.closing()}
	rows := o.within(o.closing())
	op.Steps = append(op.Steps, Step{Title: "closed sessions", Table: o.closing(), Time: true,
		SQL: "SELECT *, __end + to_microseconds(__gap) AS __until FROM " + o.open() + " WHERE " + closed})
	gone := outTable(o.n)
	switch {
	case o.emits == touchedGroups || o.twice:
		gone = o.leaving()
		op.Steps = append(op.Steps, Step{Title: "their rows", Table: gone, Rows: shut,
			SQL: "SELECT *" + rows})
		if o.emits == closedGroups {
			op.Steps = append(op.Steps, Step{Title: "rows to emit", Table: outTable(o.n), Rows: shut,
				SQL: o.result() + " FROM " + gone})
		}
	default:
		op.Steps = append(op.Steps, Step{Title: "rows to emit", Table: gone, Rows: shut, SQL: o.result() + rows})
	}
	match := make([]string, len(o.position()))
	for i, p := range o.position() {
		match[i] = "r." + p + " = g." + p
	}
	op.Steps = append(op.Steps,
		Step{Title: "free them", Effect: Delete, Table: o.kept(), Rows: shut, Frees: true, Touch: gone,
			SQL: "r USING " + gone + " g WHERE " + strings.Join(match, " AND ")},
		Step{Title: "and the sessions", Effect: Delete, Table: o.open(), Rows: shut, Frees: true, Touch: o.closing(),
			SQL: "WHERE " + closed},
		Step{Title: "remember where they were", Effect: Insert, Table: o.done(), Rows: shut, Touch: o.closing(),
			SQL: "SELECT " + o.keyList() + ", __start, __end, __until FROM " + o.closing() + " WHERE NOT (" + over + ")"},
		Step{Title: "while a row that touches one may come", Effect: Delete, Table: o.done(), Time: true, Frees: true,
			SQL: "WHERE " + over, Touch: o.done() + " WHERE " + over})
}
