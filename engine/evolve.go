package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// A changed text whose state would hold other things than what is stored (another filter, column or aggregate) has its
// state built anew from the sources' history, while the old text goes on:
//
//  1. The query is opened by the text in its checkpoint and runs. Between its batches, and for twice as long as the last
//     one took, the new text runs over what has been consumed since the beginning: a history of its own slicing, with
//     the watermark rules of every run, and never past the watermark that the query has evicted with.
//  2. When it has caught up with the last committed batch N, its state is that of the new text after N. That history
//     gave the same rows, and that no row it dropped or used as late can have left a trace, is checked; else the
//     change is refused and the old text's checkpoint stays as it is.
//  3. Checkpoint.Evolve puts the new text and its state in the place of the old ones, in one rename. The query is then
//     opened anew, as after any stop: a crash before the rename finds the old text, a crash after it the new one.
//  4. In update and complete mode batch N+1 reads nothing and tells the sinks what the new text makes of the rows they
//     hold. These rows are part of the state version of N, so that the batch runs again with the same ones.
type evolution struct {
	app       *planner.App
	next, old *history     // old only in update mode: what its rows are called
	fold      *exec.Fold   // likewise
	whole     stream.Batch // in complete mode: the newest result
	began     time.Time
	told      time.Time // when the listener was told last
}

// inexactError says why history does not give the state that the changed text would have.
type inexactError string

func (e inexactError) Error() string { return string(e) }

// evolvingError says that the state of a changed text must be built before it can take effect.
type evolvingError struct{ meta checkpoint.Meta }

func (*evolvingError) Error() string { return "the state of the changed text has to be built first" }

// openEvolving opens the query by the text in its checkpoint, with the changed one under way.
func openEvolving(ctx context.Context, opt Options, app *planner.App, name string, meta checkpoint.Meta) (*Query, error) {
	def, err := findQuery(app, name)
	if err != nil {
		return nil, err
	}
	stored, err := opt.Parse(ctx, storedText(meta))
	if err != nil {
		return nil, err
	}
	takeFree(opt.Registry, stored, app)
	old, err := findQuery(stored, name)
	if err != nil {
		return nil, err
	}
	old.Trigger = def.Trigger // when to run is not part of what runs
	q, err := openAs(ctx, opt, stored, name)
	var evolving *evolvingError
	var other *otherPlanError
	if errors.As(err, &evolving) || errors.As(err, &other) {
		if meta.SQL == app.Text.Body {
			return nil, diag.New(diag.PlanChanged, "this version of Tidemill keeps other state for query %q than the one that wrote "+
				"its checkpoint", name).WithHint("go on with that version (%s), or start with a new checkpoint and sink", meta.Version)
		}
		return nil, diag.New(diag.PlanChanged, "this version of Tidemill plans query %q otherwise than the one that wrote its checkpoint, "+
			"and the text was changed too", name).WithHint("start the old text first, then the changed one")
	}
	if err != nil {
		return nil, err
	}
	if err := guarded("query "+name, func() error { return q.beginEvolution(ctx, app, def) }); err != nil {
		return nil, errors.Join(err, q.Abandon())
	}
	return q, nil
}

// beginEvolution opens what builds the new state, and refuses at once what is known to fail.
func (q *Query) beginEvolution(ctx context.Context, app *planner.App, def *planner.Query) (err error) {
	e := &evolution{app: app, began: q.opt.Clock.Now()}
	q.evolution = e
	if e.next, err = q.openHistory(ctx, app, def.Name, "next"); err != nil {
		return err
	}
	q.tables.copies.Hold(e.next.q.tables.versions()) // no batch names them before this life ends
	if err := e.next.q.checkLoop(); err != nil {
		return err
	}
	if err := e.next.q.connectOutputs(ctx, "", nil); err != nil {
		return err
	}
	if reasons := Inexact(e.next.q.plan, q.ledger.totals); len(reasons) > 0 {
		return q.refuseEvolution(inexactError(reasons[0]))
	}
	if e.next.q.plan.Mode == stream.Update && e.next.q.plan.Keys != nil {
		if e.old, err = q.openHistory(ctx, q.app, def.Name, "old"); err != nil {
			return err
		}
		if e.fold, err = exec.NewFold(ctx, e.next.q.db, q.plan, e.next.q.plan); err != nil {
			return err //nolint:wrapcheck // it says what it did
		}
	}
	if err := e.next.probe(ctx, q.pos.offsets); err != nil {
		return q.refuseEvolution(err)
	}
	q.log.Info("the state of the changed text is being built from history", "rows", q.ledger.totals.In)
	return nil
}

