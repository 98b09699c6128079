package planner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Build plans one query of a checked application. Refused shapes come back as *diag.Error with a place in
// app.Text. db is a scratch connection of a sealed instance that nobody else uses meanwhile.
func Build(ctx context.Context, app *App, q *Query, db Binder) (*Plan, error) {
	plan, err := build(ctx, app, q, db, nil)
	if err != nil {
		return nil, allFaults(ctx, app, q, db, err)
	}
	return plan, nil
}

// build plans the query.
func (c *compiler) build() (*Plan, error) {
	if err := c.prepare(); err != nil {
		return nil, err
	}
	node, err := c.parse(c.q.Body, c.q.At)
	if err != nil {
		return nil, err
	}
	if err := c.allowedTables(node, nil); err != nil {
		return nil, err
	}
	c.mentioned = c.mentions(node)
	// Names are resolved before DuckDB binds anything, so that no function of a body is ever run for its
	// schema.
	yes, err := c.streaming(node, nil)
	if err != nil {
		return nil, err
	}
	if !yes {
		return nil, diag.New(diag.NoStream, "query %q reads no source", c.q.Name).At(c.app.Text, c.q.Span).
			WithHint("use a CREATE SOURCE in FROM; plain queries over tables are for tidemill sql")
	}
	schema, err := c.bindBody(node)
	if err != nil {
		return nil, err
	}
	// From here on rows have their hidden position; until now no star could show it.
	for _, src := range c.app.Sources {
		if _, err := c.db.Exec(c.ctx, emptyTable(src.Name, src.Columns, ", "+PosColumn+" BIGINT")); err != nil {
			return nil, fmt.Errorf("prepare source %q: %w", src.Name, err)
		}
	}
	top, rel, err := c.query(node, nil)
	if err != nil {
		return nil, err
	}
	return c.plan(top, rel, schema)
}

func asDuckError(err error) *duck.Error {
	var de *duck.Error
	if errors.As(err, &de) {
		return de
	}
	return nil
}

// prepare makes empty tables of the declared schemas, so that bodies bind.
func (c *compiler) prepare() error {
	statements := []string{SetSQL(VarSlotStart, "TIMESTAMP '1970-01-01 00:00:00'"),
		SetSQL(VarSlotEnd, "TIMESTAMP '1970-01-01 00:00:00'"), SetSQL(VarWatermark, "CAST('-infinity' AS TIMESTAMP)"),
		SetSQL(VarLate, "CAST('-infinity' AS TIMESTAMP)"), SetSQL(VarBatch, "CAST(0 AS BIGINT)"),
		SetSQL(VarNow, "to_timestamp(0)"), SetSQL(VarToday, "DATE '1970-01-01'")}
	statements = append(statements, windowMacros()...)
	for _, s := range c.app.Sources {
		statements = append(statements, emptyTable(s.Name, s.Columns, ""))
	}
	if c.mended != nil {
		statements = append(statements, "CREATE OR REPLACE TEMP TABLE "+unknownTable+" (__none INTEGER)")
	}
	for _, sql := range statements {
		if _, err := c.db.Exec(c.ctx, sql); err != nil {
			return fmt.Errorf("prepare binding of query %q: %w", c.q.Name, err)
		}
	}
	for _, s := range c.app.Sources {
		for _, col := range s.Columns {
			c.columnNames[strings.ToLower(col.Name)] = true
		}
	}
	if err := c.prepareTables(); err != nil {
		return err
	}
	if err := c.prepareMacros(); err != nil {
		return err
	}
	return c.prepareViews()
}

// prepareMacros makes the macros. One that reads a view waits for it.
func (c *compiler) prepareMacros() error {
	for _, m := range c.app.Macros {
		c.ownMacros[strings.ToLower(m.Name)] = true
		_, err := c.db.Exec(c.ctx, m.Text)
		if err == nil {
			continue
		}
		if len(c.app.Views) == 0 {
			return c.bodyFault(err, m.Text, m.At)
		}
		c.waiting = append(c.waiting, m)
	}
	var err error
	c.cat, err = catalogueOf(c.ctx, c.db, c.ownMacros)
	return err
}

