package checkpoint

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/wal"
)

// Recovery is what Open found: how far the query had come, and what must be done before it goes on.
type Recovery struct {
	Meta  Meta
	New   bool     // the directory was made by this Open
	Epoch uint64   // of this life
	Lives []string // of this directory, as Opened has them, this one last

	Last        *Commit  // of the newest committed batch; nil when there is none
	LastIntent  *Intent  // of the same batch
	LastExclude *Exclude // of the same batch; usually nil

	Pending        *Intent  // of the batch that has an Intent and no Commit; it must run exactly so
	PendingExclude *Exclude // rows that the pending batch leaves out

	// Version is the newest state version, which is not newer than Last; -1 for none. State holds it. A query
	// without state is always at Last, and State is empty.
	Version int64
	State   state.Version
	// Rerun are the committed batches after Version, oldest first, to be run again without delivery.
	Rerun []Replay

	Torn *wal.Torn // what a crash had left at the end of the log and Open has cut; nil for nothing
}

// Load gives the tables of the state version to fn, as state.Version.Load does. Without a version there are
// none.
func (r *Recovery) Load(ctx context.Context, fn func(state.Change) error) error {
	if err := r.State.Load(ctx, nil, fn); err != nil {
		return fmt.Errorf("load state: %w", err)
	}
	return nil
}

// readLog reads the log and says what is to be done. Nothing on disk is changed.
func (c *Checkpoint) readLog() (*Recovery, error) {
	x := &index{path: c.path(logDir), last: noBatch, snapshot: noBatch}
	if err := c.log.Read(0, x.add); err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	if x.epoch == 0 {
		return nil, diag.New(diag.CheckpointUnusable, "%s has no entries, but %s says the query has begun",
			c.path(logDir), metaName).
			WithHint("restore the directory from a copy, or start the query anew in another one")
	}
	c.marks, c.snapshot, c.rotated = x.marks, x.snapshot, x.newest()+1
	r := &Recovery{Epoch: x.epoch, Lives: x.opened.Lives, Version: noBatch}
	if err := c.findVersion(x, r); err != nil {
		return nil, err
	}
	return r, c.findBatches(x, r)
}

func (c *Checkpoint) findVersion(x *index, r *Recovery) error {
	versions := c.state.Versions()
	if !c.meta.Stateful {
		r.Version = x.last
		if len(versions) > 0 {
			return diag.New(diag.CheckpointUnusable,
				"%s holds state versions, but %s says the query has no state",
				c.path(c.meta.stateDir()), metaName)
		}
		return nil
	}
	if n := len(versions); n > 0 && versions[n-1] > x.last {
		return diag.New(diag.CheckpointUnusable,
			"%s has a version of batch %d, but the last Commit in the log is of batch %d",
			c.path(c.meta.stateDir()), versions[n-1], x.last).
			WithNote("a version is written only after the Commit of its batch is durable: " +
				"the log has lost its end or is an older copy").
			WithHint("restore the whole directory from one copy, or start the query anew in another one")
	}
	if v, ok := c.state.Latest(x.last); ok {
		r.Version, r.State = v.Batch(), v
	}
	if e := c.meta.Evolution; e != nil && r.Version < e.Batch {
		return diag.New(diag.CheckpointUnusable,
			"the state in %s began with a changed text after batch %d, and no version of that batch or a later one is there",
			c.path(c.meta.stateDir()), e.Batch).
			WithNote("the batches before ran by another text, so they can not be run again for it").
			WithHint("restore the whole directory from one copy, or start the query anew in another one")
	}
	return nil
}

// findBatches reads the batches that are to run again, and the last one in any case.
func (c *Checkpoint) findBatches(x *index, r *Recovery) error {
	if len(x.marks) == 0 {
		return nil
	}
	oldest := x.marks[0].batch
	first := min(r.Version+1, max(x.last, oldest))
	if first < oldest {
		return diag.New(diag.CheckpointUnusable,
			"batches %d to %d are needed again, but the log in %s begins with batch %d",
			first, x.last, x.path, oldest).
			WithHint("restore the whole directory from one copy, or start the query anew in another one")
	}
	batches, err := c.collect(x.marks[first-oldest])
	if err != nil {
		return err
	}
	for _, b := range batches {
		switch {
		case b.Commit == nil:
			c.pending = &openBatch{intent: b.Intent, exclude: b.Exclude, staged: x.staged}
			r.Pending, r.PendingExclude = &b.Intent, b.Exclude
			continue
		case b.Intent.Batch > r.Version:
			r.Rerun = append(r.Rerun, b)
		}
		c.last = &b
		r.Last, r.LastIntent, r.LastExclude = b.Commit, &b.Intent, b.Exclude
	}
	return nil
}

