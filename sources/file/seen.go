package file

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/google/uuid"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

const (
	logName = "seen.log"
	// ordinalMax leaves room for 2^40 messages a file in a sequence that fits a BIGINT.
	ordinalMax = 1<<23 - 1
	// stepsMax and goneMin say when the log is worth a rewrite.
	stepsMax, goneMin = 10_000, 1000
)

// entry is one file that has been found.
type entry struct {
	Ordinal int64   `json:"n"`
	Path    string  `json:"path"`
	Size    int64   `json:"size"`
	MTime   int64   `json:"mtime"` // microseconds since 1970
	CRC     *uint32 `json:"crc,omitempty"`
}

// line is one step of the log. Exactly one of its parts is set.
type line struct {
	ID    string           `json:"id,omitempty"` // of the log; only in its first line
	After int64            `json:"after,omitempty"`
	Found []entry          `json:"found,omitempty"`
	Read  map[int64]uint32 `json:"read,omitempty"`
}

// seenLog is the durable list of files. It is not safe for concurrent use.
type seenLog struct {
	fs      vfs.FS
	dir     string
	out     vfs.File
	id      string
	next    int64 // ordinal of the next file
	entries map[int64]*entry
	byPath  map[string]*entry
	steps   int   // lines in the file
	broken  error // a failed write or sync, after which the file is not written again
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// openLog reads the log in dir, or makes a new one.
func openLog(fsys vfs.FS, dir string) (*seenLog, error) {
	l := &seenLog{fs: fsys, dir: dir, next: 1, entries: map[int64]*entry{}, byPath: map[string]*entry{}}
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make directory of the seen-file log: %w", err)
	}
	data, err := readFile(fsys, l.path())
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.id = uuid.NewString()
		if err = clearSpool(fsys, dir); err == nil {
			err = l.rewrite()
		}
	case err != nil:
		err = fmt.Errorf("read the seen-file log: %w", err)
	default:
		err = l.load(data)
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// viewLog reads the log in dir, whose owner may be writing to it: its last line may be cut short.
func viewLog(fsys vfs.FS, dir string) (*seenLog, error) {
	l := &seenLog{fs: fsys, dir: dir, next: 1, entries: map[int64]*entry{}, byPath: map[string]*entry{}}
	data, err := readFile(fsys, l.path())
	if err != nil {
		return nil, fmt.Errorf("look at the seen-file log: %w", err)
	}
	if _, err := l.take(data); err != nil {
		return nil, err
	}
	return l, nil
}

// knows reports whether the log has the files behind from up to to and what was read of each, so that a view of it needs
// no second look.
func (l *seenLog) knows(from, to int64) bool {
	unread := func(e entry) bool { return e.CRC == nil }
	return to < l.next && !slices.ContainsFunc(l.after(from, to), unread)
}

func (l *seenLog) path() string { return filepath.Join(l.dir, logName) }

func readFile(fsys vfs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // the callers say which file it is
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// take takes in the lines of data and returns how many bytes they have: all but a torn line at the end.
func (l *seenLog) take(data []byte) (whole int, err error) {
	for whole < len(data) {
		end := bytes.IndexByte(data[whole:], '\n')
		last := end < 0 || whole+end+1 == len(data)
		if end < 0 {
			end = len(data) - whole
		}
		ln, ok := parseLine(data[whole : whole+end])
		if ok && whole+end < len(data) {
			l.apply(ln)
			whole += end + 1
			continue
		}
		if !last {
			return whole, l.corrupt(whole)
		}
		break
	}
	if l.id == "" {
		return whole, l.corrupt(0)
	}
	return whole, nil
}

// load takes in the lines of data and cuts off a torn one at the end.
func (l *seenLog) load(data []byte) error {
	whole, err := l.take(data)
	if err != nil {
		return err
	}
	if whole < len(data) {
		if err := l.fs.Truncate(l.path(), int64(whole)); err != nil {
			return fmt.Errorf("cut the torn end of the seen-file log: %w", err)
		}
	}
	out, err := l.fs.Append(l.path())
	if err != nil {
		return fmt.Errorf("open the seen-file log: %w", err)
	}
	l.out = out
	// Also makes durable what a process read that was killed before its sync, and the cut.
	return l.sync()
}

func (l *seenLog) corrupt(at int) error {
	return diag.New(diag.LogCorrupt, "%s: a line is damaged at byte %d", l.path(), at).
		WithNote("lines follow it, so this is damage and not a crash; nothing was changed").
		WithHint("restore the file, or start the query in a new data dir")
}

func parseLine(b []byte) (ln line, ok bool) {
	var crc [4]byte
	if len(b) < 10 || b[8] != ' ' {
		return ln, false
	}
	if _, err := hex.Decode(crc[:], b[:8]); err != nil {
		return ln, false
	}
	sum := crc32.Checksum(b[9:], castagnoli())
	if want := uint32(crc[0])<<24 | uint32(crc[1])<<16 | uint32(crc[2])<<8 | uint32(crc[3]); want != sum {
		return ln, false
	}
	return ln, json.Unmarshal(b[9:], &ln) == nil
}

func (l *seenLog) apply(ln line) {
	l.steps++
	if ln.ID != "" {
		l.id, l.next = ln.ID, ln.After+1
	}
	for i := range ln.Found {
		e := &ln.Found[i]
		l.entries[e.Ordinal], l.byPath[e.Path] = e, e
		l.next = max(l.next, e.Ordinal+1)
	}
	for n, crc := range ln.Read {
		if e := l.entries[n]; e != nil {
			e.CRC = &crc
		}
	}
}

// add makes the step durable and then applies it.
func (l *seenLog) add(ln line) error {
	if l.broken != nil {
		return l.broken
	}
	if _, err := l.out.Write(encodeLine(ln)); err != nil {
		l.broken = fmt.Errorf("write the seen-file log: %w", err)
		return l.broken
	}
	if err := l.sync(); err != nil {
		return err
	}
	l.apply(ln)
	return nil
}

func (l *seenLog) sync() error {
	if err := l.out.Sync(); err != nil {
		l.broken = fmt.Errorf("sync the seen-file log: %w", err)
	}
	return l.broken
}

func encodeLine(ln line) []byte {
	text, err := json.Marshal(ln)
	if err != nil {
		panic(err) // plain structs of numbers and text
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.Checksum(text, castagnoli()), text)
}

// rewrite replaces the file by one that says the same in two lines.
func (l *seenLog) rewrite() error {
	if l.broken != nil {
		return l.broken
	}
	if err := l.replace(); err != nil {
		l.broken = fmt.Errorf("rewrite the seen-file log: %w", err)
	}
	return l.broken
}

func (l *seenLog) replace() error {
	data := encodeLine(line{ID: l.id, After: l.next - 1})
	l.steps = 1
	if found := l.after(0, math.MaxInt64); len(found) > 0 {
		data = append(data, encodeLine(line{Found: found})...)
		l.steps++
	}
	tmp := l.path() + ".tmp"
	f, err := l.fs.Create(tmp)
	if err != nil {
		return err //nolint:wrapcheck // rewrite wraps it
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = l.fs.Rename(tmp, l.path()); err != nil {
		return err //nolint:wrapcheck // rewrite wraps it
	}
	if err = l.fs.SyncDir(l.dir); err != nil {
		return err //nolint:wrapcheck // rewrite wraps it
	}
	old := l.out
	if l.out, err = l.fs.Append(l.path()); err == nil && old != nil {
		err = old.Close()
	}
	return err
}

// after returns the known files with ordinals above from, up to and including to, in order.
func (l *seenLog) after(from, to int64) []entry {
	var list []entry
	for _, n := range slices.Sorted(maps.Keys(l.entries)) {
		if n > from && n <= to {
			list = append(list, *l.entries[n])
		}
	}
	return list
}

// compact forgets acknowledged files that are no longer there, if that makes the log much shorter.
func (l *seenLog) compact(acknowledged int64, present map[string]bool) error {
	gone := 0
	for n, e := range l.entries {
		if n <= acknowledged && !present[e.Path] {
			gone++
		}
	}
	if l.steps < stepsMax && (gone < goneMin || 2*gone < len(l.entries)) {
		return nil
	}
	for n, e := range l.entries {
		if n <= acknowledged && !present[e.Path] {
			delete(l.entries, n)
			delete(l.byPath, e.Path)
		}
	}
	return l.rewrite()
}

func (l *seenLog) close() error {
	if l.out == nil {
		return nil
	}
	err := l.out.Close()
	l.out = nil
	return err //nolint:wrapcheck // nothing is lost: each step has been synced
}
