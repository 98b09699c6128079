// Package files holds the sinks "parquet", "json" and "csv": a folder of files on the local disk that holds
// every batch exactly once, also for a reader that knows nothing of Tidemill and globs the folder.
//
// On disk:
//
//	out/part-0000000000000007-0000.parquet          committed files, seen by a glob
//	out/country=NO/part-0000000000000007-0001.parquet    with partition_by, in Hive layout
//	out/_staging/part-0000000000000008-0000.tmp     files of the batch that is being written
//	out/_log/0000000000000007.commit                the chain: one entry per change, JSON and a CRC
//	out/_log/0000000000000005.snapshot              the committed set after that entry; older entries go
//	out/_old/00001767225600-part-...old             files that compaction replaced, until their grace is over
//
// The chain is the truth. Its entries are numbered without gaps; entry v+1 is made by a rename that fails if
// the name exists, so of two owners that both stand at v one wins and the other is fenced. Each entry carries
// the marker of the last batch, the files it adds and the files it removes.
//
// The protocol of a batch:
//
//  1. Write each file under _staging and sync it; sync _staging.
//  2. Write the entry under a temporary name, sync it, rename it to its number, sync _log. This is the commit, and
//     costs the same however many batches there are.
//  3. Remove what the entry removes (compaction moves it to _old) and sync, so that no crash brings it back beside
//     its successor; rename the staged files into place and sync their directories.
//
// Open accepts the last entry's marker, publishes an entry with the new epoch (the fence), repeats step 3 of
// every entry since the snapshot, and empties _staging.
//
// What a crash leaves, and why it does no harm:
//
//	in 1          staged files that no entry names: not matched by a glob (they end in .tmp), removed by Open
//	in 2          the entry is there, whole (it was synced before its rename), or it is not
//	after 2       committed, but a glob may see too few files, never too many, until Open has repeated step 3
//	after 3       the marker says that the batch is here; Write does nothing
//	two owners    of whichever epochs: the slower one's rename finds the number taken: SINK_FENCED, and nothing of it is visible
//	trimmed log   an owner that slept while its next number was used and trimmed away finds, after its rename,
//	              that the entry before is gone (entries go in ascending order), takes its entry back and is fenced
//
// A replaced output (complete mode, a slot that runs again) is removed before the new files appear: a glob at
// that moment sees too few. Readers that want one exact set at any time use Files.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

const (
	stagingDir = "_staging"
	logDir     = "_log"
	oldDir     = "_old"
)

// sink is one folder. One query goroutine calls it.
type sink struct {
	cfg    stream.SinkConfig
	opt    options
	owner  stream.Owner
	chain  *chain
	tiers  *tiers          // nil unless compaction is asked for
	made   map[string]bool // folders that are there, durably
	broken error           // the first fault after which memory and disk may differ
}

// Open implements stream.Sink.
func (s *sink) Open(ctx context.Context, o stream.Owner) error {
	for _, dir := range []string{s.opt.root, s.dir(logDir), s.dir(stagingDir)} {
		if err := s.makeDir(dir); err != nil {
			return s.fault(err, "make directory %s", dir)
		}
	}
	s.owner = o
	if err := s.fence(ctx, o); err != nil {
		return err
	}
	if err := s.recover(); err != nil {
		return err
	}
	if s.opt.compact {
		s.tiers = newTiers(s.opt.targetBytes, s.chain.files())
	}
	return nil
}

