package checkpoint

import (
	"context"
	"fmt"
	"sort"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/wal"
)

// Snapshot makes the tables after a batch a durable state version, and then lets go of what recovery no
// longer needs: state versions but the newest two, old log segments, table copies. The batch must have been
// given to Commit; its Commit is made durable first. A version that is there already is not written again. It
// may run beside Intend, Exclude, Commit and Flush, which wait for short log writes only. changes are
// borrowed, and must be none for a query without state.
func (c *Checkpoint) Snapshot(ctx context.Context, batch int64, changes []state.Change) error {
	c.snapshots.Lock()
	defer c.snapshots.Unlock()
	stateful, err := c.beginSnapshot(batch)
	if err != nil {
		return err
	}
	v, there := c.state.Latest(batch)
	switch {
	case there && v.Batch() == batch: // the tables after one batch are always the same
	case stateful:
		if _, err := c.state.Write(ctx, batch, changes); err != nil {
			return fmt.Errorf("write state version: %w", err)
		}
	case len(changes) > 0:
		return diag.New(diag.Internal, "batch %d has state, but %s says the query has none", batch, metaName)
	}
	durable, err := c.endSnapshot(batch)
	if err != nil {
		return err
	}
	if err := c.state.Prune(versionsKept, durable); err != nil {
		return fmt.Errorf("prune state versions: %w", err)
	}
	return c.prune()
}

// beginSnapshot makes the batch's Commit durable: a state version never runs ahead of the log.
func (c *Checkpoint) beginSnapshot(batch int64) (stateful bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return false, err
	}
	if c.buffered != nil && batch == c.buffered.Batch {
		if err := c.flush(); err != nil {
			return false, err
		}
	}
	if c.last == nil || batch < 0 || batch > c.last.Intent.Batch {
		return false, diag.New(diag.Internal,
			"a state version of batch %d is asked for, which is not committed", batch)
	}
	return c.meta.Stateful, nil
}

// endSnapshot logs that the version is complete. The entry tells people what happened; recovery goes by the
// manifest, so it need not be synced. It returns the newest batch whose Commit is durable.
func (c *Checkpoint) endSnapshot(batch int64) (durable int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return 0, err
	}
	e, err := encode(typeSnapshot, batch, Snapshot{Batch: batch})
	if err != nil {
		return 0, err
	}
	if _, err := c.log.Append(e); err != nil {
		c.failed = fmt.Errorf("write log: %w", err)
		return 0, c.failed
	}
	c.snapshot = batch
	return c.last.Intent.Batch, c.rotateIfFull()
}

// rotateIfFull begins a new segment when the current one is full. The new one begins with copies of all that
// a recovery wants of the older ones, so that they can go.
func (c *Checkpoint) rotateIfFull() error {
	batches := c.nextBatch() - c.rotated
	if !c.log.Full() && batches < int64(c.opts.SegmentBatches) {
		return nil
	}
	head, err := c.head()
	if err != nil {
		return err
	}
	if err := c.log.Rotate(head...); err != nil {
		c.failed = fmt.Errorf("rotate log: %w", err)
		return c.failed
	}
	c.rotated = c.nextBatch()
	if c.meta.Stateful {
		return nil // Snapshot trims, when it knows which version the segments are needed from
	}
	return c.trim()
}

// head is what a new segment begins with: who owns the query, the last batch, the pending one, the last
// Snapshot.
func (c *Checkpoint) head() ([]wal.Entry, error) {
	b := &entries{}
	b.add(typeOpen, noBatch, c.open)
	if c.last != nil {
		n := c.last.Intent.Batch
		b.add(typeIntent, n, c.last.Intent)
		if c.last.Exclude != nil {
			b.add(typeExclude, n, *c.last.Exclude)
		}
		b.add(typeCommit, n, *c.last.Commit)
	}
	if c.pending != nil {
		n := c.pending.intent.Batch
		b.add(typeIntent, n, c.pending.intent)
		if c.pending.exclude != nil {
			b.add(typeExclude, n, *c.pending.exclude)
		}
		for _, s := range sortedStaged(c.pending.staged) {
			b.add(typeStaged, n, s)
		}
	}
	if c.snapshot != noBatch {
		b.add(typeSnapshot, c.snapshot, Snapshot{Batch: c.snapshot})
	}
	return b.list, b.err
}

// entries collects encoded entries and the first fault.
type entries struct {
	list []wal.Entry
	err  error
}

func (b *entries) add(kind uint8, batch int64, v any) {
	e, err := encode(kind, batch, v)
	if err != nil && b.err == nil {
		b.err = err
	}
	b.list = append(b.list, e)
}

func sortedStaged(staged map[string]Staged) []Staged {
	out := make([]Staged, 0, len(staged))
	for _, s := range staged {
		out = append(out, s)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Sink < out[j].Sink })
	return out
}

// prune lets go of log segments and table copies.
func (c *Checkpoint) prune() error {
	c.mu.Lock()
	err := c.usable()
	if err == nil {
		err = c.trim()
	}
	needed := c.neededTables()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	err = c.table.Prune(func(table, hash string) bool { return needed[[2]string{table, hash}] })
	if err != nil {
		return fmt.Errorf("prune table copies: %w", err)
	}
	return nil
}

// neededFrom is the oldest batch that a recovery may run again, from any state version that is there.
func (c *Checkpoint) neededFrom() int64 {
	if !c.meta.Stateful {
		return c.nextBatch() - 1
	}
	if versions := c.state.Versions(); len(versions) > 0 {
		return versions[0] + 1
	}
	return 0
}

// trim removes the segments that hold neither a batch that may run again nor one of the newest.
func (c *Checkpoint) trim() error {
	if len(c.marks) == 0 {
		return nil
	}
	oldest := c.marks[0].batch
	keep := min(c.neededFrom(), c.nextBatch()-int64(c.opts.KeepBatches), c.marks[len(c.marks)-1].batch)
	if c.last != nil {
		keep = min(keep, c.last.Intent.Batch)
	}
	if keep <= oldest {
		return nil
	}
	at := c.marks[keep-oldest].at
	removed, err := c.log.Trim(at)
	if removed > 0 {
		c.marks = append([]mark(nil), c.marks[keep-oldest:]...)
	}
	if err != nil {
		return fmt.Errorf("trim log: %w", err) // the log stays good; what could not go now goes another time
	}
	return nil
}

func (c *Checkpoint) neededTables() map[[2]string]bool {
	needed := map[[2]string]bool{}
	from := c.neededFrom()
	for i, m := range c.marks {
		if m.batch < from && i < len(c.marks)-2 { // the last batch and the pending one in any case
			continue
		}
		for table, hash := range m.tables {
			needed[[2]string{table, hash}] = true
		}
	}
	if e := c.meta.Evolution; e != nil && c.nextBatch()-1 <= e.Batch { // no Intent names them yet
		for table, hash := range e.Tables {
			needed[[2]string{table, hash}] = true
		}
	}
	return needed
}