// lateMacros makes the macros that read views.
func (c *compiler) lateMacros() error {
	for _, m := range c.waiting {
		if _, err := c.db.Exec(c.ctx, m.Text); err != nil {
			return c.bodyFault(err, m.Text, m.At)
		}
	}
	if len(c.waiting) == 0 {
		return nil
	}
	var err error
	c.cat, err = catalogueOf(c.ctx, c.db, c.ownMacros)
	return err
}

func emptyTable(name string, cols []Column, extra string) string {
	parts := make([]string, len(cols))
	for i, col := range cols {
		parts[i] = duck.QuoteIdent(col.Name) + " " + col.Type
	}
	return "CREATE OR REPLACE TEMP TABLE " + duck.QuoteIdent(name) + " (" + strings.Join(parts, ", ") +
		extra + ")"
}

// windowMacros are the table macros as a stock shell has them, for binding bodies as they stand.
func windowMacros() []string {
	tumble := `SELECT *, time_bucket(size, ts, ` + epoch +
		`%s) AS window_start, window_start + size AS window_end ` +
		`FROM query_table(src) WHERE ts IS NOT NULL`
	return []string{
		`CREATE OR REPLACE TEMP MACRO tumble(src, ts, size) AS TABLE (` + fmt.Sprintf(tumble, "") +
			`), (src, ts, size, "offset") AS TABLE (` + fmt.Sprintf(tumble, ` + "offset"`) + `)`,
		`CREATE OR REPLACE TEMP MACRO hop(src, ts, slide, size) AS TABLE (` +
			`SELECT *, window_start + size AS window_end FROM (` +
			`SELECT *, unnest(generate_series(time_bucket(slide, ts, ` + epoch +
			`) - size + slide, time_bucket(slide, ts, ` +
			epoch + `), slide)) AS window_start FROM query_table(src) WHERE ts IS NOT NULL))`,
		"CREATE OR REPLACE TEMP MACRO " + sessionBinding,
	}
}

func (c *compiler) prepareTables() error {
	var missing []error
	for _, t := range c.app.Tables {
		cols := t.Columns
		if cols == nil && t.Unread != "" && c.mended != nil {
			cols = []stream.Column{{Name: "__none", Type: "INTEGER"}}
		}
		if cols == nil && t.Unread != "" {
			missing = append(missing, c.unread(t))
			continue
		}
		if cols == nil {
			described, err := c.db.Describe(c.ctx, t.Body)
			if err != nil {
				return diag.Wrap(diag.ReadFailed, err, "the columns of reference table %q are not known",
					t.Name).
					At(c.app.Text, t.Span).WithHint("make sure the files it reads are there")
			}
			for _, d := range described {
				cols = append(cols, stream.Column{Name: d.Name, Type: d.Type})
			}
		}
		list := make([]Column, len(cols))
		for i, col := range cols {
			list[i] = Column{Column: col}
			c.columnNames[strings.ToLower(col.Name)] = true
		}
		if _, err := c.db.Exec(c.ctx, emptyTable(t.Name, list, "")); err != nil {
			return fmt.Errorf("prepare reference table %q: %w", t.Name, err)
		}
	}
	return errors.Join(missing...)
}

// unread says that a reference table could not be looked at, which is mostly a file that is not there.
func (c *compiler) unread(t *Table) error {
	why, at := t.Unread, diag.Span{Start: t.At, End: t.At + len(t.Body)}
	if _, rest, ok := strings.Cut(why, "No files found that match the pattern \""); ok {
		file := strings.TrimRight(rest, "\"")
		why = fmt.Sprintf("file %q does not exist", file)
		if strings.ContainsAny(file, "*?[") {
			why = fmt.Sprintf("no file matches %q", file)
		}
		quoted := duck.QuoteLiteral(file)
		if i := strings.Index(t.Body, quoted); i >= 0 {
			at = diag.Span{Start: t.At + i, End: t.At + i + len(quoted)}
		}
	}
	return diag.New(diag.ReadFailed, "reference table %q can not be read: %s", t.Name, why).At(c.app.Text, at).
		WithHint("put the file there, or correct the path; it is relative to where the process runs")
}