// fence accepts the stored marker and publishes it under the new epoch. Losing the race for the next number
// means that someone else opened meanwhile, so the decision is made again over what is there then.
func (s *sink) fence(ctx context.Context, o stream.Owner) error {
	const attempts = 20
	for range attempts {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		c, err := loadChain(s.cfg.FS, s.opt.root)
		if err != nil {
			return s.fault(err, "read the log of %s", s.opt.root)
		}
		if err := o.Accept(s.cfg.Name, c.marker); err != nil {
			return err //nolint:wrapcheck // coded for the user
		}
		if err := o.Alone(s.cfg.Name, c.marker); err != nil {
			return err //nolint:wrapcheck // coded for the user
		}
		if c.kind != "" && c.kind != s.opt.kind && !o.TakeOver {
			return diag.New(diag.SinkMismatch, "sink %q writes %s, but %q holds a %s sink's output",
				s.cfg.Name, s.opt.kind, s.opt.root, c.kind).WithHint("write to a new path, or start once with --take-over")
		}
		e := s.entry(o.Adopt(c.marker))
		e.Opens = true
		err = c.publish(e)
		if err == nil {
			s.chain = c
			return nil
		}
		if !errors.Is(err, errTaken) {
			return s.fault(err, "take over the log of %s", s.opt.root)
		}
	}
	return diag.New(diag.SinkFenced, "sink %q: other owners keep opening %q at the same time", s.cfg.Name, s.opt.root).
		WithHint("only one process may run the query: stop the other one, or this one for good")
}

// recover repeats the renames that an earlier owner may not have come to, and empties _staging. It runs after
// fence, so nobody else can commit the files it removes.
func (s *sink) recover() error {
	staged, err := s.cfg.FS.List(s.dir(stagingDir))
	if err != nil {
		return s.fault(err, "list staged files")
	}
	present := make(map[string]bool, len(staged))
	for _, name := range staged {
		present[name] = true
	}
	var redo entry
	for _, e := range s.chain.fresh {
		if len(e.Remove) > 0 {
			if err := s.settle(&entry{Time: e.Time, Remove: e.Remove, Keep: e.Keep}); err != nil {
				return err
			}
		}
		for _, f := range e.Add {
			if _, live := s.chain.live[f.Path]; live && present[stagedName(f.Path)] {
				redo.Add = append(redo.Add, f)
				delete(present, stagedName(f.Path))
			}
		}
	}
	if err := s.settle(&redo); err != nil {
		return err
	}
	for _, name := range staged {
		if !present[name] {
			continue
		}
		if err := s.cfg.FS.Remove(filepath.Join(s.dir(stagingDir), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.fault(err, "remove staged file %s", name)
		}
	}
	if err := s.chain.clean(); err != nil {
		return s.fault(err, "trim the log of %s", s.opt.root)
	}
	return nil
}

// Write implements stream.Sink. On return the batch's files are under their final names, durably.
func (s *sink) Write(ctx context.Context, d stream.Delivery) error {
	switch {
	case s.chain == nil:
		return fmt.Errorf("write to sink %s: not open", s.cfg.Name)
	case s.broken != nil:
		return fmt.Errorf("sink %s stopped at an earlier fault: %w", s.cfg.Name, s.broken)
	case d.Already(s.chain.marker):
		return nil
	case d.Result.Op:
		return diag.New(diag.SinkMode, "sink %q: files can not hold updates and deletes", s.cfg.Name)
	}
	m := d.Marker
	m.Epoch, m.Life = s.owner.Epoch, s.owner.Life
	e := s.entry(m)
	e.Mode = d.Mode.String()
	var err error
	if e.Add, err = s.stage(ctx, d); err != nil {
		return err
	}
	e.Remove = s.replaced(d)
	if err := s.commit(e); err != nil {
		return err
	}
	return s.keepHouse(ctx)
}

// replaced lists the files that d takes the place of.
func (s *sink) replaced(d stream.Delivery) []string {
	if d.Mode != stream.Complete && d.Replace == "" {
		return nil
	}
	var paths []string
	for _, f := range s.chain.files() {
		if d.Replace == "" || f.Slot == d.Replace && f.Query == d.Marker.Query {
			paths = append(paths, f.Path)
		}
	}
	return paths
}

// commit carries e through steps 2 and 3 of the protocol.
func (s *sink) commit(e *entry) error {
	if err := s.chain.publish(e); err != nil {
		if errors.Is(err, errTaken) {
			return s.fenced()
		}
		return s.fault(err, "commit batch %d to %s", e.Marker.Batch, s.opt.root)
	}
	s.tiers.apply(e)
	return s.settle(e)
}

// settle makes the folder look as e says: step 3 of the protocol. It may run again after a crash.
func (s *sink) settle(e *entry) error {
	dirs := newDirSet(s.cfg.FS)
	for _, path := range e.Remove {
		final := s.final(path)
		if err := s.discard(e, final); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.fault(err, "remove replaced file %s", final)
		}
		dirs.add(filepath.Dir(final))
	}
	// The old names must be gone for good before the first new one: a crash that kept both would show rows
	// twice.
	if err := dirs.sync(); err != nil {
		return s.fault(err, "sync directories of %s", s.opt.root)
	}
	for _, f := range e.Add {
		final := s.final(f.Path)
		if err := s.makeDir(filepath.Dir(final)); err != nil {
			return s.fault(err, "make directory for %s", final)
		}
		if err := s.cfg.FS.Rename(s.staged(f.Path), final); err != nil {
			return s.fault(err, "publish file %s", final)
		}
		dirs.add(filepath.Dir(final))
	}
	if err := dirs.sync(); err != nil {
		return s.fault(err, "sync directories of %s", s.opt.root)
	}
	return nil
}

