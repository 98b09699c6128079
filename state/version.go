package state

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/vfs"
)

// Version is a handle on one version. It stays good until a Prune removes the version. The zero Version has
// no tables.
type Version struct {
	fs  vfs.FS
	dir string
	m   *manifest
}

// Table describes one table of a version.
type Table struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Keys    []string `json:"keys,omitempty"`
	Files   []string `json:"files"` // the base, then deltas in order
	Rows    int64    `json:"rows"`  // put in all files, so replaced rows count again
	Deleted int64    `json:"deleted"`
	Bytes   int64    `json:"bytes"`
}

// Batch returns the batch after which the tables were as this version has them, or -1 for the zero Version.
func (v Version) Batch() int64 {
	if v.m == nil {
		return -1
	}
	return v.m.Batch
}

// Tables describes the tables, by name.
func (v Version) Tables() []Table {
	if v.m == nil {
		return nil
	}
	out := make([]Table, len(v.m.Tables))
	for i, t := range v.m.Tables {
		out[i] = Table{Name: t.Name, Columns: slices.Clone(t.Columns), Keys: slices.Clone(t.Keys)}
		for _, p := range t.Parts {
			out[i].Files = append(out[i].Files, p.File)
			out[i].Rows += p.Rows
			out[i].Deleted += p.Deleted
			out[i].Bytes += p.Bytes
		}
	}
	return out
}

// Load gives the content of every table to fn, table by table: a Base change, then deltas in order, of which a large
// file may become several. fn borrows the records, and the next ones are read meanwhile. Every checksum is compared
// before the first call, so that damage (STATE_CORRUPT, with the file and the byte) is found before anything has been
// changed. A nil mem is the default allocator.
func (v Version) Load(ctx context.Context, mem memory.Allocator, fn func(Change) error) error {
	if err := v.verify(ctx); err != nil {
		return err
	}
	if v.m == nil {
		return nil
	}
	if mem == nil {
		mem = memory.DefaultAllocator
	}
	for _, t := range v.m.Tables {
		for _, p := range t.Parts {
			if err := v.loadPart(ctx, mem, partOf{t, p}, fn); err != nil {
				return fmt.Errorf("load state of table %q after batch %d: %w", t.Name, v.m.Batch, err)
			}
		}
	}
	return nil
}

// Check reads every file of the version and compares all checksums. If the files have more than bytesMax bytes, it
// only looks whether each is there and as long as it should be. It is for commands that look at a directory whose owner
// may be running, and may then find files gone that were there when List looked.
func (v Version) Check(ctx context.Context, bytesMax int64) error {
	var bytes int64
	for _, t := range v.Tables() {
		bytes += t.Bytes
	}
	if v.m != nil && bytes > bytesMax {
		return statParts(v.fs, v.dir, v.m)
	}
	return v.verify(ctx)
}

// verify reads every file whole.
func (v Version) verify(ctx context.Context) error {
	if v.m == nil {
		return nil
	}
	for _, t := range v.m.Tables {
		for _, p := range t.Parts {
			if err := v.verifyPart(ctx, p); err != nil {
				return fmt.Errorf("check state of table %q after batch %d: %w", t.Name, v.m.Batch, err)
			}
		}
	}
	return nil
}

func (v Version) verifyPart(ctx context.Context, p part) (err error) {
	path := filepath.Join(v.dir, p.File)
	if err := statPart(v.fs, path, p); err != nil {
		return err
	}
	f, err := v.fs.Open(path)
	if err != nil {
		return fmt.Errorf("open state file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	t, err := checkPart(ctx, f, path, p.Bytes)
	if err != nil {
		return err
	}
	if t.crc != p.CRC || p.Base != (t.flags&flagBase != 0) {
		return corrupt(path, p.Bytes-trailerBytes, "this is not the file that the manifest names")
	}
	return nil
}

type partOf struct {
	tableEntry
	part
}

func (v Version) loadPart(ctx context.Context, mem memory.Allocator, p partOf, fn func(Change) error) (err error) {
	path := filepath.Join(v.dir, p.File)
	f, err := v.fs.Open(path)
	if err != nil {
		return fmt.Errorf("open state file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	end := make([]byte, trailerBytes)
	if err := readAt(f, end, path, p.Bytes-trailerBytes); err != nil {
		return err
	}
	t, err := decodeTrailer(end, p.Bytes)
	if err != nil {
		return corrupt(path, p.Bytes-trailerBytes, "%s", err)
	}
	change := Change{Table: p.Name, Columns: p.Columns, Keys: p.Keys, Base: p.Base}
	puts := func(records []arrow.Record) error {
		c := change
		c.Records = records
		change.Base, change.More = false, p.Base // what follows is laid over the first group
		return call(ctx, fn, c)
	}
	if p.Base && t.put == 0 {
		if err := puts(nil); err != nil {
			return err
		}
	}
	if err := loadStream(path, stream{f, 0, t.put, p.Rows}, mem, puts); err != nil {
		return err
	}
	return loadStream(path, stream{f, t.put, t.deleted, p.Deleted}, mem, func(records []arrow.Record) error {
		c := change
		c.Deleted = records
		return call(ctx, fn, c)
	})
}

func call(ctx context.Context, fn func(Change) error, c Change) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fn(c)
}

type stream struct {
	file       vfs.File
	from, size int64
	rows       int64 // as the manifest says
}

func loadStream(path string, s stream, mem memory.Allocator, fn func([]arrow.Record) error) error {
	if s.size == 0 {
		return nil
	}
	rows, err := readStreamAhead(section(s.file, s.from, s.size), mem, fn)
	var called *callError
	switch {
	case errors.As(err, &called):
		return called.err
	case err != nil:
		return corrupt(path, s.from, "%v", err)
	case rows != s.rows:
		return corrupt(path, s.from, "the file has %d rows here and should have %d", rows, s.rows)
	}
	return nil
}

// List returns handles on the versions in dir, oldest first, without changing anything: for commands that
// look at a directory whose owner may be running.
func List(fsys vfs.FS, dir string) ([]Version, error) {
	manifests, err := readManifests(fsys, dir)
	if err != nil {
		return nil, err
	}
	out := make([]Version, len(manifests))
	for i, m := range manifests {
		out[i] = Version{fs: fsys, dir: dir, m: m}
	}
	return out, nil
}

// Verify reads every file of every version in dir and compares all checksums, without changing anything. It
// returns how many versions there are and the first damage of each one that has any, joined.
func Verify(ctx context.Context, fsys vfs.FS, dir string) (int, error) {
	versions, err := List(fsys, dir)
	if err != nil {
		return 0, err
	}
	var faults []error
	for _, v := range versions {
		faults = append(faults, v.verify(ctx))
	}
	return len(versions), errors.Join(faults...)
}
