package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// prepare makes empty tables of the declared schemas, so that bodies bind.
func (c *compiler) prepare() error {
	statements := []string{SetSQL(VarSlotStart, "TIMESTAMP '1970-01-01 00:00:00'"),
		SetSQL(VarSlotEnd, "TIMESTAMP '1970-01-01 00:00:00'"), SetSQL(VarWatermark, "CAST('-infinity' AS TIMESTAMP)"),
		SetSQL(VarLate, "CAST('-infinity' AS TIMESTAMP)"), SetSQL(VarBatch, "CAST(0 AS BIGINT)"),
		SetSQL(VarNow, "to_timestamp(0)"), SetSQL(VarToday, "DATE '1970-01-01'")}
	statements = append(statements, windowMacros()...)
	for _, s := range c.app.Sources {
		statements = append(statements, emptySource(s))
	}
	if c.mended != nil {
		statements = append(statements, unknownTableSQL)
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

func emptyTable(name string, cols []Column) string {
	parts := make([]string, len(cols))
	for i, col := range cols {
		parts[i] = duck.QuoteIdent(col.Name) + " " + col.Type
	}
	return "CREATE OR REPLACE TEMP TABLE " + duck.QuoteIdent(name) + " (" + strings.Join(parts, ", ") + ")"
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
	if missing := c.unreadTables(); missing != nil && c.mended == nil {
		return missing
	}
	for _, t := range c.app.Tables {
		cols := t.Columns
		if cols == nil && t.Unread != "" {
			cols = []stream.Column{{Name: "__none", Type: "INTEGER"}}
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
		if _, err := c.db.Exec(c.ctx, emptyTable(t.Name, list)); err != nil {
			return fmt.Errorf("prepare reference table %q: %w", t.Name, err)
		}
	}
	return nil
}

// unreadTables says which reference tables could not be looked at.
func (c *compiler) unreadTables() error {
	var missing diag.List
	for _, t := range c.app.Tables {
		if t.Columns == nil && t.Unread != "" {
			missing = append(missing, c.unread(t))
		}
	}
	return missing.Err()
}

// unread says that a reference table could not be looked at, which is mostly a file that is not there.
func (c *compiler) unread(t *Table) *diag.Error {
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
			if _, unresolved := c.streaming(node, nil); unresolved != nil {
				return unresolved
			}
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
	return ViewsRead(c.app.Views, c.q.Body, c.app.Macros)
}

// ViewsRead returns the views that a body may read, by itself or through macros and other views, in their order.
func ViewsRead(views []*View, text string, macros []*Macro) []*View {
	for _, m := range macros {
		text += "\n" + m.Text
	}
	var read []*View
	for _, v := range slices.Backward(views) { // a view reads those before it
		if Mentions(text, v.Name) {
			text, read = text+"\n"+v.Body, append(read, v)
		}
	}
	slices.Reverse(read)
	return read
}
