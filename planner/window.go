package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

const (
	windowStart = "window_start"
	windowEnd   = "window_end"
)

// window compiles session() into an operator, tumble() and hop() into a SELECT that adds window_start and window_end.
func (c *compiler) window(t tree, e *env) (*from, error) {
	fn := t.sub("function")
	name, args := fn.function(), fn.trees("children")
	if err := c.windowArgs(name, args, t); err != nil {
		return nil, err
	}
	relName, tsName := args[0].names("column_names")[0], args[1].names("column_names")[0]
	yes, err := c.streamingName(relName, e, args[0])
	if err != nil {
		return nil, err
	}
	if !yes {
		return nil, c.errAt(diag.ShapeUnsupported, args[0],
			"%s() of %q, which is not a stream, is not supported in a query",
			name, relName).WithHint("compute time_bucket() in CREATE TABLE instead")
	}
	rel, err := c.nameRelation(relName, e, args[0])
	if err != nil {
		return nil, err
	}
	ts, ok := rel.column(tsName)
	if !ok {
		return nil, c.errAt(diag.UnknownColumn, args[1], "%q has no column %q", relName, tsName).
			WithNote("columns here: %s", strings.Join(rel.columnNames(), ", "))
	}
	if ts.Type != "TIMESTAMP" {
		return nil, c.errAt(diag.WindowInvalid, args[1],
			"the time column of %s() must be TIMESTAMP, %q is %s", name, tsName, ts.Type).
			WithHint("cast it to TIMESTAMP in a computed column of the source")
	}
	for _, bound := range []string{windowStart, windowEnd} {
		if _, taken := rel.column(bound); taken {
			return nil, c.errAt(diag.WindowInvalid, args[0], "%q has a column %s already, which %s() would add again",
				relName, bound, name).WithHint("rename it below, for example  WITH w AS (SELECT %s AS inner_%s, ...)",
				bound, strings.TrimPrefix(bound, "window_"))
		}
	}
	window := c.windowRelation
	if name == "session" {
		window = c.session
	}
	out, err := window(fn, rel, ts.Name)
	if err != nil {
		return nil, err
	}
	alias := t.str("alias")
	if alias == "" {
		alias = name
	}
	return c.leaf(t, out, alias, t.list("column_name_alias")), nil
}

func (c *compiler) windowArgs(name string, args []tree, at tree) error {
	least, most, usage := 3, 4, "tumble(source, time column, size [, offset])"
	switch name {
	case "hop":
		least, usage = most, "hop(source, time column, slide, size)"
	case "session":
		least, usage = most, "session(source, time column, key, gap)"
	}
	if len(args) < least || len(args) > most {
		return c.errAt(diag.WindowInvalid, at, "%s() has %d arguments", name, len(args)).
			WithHint("write %s", usage)
	}
	for i, what := range []string{"a source, view or WITH query", "its time column"} {
		if args[i].class() != "COLUMN_REF" || len(args[i].names("column_names")) != 1 {
			return c.errAt(diag.WindowInvalid, args[i], "argument %d of %s() must be the bare name of %s",
				i+1, name, what).
				WithHint("write %s", usage)
		}
	}
	if name == "session" && sessionKeys(args[2]) == nil {
		return c.errAt(diag.WindowInvalid, args[2],
			"argument 3 of session() must be the bare name of a column, or several as (a, b)").
			WithHint("write %s; compute other keys in a WITH query", usage)
	}
	return nil
}

func (r *relation) columnNames() []string { return columnNames(r.cols) }

func columnNames(cols []duck.Column) []string {
	names := make([]string, len(cols))
	for i, c := range cols {
		names[i] = c.Name
	}
	return names
}