// Inexact says why rows that were late or lost keep history from giving the state that a plan would have.
func Inexact(p *planner.Plan, t checkpoint.Totals) []string {
	var reasons []string
	if t.Late > 0 && !p.LateLeavesNoTrace() {
		reasons = append(reasons, fmt.Sprintf("%d rows came late and were dropped; which ones the log does not say, "+
			"and what is not one aggregate by window in append mode would feel them", t.Late))
	}
	if t.Lost > 0 {
		reasons = append(reasons, fmt.Sprintf("%d messages were lost before they were read", t.Lost))
	}
	return reasons
}

// evolve builds on: until it has caught up if all is set, else for twice as long as the last batch took. When it has
// caught up the changed text takes effect.
func (q *Query) evolve(ctx context.Context, all bool) error {
	e := q.evolution
	if err := q.upkeep(ctx); err != nil {
		return err
	}
	began := q.opt.Clock.Now()
	var share time.Duration
	if last := q.Status().Last; last != nil {
		share = 2 * time.Duration(last.BatchDuration*float64(time.Millisecond))
	}
	for {
		done, err := e.step(ctx, &q.pos)
		if errors.Is(err, ErrStopped) {
			return err
		}
		if err != nil {
			return q.fail(q.refuseEvolution(err))
		}
		if done {
			return q.takeUp(ctx)
		}
		q.tellEvolving()
		if q.stopping() {
			return &stoppedError{batch: q.pos.next, err: errors.New("the state of the changed text was being built")}
		}
		if !all && q.opt.Clock.Now().Sub(began) >= share {
			return nil
		}
	}
}

func (q *Query) tellEvolving() {
	e, now := q.evolution, q.opt.Clock.Now()
	if now.Sub(e.told) < time.Second {
		return
	}
	e.told = now
	tell(q.opt.Listener.Evolving, Evolving{Query: q.def.Name, Rows: e.next.q.ledger.totals.In, Of: q.ledger.totals.In})
}

// step takes one slice of history. done says that nothing is left up to where the query stands.
func (e *evolution) step(ctx context.Context, at *position) (done bool, err error) {
	done, err = e.next.step(ctx, at, e.takeNew)
	if err != nil || e.old == nil {
		return done, err
	}
	oldDone, err := e.old.step(ctx, at, e.fold.Old)
	return done && oldDone, err
}

// takeNew notes what the new text makes of a slice.
func (e *evolution) takeNew(ctx context.Context, b stream.Batch) error {
	switch {
	case e.fold != nil:
		return e.fold.New(ctx, b) //nolint:wrapcheck // it says what it did
	case e.next.q.plan.Mode == stream.Complete:
		b.Retain()
		e.whole.Release()
		e.whole = b
	}
	return nil
}

// takeUp lets the changed text take effect: steps 2 and 3.
func (q *Query) takeUp(ctx context.Context) error {
	e := q.evolution
	if err := e.check(q.ledger.totals); err != nil {
		return q.fail(q.refuseEvolution(err))
	}
	for _, in := range q.inputs {
		in.dropAhead()
	}
	q.snapshot.wait()
	if err := q.keepEvolved(ctx); err != nil {
		return q.fail(err)
	}
	app, opt, name, rows, took := e.app, q.opt, q.def.Name, q.ledger.totals.In, q.opt.Clock.Now().Sub(e.began)
	if err := q.release(true); err != nil {
		return q.fail(err)
	}
	next, err := openAs(ctx, opt, app, name)
	if err != nil {
		for _, e := range diag.All(err) {
			e.WithNote("the state of the changed text is built and stays: with this mended it goes on, and only then the old text can come back")
		}
		return q.fail(err)
	}
	schedule := q.schedule
	q.life = next.life
	q.schedule.query, q.schedule.until, q.schedule.tick = q, schedule.until, schedule.tick
	q.setState("running", nil)
	q.log.Info("the changed text is in force", "batch", q.pos.next, "rows", rows, "dur", took)
	tell(q.opt.Listener.Evolved, Evolved{Query: name, Batch: q.pos.next, Rows: rows, Duration: took})
	return nil
}

