package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/state"
)

// rebuilt says what it took to have the state again.
type rebuilt struct {
	load    time.Duration // of the state version
	batches int           // that were run again
	rerun   time.Duration
}

// rebuild loads the state version and runs the batches after it again.
func (q *Query) rebuild(ctx context.Context, r *checkpoint.Recovery) (did rebuilt, err error) {
	began := q.opt.Clock.Now()
	if r.Version >= 0 {
		err := r.Load(ctx, func(c state.Change) error {
			if c.Table == rewriteTable {
				return q.restoreRewrite(c)
			}
			return q.session.Restore(ctx, c)
		})
		if err != nil {
			return did, fmt.Errorf("load state version %d: %w", r.Version, err)
		}
	}
	loaded := q.opt.Clock.Now()
	for i := range r.Rerun {
		var next *checkpoint.Replay
		if i+1 < len(r.Rerun) {
			next = &r.Rerun[i+1]
		}
		if err := q.replay(ctx, &r.Rerun[i], next); err != nil {
			return did, err
		}
	}
	return rebuilt{load: loaded.Sub(began), batches: len(r.Rerun), rerun: q.opt.Clock.Now().Sub(loaded)}, nil
}

// replay runs a committed batch again, so that the state moves as it did, and delivers nothing. Meanwhile the rows of the
// batch after it are read, if there is one.
func (q *Query) replay(ctx context.Context, r, next *checkpoint.Replay) error {
	if r.Intent.Evolved { // it moved no state
		return nil
	}
	if err := q.useTables(ctx, r.Intent.Tables); err != nil {
		return err
	}
	w := q.newWork(r.Intent, q.pos)
	w.replay = r.Commit
	if r.Exclude != nil {
		w.excluded = r.Exclude.Rows
	}
	defer w.release()
	if err := q.fetch(ctx, w); err != nil {
		return err
	}
	if next != nil {
		q.readAheadAgain(ctx, next.Intent)
	}
	return q.execute(ctx, w)
}

// readAheadAgain starts on what a batch that is to run again has read.
func (q *Query) readAheadAgain(ctx context.Context, intent checkpoint.Intent) {
	for _, in := range q.inputs {
		rng, ok := intent.Sources[in.def.Name]
		if !ok || in.ahead != nil || rng.From == rng.To {
			continue
		}
		in.inBackground(ctx, func(ctx context.Context, a *ahead) (err error) {
			a.rng = rng
			a.rows, err = in.readNow(ctx, rng)
			return err
		})
	}
}