// windowRelation writes the SELECT behind a window call. __pos stays the last column.
func (c *compiler) windowRelation(fn tree, rel *relation, ts string) (*relation, error) {
	name, args := fn.function(), fn.trees("children")
	for _, arg := range args[2:] {
		// DuckDB gives INTERVAL literals no place; the call's is the next best.
		if firstAt(arg) < 0 {
			arg["query_location"] = fn["query_location"]
		}
	}
	size, slide, offset := args[2], tree(nil), tree(nil)
	if name == "hop" {
		slide, size = args[2], args[3]
	} else if len(args) == 4 {
		offset = args[3]
	}
	sizeSQL, micros, err := c.interval(name, "size", size)
	if err != nil {
		return nil, err
	}
	wholeOffset, err := c.wholeSeconds(offset)
	if err != nil {
		return nil, err
	}
	sql, step := "", micros
	if name == "hop" {
		if _, step, err = c.interval(name, "slide", slide); err != nil {
			return nil, err
		}
		sql, err = c.hopSQL(rel, ts, slide, size, micros)
	} else {
		sql, err = c.tumbleSQL(rel, ts, sizeSQL, micros, offset)
	}
	if err != nil {
		return nil, err
	}
	out := &relation{name: c.fresh(name), stream: true, pos: rel.pos, raw: rel.raw, posType: rel.posType, change: rel.change,
		arrives: rel.arrives, tables: rel.tables, single: rel.single && name == "tumble",
		ordered: rel.ordered &&
			name == "tumble", filtered: rel.filtered, collated: rel.collated, sources: rel.sources, marks: map[string]mark{}}
	out.keyed, out.many, out.retracts = rel.keyed, rel.many, rel.retracts
	out.filtered = out.filtered || rel.change // rows without time are in no window
	c.define(out.name, sql)
	of, err := c.windowTitle(fmt.Sprintf("%s on %s, size %s", name, ts, sizeSQL), offset, slide)
	if err != nil {
		return nil, err
	}
	if name == "hop" {
		slideSQL, _, err := c.interval("hop", "slide", slide)
		if err != nil {
			return nil, err
		}
		out.hop = &hopWindows{name: out.name, panes: c.fresh("panes"), slide: step, n: micros / step}
		c.define(out.hop.panes, paneSQL(rel, newGrid(ts, slideSQL, step), sizeSQL, micros))
	}
	event := rel.marks[strings.ToLower(ts)].event()
	out.bound(rel, event, mark{kind: markStart, lag: event.windowLag(), size: micros, step: step, text: sizeSQL, window: out.name,
		whole: micros%1_000_000 == 0 && step%1_000_000 == 0 && wholeOffset})
	if name == "hop" && rel.keyed != nil { // a row of each window
		out.keyed = append(slices.Clone(rel.keyed), out.marks[windowStart])
		for _, bound := range []string{windowStart, windowEnd} {
			m := out.marks[bound]
			m.key = len(out.keyed)
			out.marks[bound] = m
		}
	}
	c.windows = append(c.windows, windowUse{name: name, source: strings.Join(rel.sources, ", "), column: ts,
		marked: event.kind == markEvent, at: args[1]})
	out.node = &Node{Op: of, Below: []*Node{rel.node}}
	return out, nil
}

// windowTitle says all that makes windows what they are.
func (c *compiler) windowTitle(title string, offset, slide tree) (string, error) {
	for _, part := range []struct {
		name string
		expr tree
	}{{"offset", offset}, {"slide", slide}} {
		if part.expr == nil {
			continue
		}
		sql, err := c.exprSQL(part.expr)
		if err != nil {
			return "", err
		}
		title += ", " + part.name + " " + sql
	}
	return title, nil
}

// bound gives the rows of rel the bounds of their windows: columns, and if the time is an event time what is known of
// them.
func (r *relation) bound(rel *relation, event, start mark) {
	r.cols = append(append(r.cols, rel.cols...), duck.Column{Name: windowStart, Type: "TIMESTAMP"},
		duck.Column{Name: windowEnd, Type: "TIMESTAMP"})
	for k, v := range rel.marks {
		r.marks[k] = v
	}
	r.nulls = rel.nulls
	if event.kind != markEvent {
		return
	}
	r.nulls = nil
	r.marks[windowStart] = start
	start.kind = markEnd
	r.marks[windowEnd] = start
}

func (c *compiler) tumbleSQL(rel *relation, ts, size string, micros int64, offset tree) (string, error) {
	g := newGrid(ts, size, micros)
	if offset != nil {
		sql, err := c.exprSQL(offset)
		if err != nil {
			return "", err
		}
		g.origin += " + " + sql
		if g.offset, err = c.originMicros(offset, g.origin); err != nil {
			return "", err
		}
	}
	exclude, last := posColumns(rel)
	return fmt.Sprintf("SELECT *%s, %s%s\nFROM %s WHERE %s IS NOT NULL",
		exclude, g.bounds(size, micros, ""), last, duck.QuoteIdent(rel.name), g.col), nil
}

