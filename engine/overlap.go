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

// Ticks are decided on in two places, both from what is logged, so that another life decides the same. A tick
// that came due between a slot's Intent and its end, whether the process lived all that time or not, is dealt
// with by the overlap option when the slot ends (Commit.Ended). Any other tick is dealt with by the missed
// option at the next turn. What has been decided and not begun rides in each Intent (Tick, Waiting).

// errReplaced says that a slot was given up for a newer one before it wrote anything.
var errReplaced = errors.New("a newer slot is due") //nolint:gochecknoglobals // a sentinel

func (q *Query) overlap() trigger.Overlap {
	if q.def.Options.Has("overlap") {
		return trigger.Overlap(q.def.Options.String("overlap"))
	}
	return trigger.OverlapQueue
}

// checkOverlapOption refuses the option where it has no meaning.
func (q *Query) checkOverlapOption() error {
	if q.plan.SlotBound || !q.def.Options.Has("overlap") || q.overlap() == trigger.OverlapQueue {
		return nil
	}
	return diag.New(diag.BadOption, "query %q has overlap = '%s', but its body is not bound to a slot",
		q.def.Name, q.overlap()).At(q.app.Text, q.def.Span).
		WithHint("leave it out: a batch takes the rows of every tick that is due")
}

// startSchedule restores the schedule, and decides on the ticks that came due while the last slot ran as the
// life that ended it did.
func (q *Query) startSchedule(r *checkpoint.Recovery) error {
	if err := q.checkOverlapOption(); err != nil {
		return err
	}
	q.schedule.start(q, r)
	if r.LastIntent == nil || r.Pending != nil {
		return nil
	}
	return q.overlapped(*r.LastIntent, *r.Last)
}

// slotTurn runs the next slot that waits or is due.
func (q *Query) slotTurn(ctx context.Context, now time.Time) (bool, error) {
	s := &q.schedule
	due := now.Add(-q.def.Options.Duration("slot_delay"))
	slot, rest, ok := q.trigger.Pop(q.trigger.Missed(trigger.Queue{Seen: s.last, Runs: s.waiting}, due))
	if !ok {
		return false, nil
	}
	s.asked = &rest
	defer func() { s.asked = nil }()
	return true, q.RunSlot(ctx, slot)
}

// describe writes into the Intent of a slot where the trigger stands once it has run.
func (s *schedule) describe(in *checkpoint.Intent) {
	after := trigger.Queue{Seen: s.last, Runs: s.waiting}
	if s.asked != nil {
		after = *s.asked
	}
	in.ByHand = s.asked == nil
	if !after.Seen.IsZero() {
		in.Tick = &after.Seen
	}
	for _, r := range after.Runs {
		in.Waiting = append(in.Waiting, checkpoint.Waiting(r))
	}
}

func runsOf(waiting []checkpoint.Waiting) []trigger.Run {
	var runs []trigger.Run
	for _, w := range waiting {
		runs = append(runs, trigger.Run(w))
	}
	return runs
}

// overdue returns when the slot that the trigger asks for now has to make room for the next one; nil for
// never.
func (s *schedule) overdue() *time.Time {
	if s.asked == nil || s.query.overlap() != trigger.OverlapCancel {
		return nil
	}
	next := s.query.trigger.Tick(s.asked.Seen)
	if next.IsZero() {
		return nil
	}
	next = next.Add(s.query.def.Options.Duration("slot_delay"))
	return &next
}

// overlapped decides on the ticks that came due while the slot of in ran.
func (q *Query) overlapped(in checkpoint.Intent, c checkpoint.Commit) error {
	if in.Slot == nil || in.ByHand || c.Ended == nil {
		return nil
	}
	s := &q.schedule
	policy := q.overlap()
	after, left := q.trigger.Overlapped(trigger.Queue{Seen: s.last, Runs: s.waiting},
		c.Ended.Add(-q.def.Options.Duration("slot_delay")), policy)
	s.last, s.waiting = after.Seen, after.Runs
	state := SlotSkipped
	if policy == trigger.OverlapCancel {
		state = SlotReplaced
	}
	return q.noteLeft(left, state)
}

// inTime runs compute until the slot of w is overdue. Then it is interrupted, and the error is errReplaced.
// The clock alone decides: a slot that was done computing only after its time is given up too.
func (q *Query) inTime(ctx context.Context, w *work, compute func(context.Context, *work) error) error {
	if w.overdue == nil {
		return compute(ctx, w)
	}
	within, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { // ends with within
		defer close(ended)
		for left := time.Duration(1); left > 0; {
			if left = dueIn(q.opt.Clock.Now(), *w.overdue); q.opt.Clock.Sleep(within, min(left, time.Second)) != nil {
				return
			}
		}
		cancel()
	}()
	err := compute(within, w)
	cancel()
	<-ended
	if ctx.Err() == nil && !q.opt.Clock.Now().Before(*w.overdue) {
		return errReplaced
	}
	return err
}

// replaceSlot ends a slot that wrote nothing with a Commit that says so, durable before anything follows.
func (q *Query) replaceSlot(w *work, cause error) error {
	ended := q.opt.Clock.Now().UTC().Truncate(time.Microsecond)
	c := checkpoint.Commit{Batch: w.intent.Batch, Sources: map[string]checkpoint.SourceCount{}, Totals: q.ledger.totals,
		Delivered: make(map[string]stream.Marker, len(q.ledger.delivered)), Inexact: q.ledger.inexact,
		Millis: millis(ended.Sub(w.began)), Ended: &ended, Replaced: true}
	for name, m := range q.ledger.delivered {
		c.Delivered[name] = m
	}
	if err := q.ckpt.Commit(c); err != nil {
		return q.fail(err)
	}
	if err := q.hook(AfterReplace); err != nil {
		return q.fail(err)
	}
	if err := q.flush(); err != nil {
		return q.fail(err)
	}
	q.apply(w.intent, c)
	q.log.Info("slot replaced by a newer one", "batch", w.intent.Batch, "dur", c.Millis)
	if err := q.noteSlot(w, SlotReplaced, cause); err != nil {
		return q.fail(err)
	}
	return q.overlapped(w.intent, c)
}
