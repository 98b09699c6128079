package engine

import (
	"context"
	"errors"

	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
)

// computeNext begins, beside the delivery of w, with what nobody outside can see of the batch after it: steps 1, 3 and 4.
// Its Intent is written when w is committed, as ever; a crash before that finds nothing of it. The caller calls join before
// anything but the delivery of w goes on. Meanwhile the goroutine has the session, the inputs, the schedule and what
// snapshot counts to itself, and the position and the ledger stay where they are.
func (q *Query) computeNext(ctx context.Context, w *work) (join func()) {
	if !q.goesOn(w) {
		return func() {}
	}
	var next *work
	var err error
	done := make(chan struct{})
	go func() { // ends when the batch is computed or can not be; join waits for it
		defer close(done)
		err = guarded("query "+q.def.Name, func() (err error) {
			next, err = q.computeEarly(ctx, w.to)
			return err
		})
	}()
	return func() {
		<-done
		if q.computed = next; err != nil {
			_ = q.fail(err) // w goes its way; the next turn says so
		}
	}
}

// goesOn reports whether the next batch will be due as soon as w is delivered, by a source that w may have left something
// in, be an ordinary one, and find memory for its result. Of a source that w has emptied the next batch takes what comes
// while w is delivered, and a batch with a latency target learns from the one before it how much to take.
func (q *Query) goesOn(w *work) bool {
	switch in, now := w.intent, q.opt.Clock.Now(); {
	case !q.driven, q.stopping(), q.pace.goal > 0, q.pending != nil, q.evolution != nil, q.rewrite.due(w.to.next),
		in.Slot != nil, in.Evolved, in.Final,
		q.schedule.ending(), q.schedule.due(now) > 0, len(q.dueTables(now)) > 0, !q.light(w):
		return false
	}
	for _, in := range q.inputs {
		if in.behind != 0 {
			return true
		}
	}
	return false
}

// computeEarly computes the batch that begins at from, before its Intent. It returns nil if that can not be: a fault that
// left the state as it was is met again in the batch's turn, when it is tried again, or its rows are found and logged.
func (q *Query) computeEarly(ctx context.Context, from position) (_ *work, err error) {
	if q.snapshot.done == nil && q.keepDue() {
		if err := q.freeze(ctx, from); err != nil {
			return nil, err
		}
	}
	w, err := q.nextWork(ctx, planning{from: from, until: q.schedule.until, early: true})
	if err != nil || w == nil {
		return nil, q.inItsTurn(from, err)
	}
	computed := false
	defer func() {
		if !computed {
			w.release()
		}
	}()
	if err := q.compute(ctx, w); err != nil {
		if w.out != nil || errors.Is(err, exec.ErrMoved) {
			return nil, err
		}
		return nil, q.inItsTurn(from, err)
	}
	computed = true
	q.log.Debug("batch computed early", "batch", from.next)
	return w, nil
}

// inItsTurn lets a fault of a batch that was computed early be, unless somebody panicked and may be in any state.
func (q *Query) inItsTurn(from position, err error) error {
	if diag.CodeOf(err) == diag.Internal {
		return err
	}
	if err != nil {
		q.log.Debug("batch will be computed in its turn", "batch", from.next, "err", err)
	}
	return nil
}
