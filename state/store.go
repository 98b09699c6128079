package state

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// deltasMax is how many deltas a table may have before a new base is asked for, however small they are: each
// is a file to open and a statement to run at the next start.
const deltasMax = 256

// Store holds the versions of one query. One process has it open at a time. Write and Prune wait for one
// another; the other methods may be called beside them.
type Store struct {
	fs  vfs.FS
	dir string

	writing sync.Mutex // held by Write and Prune; taken before mu
	broken  error      // guarded by writing: a publish of which nobody knows whether it happened

	mu       sync.Mutex
	versions []*manifest // guarded by mu: oldest first; a manifest is never changed once it is here
}

// Info says what a Write wrote.
type Info struct {
	Batch int64 `json:"batch"`
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	Rows  int64 `json:"rows"`
}

// Open makes dir if need be, reads its manifests, checks that every file they name is there with its size,
// and removes what an interrupted Write or Prune left behind. Damage is STATE_CORRUPT; then nothing is
// removed.
func Open(fsys vfs.FS, dir string) (*Store, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	versions, err := readManifests(fsys, dir)
	if err != nil {
		return nil, err
	}
	s := &Store{fs: fsys, dir: dir, versions: versions}
	for _, m := range versions {
		if err := statParts(fsys, dir, m); err != nil {
			return nil, err
		}
	}
	return s, s.sweep()
}

func statParts(fsys vfs.FS, dir string, m *manifest) error {
	for _, t := range m.Tables {
		for _, p := range t.Parts {
			if err := statPart(fsys, filepath.Join(dir, p.File), p); err != nil {
				return err
			}
		}
	}
	return nil
}

func statPart(fsys vfs.FS, path string, p part) error {
	info, err := fsys.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return corrupt(path, 0, "the file is gone, but a state version needs it")
	case err != nil:
		return fmt.Errorf("stat state file: %w", err)
	case info.Size() != p.Bytes:
		return corrupt(path, min(info.Size(), p.Bytes),
			"the file has %d bytes and should have %d", info.Size(), p.Bytes)
	}
	return nil
}

// sweep removes the files of ours that no manifest names.
func (s *Store) sweep() error {
	names, err := s.fs.List(s.dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", s.dir, err)
	}
	named := map[string]bool{}
	for _, m := range s.versions {
		m.addFiles(named)
	}
	for _, name := range names {
		if named[name] || !ours(name) {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("remove leftover: %w", err)
		}
	}
	return nil
}

// Write makes a new version: the newest one with changes laid over it, in order. When it returns nil the
// version is durable; when it returns an error the version does not exist, unless the error came from the
// very last step, after which every further Write fails and the next Open shows which it was. A batch that is
// not newer than the newest version is refused. The changes are borrowed.
func (s *Store) Write(ctx context.Context, batch int64, changes []Change) (Info, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.broken != nil {
		return Info{}, s.broken
	}
	next, err := s.next(batch)
	if err != nil {
		return Info{}, err
	}
	info := Info{Batch: batch}
	var files []string
	for _, c := range changes {
		path := filepath.Join(s.dir, partName(batch, len(files)))
		p, err := s.writeChange(ctx, path, next, c)
		if p.File != "" {
			files = append(files, path)
		}
		if err != nil {
			s.discard(files)
			return Info{}, onDisk(err, "write state of table %q after batch %d", c.Table, batch)
		}
		info.Bytes, info.Rows = info.Bytes+p.Bytes, info.Rows+p.Rows+p.Deleted
	}
	info.Files = len(files)
	return info, s.publish(next, files)
}

// next returns the manifest that the changes of batch are laid over.
func (s *Store) next(batch int64) (*manifest, error) {
	next := &manifest{Previous: -1}
	newest, ok := s.newest()
	if ok {
		if batch <= newest.Batch {
			return nil, diag.New(diag.Internal, "state version %d is not newer than version %d",
				batch, newest.Batch)
		}
		next = newest.clone()
		next.Previous = newest.Batch
	}
	if batch < 0 {
		return nil, diag.New(diag.Internal, "state version %d has no batch", batch)
	}
	next.Batch = batch
	return next, nil
}

// writeChange writes one change's file and lays it over next. The part has a File as soon as something of
// that name may be on disk, also beside an error.
func (s *Store) writeChange(ctx context.Context, path string, next *manifest, c Change) (part, error) {
	if err := next.accepts(c); err != nil {
		return part{}, err
	}
	rows := c.rows()
	if c.Dropped || !c.Base && rows.Empty() {
		if c.Dropped {
			next.apply(c, part{})
		}
		return part{}, nil
	}
	p := part{File: filepath.Base(path), Base: c.Base}
	t, n, err := writePart(ctx, s.fs, path, partContent{batch: next.Batch, base: c.Base, rows: rows})
	if err != nil {
		return p, err
	}
	p.Rows, p.Deleted, p.Bytes, p.CRC = n.rows, n.deleted, t.fileBytes(), t.crc
	next.apply(c, p)
	return p, nil
}

