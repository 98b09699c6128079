package checkpoint

import (
	"encoding/json"
	"fmt"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/wal"
)

// Intend makes the Intent of the next batch durable, and with it, in the same frame and sync, the Commit of
// the batch before. It must have returned before the first effect of the batch that anyone outside can see.
// The batch number is one more than that of the last Commit, from 0. The Intent of the pending batch may be
// given again.
func (c *Checkpoint) Intend(in Intent) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if err := c.checkLock(); err != nil {
		return err
	}
	in = in.normal()
	if c.pending != nil && c.buffered == nil {
		return c.sameIntent(in)
	}
	if in.Batch != c.nextBatch() {
		return diag.New(diag.Internal, "the Intent of batch %d comes when batch %d is next",
			in.Batch, c.nextBatch())
	}
	e, err := encode(typeIntent, in.Batch, in)
	if err != nil {
		return err
	}
	entries, err := c.bufferedEntries()
	if err != nil {
		return err
	}
	at, err := c.append(append(entries, e)...)
	if err != nil {
		return err
	}
	dropped := c.committed()
	c.pending = &openBatch{intent: in, staged: map[string]Staged{}}
	c.marks = append(c.marks, mark{in.Batch, at, in.Tables})
	if err := c.dropStaged(dropped); err != nil {
		return err
	}
	return c.rotateIfFull()
}

// sameIntent accepts the pending Intent once more: a resumed batch is already promised.
func (c *Checkpoint) sameIntent(in Intent) error {
	was := c.pending.intent
	if in.Batch == was.Batch && in.CRC() == was.CRC() {
		return nil
	}
	return diag.New(diag.Internal, "the Intent of batch %d comes while batch %d has an Intent and no Commit",
		in.Batch, was.Batch)
}

func (c *Checkpoint) checkLock() error {
	l, ok := c.lock.(interface{ Check() error })
	if !ok {
		return nil
	}
	if err := l.Check(); err != nil {
		return diag.Wrap(diag.CheckpointLocked, err, "the lock on the query's directory %s is lost", c.dir).
			WithHint("another process may own the query by now; " +
				"never remove the LOCK file of a running query")
	}
	return nil
}

func (c *Checkpoint) nextBatch() int64 {
	switch {
	case c.pending != nil:
		return c.pending.intent.Batch + 1
	case c.last != nil:
		return c.last.Intent.Batch + 1
	}
	return 0
}

// bufferedEntries is what is to be written before the next entry: the buffered Commit, or nothing.
func (c *Checkpoint) bufferedEntries() ([]wal.Entry, error) {
	if c.buffered == nil {
		return nil, nil
	}
	e, err := encode(typeCommit, c.buffered.Batch, *c.buffered)
	if err != nil {
		return nil, err
	}
	return []wal.Entry{e}, nil
}

// committed moves the pending batch, whose Commit has just become durable, to last. It returns the batch if
// it has staged results that nobody needs any more.
func (c *Checkpoint) committed() *openBatch {
	if c.buffered == nil {
		return nil
	}
	done := c.pending
	c.last = &Replay{Intent: done.intent, Commit: c.buffered, Exclude: done.exclude}
	c.pending, c.buffered = nil, nil
	return done
}

// Exclude makes durable which rows the pending batch leaves out, in this run and in every later one. A second
// call for the same batch replaces the first.
func (c *Checkpoint) Exclude(x Exclude) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if err := c.running(x.Batch); err != nil {
		return err
	}
	e, err := encode(typeExclude, x.Batch, x)
	if err != nil {
		return err
	}
	if _, err := c.append(e); err != nil {
		return err
	}
	c.pending.exclude = &x
	return nil
}

// running refuses what belongs to a batch that is not between its Intent and its Commit.
func (c *Checkpoint) running(batch int64) error {
	if c.pending == nil || c.buffered != nil || c.pending.intent.Batch != batch {
		return diag.New(diag.Internal, "batch %d is not between its Intent and its Commit", batch)
	}
	return nil
}

// Commit notes that the pending batch is in every sink. It does no I/O: the next Intend or Flush makes it
// durable. A Commit that a crash loses makes its batch run again from the same Intent, and the sinks do
// nothing.
func (c *Checkpoint) Commit(commit Commit) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if err := c.running(commit.Batch); err != nil {
		return err
	}
	if _, err := json.Marshal(commit); err != nil {
		return fmt.Errorf("encode Commit of batch %d: %w", commit.Batch, err)
	}
	c.buffered = &commit
	return nil
}

// Flush makes a buffered Commit durable. Without one it does nothing.
func (c *Checkpoint) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	return c.flush()
}

func (c *Checkpoint) flush() error {
	entries, err := c.bufferedEntries()
	if err != nil || len(entries) == 0 {
		return err
	}
	if _, err := c.append(entries...); err != nil {
		return err
	}
	return c.dropStaged(c.committed())
}

// History returns the newest n batches that the log has, oldest first; the last one may have no Commit yet.
// The log keeps at least the newest 100.
func (c *Checkpoint) History(n int) ([]Replay, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return nil, err
	}
	if n <= 0 || len(c.marks) == 0 {
		return nil, nil
	}
	from := c.marks[max(0, len(c.marks)-n)]
	batches, err := c.collect(from)
	if err != nil {
		return nil, err
	}
	if last := len(batches) - 1; c.buffered != nil && last >= 0 {
		commit := *c.buffered
		batches[last].Commit = &commit
	}
	return batches, nil
}

// collect reads the batches from a mark on.
func (c *Checkpoint) collect(from mark) ([]Replay, error) {
	g := gather{from: from.batch}
	if err := c.log.Read(from.at, g.add); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return g.batches, nil
}
