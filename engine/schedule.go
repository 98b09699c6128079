package engine

import (
	"context"
	"errors"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// schedule is where the query stands with its trigger.
type schedule struct {
	last    time.Time                // tick of the last turn, for slots the newest that is decided on; zero: none yet
	until   map[string]stream.Offset // end of the run in progress, for AVAILABLE NOW and CRON
	tick    *time.Time               // the cron tick being worked on
	waiting []trigger.Run            // slots that were decided on and have not begun
	asked   *trigger.Queue           // what is left when the slot that the trigger asked for has run
	ended   bool                     // the trigger will never be due again
	turns   int                      // turns taken in this life
	query   *Query
}

// start restores the schedule from the log: the newest tick that a batch ran for.
func (s *schedule) start(q *Query, r *checkpoint.Recovery) {
	s.query = q
	if q.trigger.Spec().Kind != trigger.Cron {
		return
	}
	if !q.plan.SlotBound {
		s.last = q.opt.Clock.Now()
	}
	if r.LastIntent != nil && r.LastIntent.Tick != nil {
		s.last = *r.LastIntent.Tick
		s.waiting = runsOf(r.LastIntent.Waiting)
	}
}

func (s *schedule) applied(in checkpoint.Intent) {
	if s.query != nil && s.query.plan.SlotBound && in.Tick != nil {
		s.last, s.waiting = *in.Tick, runsOf(in.Waiting)
		return
	}
	if in.Tick != nil && s.query != nil && in.Tick.After(s.last) {
		s.last = *in.Tick
	}
}

// ending reports that reading ahead is of no use.
func (s *schedule) ending() bool {
	return s.ended || s.query == nil || s.query.trigger.Spec().Kind == trigger.Once
}

// due returns how long to wait until the next turn; zero means now.
func (s *schedule) due(now time.Time) time.Duration {
	if s.query.pending != nil || s.until != nil || len(s.waiting) > 0 {
		return 0
	}
	var delay time.Duration
	if s.query.plan.SlotBound { // a slot is due this long after its tick
		delay = s.query.def.Options.Duration("slot_delay")
		if s.last.IsZero() && !s.query.trigger.Prev(now.Add(-delay)).IsZero() {
			return 0 // a new query begins with the last whole slot
		}
	}
	next := s.query.trigger.Next(s.last, now.Add(-delay))
	if next.IsZero() { // a cron expression that comes in years
		return time.Hour
	}
	return dueIn(now, next.Add(delay))
}

// Step evaluates the trigger once and runs at most one batch. It reports whether a batch ran.
func (q *Query) Step(ctx context.Context) (ran bool, err error) {
	defer q.guard(&err)
	return q.turn(ctx, false)
}

// Idle runs batches until nothing is left to do, no-data batches included, whatever the wall-clock schedule says.
func (q *Query) Idle(ctx context.Context) (err error) {
	defer q.guard(&err)
	q.driven = true
	defer func() { q.driven = false }()
	for {
		ran, err := q.turn(ctx, true)
		if err != nil || !ran {
			return err
		}
	}
}

// Ended reports that the trigger will never be due again: ONCE and AVAILABLE NOW after their work.
func (q *Query) Ended() bool { return q.schedule.ended && q.pending == nil }

// overruled reports that the command line asked for what is due now and then the end.
func (q *Query) overruled() bool { return q.opt.Trigger != nil }

// turn is one evaluation of the trigger.
func (q *Query) turn(ctx context.Context, force bool) (bool, error) {
	s := &q.schedule
	if q.failed != nil {
		return false, q.failed
	}
	if q.pending != nil {
		return true, q.runPending(ctx)
	}
	if s.ended {
		return false, nil
	}
	if q.rewrite.due(q.pos.next) { // before the text changes again: the sinks hold rows of the one before
		return true, q.runRewrite(ctx)
	}
	evolving := q.evolution != nil
	if evolving {
		if err := q.evolve(ctx, force || q.endsByItself()); err != nil {
			return false, err
		}
		s = &q.schedule
	}
	if q.rewrite.due(q.pos.next) {
		return true, q.runRewrite(ctx)
	}
	now := q.opt.Clock.Now()
	if !force && q.computed == nil && s.due(now) > 0 && !q.overruled() {
		return evolving, nil
	}
	s.turns++
	switch q.trigger.Spec().Kind {
	case trigger.Once:
		s.ended = true
		return q.attempt(ctx, true, nil)
	case trigger.AvailableNow:
		return q.untilEnd(ctx, func() { s.ended = true })
	case trigger.Cron:
		ran, err := q.cronTurn(ctx, now, force)
		if err == nil && !ran && q.overruled() { // what was due is done
			s.ended = true
		}
		return ran, err
	case trigger.Every:
		s.last = q.trigger.Current(now)
		return q.attempt(ctx, false, nil)
	default:
		s.last = now
		return q.attempt(ctx, false, nil)
	}
}

// untilEnd fixes the end at its first call and runs a batch toward it at each; done is called when it is reached.
func (q *Query) untilEnd(ctx context.Context, done func()) (bool, error) {
	s := &q.schedule
	if s.until == nil {
		until, err := q.ends(ctx)
		if err != nil {
			return false, err
		}
		s.until = until
	}
	ran, err := q.attempt(ctx, false, s.until)
	if err == nil && !ran {
		s.until = nil
		done()
	}
	return ran, err
}

// attempt plans a batch, unless the next one is computed already, and runs it.
func (q *Query) attempt(ctx context.Context, unlimited bool, until map[string]stream.Offset) (bool, error) {
	w := q.computed
	q.computed = nil
	if w == nil {
		var err error
		if w, err = q.nextWork(ctx, planning{from: q.pos, unlimited: unlimited, until: until}); err != nil || w == nil {
			return false, err
		}
	}
	return true, q.finishBatch(ctx, w, false)
}

// runPending runs the batch that has an Intent but no Commit again, from its Intent.
func (q *Query) runPending(ctx context.Context) error {
	w := q.newWork(q.pending.Intent, q.pos)
	if q.pending.Exclude != nil {
		w.excluded = q.pending.Exclude.Rows
	}
	if err := q.useTables(ctx, w.intent.Tables); err != nil {
		return err
	}
	if err := q.finishBatch(ctx, w, true); err != nil {
		return err
	}
	q.pending = nil
	return nil
}

// finishBatch runs a batch and keeps a state version if one is due.
func (q *Query) finishBatch(ctx context.Context, w *work, logged bool) error {
	_, err := q.runBatch(ctx, w, logged)
	switch {
	case errors.Is(err, errReplaced):
		return err
	case errors.Is(err, ErrStopped) && !w.executed: // neither state nor sinks have seen it: it stays promised
		q.pending = &checkpoint.Replay{Intent: w.intent}
		if w.excluded != nil {
			q.pending.Exclude = &checkpoint.Exclude{Batch: w.intent.Batch, Rows: w.excluded}
		}
		return err
	case err != nil:
		return q.fail(err)
	case q.failed != nil: // by the next batch, computed beside this one
		return q.failed
	}
	if err := q.hook(AfterState); err != nil {
		if kerr := q.keepNow(ctx); kerr != nil {
			return kerr
		}
		return err
	}
	return q.keepIfDue(ctx)
}

// Finish runs what is left and then one batch with the watermark at infinity, which closes every open window and
// session. No row can follow: all would be late.
func (q *Query) Finish(ctx context.Context) (err error) {
	defer q.guard(&err)
	if err := q.Idle(ctx); err != nil {
		return err
	}
	in := q.standingIntent()
	in.Final = true
	return q.finishBatch(ctx, q.newWork(in, q.pos), false)
}

// standingIntent is a batch that reads nothing.
func (q *Query) standingIntent() checkpoint.Intent {
	in := checkpoint.Intent{Batch: q.pos.next, Time: q.opt.Clock.Now().Truncate(time.Microsecond),
		Sources: make(map[string]stream.Range, len(q.inputs)), Tables: q.tables.versions(), Plan: q.plan.Hash(),
		Watermark: q.pos.watermark, Late: q.pos.evicted}
	for _, s := range q.inputs {
		name := s.def.Name
		in.Sources[name] = stream.Range{From: q.pos.offsets[name], To: q.pos.offsets[name], Identity: q.pos.identities[name]}
	}
	return in
}
