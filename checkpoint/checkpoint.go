package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/google/uuid"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/wal"
)

// The folders of a query's directory.
const (
	logDir     = "log"
	firstState = "state" // of the first text; what later ones began with has a number behind it
	tablesDir  = "tables"
	stagedDir  = "staged"
	spillDir   = "spill"
)

const (
	segmentBytesMax   = 16 << 20
	segmentBatchesMax = 10_000
	segmentsMin       = 2
	batchesKept       = 100 // at least so many batches stay in the log, for people who look
	versionsKept      = 2
)

// Options says where a checkpoint lives and what it stands on. FS, Dir and Clock are needed.
type Options struct {
	FS      vfs.FS
	Dir     string
	Clock   clock.Clock
	Version string // of the engine; logged
	Life    string // random, of this Open alone, for the sinks' markers; "" keeps none
	// Lock makes this process the only owner of the directory; nil takes no lock. OSLock is the usual one. If
	// the closer has a method Check() error it is asked before each Intent whether the lock still holds.
	Lock func(dir, info string) (io.Closer, error)
	// Stateful sets Meta.Stateful when the directory is new. After that the stored one counts.
	Stateful bool

	// SegmentBytes and SegmentBatches bound a log segment. Default 16 MiB and 10,000 batches.
	SegmentBytes   int64
	SegmentBatches int
	// KeepBatches is how many of the newest batches stay in the log at least, for people who look. Default
	// 100.
	KeepBatches int
	// Host and PID are what the Open entry says of the owner. Default: what the machine says.
	Host string
	PID  int
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes <= 0 {
		o.SegmentBytes = segmentBytesMax
	}
	if o.SegmentBatches <= 0 {
		o.SegmentBatches = segmentBatchesMax
	}
	if o.KeepBatches <= 0 {
		o.KeepBatches = batchesKept
	}
	if o.PID == 0 {
		o.PID = os.Getpid()
	}
	if host, err := os.Hostname(); err == nil && o.Host == "" { // it is for people only
		o.Host = host
	}
	return o
}

// OSLock is vfs.Lock for Options.
func OSLock(dir, info string) (io.Closer, error) {
	l, err := vfs.Lock(dir, info)
	if err != nil {
		return nil, err //nolint:wrapcheck // Open words it
	}
	return l, nil
}

// Checkpoint is the open directory of one query. The query's goroutine calls Intend, Exclude, Commit and
// Flush; Snapshot, the Stager and the reading methods may be called beside it.
type Checkpoint struct {
	fs    vfs.FS
	dir   string
	clock clock.Clock
	lock  io.Closer
	state *state.Store
	table *state.Copies
	opts  Options

	snapshots sync.Mutex // held by Snapshot; taken before mu

	// mu guards what follows. It is held during log writes, which keeps their order, and not during state writes.
	mu       sync.Mutex
	log      *wal.Log
	meta     Meta
	open     Opened        // the Open entry of this life
	last     *Replay       // the newest batch whose Commit is durable
	pending  *openBatch    // the batch that has a durable Intent and no durable Commit
	buffered *Commit       // of pending, not yet written
	marks    []mark        // of the batches in the log, ascending without gaps
	rotated  int64         // first batch after the segment began
	snapshot int64         // batch of the newest Snapshot entry
	staging  map[slot]bool // files that Stage is writing now
	failed   error         // the first log fault; nothing is written after it
	closed   bool
}

// Replay is one batch as the log has it.
type Replay struct {
	Intent  Intent
	Commit  *Commit  // nil for the batch that has none yet
	Exclude *Exclude // nil if no row was excluded
}

type openBatch struct {
	intent  Intent
	exclude *Exclude
	staged  map[string]Staged // by sink
}

// mark says where in the log a batch's Intent is, and which table copies it needs.
type mark struct {
	batch  int64
	at     wal.Position
	tables map[string]string
}

// slot names a staged file.
type slot struct {
	batch int64
	sink  string
}

// Open creates the directory of a query or takes up where the last owner left it. It takes the lock first
// (CHECKPOINT_LOCKED names who holds it), cuts a torn log tail, and makes an Open entry with the next epoch
// durable. meta counts when the directory is new; an empty UUID is made up then. Otherwise the stored Meta is
// in the Recovery, and meta's Name and UUID must not differ from it. Damage is refused and changes nothing.
func Open(ctx context.Context, o Options, meta Meta) (*Checkpoint, *Recovery, error) {
	o = o.withDefaults()
	if err := ctx.Err(); err != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, nil, Unmakable(o.Dir, err)
	}
	c := &Checkpoint{
		fs: o.FS, dir: o.Dir, clock: o.Clock, opts: o, snapshot: noBatch, staging: map[slot]bool{},
	}
	if err := c.takeLock(); err != nil {
		return nil, nil, err
	}
	r, err := c.start(meta)
	if err != nil {
		return nil, nil, errors.Join(err, c.release())
	}
	return c, r, nil
}

