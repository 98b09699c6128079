package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// work is one batch on its way through the steps.
type work struct {
	intent   checkpoint.Intent
	excluded map[string][]checkpoint.Exclusion
	replay   *checkpoint.Commit // set when a committed batch runs again to rebuild state: nothing is delivered
	data     map[string]*rows
	out      *exec.Output
	executed bool       // the state may have moved
	overdue  *time.Time // when a newer slot takes the place of this one; nil for never
	began    time.Time
	phases   map[string]float64
}

func (w *work) release() {
	for _, r := range w.data {
		r.release()
	}
	if w.out != nil {
		w.out.Result.Release()
		w.out = nil
	}
}

// phase runs one step and notes how long it took under Spark's name for it.
func (w *work) phase(q *Query, name string, step func() error) error {
	start := q.opt.Clock.Now()
	err := step()
	w.phases[name] += millis(q.opt.Clock.Now().Sub(start))
	return err
}

// runBatch carries one batch through steps 2-6 of ARCHITECTURE.md, "Life of a batch". A crash after any step is
// repaired by resume, which runs the batch again from its Intent; crash_test.go stops after every file call.
// Faults that a later try may cure are tried again inside the step they hit.
func (q *Query) runBatch(ctx context.Context, w *work, logged bool) (Progress, error) {
	defer w.release()
	if err := q.hook(BeforeIntent); err != nil {
		return Progress{}, err
	}
	if !logged {
		if err := w.phase(q, "walCommit", func() error { return q.intend(w) }); err != nil { // 2. promise
			return Progress{}, err
		}
	}
	if err := q.hook(AfterIntent); err != nil {
		return Progress{}, err
	}
	if err := q.inTime(ctx, w, q.compute); err != nil { // 3. and 4.
		return Progress{}, err
	}
	if err := q.hook(AfterExecute); err != nil {
		return Progress{}, err
	}
	if err := w.phase(q, "sink", func() error { return q.deliver(ctx, w) }); err != nil { // 5. idempotent
		return Progress{}, err
	}
	if err := q.hook(AfterSink); err != nil {
		return Progress{}, err
	}
	p, err := q.commit(w) // 6. buffered: rides in the next Intent's frame
	if err != nil {
		return Progress{}, err
	}
	return p, q.hook(AfterCommit)
}

// compute is what of a batch nobody outside can see.
func (q *Query) compute(ctx context.Context, w *work) error {
	if err := w.phase(q, "getBatch", func() error { return q.fetch(ctx, w) }); err != nil { // 3. exactly (from, to]
		return err
	}
	q.readAhead(ctx, w)
	w.executed = true
	return w.phase(q, "addBatch", func() error { return q.execute(ctx, w) }) // 4. state moves with it
}

func (q *Query) newWork(in checkpoint.Intent) *work {
	return &work{intent: in, began: q.opt.Clock.Now(), phases: map[string]float64{}, data: map[string]*rows{}}
}

func (q *Query) hook(point string) error {
	if q.opt.Hook == nil {
		return nil
	}
	return q.opt.Hook(point)
}

// intend makes the Intent durable, and with it the Commit before.
func (q *Query) intend(w *work) error {
	if err := q.ckpt.Intend(w.intent); err != nil {
		return fmt.Errorf("log intent of batch %d: %w", w.intent.Batch, err)
	}
	q.flushAt = time.Time{}
	return nil
}

