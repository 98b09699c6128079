package engine

import (
	"context"
	"errors"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// slotsMax bounds the ticks that one turn of a cron trigger looks at.
const slotsMax = 10_000

// cronTurn runs what the cron trigger makes due: for a slot-bound body one slot, else batches up to where the
// sources ended when the tick was seen.
func (q *Query) cronTurn(ctx context.Context, now time.Time, force bool) (bool, error) {
	s := &q.schedule
	if q.plan.SlotBound {
		return q.slotTurn(ctx, now)
	}
	done := func() { s.last, s.tick = *s.tick, nil }
	if s.tick != nil {
		if ran, err := q.untilEnd(ctx, done); ran || err != nil {
			return ran, err
		}
	}
	ticks := q.trigger.Due(s.last, now, slotsMax)
	switch {
	case len(ticks) > 0:
		s.tick = &ticks[len(ticks)-1] // the rows of missed ticks are all there now: one run takes them
	case !force:
		return false, nil
	default:
		s.tick = &now
	}
	return q.untilEnd(ctx, done)
}

// RunSlot runs one slot as a batch of its own over all that the sources hold now, or over what they stored during the
// slot where history_time = 'published'. Its output replaces, in one commit,
// exactly what the same slot wrote before. A crash leaves the slot's Intent, and the next start runs it first.
// It is refused where slots that overlap it hold rows in the sink.
func (q *Query) RunSlot(ctx context.Context, slot trigger.Slot) (err error) {
	defer q.guard(&err)
	if q.failed != nil {
		return q.failed
	}
	if err := q.checkSlots(); err != nil {
		return err
	}
	if q.pending != nil {
		if err := q.runPending(ctx); err != nil {
			return err
		}
	}
	if err := q.refreshTables(ctx); err != nil {
		return err
	}
	if err := q.checkOverlap([]trigger.Slot{slot}); err != nil {
		return err
	}
	in, err := q.slotIntent(ctx, slot)
	if err != nil {
		return err
	}
	w := q.newWork(in, q.pos)
	w.overdue = q.schedule.overdue()
	if err := q.noteSlot(w, SlotRunning, nil); err != nil {
		return err
	}
	err = q.finishBatch(ctx, w, false)
	switch {
	case errors.Is(err, errReplaced):
		return q.replaceSlot(w, err)
	case err != nil && !errors.Is(err, ErrStopped):
		return errors.Join(err, q.noteSlot(w, SlotFailed, err))
	}
	return err
}

// slotIntent is step 1 of a slot. A slot that the trigger did not ask for repeats what the Intent before said of the
// trigger, so that the next start knows which ticks were missed.
func (q *Query) slotIntent(ctx context.Context, slot trigger.Slot) (checkpoint.Intent, error) {
	in := checkpoint.Intent{Batch: q.pos.next, Time: q.opt.Clock.Now().Truncate(time.Microsecond),
		Sources: map[string]stream.Range{}, Tables: q.tables.versions(), Plan: q.plan.Hash(), Final: true,
		Slot: &checkpoint.Slot{Start: slot.Start, End: slot.End}}
	q.schedule.describe(&in)
	for _, s := range q.inputs {
		name := s.def.Name
		s.dropAhead()
		rng, err := q.admitSource(ctx, s, planning{from: q.pos, unlimited: true})
		if err != nil {
			return in, err
		}
		err = q.retry(ctx, in.Batch, func() (err error) {
			rng, err = s.stretch(ctx, rng, slot.Start, slot.End)
			return err
		})
		if err != nil {
			return in, err
		}
		in.Sources[name] = rng
	}
	return in, nil
}

// checkSlots refuses to run slots where their output could not be replaced.
func (q *Query) checkSlots() error {
	if !q.plan.SlotBound {
		return diag.New(diag.ShapeUnsupported, "query %q is not bound to a slot", q.def.Name).
			At(q.app.Text, q.def.Span).
			WithHint("let the body read getvariable('slot_start') and getvariable('slot_end'), " +
				"for example WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end')")
	}
	for i, name := range q.def.Sinks {
		if sink := findSink(q.app, name); !sink.Slots {
			return diag.New(diag.SinkMode, "sink %q (%s) can not replace what a slot wrote before", name, sink.Connector).
				At(q.app.Text, q.def.SinkSpan[i]).WithHint("use a parquet, json, csv or duckdb sink")
		}
	}
	return nil
}
