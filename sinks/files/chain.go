package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// formatVersion is the layout of entries and snapshots. It never changes for one layout.
const formatVersion = 1

// snapshotEvery is the least number of entries between snapshots. Large sets are written less often, so that
// snapshots cost a constant share of each batch.
const snapshotEvery = 100

// errTaken says that another owner has made the next entry.
var errTaken = errors.New("the next entry exists already")

// FileInfo is one committed file.
type FileInfo struct {
	Path   string `json:"path"` // in the chain: below the folder, with slashes; from Files: as it can be opened
	Size   int64  `json:"size"`
	Rows   int64  `json:"rows"`
	CRC    uint32 `json:"crc"` // CRC32C of the bytes
	Batch  int64  `json:"batch"`
	Schema uint32 `json:"schema,omitempty"` // tells files of different columns apart
	Query  string `json:"query,omitempty"`  // uuid, for files of a slot
	Slot   string `json:"slot,omitempty"`
}

// entry is one change of the folder.
type entry struct {
	Format  int           `json:"format"`
	Kind    string        `json:"kind"` // parquet, json or csv
	Version int64         `json:"version"`
	Prev    uint32        `json:"prev"` // CRC of the entry before
	Time    time.Time     `json:"time"`
	Marker  stream.Marker `json:"marker"`
	Opens   bool          `json:"opens,omitempty"` // a new owner, no batch
	Mode    string        `json:"mode,omitempty"`
	Add     []FileInfo    `json:"add,omitempty"`
	Remove  []string      `json:"remove,omitempty"`
	Keep    bool          `json:"keep,omitempty"` // removed files rest under _old for their grace
}

// snapshot is the sum of all entries up to Version.
type snapshot struct {
	Format  int           `json:"format"`
	Kind    string        `json:"kind"`
	Version int64         `json:"version"`
	CRC     uint32        `json:"crc"` // of the entry Version
	Marker  stream.Marker `json:"marker"`
	Files   []FileInfo    `json:"files"`
}

// chain is the folder's log in memory.
type chain struct {
	fs     vfs.FS
	dir    string
	head   int64 // number of the last entry; 0 for none
	crc    uint32
	base   int64 // number of the last snapshot; 0 for none
	kind   string
	marker *stream.Marker // nil for none
	live   map[string]FileInfo
	fresh  []entry // entries after the snapshot that were read, not written, by this process
}

// Files returns the exact committed set of a sink's folder, in the order the files were committed: the files
// a reader must read, no more and no fewer. It takes no lock and may run beside the sink; a path it returns
// can be replaced later. A folder without a log holds no files.
func Files(fsys vfs.FS, root string) ([]FileInfo, error) {
	c, err := loadChain(fsys, root)
	if err != nil {
		if diag.CodeOf(err) == "" {
			err = coded(err, "read the log of "+root)
		}
		return nil, err
	}
	pending := map[string]bool{}
	for _, e := range c.fresh {
		for _, f := range e.Add {
			pending[f.Path] = true
		}
	}
	list := c.files()
	for i, f := range list {
		list[i].Path = filepath.Join(root, filepath.FromSlash(f.Path))
		if !pending[f.Path] {
			continue
		}
		// A crash may have come between the commit and the rename, which only the next Open repeats.
		staged := filepath.Join(root, stagingDir, stagedName(f.Path))
		if _, err := fsys.Stat(list[i].Path); errors.Is(err, fs.ErrNotExist) {
			if _, err := fsys.Stat(staged); err == nil {
				list[i].Path = staged
			}
		}
	}
	return list, nil
}

// loadChain reads the newest snapshot and the entries after it. An owner may trim the log meanwhile: what was
// listed and is gone makes the reader begin anew.
func loadChain(fsys vfs.FS, root string) (*chain, error) {
	const attempts = 20
	dir := filepath.Join(root, logDir)
	var err error
	for range attempts {
		c := &chain{fs: fsys, dir: dir, live: map[string]FileInfo{}}
		if err = c.load(); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return c, err
		}
	}
	return nil, corrupt(dir, "an entry is missing: "+err.Error())
}