// fetch reads exactly the logged range of every source and decodes it once.
func (q *Query) fetch(ctx context.Context, w *work) error {
	for _, in := range q.inputs {
		rng, ok := w.intent.Sources[in.def.Name]
		if !ok {
			continue
		}
		if err := q.fetchSource(ctx, w, in, rng); err != nil {
			return err
		}
		if err := q.sameAsBefore(w, in.def.Name, w.data[in.def.Name]); err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) fetchSource(ctx context.Context, w *work, in *input, rng stream.Range) error {
	if w.intent.Slot != nil {
		r := &rows{}
		w.data[in.def.Name] = r
		return in.history(ctx, r, rng, func(step func() error) error { return q.retry(ctx, w.intent.Batch, step) })
	}
	return q.retry(ctx, w.intent.Batch, func() error {
		got, err := in.read(ctx, rng)
		if err == nil {
			w.data[in.def.Name] = got
		}
		return err
	})
}

// sameAsBefore refuses a replay that reads other rows than the committed run of the batch did.
func (q *Query) sameAsBefore(w *work, source string, r *rows) error {
	if w.replay == nil {
		return nil
	}
	was := w.replay.Sources[source]
	if was.Messages == r.count && was.CRC == r.crc {
		return nil
	}
	rng := w.intent.Sources[source]
	if r.lost > 0 { // on_data_loss = 'skip' said so
		q.pos.inexact = true
		return nil
	}
	return diag.New(diag.DataLoss,
		"source %q gives other rows for batch %d (after %s up to %s) than when the batch was committed: %d messages, then %d",
		source, w.intent.Batch, rng.From, rng.To, was.Messages, r.count).
		WithHint("the source's history was changed; start the query anew under another name or data dir")
}

// readAhead starts on the next range of every source while this batch runs. A source that the batch has emptied is
// left alone: what it has by now would make the next batch a tiny one, and what comes meanwhile would wait for the
// batch after that.
func (q *Query) readAhead(ctx context.Context, w *work) {
	if w.replay != nil || w.intent.Slot != nil || q.schedule.ending() { // a slot reads all of history
		return
	}
	for _, in := range q.inputs {
		rng, ok := w.intent.Sources[in.def.Name]
		if !ok || in.ahead != nil || rng.From == rng.To || in.behind == 0 {
			continue
		}
		limit := q.pace.bound(in, in.limit)
		limit.Until = q.schedule.until[in.def.Name]
		in.readAhead(ctx, rng.To, rng.Identity, limit)
	}
}

// execute runs the plan's statements in one DuckDB transaction. A fault of single rows is bisected; the rows found
// are logged before anything is delivered.
func (q *Query) execute(ctx context.Context, w *work) error {
	if w.intent.Evolved {
		w.out = q.rewritten()
		return nil
	}
	if w.intent.Slot != nil {
		if err := q.freshSession(ctx); err != nil {
			return err
		}
	}
	out, err := q.session.Run(ctx, q.call(w))
	if err != nil && rowFault(err) && w.replay == nil {
		out, err = q.executePoisoned(ctx, w, err)
	}
	if err != nil {
		return q.batchError(w, err)
	}
	w.out = out
	return q.conserve(w)
}

func (q *Query) call(w *work) exec.Call {
	c := exec.Call{Batch: w.intent.Batch + q.shift, Time: w.intent.Time, Watermark: w.intent.Watermark, Late: w.intent.Late,
		Final: w.intent.Final, Unheard: w.replay != nil, Inputs: map[string]exec.Input{}, Excluded: map[string]map[int64]string{}}
	if s := w.intent.Slot; s != nil {
		c.Slot = &[2]time.Time{s.Start, s.End}
	}
	for name, r := range w.data {
		c.Inputs[name] = exec.Input{Records: r.records}
	}
	for name, rows := range w.excluded {
		c.Excluded[name] = make(map[int64]string, len(rows))
		for _, x := range rows {
			c.Excluded[name][x.Ordinal] = x.Reason
		}
	}
	return c
}

// conserve checks that every row that came in is accounted for.
func (q *Query) conserve(w *work) error {
	for _, in := range q.inputs {
		c := w.out.Sources[in.def.Name]
		if c == nil {
			continue
		}
		if sum := c.Used + c.Filtered + c.Late + c.NullTime + c.Dead; c.In != sum {
			return diag.New(diag.ConservationBroken,
				"batch %d of query %q: source %q gave %d rows, but %d used + %d filtered + %d late + %d without time + %d dead = %d",
				w.intent.Batch, q.def.Name, in.def.Name, c.In, c.Used, c.Filtered, c.Late, c.NullTime, c.Dead, sum).
				WithHint("this is a fault of Tidemill; nothing of the batch was delivered")
		}
	}
	return nil
}

// deliver hands dead letters, late rows and the result to their places, each idempotent by (query uuid, batch). An
// empty result does not call the sinks, except in complete mode, where it is the whole result.
func (q *Query) deliver(ctx context.Context, w *work) error {
	if err := q.deliverLetters(ctx, w); err != nil {
		return err
	}
	if err := q.hook(MidSink); err != nil {
		return err
	}
	if w.out.Result.NumRows() == 0 && q.def.Mode != stream.Complete && w.intent.Slot == nil {
		return nil
	}
	d := stream.Delivery{Marker: q.marker(w.intent), Mode: q.def.Mode, Result: w.out.Result}
	if w.intent.Slot != nil {
		d.Replace = w.intent.Slot.Key()
	}
	for _, o := range q.outputs {
		err := q.retry(ctx, w.intent.Batch, func() error { return o.sink.Write(ctx, d) })
		if err != nil {
			return fmt.Errorf("write batch %d to sink %q: %w", w.intent.Batch, o.name, err)
		}
		q.pos.delivered[o.name] = d.Marker
	}
	return nil
}

// marker is what the sinks know the batch by.
func (q *Query) marker(in checkpoint.Intent) stream.Marker {
	return stream.Marker{Query: q.uuid, Epoch: q.epoch, Life: q.lifeID, Batch: in.Batch, IntentCRC: in.CRC()}
}

// commit notes what the batch was and moves the position. The Commit is buffered: a crash before it is written only
// makes the batch run again, and the sinks do nothing.
func (q *Query) commit(w *work) (Progress, error) {
	c := q.newCommit(w)
	if err := q.ckpt.Commit(c); err != nil {
		return Progress{}, fmt.Errorf("log commit of batch %d: %w", w.intent.Batch, err)
	}
	p := q.progress(w, c)
	q.apply(w.intent, c)
	q.flushAt = q.opt.Clock.Now().Add(commitDelay)
	q.pos.began = w.began
	if !p.NoData && w.intent.Slot == nil {
		q.pace.note(q.opt.Clock.Now().Sub(w.began), q.inputs, func(in *input) int64 { return c.Sources[in.def.Name].Messages })
	}
	q.published(p)
	if w.intent.Slot == nil {
		return p, nil
	}
	if err := q.noteSlot(w, SlotDone, nil); err != nil {
		return p, err
	}
	return p, q.overlapped(w.intent, c)
}

func (q *Query) stateCount(n exec.StateCounts) checkpoint.StateCount {
	memory, spilled := q.session.Bytes()
	return checkpoint.StateCount{Rows: n.Rows, Updated: n.Updated, Removed: n.Removed, Dropped: n.Dropped, Memory: memory,
		Spilled: spilled}
}

func (q *Query) newCommit(w *work) checkpoint.Commit {
	c := checkpoint.Commit{Batch: w.intent.Batch, Sources: map[string]checkpoint.SourceCount{}, Rows: w.out.Result.NumRows(),
		State: q.stateCount(w.out.State), Delivered: make(map[string]stream.Marker, len(q.pos.delivered)),
		Totals: q.pos.totals, Millis: millis(q.opt.Clock.Now().Sub(w.began))}
	for _, in := range q.inputs {
		r, ok := w.data[in.def.Name]
		if !ok {
			continue
		}
		n := q.count(in, r, w.out.Sources[in.def.Name])
		c.Sources[in.def.Name] = n
		c.Totals.In += n.In
		c.Totals.Late += n.Late
		c.Totals.NullTime += n.NullTime
		c.Totals.Dead += n.Dead
		c.Totals.Lost += n.Lost
		c.Inexact = c.Inexact || n.Lost > 0
	}
	for name, m := range q.pos.delivered {
		c.Delivered[name] = m
	}
	c.Inexact = c.Inexact || q.pos.inexact
	c.Totals.Batches++
	c.Totals.Out += c.Rows
	switch {
	case w.intent.Evolved: // it reads nothing and closes nothing
		c.Watermarks, c.Watermark = q.pos.watermarks, q.pos.watermark
	case w.intent.Slot == nil:
		c.Watermarks = q.observe(c.Sources)
		c.Watermark = q.advance(w.intent.Watermark, c.Watermarks, w.intent.Idle)
	default:
		ended := q.opt.Clock.Now().UTC().Truncate(time.Microsecond)
		c.Ended = &ended
	}
	return c
}

func (q *Query) count(in *input, r *rows, e *exec.Counts) checkpoint.SourceCount {
	n := checkpoint.SourceCount{Messages: r.count, CRC: r.crc, Lost: r.lost}
	if e != nil {
		n.In, n.Used, n.Filtered, n.Late, n.NullTime, n.Dead, n.MaxTime =
			e.In, e.Used, e.Filtered, e.Late, e.NullTime, e.Dead, e.MaxTime
	}
	faults := int64(len(r.faults))
	n.In += faults
	n.Dead += faults
	if in.def.Options.String("on_error") == "skip" {
		n.Skipped = n.Dead
	}
	return n
}

// apply moves the position past a committed batch.
func (q *Query) apply(in checkpoint.Intent, c checkpoint.Commit) {
	q.pos.next = in.Batch + 1
	for name, rng := range in.Sources {
		if in.Slot == nil { // a slot reads all of history, and so does the next one
			q.pos.offsets[name] = rng.To
		}
		q.pos.identities[name] = rng.Identity
	}
	q.pos.evicted, q.pos.watermark, q.pos.watermarks = in.Watermark, c.Watermark, c.Watermarks
	q.pos.totals, q.pos.inexact = c.Totals, c.Inexact
	for name, m := range c.Delivered {
		q.pos.delivered[name] = m
	}
	q.rewrite.settle(q.pos.next)
	q.schedule.applied(in)
}

// batchError wraps what stopped a batch with its number.
func (q *Query) batchError(w *work, err error) error {
	return fmt.Errorf("run batch %d: %w", w.intent.Batch, err)
}
