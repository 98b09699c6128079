package duckdb

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// Pool holds the process's DuckDB files: DuckDB opens a file once per process, so all sinks on one file share
// it. Its methods may be called concurrently. Make it with NewPool.
type Pool struct {
	options duck.Options
	mu      sync.Mutex
	files   map[string]*database // by absolute path
}

// NewPool returns a pool that opens files with the given limits; their Path and Sealed are not looked at.
func NewPool(limits duck.Options) *Pool {
	limits.Sealed = false
	return &Pool{options: limits, files: map[string]*database{}}
}

// database is one open file. Whoever writes or checkpoints holds turn, because a checkpoint needs to be
// alone.
type database struct {
	path   string
	turn   chan struct{}
	opened sync.Once
	db     *duck.DB
	err    error

	mu    sync.Mutex
	refs  int   // guarded by the pool's mu
	fatal error // guarded by mu: DuckDB has declared the instance invalid
}

// acquire returns the file at path, opened if nobody has it open. release gives it back.
func (p *Pool) acquire(ctx context.Context, path string) (*database, error) {
	key, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find path of %s: %w", path, err)
	}
	if file, err := filepath.EvalSymlinks(key); err == nil {
		key = file
	} else if dir, err := filepath.EvalSymlinks(filepath.Dir(key)); err == nil {
		key = filepath.Join(dir, filepath.Base(key))
	}
	p.mu.Lock()
	d := p.files[key]
	if d == nil {
		d = &database{path: key, turn: make(chan struct{}, 1)}
		p.files[key] = d
	}
	d.refs++
	p.mu.Unlock()

	d.opened.Do(func() {
		o := p.options
		o.Path = key
		d.db, d.err = duck.Open(ctx, o)
	})
	if d.err != nil {
		return nil, errors.Join(unopened(path, d.err), p.release(ctx, d))
	}
	if err := d.failed(); err != nil {
		return nil, errors.Join(err, p.release(ctx, d))
	}
	return d, nil
}

// unopened says why the file at path does not open.
func unopened(path string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := diag.Wrap(diag.SinkFailed, err, "open DuckDB file %q", path)
	var de *duck.Error
	if errors.As(err, &de) && de.Kind == duck.IO {
		return e.WithHint("a DuckDB file is open in one process at a time: close the shell or program that has it, " +
			"and see that the folder is there and may be written")
	}
	return e
}

// release gives d back. The last one out writes what the WAL holds into the file, if there is room, and
// closes it.
func (p *Pool) release(ctx context.Context, d *database) error {
	p.mu.Lock()
	defer p.mu.Unlock() // nobody may open the file again before it is closed
	if d.refs--; d.refs > 0 {
		return nil
	}
	if d.failed() != nil {
		// A polite Close of an invalid instance loses committed rows; the process's end keeps them. So it stays
		// open, and must stay known: another instance beside it would write to the same file.
		return nil
	}
	if d.db == nil {
		delete(p.files, d.path)
		return nil
	}
	checkpointErr := d.checkpoint(ctx, 1)
	if d.failed() != nil {
		return checkpointErr
	}
	delete(p.files, d.path)
	return errors.Join(checkpointErr, d.db.Close())
}

// enter waits for the turn to write.
func (d *database) enter(ctx context.Context) error {
	if err := d.failed(); err != nil {
		return err
	}
	select {
	case d.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (d *database) leave() { <-d.turn }

func (d *database) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fatal
}

// judge keeps a fatal error for good and gives faults their codes.
func (d *database) judge(err error, what string) error {
	var de *duck.Error
	if err == nil || diag.CodeOf(err) != "" || !errors.As(err, &de) {
		return err
	}
	full := errors.Is(err, syscall.ENOSPC)
	code := diag.SinkFailed
	if full {
		code = diag.DiskFull
	}
	switch de.Kind { //nolint:exhaustive // the others are all the sink's fault
	case duck.Fatal:
		err = diag.Wrap(code, err, "%s: DuckDB gave up the file %q", what, d.path).
			WithHint("make room on the disk and start again; what was committed is in the file's WAL")
		d.mu.Lock()
		d.fatal = err
		d.mu.Unlock()
		return err
	case duck.OutOfMemory:
		return diag.Wrap(diag.OutOfMemory, err, "%s", what)
	}
	if full {
		return diag.Wrap(code, err, "%s", what).WithHint("free some space and start again; nothing is lost")
	}
	return diag.Wrap(code, err, "%s", what)
}
