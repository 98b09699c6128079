package state

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// Copies keeps immutable copies of reference tables, each named by a hash of its rows. A batch that runs
// again reads the copy that its Intent names. Methods may be called concurrently.
type Copies struct {
	fs  vfs.FS
	dir string

	mu    sync.Mutex
	fresh map[string]string // guarded by mu: the copy of each table that was put or got last, never pruned
	held  map[string]string // guarded by mu: likewise
}

// OpenCopies makes dir if need be and removes what an interrupted Put left behind.
func OpenCopies(fsys vfs.FS, dir string) (*Copies, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make directory of table copies: %w", err)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, partSuffix+tmpSuffix) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("remove leftover: %w", err)
		}
	}
	return &Copies{fs: fsys, dir: dir, fresh: map[string]string{}}, nil
}

// Put makes a copy of a table durable and returns its hash. The same rows in the same records give the same
// hash, and are not written twice. schema is needed because a table may have no rows. The records are
// borrowed.
func (c *Copies) Put(
	ctx context.Context, table string, schema *arrow.Schema, records []arrow.Record,
) (string, error) {
	if err := checkTableName(table); err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(records) == 0 {
		build := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		defer build.Release()
		empty := build.NewRecord()
		defer empty.Release()
		records = []arrow.Record{empty}
	}
	sum := sha256.New()
	tmp := filepath.Join(c.dir, escape(table)+partSuffix+tmpSuffix)
	if _, _, err := writePart(ctx, c.fs, tmp, partContent{base: true, rows: given{Change{Records: records}}, also: sum}); err != nil {
		_ = c.fs.Remove(tmp) // the next OpenCopies does it if this can not
		return "", onDisk(err, "copy table %q", table)
	}
	hash := hex.EncodeToString(sum.Sum(nil))
	if err := c.fs.Rename(tmp, c.path(table, hash)); err != nil {
		return "", fmt.Errorf("name copy of table %q: %w", table, err)
	}
	if err := c.fs.SyncDir(c.dir); err != nil {
		return "", fmt.Errorf("sync directory of table copies: %w", err)
	}
	c.fresh[table] = hash
	return hash, nil
}

// Copy is the content of one copy. The schema is there even without rows.
type Copy struct {
	Schema  *arrow.Schema
	Records []arrow.Record
}

// Release frees the records. It may be called on nil.
func (c *Copy) Release() {
	if c == nil {
		return
	}
	for _, r := range c.Records {
		r.Release()
	}
}

// Get reads a copy, which the caller releases. One that is gone or damaged is STATE_CORRUPT.
func (c *Copies) Get(ctx context.Context, table, hash string) (*Copy, error) {
	records, err := c.get(ctx, memory.DefaultAllocator, table, hash)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh[table] = hash
	return &Copy{Schema: records[0].Schema(), Records: records}, nil
}

func (c *Copies) get(
	ctx context.Context, mem memory.Allocator, table, hash string,
) (records []arrow.Record, err error) {
	path := c.path(table, hash)
	f, t, err := openCopy(ctx, c.fs, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	in := io.TeeReader(section(f, 0, t.put), sum)
	_, err = readStream(in, mem, func(group []arrow.Record) error {
		for _, r := range group {
			r.Retain()
			records = append(records, r)
		}
		return nil
	})
	if err == nil {
		_, err = io.Copy(io.Discard, in) // what Arrow does not read is hashed, too
	}
	var disk *callError // the function above never fails
	switch {
	case errors.As(err, &disk):
		err = fmt.Errorf("read table copy %s: %w", path, disk.err)
	case err != nil:
		err = corrupt(path, 0, "%v", err)
	case len(records) == 0 || hex.EncodeToString(sum.Sum(nil)) != hash:
		err = corrupt(path, 0, "the rows are not the ones that the file is named by")
	}
	if err != nil {
		Change{Records: records}.Release()
		return nil, err
	}
	return records, nil
}

func openCopy(ctx context.Context, fsys vfs.FS, path string) (vfs.File, trailer, error) {
	info, err := fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, trailer{}, corrupt(path, 0, "the copy of a reference table is gone, but a batch needs it")
	}
	if err != nil {
		return nil, trailer{}, fmt.Errorf("stat table copy: %w", err)
	}
	f, err := fsys.Open(path)
	if err != nil {
		return nil, trailer{}, fmt.Errorf("open table copy: %w", err)
	}
	t, err := checkPart(ctx, f, path, info.Size())
	if err == nil && (t.put == 0 || t.deleted != 0) {
		err = corrupt(path, info.Size()-trailerBytes, "the file is not the copy of a table")
	}
	if err != nil {
		return nil, trailer{}, errors.Join(err, f.Close())
	}
	return f, t, nil
}

// Hold keeps a copy of each table from being pruned, in the place of those that were held before.
func (c *Copies) Hold(versions map[string]string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = maps.Clone(versions)
}

// Prune removes the copies that needed does not report, except the one of each table that was put or got last, and
// those that are held.
func (c *Copies) Prune(needed func(table, hash string) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	names, err := c.fs.List(c.dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", c.dir, err)
	}
	for _, name := range names {
		table, hash, ok := copyName(name)
		if !ok || c.fresh[table] == hash || c.held[table] == hash || needed(table, hash) {
			continue
		}
		if err := c.fs.Remove(filepath.Join(c.dir, name)); err != nil {
			return fmt.Errorf("remove table copy: %w", err)
		}
	}
	return nil
}

// VerifyCopies compares the checksums of every copy in dir, without changing anything, and returns how many
// there are and what is damaged, joined.
func VerifyCopies(ctx context.Context, fsys vfs.FS, dir string) (int, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("list %s: %w", dir, err)
	}
	n, c := 0, &Copies{fs: fsys, dir: dir, fresh: map[string]string{}}
	var faults []error
	for _, name := range names {
		table, hash, ok := copyName(name)
		if !ok {
			continue
		}
		n++
		records, err := c.get(ctx, memory.DefaultAllocator, table, hash)
		Change{Records: records}.Release()
		faults = append(faults, err)
	}
	return n, errors.Join(faults...)
}

func (c *Copies) path(table, hash string) string {
	return filepath.Join(c.dir, escape(table)+"-"+hash+partSuffix)
}

// copyName takes the name of a copy apart.
func copyName(name string) (table, hash string, ok bool) {
	stem, ok := strings.CutSuffix(name, partSuffix)
	i := strings.LastIndexByte(stem, '-')
	if !ok || i < 0 || len(stem)-i-1 != 2*sha256.Size {
		return "", "", false
	}
	table, ok = unescape(stem[:i])
	return table, stem[i+1:], ok
}

// escape makes a file name of a table's name: letters, digits and _ stay, any other byte becomes %XX.
func escape(table string) string {
	var b strings.Builder
	for i := range len(table) {
		ch := table[i]
		switch {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', ch == '_':
			b.WriteByte(ch)
		default:
			fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	return b.String()
}

func unescape(name string) (string, bool) {
	var b []byte
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b = append(b, name[i])
			continue
		}
		if i+2 >= len(name) {
			return "", false
		}
		ch, err := hex.DecodeString(name[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b = append(b, ch...)
		i += 2
	}
	return string(b), true
}

// checkTableName refuses a name that no file system takes as part of a file name.
func checkTableName(table string) error {
	if n := len(escape(table)); table == "" || n > 150 {
		return diag.New(diag.BadName,
			"reference table name %q can not name a file: it has %d bytes, 1 to 150 are possible",
			table, n)
	}
	return nil
}
