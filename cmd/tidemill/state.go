package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

func (e *env) stateCommand() *cobra.Command {
	parent := &cobra.Command{Use: "state", Short: "query the state tables of a query, running or not", Args: noArgs,
		Long: "The newest complete state version is loaded into a DuckDB of its own, without access to files or network:\n" +
			"nothing in the data dir is touched, and a running query does not notice. Standard error says as of which\n" +
			"batch it is.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	ls := &cobra.Command{Use: "ls QUERY", Short: "list the state tables, their views, and what each column is",
		Args: exactArgs("QUERY")}
	sql := &cobra.Command{Use: "sql QUERY 'SELECT …'", Short: "run one SELECT over the state tables",
		Args: exactArgs("QUERY", "SELECT"),
		Long: "Tables have the names that tidemill explain shows. Views show the same rows in the words of the query:\n" +
			"\"groups\" for an aggregate's groups with what its aggregates are by now, \"rows\" for kept rows, and so on; with\n" +
			"several operators of a kind the operator's number follows, as in \"groups2\". getvariable('watermark') is the\n" +
			"query's watermark after that batch.",
		Example: "  tidemill state sql per_minute 'SELECT * FROM groups ORDER BY n DESC LIMIT 10'"}
	lsDir, lsForm := e.reading(ls)
	ls.RunE = func(c *cobra.Command, args []string) error {
		form, err := lsForm()
		if err != nil {
			return err
		}
		return e.stateList(c.Context(), *lsDir, args[0], form)
	}
	sqlDir, sqlForm := e.reading(sql)
	sql.RunE = func(c *cobra.Command, args []string) error {
		form, err := sqlForm()
		if err != nil {
			return err
		}
		ctx, done := e.cancelled(c.Context())
		defer done()
		return aborted(ctx, e.stateSQL(ctx, *sqlDir, args[0], args[1], form))
	}
	parent.AddCommand(ls, sql)
	return parent
}

func (e *env) stateList(ctx context.Context, dataDir, query, form string) (err error) {
	st, err := e.openStored(ctx, dataDir, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	st.note(e)
	l := listing{columns: []string{"table", "of", "operator", "rows", "column", "type", "key", "is"},
		right: set("rows")}
	for _, t := range st.tables {
		if t.view == "" || t.Shown == "" {
			continue
		}
		cols, err := st.conn.Describe(ctx, "SELECT * FROM "+duck.QuoteIdent(t.view))
		if err != nil {
			return fmt.Errorf("describe view %s: %w", t.view, err)
		}
		for _, c := range cols {
			l.add(t.view, t.Name, t.operator, t.rows, c.Name, c.Type, nil, nil)
		}
	}
	for _, t := range st.tables {
		cols, err := st.conn.Describe(ctx, "SELECT * FROM "+duck.QuoteIdent(t.Name))
		if err != nil {
			return fmt.Errorf("describe state table %s: %w", t.Name, err)
		}
		for _, c := range cols {
			l.add(t.Name, nil, nonEmpty(t.operator), t.rows, c.Name, c.Type, slices.Contains(t.Keys, c.Name),
				t.meaning(c.Name))
		}
	}
	return l.print(e.stdout, form)
}

// meaning is what a column of a state table is made of.
func (t *shownTable) meaning(column string) any {
	switch column {
	case planner.PosColumn:
		return "where the row came from: batch << 31 | place in the batch"
	case planner.BatchColumn:
		return "the batch that the rows came in"
	}
	for _, c := range t.Columns {
		if c.Name == column {
			return nonEmpty(c.Expr)
		}
	}
	return nil
}

// nonEmpty is a text, or nil for none.
func nonEmpty(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (e *env) stateSQL(ctx context.Context, dataDir, query, sql, form string) (err error) {
	st, err := e.openStored(ctx, dataDir, query)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	if st.conn == nil {
		return st.nothingToQuery()
	}
	st.note(e)
	text := &diag.Text{Name: "<command line>", Body: sql}
	whole := diag.Span{End: len(sql)}
	if _, err := st.conn.Parse(ctx, sql); err != nil {
		if strings.Contains(err.Error(), "Only SELECT") {
			return diag.New(diag.SQLInvalid, "state sql runs one SELECT and nothing else").At(text, whole)
		}
		return sqlFault(err, text, whole)
	}
	watermark := "CAST('-infinity' AS TIMESTAMP)"
	if b := st.at(st.batch); b != nil && b.Commit != nil && b.Commit.Watermark != nil {
		watermark = fmt.Sprintf("make_timestamp(%d)", *b.Commit.Watermark)
	}
	if _, err := st.conn.Exec(ctx, planner.SetSQL(planner.VarWatermark, watermark)); err != nil {
		return fmt.Errorf("set the watermark: %w", err)
	}
	t, err := st.conn.Select(ctx, sql)
	if err != nil {
		return sqlFault(err, text, whole)
	}
	defer t.Release()
	return printRows(e.stdout, form, t.Schema, t.Records)
}

// nothingToQuery is the fault of a query without a state version.
func (st *stored) nothingToQuery() error {
	if st.stateless() {
		return diag.New(diag.Usage, "query %q keeps no state", st.sum.Meta.Name).
			WithHint("tidemill batches %s shows what it has done", st.sum.Meta.Name)
	}
	return diag.New(diag.Usage, "query %q has no state version yet in %s", st.sum.Meta.Name, st.path()).
		WithHint("one is written every checkpoint_interval and at a clean stop")
}
