package engine

import (
	"fmt"
	"maps"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
)

// commit notes what the batch was and moves the position. The Commit is buffered: a crash before it is written only
// makes the batch run again, and the sinks do nothing.
func (q *Query) commit(w *work) (Progress, error) {
	c := q.newCommit(w)
	c.Millis = millis(w.ended.Sub(w.began))
	if err := q.ckpt.Commit(c); err != nil {
		return Progress{}, fmt.Errorf("log commit of batch %d: %w", w.intent.Batch, err)
	}
	p := q.progress(w, c)
	q.apply(w.intent, c)
	q.flushAt = q.opt.Clock.Now().Add(commitDelay)
	q.ledger.began = w.began
	if !p.NoData && w.intent.Slot == nil {
		q.pace.note(w.ended.Sub(w.began), q.inputs, func(in *input) int64 { return c.Sources[in.def.Name].Messages })
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

func (q *Query) newCommit(w *work) checkpoint.Commit {
	c := checkpoint.Commit{Batch: w.intent.Batch, Sources: w.counts, Rows: w.out.Result.NumRows(), State: w.state,
		Watermark: w.to.watermark, Watermarks: w.to.watermarks, Delivered: maps.Clone(q.ledger.delivered),
		Totals: q.ledger.totals, Inexact: q.ledger.inexact}
	for _, n := range c.Sources {
		c.Totals.In += n.In
		c.Totals.Late += n.Late
		c.Totals.NullTime += n.NullTime
		c.Totals.Dead += n.Dead
		c.Totals.Lost += n.Lost
		c.Inexact = c.Inexact || n.Lost > 0
	}
	c.Totals.Batches++
	c.Totals.Out += c.Rows
	if w.intent.Slot != nil {
		ended := q.opt.Clock.Now().UTC().Truncate(time.Microsecond)
		c.Ended = &ended
	}
	return c
}

// apply moves the position past a committed batch.
func (q *Query) apply(in checkpoint.Intent, c checkpoint.Commit) {
	q.pos = q.pos.after(in, c.Watermark, c.Watermarks)
	q.ledger.enter(c)
	q.rewrite.settle(q.pos.next)
	q.schedule.applied(in)
}
