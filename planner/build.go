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
// app.Text. db is a scratch connection of a sealed instance that nobody else uses meanwhile. Of an application in which
// something is Lost, Open or Doubtful the faults are told that have no other cause; if there are none, the plan may be nil.
func Build(ctx context.Context, app *App, q *Query, db Binder) (*Plan, error) {
	return attempted(ctx, app, q, db, func(m *mending) (*Plan, error) { return build(ctx, app, q, db, m) })
}

// CheckView returns what is wrong with a view, whoever reads it: names, types and functions. Whether its shape can run
// as a stream depends on the query that reads it.
func CheckView(ctx context.Context, app *App, v *View, db Binder) error {
	own := *app
	own.Views = ViewsRead(app.Views[:max(0, slices.Index(app.Views, v))], v.Body, app.Macros)
	q := &Query{Name: v.Name, Span: v.Span, Body: v.Body, At: v.At}
	_, err := attempted(ctx, &own, q, db, func(m *mending) (*Plan, error) {
		c := newCompiler(ctx, &own, q, db, m)
		node, _, err := c.resolved()
		if err == nil {
			_, err = c.bindBody(node)
		}
		return nil, err
	})
	return err
}

// attempted tries with the text as it stands, and tells all faults if that fails.
func attempted(ctx context.Context, app *App, q *Query, db Binder, try attempt) (*Plan, error) {
	var m *mending
	var missing error
	if app.doubtful() {
		var err error
		if m, err = newMending(ctx, app, q, db); err != nil {
			return try(nil) // which says why the text can not be mended
		}
		missing = newCompiler(ctx, app, q, db, m).unreadTables()
	}
	plan, err := try(m)
	if err = both(missing, err); err == nil || plainFault(err) != nil {
		return plan, err
	}
	if m == nil {
		var mendErr error
		if m, mendErr = newMending(ctx, app, q, db); mendErr != nil {
			return nil, err // the text can not be mended
		}
	}
	return nil, allFaults(ctx, m, try, err)
}

// resolved parses the query's body and resolves its names. It reports whether it reads a source.
func (c *compiler) resolved() (node tree, streams bool, err error) {
	if err := c.prepare(); err != nil {
		return nil, false, err
	}
	if node, err = c.parse(c.q.Body, c.q.At); err != nil {
		return nil, false, err
	}
	if err := c.allowedTables(node, nil); err != nil {
		return nil, false, err
	}
	c.mentioned = c.mentions(node)
	streams, err = c.streaming(node, nil)
	return node, streams, err
}

// build plans the query. Names are resolved before DuckDB binds anything, so that no function of a body is ever run for
// its schema.
func (c *compiler) build() (*Plan, error) {
	node, streams, err := c.resolved()
	if err != nil {
		return nil, err
	}
	schema, err := c.bindBody(node)
	if !streams {
		err = both(diag.New(diag.NoStream, "query %q reads no source", c.q.Name).At(c.app.Text, c.q.Span).
			WithHint("use a CREATE SOURCE in FROM; plain queries over tables are for tidemill sql"), err)
	}
	if err != nil {
		return nil, err
	}
	if err := c.distinctColumns(schema); err != nil {
		return nil, err
	}
	// From here on rows have their hidden position; until now no star could show it.
	for _, src := range c.app.Sources {
		if _, err := c.db.Exec(c.ctx, emptySource(src, Column{Column: stream.Column{Name: PosColumn, Type: "BIGINT"}})); err != nil {
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
	return cols, nil
}

// distinctColumns refuses a result with two columns of one name.
func (c *compiler) distinctColumns(cols []duck.Column) error {
	seen := map[string]bool{}
	for _, col := range cols {
		key := strings.ToLower(col.Name)
		if seen[key] {
			return diag.New(diag.DuplicateColumn, "two columns of the result are named %q", col.Name).
				At(c.app.Text, c.q.Span).WithHint("give one of them another name with AS")
		}
		seen[key] = true
	}
	return nil
}

const resultTable = "__result"

// plan puts the parts together.
func (c *compiler) plan(top tree, rel *relation, schema []duck.Column) (p *Plan, err error) {
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
	var ties []string
	var gather *Gather
	if j := c.over(top, rel); j != nil {
		ties = c.tie(top, j)
		if gather, err = c.gather(top, j, rel.cols); err != nil {
			return nil, err
		}
	}
	sql, err := c.render(top)
	if err != nil {
		return nil, err
	}
	p = &Plan{Gather: gather, Query: c.q.Name, Mode: c.q.Mode, Policy: Policy(c.q.Options.String("watermark_policy")),
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
	} else if err := c.planStateful(p, top, rel, sql, ties); err != nil {
		return nil, err
	}
	if err := c.inputs(p, rel); err != nil {
		return nil, err
	}
	p.shorten()
	p.keepOrder(rel)
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
		p.Result = c.positioned(rel, resultTable, nil)
	}
}

// positioned reads rows in the order of their positions. Rows of one position, which a join or unnest makes, are
// ordered by their ties, or by their values if there are none.
func (c *compiler) positioned(rel *relation, from string, ties []string) string {
	hidden := strings.Join(append([]string{PosColumn}, ties...), ", ")
	sql := "SELECT * EXCLUDE (" + hidden + ") FROM " + from
	if rel.single || len(ties) > 0 {
		return sql + " ORDER BY " + hidden
	}
	sql += " AS r ORDER BY r." + PosColumn
	for _, col := range rel.cols {
		sql += ", r." + duck.QuoteIdent(col.Name)
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

func (c *compiler) planStateful(p *Plan, top tree, rel *relation, sql string, ties []string) error {
	p.Result = c.chain(sql)
	switch {
	case rel.pos && rel.lasts && rel.ordered && !rel.filtered:
		p.Result = "SELECT * EXCLUDE (" + PosColumn + ") FROM (\n" + p.Result + "\n)"
	case rel.pos:
		p.Result = c.positioned(rel, "(\n"+p.Result+"\n)", ties)
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
	p.Retracts = rel.filtered || rel.retracts && !rel.lasts
	if (p.Retracts || rel.retracts) && len(p.Keys) == 0 && (rel.keyed == nil || rel.many || len(rel.keyed) > 0) {
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
		unread, passed := c.neverRead(p, s), c.hoistedOnly(p, s)
		for _, col := range s.Columns {
			in.Columns[col.Name] = col.Type
			if unread[strings.ToLower(col.Name)] {
				in.Unread = append(in.Unread, col.Name)
				continue
			}
			n := duck.QuoteIdent(col.Name)
			if col.Expr == "" {
				in.Declared = append(in.Declared, col.Column)
				if passed[strings.ToLower(col.Name)] {
					in.Passed = true
					continue // it is named by what is computed of it
				}
				items = append(items, castAs(col.Column))
				continue
			}
			expr, err := c.computed(s, col)
			if err != nil {
				return err
			}
			in.Computes = true
			items = append(items, fmt.Sprintf("CAST((%s) AS %s) AS %s", expr, col.Type, n))
		}
		for _, col := range c.hoisted[s.Name] {
			items = append(items, col.sql+" AS "+col.name)
		}
		in.Select = selection(append(items, PosColumn))
		in.steps = c.steps(s, in.Declared)
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

func selection(items []string) string { return strings.Join(items, ",\n  ") }

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