func (c *chain) load() error {
	names, err := c.fs.List(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err //nolint:wrapcheck // the callers say what was read
	}
	last := int64(0)
	for _, name := range names {
		if v, ok := number(name, ".snapshot"); ok {
			c.base = max(c.base, v)
		}
		if v, ok := number(name, ".commit"); ok {
			last = max(last, v)
		}
	}
	if c.base > 0 {
		if err := c.loadSnapshot(); err != nil {
			return err
		}
	}
	for v := c.base + 1; v <= last; v++ {
		var e entry
		sum, err := c.read(c.entryPath(v), &e)
		if err != nil {
			return err
		}
		if e.Version != v || e.Prev != c.crc {
			return corrupt(c.entryPath(v), "it does not follow the entry before it")
		}
		c.apply(&e, sum)
		c.fresh = append(c.fresh, e)
	}
	return nil
}

func (c *chain) loadSnapshot() error {
	path := filepath.Join(c.dir, fmt.Sprintf("%016d.snapshot", c.base))
	var s snapshot
	if _, err := c.read(path, &s); err != nil {
		return err
	}
	if s.Version != c.base {
		return corrupt(path, "it is the snapshot of another entry")
	}
	c.head, c.crc, c.kind, c.marker = s.Version, s.CRC, s.Kind, &s.Marker
	for _, f := range s.Files {
		c.live[f.Path] = f
	}
	return nil
}

// apply moves the chain on by e, whose bytes have the CRC sum.
func (c *chain) apply(e *entry, sum uint32) {
	for _, path := range e.Remove {
		delete(c.live, path)
	}
	for _, f := range e.Add {
		c.live[f.Path] = f
	}
	marker := e.Marker
	c.head, c.crc, c.kind, c.marker = e.Version, sum, e.Kind, &marker
}

// publish makes e the next entry: durable on return, or errTaken if another owner was first.
func (c *chain) publish(e *entry) error {
	e.Version, e.Prev = c.head+1, c.crc
	data, sum, err := seal(e)
	if err != nil {
		return err
	}
	path := c.entryPath(e.Version)
	tmp := fmt.Sprintf("%s.%s.tmp", path, uuid.NewString()) // a zombie may write the same number
	if err := writeSynced(c.fs, tmp, data); err != nil {
		return err
	}
	switch err := c.fs.RenameNew(tmp, path); {
	case errors.Is(err, fs.ErrExist):
		return errors.Join(errTaken, c.fs.Remove(tmp))
	case errors.Is(err, fs.ErrNotExist): // a new owner has swept it away
		return errTaken
	case err != nil:
		return err //nolint:wrapcheck // the callers say what was written
	}
	if err := c.fs.SyncDir(c.dir); err != nil {
		return err //nolint:wrapcheck // the callers say what was written
	}
	passed, err := c.passed()
	if err != nil {
		return err
	}
	if passed {
		return errors.Join(errTaken, c.fs.Remove(path))
	}
	c.apply(e, sum)
	return nil
}

// passed reports whether the number just published had been used and trimmed before. Entries are trimmed in
// ascending order, and never the newest, so the one before ours would then be gone too.
func (c *chain) passed() (bool, error) {
	if c.head > 0 {
		_, err := c.fs.Stat(c.entryPath(c.head))
		if errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
		return false, err //nolint:wrapcheck // the callers say what was written
	}
	names, err := c.fs.List(c.dir)
	for _, name := range names {
		if _, ok := number(name, ".snapshot"); ok {
			return true, err //nolint:wrapcheck // the callers say what was written
		}
	}
	return false, err //nolint:wrapcheck // the callers say what was written
}

func (c *chain) snapshotDue() bool {
	return c.head-c.base >= max(snapshotEvery, int64(len(c.live)/10))
}

// snapshot writes the committed set and trims what it stands for. The head's own entry stays: see passed.
func (c *chain) snapshot() error {
	s := snapshot{Format: formatVersion, Kind: c.kind, Version: c.head, CRC: c.crc, Marker: *c.marker, Files: c.files()}
	data, _, err := seal(s)
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, fmt.Sprintf("%016d.snapshot", c.head))
	tmp := fmt.Sprintf("%s.%s.tmp", path, uuid.NewString())
	if err := writeSynced(c.fs, tmp, data); err != nil {
		return err
	}
	if err := c.fs.Rename(tmp, path); err != nil {
		return err //nolint:wrapcheck // the callers say what was written
	}
	if err := c.fs.SyncDir(c.dir); err != nil {
		return err //nolint:wrapcheck // the callers say what was written
	}
	c.base, c.fresh = c.head, nil
	return c.clean()
}