// prepareViews parses the views and makes them for binding. A view may read those before it.
func (c *compiler) prepareViews() error {
	for _, v := range c.viewsToMake() {
		node, err := c.parse(v.Body, v.At)
		if err != nil {
			return err
		}
		if err := c.allowedTables(node, nil); err != nil {
			return err
		}
		c.views[strings.ToLower(v.Name)] = &definition{name: v.Name, body: node}
		sql, err := c.sqlOf(node, v.Body)
		if err != nil {
			return err
		}
		create := "CREATE OR REPLACE TEMP VIEW " + duck.QuoteIdent(v.Name) + " AS "
		if _, err := c.db.Exec(c.ctx, create+sql); err != nil {
			return c.bindFault(shifted(err, len(create)), node, sql, v.Body, v.At)
		}
	}
	return c.lateMacros()
}

// viewsToMake are all views; where the text is mended those that the query may read, so that the others hide nothing.
func (c *compiler) viewsToMake() []*View {
	if c.mended == nil {
		return c.app.Views
	}
	text := c.q.Body
	for _, m := range c.app.Macros {
		text += "\n" + m.Text
	}
	var read []*View
	for _, v := range slices.Backward(c.app.Views) { // a view reads those before it
		if Mentions(text, v.Name) {
			text, read = text+"\n"+v.Body, append(read, v)
		}
	}
	slices.Reverse(read)
	return read
}

// shifted takes a prefix off the position of DuckDB's error.
func shifted(err error, prefix int) error {
	de := asDuckError(err)
	if de == nil || de.Position < prefix {
		return err
	}
	out := *de
	out.Position -= prefix
	return &out
}

// allowedTables refuses table functions that are not on the list, wherever they stand, before anything binds.
func (c *compiler) allowedTables(v any, e *env) error {
	var first error
	walk(v, func(t tree) bool {
		switch fn := t.sub("function"); {
		case first != nil || t.str("type") != "TABLE_FUNCTION":
		case isWindow(fn.function()):
			first = c.windowArgs(fn.function(), fn.trees("children"), t)
		default:
			first = c.checkTableFunction(t, e)
		}
		return first == nil
	})
	return first
}

func firstWindow(node tree) tree {
	var found tree
	walk(node, func(t tree) bool {
		if found == nil && isWindow(t.function()) {
			found = t
		}
		return found == nil
	})
	return found
}

// bindBody lets DuckDB check the body as it stands, and returns the result's columns.
func (c *compiler) bindBody(node tree) ([]duck.Column, error) {
	sql, err := c.sqlOf(node, c.q.Body)
	if err != nil {
		return nil, err
	}
	cols, err := c.db.Describe(c.ctx, sql)
	if de := asDuckError(err); de != nil && (strings.Contains(de.Message, "time_bucket(") ||
		de.Position < 0 && (strings.Contains(de.Message, "'+(TIMESTAMP,") ||
			strings.Contains(de.Message, ", INTERVAL)'"))) {
		if at := firstWindow(node); at != nil {
			return nil, c.errAt(diag.WindowInvalid, at,
				"the time column of %s() must be TIMESTAMP, and its sizes INTERVAL",
				at.function()).WithNote("%s", firstLine(de.Message)).
				WithHint("cast the column in a computed column of the source; write sizes as INTERVAL '1 minute'")
		}
	}
	if err != nil {
		return nil, c.bindFault(err, node, sql, c.q.Body, c.q.At)
	}
	seen := map[string]bool{}
	for _, col := range cols {
		key := strings.ToLower(col.Name)
		if seen[key] {
			return nil, diag.New(diag.DuplicateColumn, "two columns of the result are named %q", col.Name).
				At(c.app.Text, c.q.Span).WithHint("give one of them another name with AS")
		}
		seen[key] = true
	}
	return cols, nil
}

const resultTable = "__result"

