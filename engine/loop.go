package engine

import (
	"context"
	"errors"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// Run drives the query by its trigger until the trigger ends, Stop is called, ctx is cancelled, or a batch
// fails. After Stop the batch in flight is finished, and the next one too if it is computed already, or left
// to the next start if it waits for a source to come back, and the query is closed cleanly. When ctx is cancelled
// the batch in flight is given up: the next start runs it again. Run closes the query in every case.
func (q *Query) Run(ctx context.Context) (err error) {
	defer func() {
		q.setState("stopped", nil)
		if err != nil {
			q.setState("failed", err)
			q.log.Error("query stopped", "batch", q.pos.next, "err", err)
		}
		tell(q.opt.Listener.QueryStopped, Stopped{Query: q.def.Name, Err: err})
	}()
	err = q.loop(ctx)
	if err != nil {
		return errors.Join(err, q.Abandon())
	}
	return q.Close(context.WithoutCancel(ctx))
}

func (q *Query) loop(ctx context.Context) error {
	q.driven = true
	for {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case q.stopping() && q.computed == nil: // else that is the batch in flight
			return nil
		}
		ran, err := q.Step(ctx)
		if errors.Is(err, ErrStopped) && q.failed == nil {
			q.log.Warn("stopped while a batch was to be tried again", "batch", q.pos.next, "err", err)
			return nil
		}
		if err != nil {
			return err
		}
		if q.Ended() {
			return nil
		}
		if ran {
			continue
		}
		if err := q.wait(ctx); err != nil {
			return err
		}
	}
}

// wait sleeps until the next turn may find something: the trigger's time, news from a source, a Commit to be
// written alone, a state version that is due, or Stop.
func (q *Query) wait(ctx context.Context) error {
	if err := q.upkeep(ctx); err != nil {
		return err
	}
	now := q.opt.Clock.Now()
	pause := q.schedule.due(now)
	polling := pause == 0
	if polling {
		pause = q.napTime(now)
	}
	if !q.flushAt.IsZero() {
		pause = min(pause, dueIn(now, q.flushAt))
	}
	if q.snapshot.done != nil || q.pos.next > 0 && q.snapshot.batch != q.pos.next-1 {
		pause = min(pause, time.Second) // a state version is being written or will be due
	}
	ctx, cancel := context.WithTimeoutCause(ctx, pause, errWaited)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-q.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	if polling {
		return q.awaitNews(ctx)
	}
	<-ctx.Done()
	return nil
}

var errWaited = errors.New("waited long enough") //nolint:gochecknoglobals // a sentinel

// napTime returns how long a query that polls may sleep when its sources can wake it, else the poll interval.
func (q *Query) napTime(now time.Time) time.Duration {
	for _, in := range q.inputs {
		if _, ok := in.src.(stream.Waiter); !ok || in.ahead != nil {
			return pollInterval
		}
	}
	pause := time.Second
	if timeout := q.def.Options.Duration("idle_timeout"); timeout > 0 {
		pause = min(pause, timeout/4)
	}
	if step := q.def.Options.Duration("idle_advance"); step > 0 {
		pause = min(pause, step/4)
	}
	if q.trigger.Spec().Kind == trigger.Cron {
		pause = min(pause, q.schedule.due(now))
	}
	return pause
}

// awaitNews returns when any source has something new or ctx is done.
func (q *Query) awaitNews(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, len(q.inputs))
	waiting := 0
	for _, in := range q.inputs {
		w, ok := in.src.(stream.Waiter)
		if !ok || in.ahead != nil {
			continue
		}
		waiting++
		from := q.pos.offsets[in.def.Name]
		go func() { // ends with ctx, which this function cancels and waits for
			err := guarded("source "+in.def.Name, func() error {
				_ = w.Wait(ctx, from) // an error shows itself again, with its place, when the source is asked
				return nil
			})
			cancel()
			ended <- err
		}()
	}
	<-ctx.Done()
	cancel()
	var errs []error
	for range waiting {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// upkeep does what needs no batch: a lone Commit, a state version, acknowledgements.
func (q *Query) upkeep(ctx context.Context) error {
	if !q.flushAt.IsZero() && !q.opt.Clock.Now().Before(q.flushAt) {
		if err := q.flush(); err != nil {
			return err
		}
	}
	return q.keepIfDue(ctx)
}

func (q *Query) flush() error {
	q.flushAt = time.Time{}
	if err := q.ckpt.Flush(); err != nil {
		return diag.Wrap(diag.BatchFailed, err, "write the commit of batch %d", q.pos.next-1)
	}
	return nil
}
