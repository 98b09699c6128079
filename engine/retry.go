package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
)

// retry runs step until it succeeds, fails for good, or has failed as often as the query's retries option
// allows. Pauses double from backoffFirst to backoffMax. Only faults that say they are temporary are tried
// again, and none once Stop was called: then the error is one of ErrStopped too.
func (q *Query) retry(ctx context.Context, batch int64, step func() error) error {
	pause := backoffFirst
	for attempt := 1; ; attempt++ {
		err := step()
		if err == nil || ctx.Err() != nil || !diag.Temporary(err) || attempt > q.retries() {
			if attempt > 1 && err == nil {
				q.setState("running", nil)
			}
			return err
		}
		q.setState("retrying", err)
		q.log.Warn("batch will be tried again", "batch", batch, "attempt", attempt, "dur", pause, "err", err)
		tell(q.opt.Listener.BatchRetried, Retried{Query: q.def.Name, Batch: batch, Attempt: attempt, Pause: pause, Err: err})
		if serr := q.pause(ctx, pause); serr != nil {
			return err
		}
		if q.stopping() {
			return &stoppedError{batch: batch, err: err}
		}
		pause = min(2*pause, backoffMax)
	}
}

// insist is retry, but for a batch that is computed early: nobody waits for it yet, and its fault, met again when it is its
// turn, is dealt with then.
func (q *Query) insist(ctx context.Context, early bool, batch int64, step func() error) error {
	if early {
		return step()
	}
	return q.retry(ctx, batch, step)
}

// ErrStopped is what RunSlot returns when Stop was called while the slot waited to be tried again. Nothing of
// it had been written, and Close is clean.
var ErrStopped = errors.New("the query was stopped") //nolint:gochecknoglobals // a sentinel

// stoppedError is a fault that was not tried again because of Stop.
type stoppedError struct {
	batch int64
	err   error
}

func (e *stoppedError) Error() string {
	return fmt.Sprintf("stopped while batch %d was to be tried again: %v", e.batch, e.err)
}

func (e *stoppedError) Unwrap() []error { return []error{ErrStopped, e.err} }

// pause sleeps for d, or until Stop.
func (q *Query) pause(ctx context.Context, d time.Duration) error {
	asleep, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with asleep
		select {
		case <-q.stop:
			cancel()
		case <-asleep.Done():
		}
	}()
	err := q.opt.Clock.Sleep(asleep, d)
	if err != nil && q.stopping() {
		return ctx.Err() //nolint:wrapcheck // nil unless the query is aborted
	}
	return err //nolint:wrapcheck // the fault itself is what is reported
}

func (q *Query) retries() int {
	if q.def.Options.Has("retries") {
		return int(q.def.Options.Int("retries"))
	}
	return 10
}

// dueIn returns how long until at, at least zero.
func dueIn(now, at time.Time) time.Duration { return max(0, at.Sub(now)) }
