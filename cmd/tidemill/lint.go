package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

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

// plans plans the queries, checks all sources and their sinks as a start would, and returns all their faults together.
func (e *env) plans(ctx context.Context, app *planner.App, queries []*planner.Query) ([]*planner.Plan, error) {
	return e.plansOf(ctx, app, queries, nil)
}

// plansOf is plans, where only the sinks and sources of the queries that are whole are checked; nil for all.
func (e *env) plansOf(ctx context.Context, app *planner.App, queries []*planner.Query,
	whole func(*planner.Query) bool) ([]*planner.Plan, error) {
	var plans []*planner.Plan
	var faults diag.List
	sources := app.Sources
	if whole != nil {
		sources = nil
	}
	opt := engine.Options{Registry: registry(e), Clock: e.clock}
	err := withDuck(ctx, func(conn *duck.Conn) error {
		for i := 0; i < len(queries); i++ {
			q := queries[i]
			plan, err := planner.Build(ctx, app, q, conn)
			if err == nil && (whole == nil || whole(q)) {
				sources = addSources(sources, plan.Sources)
				err = engine.Check(ctx, opt, app, plan)
			}
			coded := diag.All(err)
			if err != nil && coded == nil {
				return fmt.Errorf("plan query %q: %w", q.Name, err)
			}
			faults = append(faults, coded...)
			if rest, readers := withoutCulprit(app, coded); rest != nil {
				app = rest
				queries = slices.Concat(queries[:i], slices.DeleteFunc(slices.Clone(queries[i:]), readers))
				i--
				continue
			}
			if err == nil {
				plans = append(plans, plan)
			}
		}
		return nil
	})
	open := engine.CheckSources(ctx, opt, app, sources)
	coded := diag.All(open)
	if open != nil && coded == nil {
		err = errors.Join(err, fmt.Errorf("check the sources: %w", open))
	}
	faults = append(faults, coded...)
	faults.Sort()
	faults = slices.CompactFunc(faults, func(a, b *diag.Error) bool { // several queries meet one fault of a table
		return a.Code == b.Code && a.Span == b.Span && a.Message == b.Message
	})
	return plans, errors.Join(err, faults.Err())
}

// addSources adds those of more that are not in list.
func addSources(list, more []*planner.Source) []*planner.Source {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// withoutCulprit returns the application without the views and macros that faults of a query lie in and what reads them,
// since they would hide the faults of other queries, and which queries read them; nil if there are none.
func withoutCulprit(app *planner.App, faults diag.List) (*planner.App, func(*planner.Query) bool) {
	var gone []string
	reads := func(text string) bool {
		return slices.ContainsFunc(gone, func(name string) bool { return planner.Mentions(text, name) })
	}
	for _, f := range faults {
		for _, v := range app.Views {
			if inside(f, v.At, v.Body) {
				gone = append(gone, v.Name)
			}
		}
		for _, m := range app.Macros {
			if inside(f, m.At, m.Text) {
				gone = append(gone, m.Name)
			}
		}
	}
	if gone == nil {
		return nil, nil
	}
	for before := 0; before < len(gone); {
		before = len(gone)
		for _, v := range app.Views {
			if !slices.Contains(gone, v.Name) && reads(v.Body) {
				gone = append(gone, v.Name)
			}
		}
		for _, m := range app.Macros {
			if !slices.Contains(gone, m.Name) && reads(m.Text) {
				gone = append(gone, m.Name)
			}
		}
	}
	rest := *app
	rest.Views = slices.DeleteFunc(slices.Clone(app.Views), func(v *planner.View) bool { return slices.Contains(gone, v.Name) })
	rest.Macros = slices.DeleteFunc(slices.Clone(app.Macros), func(m *planner.Macro) bool { return slices.Contains(gone, m.Name) })
	return &rest, func(q *planner.Query) bool { return reads(q.Body) }
}

func inside(f *diag.Error, at int, body string) bool {
	return f.Source != nil && at <= f.Span.Start && f.Span.Start < at+len(body)
}