// hopSQL multiplies each row by the windows it is in: a cross join with their numbers is several times faster
// than
// unnesting a series per row.
func (c *compiler) hopSQL(rel *relation, ts string, slide, size tree, micros int64) (string, error) {
	slideSQL, step, err := c.interval("hop", "slide", slide)
	if err != nil {
		return "", err
	}
	sizeSQL, _, err := c.interval("hop", "size", size)
	if err != nil {
		return "", err
	}
	if micros%step != 0 {
		return "", c.errAt(diag.WindowInvalid, size,
			"the size of hop() must be a multiple of its slide; %s is not one of %s",
			sizeSQL, slideSQL).WithHint("the slide comes first: hop(source, time column, slide, size)")
	}
	if micros/step > 10_000 {
		return "", c.errAt(diag.WindowInvalid, size,
			"hop() would put each row in %d windows; at most 10000 are allowed", micros/step).
			WithHint("use a larger slide")
	}
	g := newGrid(ts, slideSQL, step)
	exclude, last := posColumns(rel)
	exclude = strings.Replace(exclude, "(", "(\"__w\", ", 1)
	if exclude == "" {
		exclude = ` EXCLUDE ("__w")`
	}
	return fmt.Sprintf("SELECT *%s, %s%s\n"+
		"FROM %s CROSS JOIN (SELECT unnest(range(%d)) AS \"__w\") WHERE %s IS NOT NULL",
		exclude, g.bounds(sizeSQL, micros, `"__w"`), last, duck.QuoteIdent(rel.name), micros/step, g.col), nil
}

func posColumns(rel *relation) (exclude, last string) {
	if !rel.pos {
		return "", ""
	}
	return ` EXCLUDE ("` + PosColumn + `")`, `, "` + PosColumn + `"`
}

// interval evaluates a constant interval of fixed length and returns its SQL and its microseconds.
func (c *compiler) interval(fn, what string, t tree) (string, int64, error) {
	bad := func(why string) error {
		return c.errAt(diag.WindowInvalid, t, "the %s of %s() %s", what, fn, why).
			WithHint("write a constant such as INTERVAL '1 minute'")
	}
	constant := true
	walk(t, func(n tree) bool {
		constant = constant && n.class() != "COLUMN_REF" && n.class() != "SUBQUERY"
		return constant
	})
	if !constant {
		return "", 0, bad("must be a constant")
	}
	sql, err := c.exprSQL(t)
	if err != nil {
		return "", 0, err
	}
	rows, err := c.db.Rows(c.ctx, "SELECT CAST(datepart('year', i) * 12 + datepart('month', i) AS BIGINT), "+
		"CAST(((datepart('day', i) * 24 + datepart('hour', i)) * 60 + datepart('minute', i)) * 60000000 + "+
		"datepart('microsecond', i) AS BIGINT) FROM (SELECT CAST("+sql+" AS INTERVAL) AS i)")
	if err != nil {
		if asDuckError(err) == nil {
			return "", 0, fmt.Errorf("evaluate interval: %w", err)
		}
		return "", 0, bad("is not an interval: " + firstLine(asDuckError(err).Message))
	}
	months, okMonths := rows[0][0].(int64)
	micros, okMicros := rows[0][1].(int64)
	switch {
	case !okMonths || !okMicros:
		return "", 0, bad("is NULL")
	case months != 0:
		return "", 0, bad("has months or years, which differ in length")
	case micros <= 0:
		return "", 0, bad("must be greater than zero")
	}
	return intervalText(sql, micros), micros, nil
}

// wholeSeconds reports whether an offset, which may be absent, is a constant whole number of seconds.
func (c *compiler) wholeSeconds(offset tree) (bool, error) {
	if offset == nil {
		return true, nil
	}
	sql, err := c.exprSQL(offset)
	if err != nil {
		return false, err
	}
	micros, err := c.originMicros(offset, epoch+" + "+sql)
	return micros != nil && *micros%1_000_000 == 0, err
}

// originMicros evaluates what an offset moves windows to: microseconds since 1970, or nil if it is NULL or infinite.
func (c *compiler) originMicros(offset tree, origin string) (*int64, error) {
	rows, err := c.db.Rows(c.ctx, "SELECT epoch_us("+origin+")")
	if err != nil {
		fault := asDuckError(err)
		if fault == nil {
			return nil, fmt.Errorf("evaluate offset: %w", err)
		}
		return nil, c.errAt(diag.WindowInvalid, offset, "the offset of tumble() is not a constant interval: %s",
			firstLine(fault.Message)).WithHint("write a constant such as INTERVAL '1 minute'")
	}
	if micros, ok := rows[0][0].(int64); ok {
		return &micros, nil
	}
	return nil, nil //nolint:nilnil // as the contract says
}

// intervalText is an interval that every argument spelling of the same length shares.
func intervalText(sql string, micros int64) string {
	for _, u := range []struct {
		name string
		size int64
	}{{"day", 86_400_000_000}, {"hour", 3_600_000_000}, {"minute", 60_000_000}, {"second", 1_000_000},
		{"millisecond", 1000}, {"microsecond", 1}} {
		if micros%u.size == 0 {
			plural := "s"
			if micros == u.size {
				plural = ""
			}
			return fmt.Sprintf("INTERVAL '%d %s%s'", micros/u.size, u.name, plural)
		}
	}
	return sql
}
