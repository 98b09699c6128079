package engine

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// openCheckpoint takes the query's directory and checks that what it holds fits the plan.
func (q *Query) openCheckpoint(ctx context.Context, dir string) (*checkpoint.Recovery, error) {
	shape := q.shape()
	meta := checkpoint.Meta{Name: q.def.Name, Created: q.opt.Clock.Now(), Version: q.opt.Version,
		SQL: q.app.Text.Body, Plan: shape.Fingerprint, Layout: shape.Layout}
	ckpt, recovery, err := checkpoint.Open(ctx, checkpoint.Options{FS: q.opt.FS, Dir: dir, Clock: q.opt.Clock,
		Version: q.opt.Version, Life: q.opt.NewLife(), Lock: q.opt.Lock, Stateful: q.stateful()}, meta)
	if err != nil {
		return nil, err //nolint:wrapcheck // a coded error with its own place
	}
	q.ckpt, q.uuid, q.epoch = ckpt, recovery.Meta.UUID, recovery.Epoch
	if n := len(recovery.Lives); n > 0 {
		q.lifeID = recovery.Lives[n-1]
	}
	if recovery.New {
		return recovery, nil
	}
	q.shift = shiftOf(recovery.Meta)
	change := Compare(q.storedShape(ctx, recovery.Meta, shape), shape)
	switch change.Effect {
	case Refused:
		return nil, ckpt.PlanChanged(change.Lines, change.Reasons) //nolint:wrapcheck // a coded error
	case Rebuilt:
		return nil, &evolvingError{recovery.Meta}
	}
	return recovery, q.takeEffect(recovery, change)
}

// takeEffect lets a changed text of the query replace the one in the checkpoint, which is right only where no batch
// of the old text must run again.
func (q *Query) takeEffect(r *checkpoint.Recovery, change Change) error {
	if change.Effect == Unchanged {
		return nil
	}
	if r.Pending != nil || len(r.Rerun) > 0 {
		return &otherPlanError{r.Meta}
	}
	r.Meta.Plan, r.Meta.SQL, r.Meta.Version = q.shape().Fingerprint, q.app.Text.Body, q.opt.Version
	if err := q.ckpt.SaveMeta(r.Meta); err != nil {
		return fmt.Errorf("keep the changed text: %w", err)
	}
	return nil
}

// shape is what the query's checkpoint depends on.
func (q *Query) shape() Shape { return ShapeOf(q.opt.Registry, q.app, q.def, q.plan) }

// fixed lists the options that make another thing of a source or sink.
func fixed(fields []stream.Field, options stream.Options) string {
	list := ""
	for _, f := range fields {
		if f.Fixed && f.Type != stream.Secret && options.Has(f.Name) {
			list += fmt.Sprintf(", %s = %v", f.Name, options[f.Name])
		}
	}
	return list
}

func sourceLayout(reg stream.Registry, s *planner.Source) []string {
	fields := append(stream.SourceFields(s.Typed), reg.Sources[s.Connector].Spec.Fields...)
	lines := []string{fmt.Sprintf("source %s: connector %s%s", s.Name, s.Connector, fixed(fields, s.Options))}
	if w := s.Watermark; w != nil {
		lines = append(lines, fmt.Sprintf("source %s: watermark on %s", s.Name, w.Column))
	}
	return lines
}

func (q *Query) openInputs(ctx context.Context, dir string, r *checkpoint.Recovery) error {
	q.pos, q.ledger = newPosition(), newLedger(q.opt.Clock.Now())
	for i, s := range q.plan.Sources {
		in, err := openInput(ctx, q.opt, q.app, s, home{dir: filepath.Join(dir, "sources", s.Name), query: q.uuid})
		if err != nil {
			return err
		}
		q.inputs = append(q.inputs, in)
		q.boundInput(in)
		in.keeps = q.lateLetters()
		if err := in.narrow(q.plan.Inputs[i].Unread); err != nil {
			return err
		}
	}
	return q.startOffsets(ctx, r.Meta)
}

// startOffsets resolves where each source begins, once in the life of a query: "latest" must not move when the first
// batch is run again.
func (q *Query) startOffsets(ctx context.Context, meta checkpoint.Meta) error {
	if meta.Start == nil {
		meta.Start = map[string]stream.Offset{}
	}
	if meta.Identities == nil { // of before they were stored: the first Intent says them
		meta.Identities = map[string]string{}
	}
	changed := false
	for _, in := range q.inputs {
		name := in.def.Name
		if _, known := meta.Start[name]; !known {
			var start stream.Offset
			var identity string
			err := q.retryStart(ctx, func() (err error) {
				start, identity, err = in.src.Start(ctx)
				return err
			})
			if err != nil {
				return fmt.Errorf("start source %q: %w", name, err)
			}
			meta.Start[name], meta.Identities[name], changed = start, identity, true
		}
		q.pos.offsets[name], q.pos.identities[name] = meta.Start[name], meta.Identities[name]
	}
	if !changed {
		return nil
	}
	if err := q.ckpt.SaveMeta(meta); err != nil {
		return fmt.Errorf("keep start offsets: %w", err)
	}
	return nil
}

