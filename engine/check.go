package engine

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Check makes of a planned query of app the checks that Open makes before it touches anything outside: whether its
// sinks take its mode, its keys, its columns and its slots, and whether it would read its own output. It returns all
// faults that have a code together, each with its place. Nothing is read or written.
func Check(ctx context.Context, opt Options, app *planner.App, plan *planner.Plan) error {
	q, err := newQuery(opt.withDefaults(), app, plan.Query)
	if err != nil {
		return err
	}
	q.plan = plan
	var faults diag.List
	note := func(err error, span diag.Span) error {
		coded := diag.All(placed(err, app.Text, span))
		faults = append(faults, coded...)
		if coded == nil {
			return err
		}
		return nil
	}
	first := []error{q.checkLoop(), q.checkOverlapOption()}
	if plan.SlotBound {
		first = append(first, q.checkSlots())
	}
	schema, err := planSchema(plan)
	for _, err := range append(first, err) {
		if err := note(err, q.def.Span); err != nil {
			return err
		}
	}
	if schema == nil {
		return faults.Err()
	}
	for i := range q.def.Sinks {
		sink, err := q.connectSink(ctx, i, "", schema, nil)
		if err == nil {
			err = sink.Close()
		}
		if err := note(err, q.def.SinkSpan[i]); err != nil {
			return err
		}
	}
	return faults.Err()
}

// CheckSources makes of sources of app the checks that a start makes before it touches anything outside: options
// against one another, and whether its columns can be filled. It returns all faults that have a code together, each
// with its place. Nothing is read or written but the files that say how to log in.
func CheckSources(ctx context.Context, opt Options, app *planner.App, sources []*planner.Source) error {
	opt = opt.withDefaults()
	var faults diag.List
	for _, s := range sources {
		in, err := openInput(ctx, opt, app, s, home{})
		if err == nil {
			err = in.close()
		}
		if err == nil {
			err = checkDead(ctx, opt, app, s)
		}
		coded := diag.All(err)
		if err != nil && coded == nil {
			return err
		}
		faults = append(faults, coded...)
	}
	return faults.Err()
}

// placed gives a coded error the place it lacks.
func placed(err error, text *diag.Text, span diag.Span) error {
	return placedIn(err, text, span, nil, nil)
}

// placedIn gives coded errors the places they lack: the value of the option or the name of the column that they are
// about, or else span.
func placedIn(err error, text *diag.Text, span diag.Span, options map[string]diag.Span, columns []planner.Column) error {
	for _, e := range diag.All(err) {
		if e.Source != nil {
			continue
		}
		at := span
		if o, ok := options[e.Option]; ok {
			at = o
		}
		for _, c := range columns {
			if c.Name == e.Column {
				at = c.Span
			}
		}
		e.At(text, at)
	}
	return err
}

// connectSink makes the query's i-th sink, which touches nothing before its Open.
func (q *Query) connectSink(ctx context.Context, i int, dir string, schema *arrow.Schema, stage stream.Stager) (
	stream.Sink, error) {
	name := q.def.Sinks[i]
	def := findSink(q.app, name)
	connector, ok := q.opt.Registry.Sinks[def.Connector]
	if !ok {
		return nil, diag.New(diag.UnknownConnector, "sink %q: connector %q is not in this build", name, def.Connector).
			At(q.app.Text, q.def.SinkSpan[i])
	}
	sink, err := connector.Open(ctx, stream.SinkConfig{Name: name, Options: def.Options, Schema: schema,
		Keys: q.plan.Keys, Unnamed: q.plan.Unnamed, Mode: q.def.Mode, Clock: q.opt.Clock, FS: q.opt.FS,
		Dir: dir, Log: q.opt.Log.With("sink", name), Stage: stage})
	if err != nil {
		return nil, fmt.Errorf("open sink %q: %w", name, placedIn(err, q.app.Text, q.def.SinkSpan[i], def.OptionAt, nil))
	}
	return sink, nil
}
