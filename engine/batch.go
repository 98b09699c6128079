package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/stream"
)

// work is one batch on its way through the steps.
type work struct {
	intent   checkpoint.Intent
	from, to position // where it begins; where it leads, once it is computed
	early    bool     // it is computed before its Intent, beside the delivery of the batch before
	excluded map[string][]checkpoint.Exclusion
	replay   *checkpoint.Commit // set when a committed batch runs again to rebuild state: nothing is delivered
	data     map[string]*rows
	behind   map[string]int64 // what each source had left when the batch was planned; -1: unknown
	counts   map[string]checkpoint.SourceCount
	out      *exec.Output
	state    checkpoint.StateCount
	executed bool       // the state may have moved
	overdue  *time.Time // when a newer slot takes the place of this one; nil for never
	began    time.Time
	ended    time.Time // when the sinks had it
	phases   map[string]float64
}

func (w *work) release() {
	w.releaseRows()
	if w.out != nil {
		w.out.Result.Release()
		w.out = nil
	}
}

func (w *work) releaseRows() {
	for _, r := range w.data {
		r.release()
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
	if w.out == nil { // else it was computed while the batch before was delivered
		if err := q.inTime(ctx, w, q.compute); err != nil { // 3. and 4.
			return Progress{}, err
		}
	}
	if err := q.hook(AfterExecute); err != nil {
		return Progress{}, err
	}
	if err := q.deliverBesideNext(ctx, w); err != nil { // 5. idempotent
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

// deliverBesideNext is step 5, and beside it 1, 3 and 4 of the batch that comes next, where there is one.
func (q *Query) deliverBesideNext(ctx context.Context, w *work) error {
	join := q.computeNext(ctx, w)
	defer join()
	err := w.phase(q, "sink", func() error { return q.deliver(ctx, w) })
	w.ended = q.opt.Clock.Now()
	return err
}

func (q *Query) newWork(in checkpoint.Intent, from position) *work {
	w := &work{intent: in, from: from, began: q.opt.Clock.Now(), phases: map[string]float64{}, data: map[string]*rows{},
		behind: make(map[string]int64, len(q.inputs)), counts: make(map[string]checkpoint.SourceCount, len(q.inputs))}
	for _, in := range q.inputs {
		w.behind[in.def.Name] = in.behind
	}
	return w
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
		q.ledger.delivered[o.name] = d.Marker
	}
	return nil
}

// marker is what the sinks know the batch by.
func (q *Query) marker(in checkpoint.Intent) stream.Marker {
	return stream.Marker{Query: q.uuid, Epoch: q.epoch, Life: q.lifeID, Batch: in.Batch, IntentCRC: in.CRC()}
}

// batchError wraps what stopped a batch with its number.
func (q *Query) batchError(w *work, err error) error {
	return fmt.Errorf("run batch %d: %w", w.intent.Batch, err)
}
