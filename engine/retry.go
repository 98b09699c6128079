package engine

import (
	"context"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
)

// retry runs step until it succeeds, fails for good, or has failed as often as the query's retries option allows.
// Pauses double from backoffFirst to backoffMax. Only faults that say they are temporary are tried again.
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
		if serr := q.opt.Clock.Sleep(ctx, pause); serr != nil {
			return err
		}
		pause = min(2*pause, backoffMax)
	}
}

func (q *Query) retries() int {
	if q.def.Options.Has("retries") {
		return int(q.def.Options.Int("retries"))
	}
	return 10
}

// dueIn returns how long until at, at least zero.
func dueIn(now, at time.Time) time.Duration { return max(0, at.Sub(now)) }