// plan puts the parts together.
func (c *compiler) plan(top tree, rel *relation, schema []duck.Column) (*Plan, error) {
	if !c.results && c.q.Mode == stream.Complete {
		return nil, diag.New(diag.CompleteNeedsAgg,
			"output mode COMPLETE needs an aggregate: without one the result grows for ever").
			At(c.app.Text, c.q.ModeSpan).WithHint("use OUTPUT MODE APPEND, or aggregate")
	}
	if c.horizon() > 0 && len(c.horizons) == 0 {
		return nil, diag.New(diag.BadOption, "dedup_horizon is set, but there is no DISTINCT that it could bound: one "+
			"whose key has no watermarked time, in output mode APPEND or UPDATE").At(c.app.Text, c.q.Span).
			WithHint("drop the option")
	}
	sql, err := c.render(top)
	if err != nil {
		return nil, err
	}
	p := &Plan{Query: c.q.Name, Mode: c.q.Mode, Policy: Policy(c.q.Options.String("watermark_policy")),
		Macros: c.neededMacros(), SlotBound: c.slotBound, Root: rel.node, Warnings: c.warnings}
	if len(c.ops) > 0 {
		p.Mode = c.mode()
	}
	if p.Policy == "" {
		p.Policy = PolicyMin
	}
	if p.Schema, err = c.resultSchema(schema); err != nil {
		return nil, err
	}
	if len(c.ops) == 0 {
		c.planStateless(p, rel, sql)
	} else if err := c.planStateful(p, top, rel, sql); err != nil {
		return nil, err
	}
	if err := c.inputs(p, rel); err != nil {
		return nil, err
	}
	p.shorten()
	p.UsesNow = c.usesNow
	if len(c.horizons) > 0 {
		p.Horizon = c.horizons[0]
	}
	for _, t := range c.app.Tables {
		if c.tables[t.Name] {
			p.Tables = append(p.Tables, t)
		}
	}
	p.hash = p.fingerprint()
	return p, nil
}

func (c *compiler) planStateless(p *Plan, rel *relation, sql string) {
	p.Input = c.chain(sql)
	p.Counted = !rel.single || len(rel.sources) > 1
	p.Result = "SELECT * EXCLUDE (" + PosColumn + ") FROM (" + p.Input + ")"
	if p.Counted || !rel.ordered {
		p.Counted = true
		p.Result = c.positioned(rel, resultTable)
	}
}

// positioned reads rows in the order of their positions. Rows of one position, which a join or unnest makes, are
// ordered by their values.
func (c *compiler) positioned(rel *relation, from string) string {
	sql := "SELECT * EXCLUDE (" + PosColumn + ") FROM " + from + " ORDER BY " + PosColumn
	if rel.single {
		return sql
	}
	for _, col := range rel.cols {
		sql += ", " + duck.QuoteIdent(col.Name)
	}
	return sql
}

// resultSchema is what DuckDB called and typed the body, as it leaves.
func (c *compiler) resultSchema(cols []duck.Column) ([]stream.Column, error) {
	out, err := columnsOf(cols)
	var coded *diag.Error
	if errors.As(err, &coded) {
		return nil, coded.At(c.app.Text, c.q.Span)
	}
	return out, err
}

func (c *compiler) planStateful(p *Plan, top tree, rel *relation, sql string) error {
	p.Result = c.chain(sql)
	switch {
	case rel.pos:
		p.Result = c.positioned(rel, "(\n"+p.Result+"\n)")
	case !rel.sorted && !c.ordered(top):
		p.Result = "SELECT * FROM (\n" + p.Result + "\n) ORDER BY ALL"
	}
	if p.Mode != stream.Complete {
		p.Emits = rel.tables
	}
	if p.Mode == stream.Update && rel.change {
		if err := c.planChanges(p, rel); err != nil {
			return err
		}
	}
	p.Shared = c.shared()
	for i, op := range c.ops {
		p.Ops = append(p.Ops, op.operator(c.wantsOld[i]))
	}
	p.uniqueKeys()
	return nil
}

