package files

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/bits"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// mergeFiles is how many files of about one size are merged at a time. Sizes are told apart in powers of this
// number, so each row is written again log16(target / first size) times and no more.
const mergeFiles = 16

// tiers keeps the small files by folder, slot, columns and size class, in the order of commit. A nil tiers
// keeps nothing.
type tiers struct {
	target int64
	files  map[tier][]FileInfo
	where  map[string]tier
	due    []tier // those that may have enough to merge, oldest first
}

type tier struct {
	dir, query, slot string
	schema           uint32
	class            int
}

func newTiers(target int64, files []FileInfo) *tiers {
	t := &tiers{target: target, files: map[tier][]FileInfo{}, where: map[string]tier{}}
	t.apply(&entry{Add: files})
	return t
}

// apply follows one entry of the chain.
func (t *tiers) apply(e *entry) {
	if t == nil {
		return
	}
	for _, path := range e.Remove {
		k, ok := t.where[path]
		if !ok {
			continue
		}
		delete(t.where, path)
		t.files[k] = slices.DeleteFunc(t.files[k], func(f FileInfo) bool { return f.Path == path })
		if len(t.files[k]) == 0 {
			delete(t.files, k)
		}
	}
	for _, f := range e.Add {
		if f.Size >= t.target/2 {
			continue
		}
		k := tier{dir: f.Path[:strings.LastIndexByte(f.Path, '/')+1], query: f.Query, slot: f.Slot, schema: f.Schema}
		k.class = bits.Len64(uint64(f.Size)) / bits.Len(mergeFiles-1) //nolint:gosec // sizes are not negative
		t.files[k] = append(t.files[k], f)
		t.where[f.Path] = k
		if t.enough(t.files[k]) && !slices.Contains(t.due, k) {
			t.due = append(t.due, k)
		}
	}
}

func (t *tiers) enough(files []FileInfo) bool {
	return len(files) >= mergeFiles || len(files) > 1 && total(files) >= t.target
}

// pick returns the oldest files of one tier that are worth merging and together not much over the target, or
// nil.
func (t *tiers) pick() []FileInfo {
	for len(t.due) > 0 {
		k := t.due[0]
		t.due = t.due[1:]
		files := t.files[k]
		if !t.enough(files) {
			continue
		}
		n, size := 0, int64(0)
		for n < len(files) && (n < 2 || size < t.target) {
			size += files[n].Size
			n++
		}
		return slices.Clone(files[:n])
	}
	return nil
}

func total(files []FileInfo) (size int64) {
	for _, f := range files {
		size += f.Size
	}
	return size
}

// compact merges at most one set of files, so that a batch waits for one merge at most. The merge is an entry
// of its own: the same rows, under the same marker.
func (s *sink) compact(ctx context.Context) error {
	files := s.tiers.pick()
	if files == nil {
		return nil
	}
	first := files[0]
	f := FileInfo{
		Path:  s.newPath(first.Path[:strings.LastIndexByte(first.Path, '/')+1], 0),
		Batch: files[len(files)-1].Batch, Schema: first.Schema, Query: first.Query, Slot: first.Slot,
	}
	e := s.entry(*s.chain.marker)
	e.Keep = true
	next := 0
	err := s.writeStaged(&f, func(w io.Writer) error {
		return s.opt.codec.merge(ctx, w, func() ([]byte, error) {
			for next < len(files) && ctx.Err() == nil {
				old := files[next]
				next++
				e.Remove = append(e.Remove, old.Path)
				data, err := s.readBack(old)
				if errors.Is(err, fs.ErrNotExist) {
					continue // someone took the file away; there is nothing of it to keep
				}
				f.Rows += old.Rows
				return data, err
			}
			return nil, errors.Join(context.Cause(ctx), endOf(ctx))
		})
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return s.fault(err, "merge %d files into %s", len(files), f.Path)
	}
	if f.Rows > 0 {
		e.Add = []FileInfo{f}
	}
	if err := s.stagedAll(); err != nil {
		return err
	}
	if err := s.commit(e); err != nil {
		return err
	}
	return s.expire()
}

// endOf is io.EOF unless the context has ended, so that a cut merge never looks whole.
func endOf(ctx context.Context) error {
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the caller asks the context itself
	}
	return io.EOF
}

// readBack reads a committed file whole and checks it.
func (s *sink) readBack(f FileInfo) ([]byte, error) {
	data, err := vfs.ReadFile(s.cfg.FS, s.final(f.Path))
	if err != nil {
		return nil, err //nolint:wrapcheck // compact says what it does
	}
	if int64(len(data)) != f.Size || crc32.Checksum(data, castagnoli()) != f.CRC {
		return nil, diag.New(diag.SinkFailed, "file %q is not what was written there, so it is not merged",
			s.final(f.Path)).
			WithHint("restore the file, or set compact = false")
	}
	return data, nil
}

// expire removes replaced files whose grace is over.
func (s *sink) expire() error {
	names, err := s.cfg.FS.List(s.dir(oldDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return s.fault(err, "list replaced files")
	}
	limit := s.cfg.Clock.Now().Add(-s.opt.grace).Unix()
	for _, name := range names {
		text, _, _ := strings.Cut(name, "-")
		at, err := strconv.ParseInt(text, 10, 64)
		if err != nil || at > limit {
			continue
		}
		if err := s.cfg.FS.Remove(filepath.Join(s.dir(oldDir), name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.fault(fmt.Errorf("remove replaced file: %w", err), "expire %s", name)
		}
	}
	return nil
}