// accepts refuses a change that does not fit the table it is for.
func (m *manifest) accepts(c Change) error {
	i, ok := m.find(c.Table)
	switch {
	case c.Table == "":
		return diag.New(diag.Internal, "a change names no table")
	case c.Dropped:
		return nil
	case c.Base && len(c.Deleted) > 0:
		return diag.New(diag.Internal, "the base of table %q has deleted keys", c.Table)
	case c.Base:
		return nil
	case !ok:
		return diag.New(diag.Internal, "table %q has a delta but no base", c.Table)
	case !slices.Equal(m.Tables[i].Columns, c.Columns) || !slices.Equal(m.Tables[i].Keys, c.Keys):
		return diag.New(diag.Internal, "a delta of table %q has other columns or keys than its base", c.Table)
	}
	return nil
}

// publish makes the version exist. The names of the parts must be durable before the manifest's can be.
func (s *Store) publish(m *manifest, files []string) error {
	if len(files) > 0 {
		if err := s.fs.SyncDir(s.dir); err != nil {
			s.discard(files)
			return onDisk(err, "sync state directory")
		}
	}
	if err := WriteSealed(s.fs, s.dir, manifestName(m.Batch), m); err != nil {
		s.broken = onDisk(err, "publish state version %d", m.Batch)
		return s.broken
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions = append(s.versions, m)
	return nil
}

// discard removes files of a version that will not be. What it can not remove the next Open does.
func (s *Store) discard(files []string) {
	for _, path := range files {
		_ = s.fs.Remove(path)
	}
}

func (s *Store) newest() (*manifest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.versions) == 0 {
		return nil, false
	}
	return s.versions[len(s.versions)-1], true
}

// Latest returns the newest version that is not newer than atMost.
func (s *Store) Latest(atMost int64) (Version, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range slices.Backward(s.versions) {
		if m.Batch <= atMost {
			return Version{fs: s.fs, dir: s.dir, m: m}, true
		}
	}
	return Version{}, false
}

// Versions returns the batches of all versions, oldest first.
func (s *Store) Versions() []int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	batches := make([]int64, len(s.versions))
	for i, m := range s.versions {
		batches[i] = m.Batch
	}
	return batches
}

// WantBase reports whether the next change of a table should be a base: its deltas have grown larger than its
// base, or are very many. It is false for a table that is not there, which needs a base anyway.
func (s *Store) WantBase(table string) bool {
	m, ok := s.newest()
	if !ok {
		return false
	}
	i, ok := m.find(table)
	if !ok {
		return false
	}
	parts := m.Tables[i].Parts
	var deltas int64
	for _, p := range parts[1:] {
		deltas += p.Bytes
	}
	return deltas > parts[0].Bytes || len(parts)-1 >= deltasMax
}

// Prune removes the oldest versions and the files that only they name. It keeps the newest keep versions (at
// least one) and the newest one that is not newer than neededFrom, which is what a recovery up to there
// loads.
func (s *Store) Prune(keep int, neededFrom int64) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	drop, stay := s.split(max(keep, 1), neededFrom)
	if len(drop) == 0 {
		return nil
	}
	for _, m := range drop {
		if err := s.fs.Remove(filepath.Join(s.dir, manifestName(m.Batch))); err != nil {
			return fmt.Errorf("remove state version %d: %w", m.Batch, err)
		}
		s.mu.Lock()
		s.versions = s.versions[1:]
		s.mu.Unlock()
	}
	// A manifest that came back after a crash must find its files.
	if err := s.fs.SyncDir(s.dir); err != nil {
		return fmt.Errorf("sync state directory: %w", err)
	}
	named, gone := map[string]bool{}, map[string]bool{}
	for _, m := range stay {
		m.addFiles(named)
	}
	for _, m := range drop {
		m.addFiles(gone)
	}
	for name := range gone {
		if named[name] {
			continue
		}
		if err := s.fs.Remove(filepath.Join(s.dir, name)); err != nil {
			return fmt.Errorf("remove state file: %w", err)
		}
	}
	return nil
}

func (s *Store) split(keep int, neededFrom int64) (drop, stay []*manifest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cut := max(0, len(s.versions)-keep)
	for cut > 0 && s.versions[cut].Batch > neededFrom {
		cut--
	}
	return slices.Clone(s.versions[:cut]), slices.Clone(s.versions[cut:])
}

// onDisk wraps a fault of writing, with a code if the user can mend it.
func onDisk(err error, format string, args ...any) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return diag.Wrap(diag.DiskFull, err, format, args...).
			WithNote("what was acknowledged is safe").
			WithHint("free some space and start again")
	}
	return fmt.Errorf(format+": %w", append(args, err)...)
}

func numRows(records []arrow.Record) int64 {
	var n int64
	for _, r := range records {
		n += r.NumRows()
	}
	return n
}