// discard takes a replaced file out of a glob's sight.
func (s *sink) discard(e *entry, final string) error {
	if !e.Keep {
		return s.cfg.FS.Remove(final) //nolint:wrapcheck // settle does
	}
	if err := s.makeDir(s.dir(oldDir)); err != nil {
		return err
	}
	return s.cfg.FS.Rename(final, filepath.Join(s.dir(oldDir), oldName(e.Time, final))) //nolint:wrapcheck // settle does
}

// keepHouse does what may wait until after a commit: a snapshot of the chain, compaction, and the end of old
// files.
func (s *sink) keepHouse(ctx context.Context) error {
	if s.chain.snapshotDue() {
		if err := s.chain.snapshot(); err != nil {
			return s.fault(err, "write snapshot of the log of %s", s.opt.root)
		}
		if err := s.expire(); err != nil {
			return err
		}
	}
	if s.tiers == nil {
		return nil
	}
	return s.compact(ctx)
}

// Close implements stream.Sink. Nothing is held between calls.
func (s *sink) Close() error { return nil }

func (s *sink) entry(m stream.Marker) *entry {
	return &entry{Format: formatVersion, Kind: s.opt.kind, Time: s.cfg.Clock.Now().UTC(), Marker: m}
}

// fenced says who has the folder now.
func (s *sink) fenced() error {
	s.broken = diag.New(diag.SinkFenced, "sink %q of query %q has been taken over by another owner",
		s.cfg.Name, s.owner.Name).
		WithHint("only one process may run the query: stop the other one, or this one for good")
	if c, err := loadChain(s.cfg.FS, s.opt.root); err == nil && c.marker != nil {
		if err := s.owner.Fenced(s.cfg.Name, *c.marker); err != nil {
			s.broken = err
		}
	}
	return s.broken
}

// fault keeps the first fault and gives it a code: after it the folder may be ahead of memory, and a failed
// sync must not be repeated, so the sink has to be opened anew.
func (s *sink) fault(err error, format string, args ...any) error {
	if diag.CodeOf(err) == "" {
		err = coded(err, fmt.Sprintf(format, args...))
	}
	if s.broken == nil {
		s.broken = err
	}
	return err
}

func coded(err error, what string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return diag.Wrap(diag.DiskFull, err, "%s", what).WithHint("free some space and start again; nothing is lost")
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return diag.Wrap(diag.SinkFailed, err, "%s", what).WithHint("let the process write there, or choose another path")
	}
	return diag.Wrap(diag.SinkFailed, err, "%s", what)
}

func (s *sink) dir(name string) string    { return filepath.Join(s.opt.root, name) }
func (s *sink) final(path string) string  { return filepath.Join(s.opt.root, filepath.FromSlash(path)) }
func (s *sink) staged(path string) string { return filepath.Join(s.dir(stagingDir), stagedName(path)) }

// stagedName is where the file that will be path waits: its base name, which is unique in the chain's life.
func stagedName(path string) string {
	base := path[strings.LastIndexByte(path, '/')+1:]
	return strings.TrimSuffix(base, filepath.Ext(base)) + ".tmp"
}

// oldName says when a file was replaced, so that expire needs nothing but the names.
func oldName(at time.Time, final string) string {
	return fmt.Sprintf("%014d-%s.old", at.Unix(), filepath.Base(final))
}
