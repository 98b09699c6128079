package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

func (e *env) lintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lint FILE.sql",
		Short: "check a file offline: syntax, names, options, types, and whether every query can run as a stream",
		Args:  exactArgs("FILE.sql"),
		RunE:  func(c *cobra.Command, args []string) error { return e.lint(c.Context(), args[0]) },
	}
}

// lint prints every fault of the file at once.
func (e *env) lint(ctx context.Context, path string) error {
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return err
	}
	if _, err := e.plans(ctx, app, app.Queries); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "ok  %s\n", summary(app))
	return nil
}

// plans plans the queries, checks their sinks as a start would, and returns all their faults together.
func (e *env) plans(ctx context.Context, app *planner.App, queries []*planner.Query) ([]*planner.Plan,
	error) {
	var plans []*planner.Plan
	var faults diag.List
	err := withDuck(ctx, func(conn *duck.Conn) error {
		for _, q := range queries {
			plan, err := planner.Build(ctx, app, q, conn)
			if err == nil {
				err = engine.Check(ctx, engine.Options{Registry: registry(e), Clock: e.clock}, app, plan)
			}
			if coded := diag.All(err); coded != nil {
				faults = append(faults, coded...)
				continue
			}
			if err != nil {
				return fmt.Errorf("plan query %q: %w", q.Name, err)
			}
			plans = append(plans, plan)
		}
		return nil
	})
	faults.Sort()
	return plans, errors.Join(err, faults.Err())
}
