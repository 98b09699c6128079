package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

// snapshots is step 7: state versions, written in the background, at most one at a time.
type snapshots struct {
	last    time.Time     // when the last one was begun
	batch   int64         // its batch; -1 for none
	bytes   int64         // read since then
	work    time.Duration // that batches took since then to be read and executed: what running them again takes
	held    time.Duration // how long batches waited for the last one
	done    chan kept     // of the one in flight; nil when there is none
	offsets map[string]stream.Offset
	frozen  *frozen // of batch, taken before its Commit; nil when there is none
}

// frozen is what a state version is to hold.
type frozen struct {
	began   time.Time
	changes []state.Change
}

// drop lets go of what will not be written.
func (s *snapshots) drop() {
	if s.frozen == nil {
		return
	}
	for _, c := range s.frozen.changes {
		c.Release()
	}
	s.frozen = nil
}

type kept struct {
	batch    int64
	began    time.Time
	held     time.Duration
	duration time.Duration
	err      error
}

func (s *snapshots) wait() {
	if s.done != nil {
		k := <-s.done
		s.done <- k
	}
}

func (q *Query) checkpointInterval() time.Duration {
	if q.def.Options.Has("checkpoint_interval") {
		return q.def.Options.Duration("checkpoint_interval")
	}
	return 10 * time.Second
}

// checkpointBytes is how many payload bytes make a state version due before its time.
func (q *Query) checkpointBytes() int64 {
	if q.def.Options.Has("checkpoint_bytes") {
		return q.def.Options.Int("checkpoint_bytes")
	}
	return 64 << 20
}

// checkpointWork is how much work makes a state version due before its time: a recovery does it again.
func (q *Query) checkpointWork() time.Duration {
	if q.def.Options.Has("checkpoint_work") {
		return q.def.Options.Duration("checkpoint_work")
	}
	return 2 * time.Second
}

// heldShare is how many times as long as batches waited for the last state version they work before the next one, unless it
// is due for another reason. What DuckDB keeps is taken out while they wait; what is kept by key costs them nothing.
const heldShare = 20

// keepDue reports whether the interval has passed, enough has been read, or so much been worked that a recovery would
// be long.
func (q *Query) keepDue() bool {
	s := &q.snapshot
	return q.opt.Clock.Now().Sub(s.last) >= q.checkpointInterval() || s.bytes >= q.checkpointBytes() ||
		s.work >= max(q.checkpointWork(), heldShare*s.held)
}

// keepIfDue collects a finished state version and begins the next one when it is due. It does not wait for the disk. Where
// the next batch is computed already, computeEarly took what the version holds before that moved it.
func (q *Query) keepIfDue(ctx context.Context) error {
	s := &q.snapshot
	if s.frozen != nil {
		q.write(ctx)
		return nil
	}
	if s.done != nil {
		select {
		case k := <-s.done:
			s.done = nil
			if err := q.kept(ctx, k); err != nil {
				return q.fail(err)
			}
		default:
			return nil
		}
	}
	if q.computed != nil || q.pos.next == 0 || s.batch == q.pos.next-1 && s.offsets != nil || !q.keepDue() {
		return nil
	}
	return q.keep(ctx)
}

// keepNow writes a state version of the last batch, if the next one is not computed already, and waits for it.
func (q *Query) keepNow(ctx context.Context) error {
	s := &q.snapshot
	s.wait() // for the one in flight, which the process that ends here does not look at any more
	s.done = nil
	switch {
	case s.frozen != nil:
		q.write(ctx)
	case q.computed == nil && q.failed == nil:
		if err := q.keep(ctx); err != nil {
			return err
		}
	}
	s.wait()
	return nil
}

// keep begins a state version of the last committed batch.
func (q *Query) keep(ctx context.Context) error {
	if err := q.freeze(ctx, q.pos); err != nil {
		return q.fail(err)
	}
	q.write(ctx)
	return nil
}

// freeze takes what changed since the last state version up to the batch that led to at, the last one executed: what is
// kept by key is frozen, and read while batches go on, the rest is taken out of DuckDB.
func (q *Query) freeze(ctx context.Context, at position) error {
	s := &q.snapshot
	began := q.opt.Clock.Now()
	var changes []state.Change
	if q.stateful() {
		var err error
		if changes, err = q.session.Snapshot(ctx, q.wantBase()); err != nil {
			return fmt.Errorf("take a state version of batch %d: %w", at.next-1, err)
		}
		changes = q.rewrite.forget(changes)
	}
	s.batch, s.last, s.offsets = at.next-1, q.opt.Clock.Now(), at.offsets
	s.bytes, s.work, s.held = 0, 0, s.last.Sub(began)
	s.frozen = &frozen{began, changes}
	return nil
}

// write writes what is frozen in the background. The manifest is published only after the Commit of the batch is durable.
func (q *Query) write(ctx context.Context) {
	s := &q.snapshot
	f, batch, held, ckpt, clock := s.frozen, s.batch, s.held, q.ckpt, q.opt.Clock
	done := make(chan kept, 1)
	s.frozen, s.done = nil, done
	q.flushAt = time.Time{} // the snapshot flushes the Commit first
	ctx = context.WithoutCancel(ctx)
	go func() { // ends when the version is written; release waits for it
		err := guarded("state version", func() error { return ckpt.Snapshot(ctx, batch, f.changes) })
		for _, c := range f.changes {
			c.Release()
		}
		done <- kept{batch: batch, began: f.began, held: held, duration: clock.Now().Sub(f.began), err: err}
	}()
}

// wantBase reports that the deltas of some table have outgrown its base.
func (q *Query) wantBase() bool {
	for _, t := range q.plan.StateTables() {
		if q.ckpt.WantBase(t.Name) {
			return true
		}
	}
	return false
}

// kept acknowledges to the sources what the finished state version makes unnecessary.
func (q *Query) kept(ctx context.Context, k kept) error {
	if k.err != nil {
		return fmt.Errorf("keep state version %d: %w", k.batch, k.err)
	}
	for _, in := range q.inputs {
		in.settle()
		err := q.retry(ctx, k.batch, func() error { return in.src.Acknowledge(ctx, q.snapshot.offsets[in.def.Name]) })
		if errors.Is(err, ErrStopped) { // the next version's acknowledgement covers this one's
			q.log.Warn("source not acknowledged", "source", in.def.Name, "batch", k.batch, "err", err)
			continue
		}
		if err != nil {
			return fmt.Errorf("acknowledge source %q: %w", in.def.Name, err)
		}
	}
	tell(q.opt.Listener.SnapshotDone, SnapshotDone{Query: q.def.Name, Batch: k.batch, Began: k.began, Held: k.held,
		Duration: k.duration})
	return nil
}

// finalSnapshot makes the last batch's Commit and state durable, so that a clean stop leaves nothing to run again.
func (q *Query) finalSnapshot(ctx context.Context) error {
	s := &q.snapshot
	for _, in := range q.inputs {
		in.dropAhead() // nothing will use it, and acknowledging would wait for it
	}
	if s.done != nil {
		k := <-s.done
		s.done = nil
		if err := q.kept(ctx, k); err != nil {
			return err
		}
	}
	if q.session == nil || q.computed != nil || q.pos.next == 0 || s.batch == q.pos.next-1 && s.offsets != nil {
		return q.flushIfOpen()
	}
	if err := q.keep(ctx); err != nil {
		return errors.Join(err, q.flushIfOpen())
	}
	k := <-s.done
	s.done = nil
	return q.kept(ctx, k)
}

func (q *Query) flushIfOpen() error {
	if q.ckpt == nil {
		return nil
	}
	return q.flush()
}
