package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/wal"
)

// inspectTries is how often Inspect looks again when the owner removed a file under its eyes.
const inspectTries = 5

// Summary is what a query's directory holds, as Inspect saw it.
type Summary struct {
	Meta       Meta
	Epoch      uint64
	Opened     *Opened // the newest life of an owner
	Closed     bool    // the newest life ended with a clean stop
	Last       *Commit
	LastIntent *Intent
	Pending    *Intent // has no Commit in the log; one may be buffered by a running owner
	Exclude    *Exclude
	Versions   []state.Version
	LogBytes   int64
	Batches    []Replay // all the log has, oldest first
}

// Inspect reads a query's directory without a lock and without changing anything; its owner may be running. A
// torn tail is passed over. A directory without meta.json is CHECKPOINT_UNUSABLE.
func Inspect(fsys vfs.FS, dir string) (*Summary, error) {
	for try := 1; ; try++ {
		s, err := inspect(fsys, dir)
		if !errors.Is(err, fs.ErrNotExist) {
			return s, err
		}
		if try == inspectTries {
			return nil, diag.Wrap(diag.CheckpointUnusable, err,
				"%s is not the whole directory of a query", dir).
				WithHint("restore the directory from a copy, or start the query anew in another one")
		}
	}
}

func inspect(fsys vfs.FS, dir string) (*Summary, error) {
	meta, err := readMeta(fsys, dir)
	if err != nil {
		return nil, err
	}
	if meta == nil {
		return nil, diag.New(diag.CheckpointUnusable,
			"%s is not the directory of a query: it has no %s", dir, metaName)
	}
	s := &Summary{Meta: *meta}
	if s.Versions, err = state.List(fsys, filepath.Join(dir, meta.stateDir())); err != nil {
		return nil, fmt.Errorf("look for state versions: %w", err)
	}
	if s.LogBytes, err = dirBytes(fsys, filepath.Join(dir, logDir)); err != nil {
		return nil, err
	}
	x := &index{path: filepath.Join(dir, logDir), last: noBatch, snapshot: noBatch}
	var g *gather
	err = wal.Scan(fsys, x.path, func(at wal.Position, e wal.Entry) error {
		if err := x.add(at, e); err != nil {
			return err
		}
		if g == nil && e.Type == typeIntent {
			g = &gather{from: e.Batch}
		}
		if g == nil {
			return nil
		}
		return g.add(at, e)
	})
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	s.Epoch, s.Opened, s.Closed = x.epoch, x.opened, x.closed
	if g != nil {
		s.take(g.batches)
	}
	return s, nil
}

func (s *Summary) take(batches []Replay) {
	s.Batches = batches
	for _, b := range batches {
		if b.Commit == nil {
			s.Pending, s.Exclude = &b.Intent, b.Exclude
			continue
		}
		s.Last, s.LastIntent = b.Commit, &b.Intent
	}
}

func dirBytes(fsys vfs.FS, dir string) (int64, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", dir, err)
	}
	var n int64
	for _, name := range names {
		info, err := fsys.Stat(filepath.Join(dir, name))
		if err != nil {
			return 0, fmt.Errorf("stat log segment: %w", err)
		}
		n += info.Size()
	}
	return n, nil
}

// Verified counts what Verify read.
type Verified struct {
	Batches  int `json:"batches"`
	Versions int `json:"versions"`
	Copies   int `json:"copies"`
}

// Verify reads every byte of a query's directory that a recovery could need and compares all checksums,
// without a lock and without changing anything. All damage is in the error, joined. The owner should not be
// running.
func Verify(ctx context.Context, fsys vfs.FS, dir string) (Verified, error) {
	var v Verified
	var faults []error
	states := Meta{}.stateDir()
	s, err := Inspect(fsys, dir)
	if err == nil {
		v.Batches, states = len(s.Batches), s.Meta.stateDir()
	}
	faults = append(faults, err)
	v.Versions, err = state.Verify(ctx, fsys, filepath.Join(dir, states))
	faults = append(faults, err)
	v.Copies, err = state.VerifyCopies(ctx, fsys, filepath.Join(dir, tablesDir))
	return v, errors.Join(append(faults, err)...)
}
