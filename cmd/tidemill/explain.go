package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

func (e *env) explainCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain FILE.sql",
		Short: "print the plan: operators, state and what frees it, guarantees, and the SQL of every batch",
		Args:  exactArgs("FILE.sql"),
	}
	query := c.Flags().String("query", "", "explain only this query")
	c.RunE = func(c *cobra.Command, args []string) error { return e.explain(c.Context(), args[0], *query) }
	return c
}

func (e *env) explain(ctx context.Context, path, query string) error {
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return err
	}
	queries, err := pick(app, query)
	if err != nil {
		return err
	}
	plans, err := e.plans(ctx, app, queries)
	if err != nil {
		return err
	}
	reg := registry(e)
	for i, plan := range plans {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		fmt.Fprintf(e.stdout, "query %s  trigger %s  output mode %s\n", plan.Query, queries[i].Trigger, plan.Mode)
		for _, name := range queries[i].Sinks {
			for _, s := range app.Sinks {
				if s.Name == name {
					fmt.Fprintf(e.stdout, "sink %s (%s): %s\n", name, s.Connector, reg.Sinks[s.Connector].Spec.Guarantee)
				}
			}
		}
		fmt.Fprintln(e.stdout, plan.Explain())
	}
	return nil
}

// pick returns the named query of app, or all of them.
func pick(app *planner.App, name string) ([]*planner.Query, error) {
	if name == "" {
		if len(app.Queries) == 0 {
			return nil, diag.New(diag.UnknownName, "%s defines no query", app.Text.Name).WithHint("add a CREATE QUERY statement")
		}
		return app.Queries, nil
	}
	names := make([]string, len(app.Queries))
	for i, q := range app.Queries {
		if q.Name == name {
			return []*planner.Query{q}, nil
		}
		names[i] = q.Name
	}
	err := diag.New(diag.UnknownName, "query %q is not defined in %s", name, app.Text.Name)
	if near := diag.Near(name, names); near != "" {
		err = err.WithHint("did you mean %q?", near)
	}
	return nil, err
}