// clean removes entries and snapshots that the newest snapshot stands for, and temporary files. Names come
// from List in ascending order, which passed relies on.
func (c *chain) clean() error {
	names, err := c.fs.List(c.dir)
	if err != nil {
		return err //nolint:wrapcheck // the callers say what was trimmed
	}
	for _, name := range names {
		v, isEntry := number(name, ".commit")
		s, isSnapshot := number(name, ".snapshot")
		old := isEntry && v < c.base || isSnapshot && s < c.base || strings.HasSuffix(name, ".tmp")
		if !old {
			continue
		}
		if err := c.fs.Remove(filepath.Join(c.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err //nolint:wrapcheck // the callers say what was trimmed
		}
	}
	return nil
}

// files returns the committed set in the order of commit: base names begin with the entry's number.
func (c *chain) files() []FileInfo {
	list := make([]FileInfo, 0, len(c.live))
	for _, f := range c.live {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b FileInfo) int { return strings.Compare(stagedName(a.Path), stagedName(b.Path)) })
	return list
}

func (c *chain) entryPath(v int64) string {
	return filepath.Join(c.dir, fmt.Sprintf("%016d.commit", v))
}

// read decodes a sealed file and returns the CRC of its text.
func (c *chain) read(path string, into any) (uint32, error) {
	data, err := vfs.ReadFile(c.fs, path)
	if err != nil {
		return 0, err //nolint:wrapcheck // the callers say what was read
	}
	return unseal(path, data, into)
}

// seal writes v as one line of JSON and a second line with the CRC32C of the first.
func seal(v any) ([]byte, uint32, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, 0, fmt.Errorf("encode log entry: %w", err)
	}
	sum := crc32.Checksum(text, castagnoli())
	return fmt.Appendf(text, "\n%08x\n", sum), sum, nil
}

func unseal(path string, data []byte, into any) (uint32, error) {
	text, tail, found := bytes.Cut(data, []byte{'\n'})
	want, err := strconv.ParseUint(strings.TrimSuffix(string(tail), "\n"), 16, 32)
	sum := crc32.Checksum(text, castagnoli())
	if !found || err != nil || len(tail) != 9 || uint32(want) != sum {
		return 0, corrupt(path, "its checksum does not match")
	}
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return 0, corrupt(path, err.Error())
	}
	if head.Format != formatVersion {
		return 0, diag.New(diag.CheckpointUnusable, "%s has layout %d, this version reads layout %d",
			path, head.Format, formatVersion).
			WithHint("use the version of tidemill that wrote it, or a new path")
	}
	if err := json.Unmarshal(text, into); err != nil {
		return 0, corrupt(path, err.Error())
	}
	return sum, nil
}

func corrupt(path, why string) error {
	return diag.New(diag.LogCorrupt, "%s is damaged: %s", path, why).
		WithNote("it had been acknowledged, so this is damage, not a crash; nothing was changed").
		WithHint("restore the folder from a backup, or write to a new path")
}

// number returns the number in a name like 0000000000000042.commit.
func number(name, suffix string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, suffix)
	if !ok || len(digits) != 16 {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n > 0
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func writeSynced(fsys vfs.FS, name string, data []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err //nolint:wrapcheck // the callers say what was written
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// dirSet collects directories to sync once each.
type dirSet struct {
	fs   vfs.FS
	dirs map[string]bool
}

func newDirSet(fsys vfs.FS) *dirSet { return &dirSet{fs: fsys, dirs: map[string]bool{}} }

func (d *dirSet) add(dir string) { d.dirs[dir] = true }

func (d *dirSet) sync() error {
	list := make([]string, 0, len(d.dirs))
	for dir := range d.dirs {
		list = append(list, dir)
	}
	slices.Sort(list)
	for _, dir := range list {
		if err := d.fs.SyncDir(dir); err != nil {
			return err //nolint:wrapcheck // settle does
		}
	}
	clear(d.dirs)
	return nil
}