// planChanges says how rows of the result are named, and whether any may be taken back.
func (c *compiler) planChanges(p *Plan, rel *relation) error {
	seen := map[int]bool{}
	p.Keys = []int{}
	for i, col := range p.Schema {
		if m := rel.marks[strings.ToLower(col.Name)]; m.key > 0 {
			p.Keys = append(p.Keys, i)
			seen[m.key-1] = true
		}
	}
	if rel.many || rel.keyed == nil || !rel.named(seen) {
		p.Keys, p.Unnamed = nil, true
	}
	p.Retracts = rel.filtered || rel.retracts
	if p.Retracts && len(p.Keys) == 0 && (rel.keyed == nil || rel.many || len(rel.keyed) > 0) {
		return c.namelessFault(rel)
	}
	if p.Retracts {
		p.Before, p.Changed = c.before(p.Result), rel.retracts
		c.readsOld(rel)
	}
	return nil
}

// namelessFault refuses rows that may be taken back, but that no columns of the result name.
func (c *compiler) namelessFault(rel *relation) error {
	why, hint := "the result lacks group keys", "select every GROUP BY column as it is"
	if rel.many {
		why, hint = "there may be several with the same keys", "group by all columns, or keep one row of each key; a FULL "+
			"JOIN names its rows where it is on all keys of both sides with IS NOT DISTINCT FROM"
	}
	if c.naming != "" {
		hint = c.naming
	}
	return diag.New(diag.UpdateUnsupported, "output mode UPDATE may have to take rows of this query back, but they can "+
		"not be named: %s", why).At(c.app.Text, c.q.ModeSpan).WithHint("%s", hint)
}

// named reports whether the keys that are seen name the rows. One bound of a window stands for both.
func (r *relation) named(seen map[int]bool) bool {
	for i, m := range r.keyed {
		found := seen[i]
		for j, o := range r.keyed {
			found = found || seen[j] && m.window != "" && m.window == o.window
		}
		if !found {
			return false
		}
	}
	return true
}

// ordered reports whether a query node orders its result itself.
func (c *compiler) ordered(top tree) bool {
	for _, m := range top.trees("modifiers") {
		if m.str("type") == "ORDER_MODIFIER" || m.str("type") == "LIMIT_MODIFIER" {
			return true
		}
	}
	return false
}

// inputs says how rows of each source enter.
func (c *compiler) inputs(p *Plan, rel *relation) error {
	for _, s := range c.app.Sources {
		if !c.sources[s.Name] {
			continue
		}
		p.Sources = append(p.Sources, s)
		in := Input{Table: s.Name, Columns: map[string]string{}}
		var items []string
		unread := c.columnsUnread(p, s)
		for _, col := range s.Columns {
			in.Columns[col.Name] = col.Type
			if unread[strings.ToLower(col.Name)] {
				in.Unread = append(in.Unread, col.Name)
				continue
			}
			n := duck.QuoteIdent(col.Name)
			if col.Expr == "" {
				in.Declared = append(in.Declared, col.Column)
				items = append(items, fmt.Sprintf("CAST(%s AS %s) AS %s", n, col.Type, n))
				continue
			}
			expr, err := c.computed(s, col)
			if err != nil {
				return err
			}
			items = append(items, fmt.Sprintf("CAST((%s) AS %s) AS %s", expr, col.Type, n))
		}
		in.Select = strings.Join(append(items, PosColumn), ",\n  ")
		if s.Watermark != nil {
			in.EventTime = s.Watermark.Column
			in.DropsNull = true
			for _, n := range union(rel.nulls, c.nulls) {
				in.DropsNull = in.DropsNull && n != s.Name
			}
		}
		p.Inputs = append(p.Inputs, in)
	}
	return nil
}

// computed returns the expression of a computed column with clocks pinned.
func (c *compiler) computed(s *Source, col Column) (string, error) {
	const prefix = "SELECT "
	data, err := c.db.Parse(c.ctx, prefix+col.Expr)
	if err != nil {
		return "", c.bodyFault(shifted(err, len(prefix)), col.Expr, col.At)
	}
	root, err := decodeTree(data)
	if err != nil {
		return "", err
	}
	node := root.trees("statements")[0].sub("node")
	shift(node, col.At-len(prefix))
	before := c.usesNow
	c.usesNow = false
	err = c.checkFunctions(node)
	pinned := c.usesNow
	c.usesNow = before || pinned
	if err != nil || !pinned {
		return col.Expr, err
	}
	return c.exprSQL(node.trees("select_list")[0])
}