// keepEvolved makes the new text and its state durable in the place of the old ones.
func (q *Query) keepEvolved(ctx context.Context) error {
	e := q.evolution
	n := e.next.q
	if err := n.useTables(ctx, q.tables.versions()); err != nil { // they may have been loaded again meanwhile
		return err
	}
	meta := q.ckpt.Meta()
	shape := n.shape()
	meta.SQL, meta.Plan, meta.Layout = n.app.Text.Body, shape.Fingerprint, shape.Layout
	meta.Stateful = n.stateful()
	meta.Evolution = &checkpoint.Evolution{Batch: q.pos.next - 1, Shift: max(0, n.pos.next-q.pos.next),
		Tables: n.tables.versions()}
	var changes []state.Change
	defer func() {
		for _, c := range changes {
			c.Release()
		}
	}()
	if n.stateful() {
		var err error
		if changes, err = n.session.Snapshot(ctx, true); err != nil {
			return fmt.Errorf("take the state of the changed text: %w", err)
		}
	}
	told, err := e.result(ctx)
	if err != nil {
		return err
	}
	if told.NumRows() > 0 || n.plan.Mode == stream.Complete {
		changes = append(changes, rewriteChange(n.plan, told))
	}
	if err := q.ckpt.Evolve(ctx, meta, changes); err != nil {
		return fmt.Errorf("put the changed text in force: %w", err)
	}
	return nil
}

// result is what the sinks have to be told.
func (e *evolution) result(ctx context.Context) (stream.Batch, error) {
	if e.fold != nil {
		return e.fold.Result(ctx) //nolint:wrapcheck // it says what it did
	}
	e.whole.Retain()
	return e.whole, nil
}

// check requires that history gave what the query had consumed, and no row that is late in one of them.
func (e *evolution) check(at checkpoint.Totals) error {
	for _, h := range []*history{e.next, e.old} {
		if h == nil {
			continue
		}
		got, want := h.q.ledger.totals, at
		switch {
		case got.In != want.In:
			return diag.New(diag.DataLoss, "history gives %d rows, and the query has consumed %d", got.In, want.In)
		case got.Dead < want.Dead:
			return inexactError(fmt.Sprintf("%d rows that could not be used when they came could be used now, such as event times "+
				"that were too far ahead then", want.Dead-got.Dead))
		case got.Dead > want.Dead:
			return diag.New(diag.RowFault, "%d rows of the history can not be used by the changed text, and %d by the old one; the first: %s",
				got.Dead, want.Dead, h.fault)
		}
		if reasons := Inexact(h.q.plan, checkpoint.Totals{Late: max(got.Late, want.Late)}); len(reasons) > 0 {
			return inexactError(reasons[0])
		}
	}
	return nil
}

// refuseEvolution gives the fault its code where it is about history; others, such as a source that is away or memory
// that does not suffice, keep theirs.
func (q *Query) refuseEvolution(err error) error {
	var inexact inexactError
	switch diag.CodeOf(err) {
	case diag.DataLoss, diag.RowFault, diag.SourceReplaced, diag.BadOption:
	default:
		if !errors.As(err, &inexact) {
			return err
		}
	}
	return diag.Wrap(diag.PlanChanged, err, "query %q can not take up its changed text: the state for it can not be built from history",
		q.def.Name).WithNote("what the old text has committed is safe, and the old text can go on").
		WithHint("put the old text back; or give the query a new name; or start it anew with another --data-dir " +
			"(what has been delivered stays where it is)")
}

func (e *evolution) close() error {
	if e == nil {
		return nil
	}
	e.whole.Release()
	var errs []error
	if e.fold != nil {
		errs = append(errs, e.fold.Close())
	}
	for _, h := range []*history{e.old, e.next} {
		if h != nil {
			errs = append(errs, h.q.release(false))
		}
	}
	return errors.Join(errs...)
}

// endsByItself reports that the query runs what there is and then ends, so that a changed text must be in force before.
func (q *Query) endsByItself() bool {
	kind := q.trigger.Spec().Kind
	return q.overruled() || kind == trigger.Once || kind == trigger.AvailableNow
}

func shiftOf(m checkpoint.Meta) int64 {
	if m.Evolution == nil {
		return 0
	}
	return m.Evolution.Shift
}

// storedShape is the shape that the checkpoint was written with. The stored text is planned only where the shapes
// differ, to see whether new state can be built while it goes on.
func (q *Query) storedShape(ctx context.Context, meta checkpoint.Meta, is Shape) Shape {
	was := StoredShape(meta)
	if q.opt.Parse == nil || was.Fingerprint == is.Fingerprint && len(checkpoint.DiffLayout(was.Layout, is.Layout)) == 0 {
		return was
	}
	app, err := q.opt.Parse(ctx, storedText(meta))
	if err != nil {
		return was
	}
	def, err := findQuery(app, meta.Name)
	if err != nil {
		return was
	}
	plan, err := buildPlan(ctx, q.db, app, def)
	if err != nil {
		return was
	}
	return was.WithText(ShapeOf(q.opt.Registry, app, def, plan))
}

// historyDir is where DuckDB of a history spills.
func historyDir(dir, what string) string { return filepath.Join(dir, "spill", "history-"+what) }