// Unmakable says why a directory that is to hold a checkpoint can not be made. A full disk keeps its own error.
func Unmakable(dir string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("make directory %s: %w", dir, err)
	}
	reason := err
	var path *fs.PathError
	if errors.As(err, &path) {
		reason = fmt.Errorf("%s: %w", path.Path, path.Err)
	}
	return diag.Wrap(diag.DataDirUnusable, reason, "directory %s can not be made", dir).
		WithHint("point --data-dir or TIDEMILL_DATA_DIR to a directory that this user may write, or to a path that is not " +
			"there yet")
}

func (c *Checkpoint) takeLock() error {
	if c.opts.Lock == nil {
		return nil
	}
	l, err := c.opts.Lock(c.dir, "tidemill "+c.opts.Version)
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return diag.Wrap(diag.CheckpointLocked, err, "the query's directory %s is in use", c.dir).
			WithHint("stop process %s first, or use another --data-dir", held.PID)
	}
	if err != nil {
		return fmt.Errorf("lock query directory: %w", err)
	}
	c.lock = l
	return nil
}

func (c *Checkpoint) start(meta Meta) (*Recovery, error) {
	for _, sub := range []string{logDir, tablesDir, stagedDir, spillDir} {
		if err := c.fs.MkdirAll(c.path(sub)); err != nil {
			return nil, fmt.Errorf("make query directory: %w", err)
		}
	}
	stored, err := readMeta(c.fs, c.dir)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return c.create(meta)
	}
	return c.resume(meta, stored)
}

// create makes a new checkpoint. meta.json comes last: without it nothing in the directory counts, and the
// log holds no more than an Open entry; with it the log is there.
func (c *Checkpoint) create(meta Meta) (*Recovery, error) {
	if err := c.clearUnborn(); err != nil {
		return nil, err
	}
	if meta.UUID == "" {
		meta.UUID = uuid.NewString()
	}
	meta.Created, meta.Version = c.clock.Now(), c.opts.Version
	meta.Stateful = meta.Stateful || c.opts.Stateful
	c.meta = meta
	if err := c.openStores(); err != nil {
		return nil, err
	}
	torn, err := c.openLog()
	if err != nil {
		return nil, err
	}
	if err := c.logOpen(0, nil); err != nil {
		return nil, err
	}
	if err := c.writeMeta(meta); err != nil {
		return nil, err
	}
	return &Recovery{Meta: meta, New: true, Epoch: c.open.Epoch, Lives: c.open.Lives, Version: noBatch, Torn: torn}, c.sweep()
}

// clearUnborn removes the log of a creation that was interrupted. A log with batches, or state, without
// meta.json is a directory that lost it.
func (c *Checkpoint) clearUnborn() error {
	unborn, err := Unborn(c.fs, c.dir)
	if err != nil {
		return err
	}
	if !unborn {
		return diag.New(diag.CheckpointUnusable, "%s holds a log or state, but no %s", c.dir, metaName).
			WithHint("restore the directory from a copy, or start the query anew in another one")
	}
	return removeAll(c.fs, c.path(logDir))
}