// index is what one pass over the log learns, with as little decoding as can be.
type index struct {
	path     string
	epoch    uint64
	marks    []mark
	last     int64             // newest batch with a Commit
	staged   map[string]Staged // of the newest batch, by sink
	snapshot int64
	closed   bool
	opened   *Opened
}

func (x *index) first() int64 {
	if len(x.marks) == 0 {
		return 0
	}
	return x.marks[0].batch
}

func (x *index) newest() int64 {
	if len(x.marks) == 0 {
		return noBatch
	}
	return x.marks[len(x.marks)-1].batch
}

// add takes the next entry. A segment begins with copies of entries that stand further up, so an entry may
// come twice; anything else out of order was not written by this program.
func (x *index) add(at wal.Position, e wal.Entry) error {
	x.closed = e.Type == typeClose
	switch e.Type {
	case typeOpen:
		open, err := decode[Opened](e)
		if err != nil {
			return err
		}
		if open.Epoch >= x.epoch {
			x.epoch, x.opened = open.Epoch, open
		}
	case typeIntent:
		return x.intent(at, e)
	case typeCommit:
		if e.Batch > x.newest() || e.Batch > max(x.last+1, x.first()) {
			return x.disorder("Commit", e.Batch)
		}
		x.last = max(x.last, e.Batch)
	case typeExclude:
		if e.Batch > x.newest() {
			return x.disorder("Exclude", e.Batch)
		}
	case typeStaged:
		return x.stage(e)
	case typeSnapshot:
		x.snapshot = e.Batch
	case typeClose:
	default:
		return diag.New(diag.CheckpointUnusable,
			"the log in %s has an entry of type %d, which this version does not know",
			x.path, e.Type).WithHint("run the version of Tidemill that wrote it, or a later one")
	}
	return nil
}

func (x *index) intent(at wal.Position, e wal.Entry) error {
	switch {
	case len(x.marks) > 0 && e.Batch <= x.newest():
		return nil
	case len(x.marks) > 0 && (e.Batch != x.newest()+1 || x.last != x.newest()):
		return x.disorder("Intent", e.Batch)
	}
	m := mark{batch: e.Batch, at: at}
	if bytes.Contains(e.Payload, []byte(`"tables":`)) {
		in, err := decode[Intent](e)
		if err != nil {
			return err
		}
		m.tables = in.Tables
	}
	x.marks, x.staged = append(x.marks, m), map[string]Staged{}
	return nil
}

func (x *index) stage(e wal.Entry) error {
	if e.Batch > x.newest() {
		return x.disorder("Staged", e.Batch)
	}
	if e.Batch < x.newest() {
		return nil
	}
	s, err := decode[Staged](e)
	if err != nil {
		return err
	}
	x.staged[s.Sink] = *s
	return nil
}

func (x *index) disorder(kind string, batch int64) error {
	return diag.New(diag.LogCorrupt,
		"%s: the %s of batch %d comes when batch %d was the last to begin and %d the last to end",
		filepath.Clean(x.path), kind, batch, x.newest(), x.last).
		WithHint("restore the directory from a copy, or start the query anew in another one")
}

// gather puts entries together to batches, from one batch on.
type gather struct {
	from    int64
	batches []Replay
}

func (g *gather) add(_ wal.Position, e wal.Entry) error {
	switch e.Type {
	case typeIntent, typeCommit, typeExclude:
	default:
		return nil
	}
	i := e.Batch - g.from
	if i < 0 || i > int64(len(g.batches)) || i == int64(len(g.batches)) && e.Type != typeIntent {
		return nil // of a batch before, whose Intent was not asked for
	}
	switch e.Type {
	case typeIntent:
		in, err := decode[Intent](e)
		if err != nil {
			return err
		}
		if i == int64(len(g.batches)) {
			g.batches = append(g.batches, Replay{Intent: *in})
		}
	case typeCommit:
		commit, err := decode[Commit](e)
		if err != nil {
			return err
		}
		g.batches[i].Commit = commit
	case typeExclude:
		x, err := decode[Exclude](e)
		if err != nil {
			return err
		}
		g.batches[i].Exclude = x
	}
	return nil
}
