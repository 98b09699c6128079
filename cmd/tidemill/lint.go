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
	"github.com/tidemill/tidemill/stream"
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

// plansOf is plans of an application whose text may have faults. whole reports whether a query or source has none, in
// itself or in what it names; nil for all. Of the others those faults are told that no other can be the cause of.
func (e *env) plansOf(ctx context.Context, app *planner.App, queries []*planner.Query,
	whole func(name string) bool) ([]*planner.Plan, error) {
	var plans []*planner.Plan
	var faults diag.List
	note := func(found diag.List) {
		for _, f := range found {
			if !faults.Has(f) { // several queries meet one fault of a table
				faults = append(faults, f)
			}
		}
	}
	l := linter{app: app, opt: engine.Options{Registry: registry(e), Clock: e.clock}, whole: whole}
	err := withDuck(ctx, func(conn *duck.Conn) error {
		for _, q := range queries {
			plan, found, err := l.query(ctx, conn, q)
			if err != nil {
				return err
			}
			note(found)
			if len(found) == 0 && plan != nil {
				plans = append(plans, plan)
			}
		}
		if len(plans) > 0 && len(plans) == len(queries) && whole == nil {
			return nil // each has bound all views
		}
		found, err := l.views(ctx, conn)
		note(found)
		return err
	})
	found, open := l.sources(ctx)
	note(found)
	faults.Sort()
	return plans, errors.Join(err, open, faults.Err())
}

// linter finds the faults of an application's queries and sources.
type linter struct {
	app   *planner.App
	opt   engine.Options
	whole func(name string) bool
	gone  culprits
}

func (l *linter) isWhole(name string) bool { return l.whole == nil || l.whole(name) }

// query plans one query, checks its sinks, and returns the faults of both. The faults of views and macros that it does not
// read do not hide its own.
func (l *linter) query(ctx context.Context, conn *duck.Conn, q *planner.Query) (plan *planner.Plan, faults diag.List, err error) {
	for again := true; again; {
		app := l.gone.without(l.app, q)
		plan, err = planner.Build(ctx, app, q, conn)
		if err == nil && plan != nil {
			err = l.check(ctx, app, plan, q)
		}
		coded := diag.All(err)
		if err != nil && coded == nil {
			return nil, faults, fmt.Errorf("plan query %q: %w", q.Name, err)
		}
		faults = append(faults, coded...)
		again = l.gone.add(l.app, coded) && !l.gone.read(q.Body)
	}
	return plan, faults, nil
}

// views returns the faults of the views, whether a query reads them or not.
func (l *linter) views(ctx context.Context, conn *duck.Conn) (faults diag.List, err error) {
	for _, v := range l.app.Views {
		err := planner.CheckView(ctx, l.app, v, conn)
		coded := diag.All(err)
		if err != nil && coded == nil {
			return faults, fmt.Errorf("check view %q: %w", v.Name, err)
		}
		faults = append(faults, coded...)
	}
	return faults, nil
}

// check makes the checks of a start that need the plan.
func (l *linter) check(ctx context.Context, app *planner.App, plan *planner.Plan, q *planner.Query) error {
	if l.isWhole(q.Name) {
		return engine.Check(ctx, l.opt, app, plan) //nolint:wrapcheck // coded
	}
	var sinks []*planner.Sink
	for _, s := range app.Sinks {
		if slices.Contains(q.Sinks, s.Name) {
			sinks = append(sinks, s)
		}
	}
	if len(sinks) < len(q.Sinks) {
		return nil // one does not exist
	}
	var own diag.List
	for _, f := range diag.All(engine.Check(ctx, l.opt, app, plan)) {
		if slices.ContainsFunc(sinks, func(s *planner.Sink) bool { return aboutOption(f, s.Options, s.OptionAt) }) {
			own = append(own, f)
		}
	}
	return own.Err()
}

// sources makes the checks that a start makes of the sources.
func (l *linter) sources(ctx context.Context) (faults diag.List, err error) {
	for _, s := range l.app.Sources {
		if s.Connector == "" {
			continue // which is a fault that has been told
		}
		open := engine.CheckSources(ctx, l.opt, l.app, []*planner.Source{s})
		coded := diag.All(open)
		if open != nil && coded == nil && l.isWhole(s.Name) {
			err = errors.Join(err, fmt.Errorf("check source %q: %w", s.Name, open))
		}
		for _, f := range coded {
			if l.isWhole(s.Name) || aboutOption(f, s.Options, s.OptionAt) {
				faults = append(faults, f)
			}
		}
	}
	return faults, err
}

// aboutOption reports whether a fault is about an option that is written and by itself right.
func aboutOption(f *diag.Error, options stream.Options, at map[string]diag.Span) bool {
	span, written := at[f.Option]
	return written && f.Span == span && options.Has(f.Option)
}

// culprits are the views and macros that faults of queries lie in, and what reads them.
type culprits struct{ names []string }

// add notes those that faults lie in, and reports whether there are any new ones.
func (c *culprits) add(app *planner.App, faults diag.List) bool {
	before := len(c.names)
	note := func(name string) {
		if !slices.Contains(c.names, name) {
			c.names = append(c.names, name)
		}
	}
	for _, f := range faults {
		for _, v := range app.Views {
			if inside(f, v.At, v.Body) {
				note(v.Name)
			}
		}
		for _, m := range app.Macros {
			if inside(f, m.At, m.Text) {
				note(m.Name)
			}
		}
	}
	for more := before; more < len(c.names); {
		more = len(c.names)
		for _, v := range app.Views {
			if c.read(v.Body) {
				note(v.Name)
			}
		}
		for _, m := range app.Macros {
			if c.read(m.Text) {
				note(m.Name)
			}
		}
	}
	return len(c.names) > before
}

func (c *culprits) read(text string) bool {
	return slices.ContainsFunc(c.names, func(name string) bool { return planner.Mentions(text, name) })
}

// without returns the application to plan a query with: all of it if the query reads a culprit, else without them.
func (c *culprits) without(app *planner.App, q *planner.Query) *planner.App {
	if len(c.names) == 0 || c.read(q.Body) {
		return app
	}
	rest := *app
	rest.Views = slices.DeleteFunc(slices.Clone(rest.Views), func(v *planner.View) bool { return slices.Contains(c.names, v.Name) })
	rest.Macros = slices.DeleteFunc(slices.Clone(rest.Macros), func(m *planner.Macro) bool { return slices.Contains(c.names, m.Name) })
	return &rest
}

func inside(f *diag.Error, at int, body string) bool {
	return f.Source != nil && at <= f.Span.Start && f.Span.Start < at+len(body)
}
