package checkpoint

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/state"
)

// stateDir is the folder of the state versions that count.
func (m Meta) stateDir() string {
	if m.Evolution == nil {
		return firstState
	}
	return firstState + "-" + strconv.Itoa(m.Evolution.Number)
}

// Evolve puts a changed text of the query in the place of the old one, with the state that was built for it. m.SQL,
// Plan, Layout, Stateful and Start are the new text's, m.Evolution has Batch, Shift and Tables; changes are the
// state after the last committed batch, which m.Evolution.Batch must be (-1: there is none yet, and no state), and none
// for a plan without state. They are borrowed.
//
// The step that counts is the rename of meta.json, which names the folder of the new state: a crash before it leaves
// the old text with its state, a crash after it the new text with the new one, and the next Open removes the other.
// When Evolve has returned nil the new text is in force; the owner closes the checkpoint and opens it anew.
func (c *Checkpoint) Evolve(ctx context.Context, m Meta, changes []state.Change) error {
	c.snapshots.Lock()
	defer c.snapshots.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	if err := c.flush(); err != nil {
		return err
	}
	if c.pending != nil || c.nextBatch()-1 != m.Evolution.Batch {
		return diag.New(diag.Internal, "a changed text begins after batch %d, which is not the last", m.Evolution.Batch)
	}
	e := *m.Evolution
	e.Number = 1
	if c.meta.Evolution != nil {
		e.Number = c.meta.Evolution.Number + 1
	}
	m.Evolution = &e
	if err := c.writeState(ctx, m, changes); err != nil {
		return err
	}
	return c.saveMeta(m)
}

// writeState makes the first version of a new state, durable with its folder.
func (c *Checkpoint) writeState(ctx context.Context, m Meta, changes []state.Change) error {
	dir := c.path(m.stateDir())
	if err := c.fs.MkdirAll(dir); err != nil {
		return fmt.Errorf("make state directory: %w", err)
	}
	if err := removeAll(c.fs, dir); err != nil { // of an attempt that failed
		return err
	}
	store, err := state.Open(c.fs, dir)
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	if m.Stateful && m.Evolution.Batch != noBatch {
		if _, err := store.Write(ctx, m.Evolution.Batch, changes); err != nil {
			return fmt.Errorf("write state version: %w", err)
		}
	}
	if err := c.fs.SyncDir(c.dir); err != nil {
		return fmt.Errorf("sync query directory: %w", err)
	}
	return nil
}

// sweepStates removes state that does not count: of before the text was changed, or of a change that was not finished.
func (c *Checkpoint) sweepStates() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return fmt.Errorf("list query directory: %w", err)
	}
	for _, name := range names {
		number, numbered := strings.CutPrefix(name, firstState+"-")
		if _, err := strconv.Atoi(number); numbered && err != nil || !numbered && name != firstState || name == c.meta.stateDir() {
			continue
		}
		if err := removeAll(c.fs, c.path(name)); err != nil {
			return err
		}
		if err := c.fs.Remove(c.path(name)); err != nil {
			return fmt.Errorf("remove old state: %w", err)
		}
	}
	return nil
}