// Unborn reports whether a query's directory without meta.json is what a first start left that was broken off before
// any batch, so that the next start begins anew and nothing is lost.
func Unborn(fsys vfs.FS, dir string) (bool, error) {
	versions, err := state.List(fsys, filepath.Join(dir, Meta{}.stateDir()))
	if err != nil {
		return false, fmt.Errorf("look for state versions: %w", err)
	}
	batches := 0
	err = wal.Scan(fsys, filepath.Join(dir, logDir), func(_ wal.Position, e wal.Entry) error {
		if e.Type != typeOpen {
			batches++
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look for an old log: %w", err)
	}
	return batches == 0 && len(versions) == 0, nil
}

func (c *Checkpoint) resume(meta Meta, stored *Meta) (*Recovery, error) {
	if meta.UUID != "" && meta.UUID != stored.UUID || meta.Name != "" && meta.Name != stored.Name {
		return nil, diag.New(diag.CheckpointUnusable, "%s belongs to query %q (uuid %s), not to %q",
			c.dir, stored.Name, stored.UUID, meta.Name).
			WithHint("give each query its own directory")
	}
	c.meta = *stored
	if err := c.openStores(); err != nil {
		return nil, err
	}
	torn, err := c.openLog()
	if err != nil {
		return nil, err
	}
	r, err := c.readLog()
	if err != nil {
		return nil, err
	}
	if err := c.logOpen(r.Epoch, r.Lives); err != nil {
		return nil, err
	}
	r.Meta, r.Epoch, r.Lives, r.Torn = c.meta, c.open.Epoch, c.open.Lives, torn
	return r, c.sweep()
}

func (c *Checkpoint) openStores() (err error) {
	if c.state, err = state.Open(c.fs, c.path(c.meta.stateDir())); err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	if c.table, err = state.OpenCopies(c.fs, c.path(tablesDir)); err != nil {
		return fmt.Errorf("open table copies: %w", err)
	}
	return nil
}

func (c *Checkpoint) openLog() (*wal.Torn, error) {
	id, err := uuid.Parse(c.meta.UUID)
	if err != nil {
		return nil, diag.New(diag.CheckpointUnusable, "query uuid %q is none: %v", c.meta.UUID, err)
	}
	log, recovered, err := wal.Open(wal.Options{
		FS: c.fs, Dir: c.path(logDir), ID: id, SegmentBytes: c.opts.SegmentBytes, MinSegments: segmentsMin,
	})
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	c.log = log
	return recovered.Torn, nil
}

// logOpen begins a new life of the owner.
func (c *Checkpoint) logOpen(before uint64, lives []string) error {
	c.open = Opened{
		Epoch: before + 1, Host: c.opts.Host, PID: c.opts.PID, Version: c.opts.Version, Time: c.clock.Now(),
	}
	if c.opts.Life != "" {
		lives = append(slices.Clone(lives), c.opts.Life)
		c.open.Lives = lives[max(0, len(lives)-stream.LivesMax):]
	}
	e, err := encode(typeOpen, noBatch, c.open)
	if err != nil {
		return err
	}
	_, err = c.append(e)
	return err
}

// append writes entries as one frame and makes them durable. A fault is final: what is on disk is not known.
func (c *Checkpoint) append(entries ...wal.Entry) (wal.Position, error) {
	at, err := c.log.Append(entries...)
	if err == nil {
		err = c.log.Sync()
	}
	if err != nil {
		c.failed = fmt.Errorf("write log: %w", err)
		return at, c.failed
	}
	return at, nil
}

// sweep removes staged results that no Intent waits for, state that does not count, and what was spilled in an earlier
// life.
func (c *Checkpoint) sweep() error {
	if err := c.sweepStates(); err != nil {
		return err
	}
	names, err := c.fs.List(c.path(stagedDir))
	if err != nil {
		return fmt.Errorf("list staged results: %w", err)
	}
	for _, name := range names {
		if c.pending != nil && slices.Contains(stagedFiles(c.pending), name) {
			continue
		}
		if err := c.fs.Remove(c.path(stagedDir, name)); err != nil {
			return fmt.Errorf("remove staged result: %w", err)
		}
	}
	return removeAll(c.fs, c.path(spillDir))
}

// removeAll empties a directory.
func removeAll(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		if err != nil {
			return fmt.Errorf("stat leftover: %w", err)
		}
		if info.IsDir() {
			if err := removeAll(fsys, path); err != nil {
				return err
			}
		}
		if err := fsys.Remove(path); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	return nil
}

func (c *Checkpoint) path(parts ...string) string {
	return filepath.Join(append([]string{c.dir}, parts...)...)
}

// Dir returns the query's directory.
func (c *Checkpoint) Dir() string { return c.dir }

// SpillDir returns the directory that DuckDB may use as its temp_directory. It is emptied by Open.
func (c *Checkpoint) SpillDir() string { return c.path(spillDir) }

// Tables returns the copies of reference tables. A copy stays while a batch that may run again needs it, and
// the copy of each table that was put or got last stays anyway, so put it before the Intent that names it.
func (c *Checkpoint) Tables() *state.Copies { return c.table }

// WantBase reports whether the next Snapshot should carry a base of the table; see state.Store.
func (c *Checkpoint) WantBase(table string) bool { return c.state.WantBase(table) }

// Meta returns what meta.json holds.
func (c *Checkpoint) Meta() Meta {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.meta
}

// SaveMeta replaces meta.json durably in one step. UUID, Created, Stateful and Evolution stay as they are.
func (c *Checkpoint) SaveMeta(m Meta) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.usable(); err != nil {
		return err
	}
	m.Stateful, m.Evolution = c.meta.Stateful, c.meta.Evolution
	return c.saveMeta(m)
}

// saveMeta replaces meta.json. The caller holds mu.
func (c *Checkpoint) saveMeta(m Meta) error {
	m.UUID, m.Created, m.Version = c.meta.UUID, c.meta.Created, c.opts.Version
	if err := c.writeMeta(m); err != nil {
		return err
	}
	c.meta = m
	return nil
}

func (c *Checkpoint) writeMeta(m Meta) error {
	if err := state.WriteSealed(c.fs, c.dir, metaName, m); err != nil {
		return fmt.Errorf("write meta: %w", err)
	}
	return nil
}

// Close gives the directory back. With clean it first makes a buffered Commit and a Close entry durable. It
// is idempotent, waits for a running Snapshot, and returns the first fault.
func (c *Checkpoint) Close(clean bool) error {
	c.snapshots.Lock()
	defer c.snapshots.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	var err error
	if clean && c.failed == nil {
		err = c.logClose()
	}
	c.closed = true
	return errors.Join(err, c.release())
}

func (c *Checkpoint) logClose() error {
	if err := c.flush(); err != nil {
		return err
	}
	e, err := encode(typeClose, noBatch, Close{Time: c.clock.Now()})
	if err != nil {
		return err
	}
	_, err = c.append(e)
	return err
}

// release closes the log and, last, the lock.
func (c *Checkpoint) release() error {
	var errs []error
	if c.log != nil {
		errs = append(errs, c.log.Close())
	}
	if c.lock != nil {
		errs = append(errs, c.lock.Close())
	}
	return errors.Join(errs...)
}

func (c *Checkpoint) usable() error {
	if c.closed {
		return errors.New("the checkpoint is closed")
	}
	return c.failed
}