// retryStart tries a few times only: at the start somebody is watching and wants to know.
func (q *Query) retryStart(ctx context.Context, step func() error) error {
	var err error
	for attempt := range 3 {
		if attempt > 0 {
			if serr := q.opt.Clock.Sleep(ctx, backoffFirst); serr != nil {
				return err
			}
		}
		if err = step(); err == nil || !diag.Temporary(err) {
			return err
		}
	}
	return err
}

// connectOutputs makes the sinks, and those of dead letters, and refuses what feeds the query itself. It leaves nothing
// behind.
func (q *Query) connectOutputs(ctx context.Context, dir string, stage stream.Stager) error {
	schema, err := planSchema(q.plan)
	if err != nil {
		return err
	}
	for i, name := range q.def.Sinks {
		sink, err := q.connectSink(ctx, i, filepath.Join(dir, "sinks", name), schema, stage)
		if err != nil {
			return err
		}
		q.outputs = append(q.outputs, &output{name: name, sink: sink})
		if err := q.checkFed(ctx, sink, q.readsSink(i)); err != nil {
			return err
		}
	}
	return q.connectDeadOutputs(ctx, dir, stage)
}

// openOutputs opens them, which leaves a marker in each.
func (q *Query) openOutputs(ctx context.Context, dir string, r *checkpoint.Recovery) error {
	if err := q.connectOutputs(ctx, dir, q.ckpt.Stager()); err != nil {
		return err
	}
	for _, out := range q.outputs {
		if err := out.sink.Open(ctx, q.owner(out.name, r)); err != nil {
			return fmt.Errorf("open sink %q: %w", out.name, err)
		}
	}
	return q.openDeadOutputs(ctx, r)
}

// owner tells a sink who we are and what our log says it holds. A sink that is new to the query begins here.
func (q *Query) owner(sink string, r *checkpoint.Recovery) stream.Owner {
	o := stream.Owner{Query: q.uuid, Name: q.def.Name, Epoch: q.epoch, Life: q.lifeID, Lives: r.Lives,
		TakeOver: q.opt.TakeOver}
	if r.Last != nil {
		if m, ok := r.Last.Delivered[sink]; ok {
			o.Last = &m
		}
	}
	if r.Pending != nil {
		m := q.marker(*r.Pending)
		o.Pending = &m
	}
	return o
}

func findSink(app *planner.App, name string) *planner.Sink {
	for _, s := range app.Sinks {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// resume brings the query to where its log says it stood: the state version, then the committed batches after it
// run again from their Intents, without delivery.
func (q *Query) resume(ctx context.Context, r *checkpoint.Recovery) (rebuilt, error) {
	var did rebuilt
	if err := q.openSession(ctx); err != nil {
		return did, err
	}
	if err := q.openTables(ctx, r); err != nil {
		return did, err
	}
	if r.Last == nil {
		q.setPending(r)
		return did, nil
	}
	if q.stateful() {
		var err error
		if did, err = q.rebuild(ctx, r); err != nil {
			return did, err
		}
	}
	q.apply(*r.LastIntent, *r.Last)
	q.setPending(r)
	return did, q.useTables(ctx, nextTables(r))
}

func (q *Query) setPending(r *checkpoint.Recovery) {
	if r.Pending != nil {
		q.pending = &checkpoint.Replay{Intent: *r.Pending, Exclude: r.PendingExclude}
	}
}

func (q *Query) openSession(ctx context.Context) error {
	ahead := make(map[string]time.Duration, len(q.plan.Sources))
	for _, s := range q.plan.Sources {
		ahead[s.Name] = maxAhead(s)
	}
	session, err := exec.Open(ctx, exec.Options{Plan: q.plan, DB: q.db, MaxAhead: ahead, Batch: q.plan.SlotBound,
		Memory: q.pool})
	if err != nil {
		return fmt.Errorf("prepare the plan: %w", err)
	}
	q.session = session
	return nil
}

// stateful reports that batches build on one another. A slot is a batch run of its own.
func (q *Query) stateful() bool { return q.plan.Stateful() && !q.plan.SlotBound }

// freshSession forgets what the slot before left in the session.
func (q *Query) freshSession(ctx context.Context) error {
	if err := q.session.Close(); err != nil {
		return fmt.Errorf("close the session of the last slot: %w", err)
	}
	if err := q.openSession(ctx); err != nil {
		return err
	}
	versions, loaded := q.tables.versions(), q.tables.loaded
	q.tables.inUse, q.tables.loaded = map[string]string{}, map[string]time.Time{}
	err := q.useTables(ctx, versions)
	q.tables.loaded = loaded // the same copies are as old as they were, so that REFRESH EVERY comes due
	return err
}

// maxAhead is how far past the batch time an event time may lie; zero for as far as it likes.
func maxAhead(s *planner.Source) time.Duration {
	if s.Options.Has("max_ahead") {
		return s.Options.Duration("max_ahead")
	}
	if s.Connector == "jetstream" {
		return 24 * time.Hour
	}
	return 0
}
