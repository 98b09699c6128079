package state

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// manifest is a version: everything that is needed to make the tables again.
type manifest struct {
	Batch    int64        `json:"batch"`
	Previous int64        `json:"previous"` // the version before this one when it was written; -1 for none
	Tables   []tableEntry `json:"tables"`   // by name
}

type tableEntry struct {
	Name    string   `json:"name"`
	Columns []string `json:"columns"`
	Keys    []string `json:"keys,omitempty"`
	Parts   []part   `json:"parts"` // the base, then deltas in order
}

type part struct {
	File    string `json:"file"`
	Base    bool   `json:"base,omitempty"`
	Bytes   int64  `json:"bytes"`
	CRC     uint32 `json:"crc"` // of the trailer, which seals every block
	Rows    int64  `json:"rows"`
	Deleted int64  `json:"deleted,omitempty"`
}

const (
	manifestSuffix = ".json"
	partSuffix     = ".arrow"
	batchDigits    = 20
)

func manifestName(batch int64) string {
	return fmt.Sprintf("%0*d%s", batchDigits, batch, manifestSuffix)
}

func partName(batch int64, i int) string {
	return fmt.Sprintf("%0*d-%05d%s", batchDigits, batch, i, partSuffix)
}

// manifestBatch returns the batch of a manifest's name.
func manifestBatch(name string) (int64, bool) {
	digits, ok := strings.CutSuffix(name, manifestSuffix)
	if !ok || len(digits) != batchDigits {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	return n, err == nil && n >= 0
}

// ours reports whether a name is one that Write could have left behind. Nothing else is ever removed.
func ours(name string) bool {
	if stem, ok := strings.CutSuffix(name, tmpSuffix); ok {
		_, ok := manifestBatch(stem)
		return ok
	}
	batch, rest, ok := strings.Cut(name, "-")
	if !ok || !strings.HasSuffix(rest, partSuffix) {
		return false
	}
	_, ok = manifestBatch(batch + manifestSuffix)
	return ok
}

// readManifests returns every version in dir, oldest first. Nothing on disk is changed.
func readManifests(fsys vfs.FS, dir string) ([]*manifest, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	var all []*manifest
	for _, name := range names {
		batch, ok := manifestBatch(name)
		if !ok {
			continue
		}
		m, err := readManifest(fsys, filepath.Join(dir, name), batch)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func readManifest(fsys vfs.FS, path string, batch int64) (*manifest, error) {
	m := &manifest{}
	err := ReadSealed(fsys, path, m)
	switch {
	case errors.Is(err, ErrNewer):
		return nil, diag.New(diag.CheckpointUnusable, "%s was written by a newer Tidemill: %v", path, err).
			WithHint("run the version that wrote it, or a later one")
	case errors.Is(err, ErrSeal):
		return nil, corrupt(path, 0, "%v", err)
	case err != nil:
		return nil, fmt.Errorf("read manifest: %w", err)
	case m.Batch != batch:
		return nil, corrupt(path, 0, "the manifest says batch %d", m.Batch)
	}
	return m, m.check(path)
}

// check refuses a manifest that no Write makes, so that nothing after it need ask again.
func (m *manifest) check(path string) error {
	for i, t := range m.Tables {
		if i > 0 && m.Tables[i-1].Name >= t.Name {
			return corrupt(path, 0, "the manifest names table %q out of order", t.Name)
		}
		if len(t.Parts) == 0 || !t.Parts[0].Base {
			return corrupt(path, 0, "the manifest names no base file for table %q", t.Name)
		}
		for j, p := range t.Parts {
			if p.File != filepath.Base(p.File) || !ours(p.File) || p.Base != (j == 0) {
				return corrupt(path, 0, "the manifest names a file %q for table %q", p.File, t.Name)
			}
		}
	}
	return nil
}

func (m *manifest) find(table string) (int, bool) {
	return slices.BinarySearchFunc(m.Tables, table, func(t tableEntry, name string) int {
		return strings.Compare(t.Name, name)
	})
}

// addFiles puts the names of all part files into set.
func (m *manifest) addFiles(set map[string]bool) {
	for _, t := range m.Tables {
		for _, p := range t.Parts {
			set[p.File] = true
		}
	}
}

// clone copies what a change may touch. Parts are clipped, so that appending to them copies.
func (m *manifest) clone() *manifest {
	c := &manifest{Batch: m.Batch, Previous: m.Previous, Tables: slices.Clone(m.Tables)}
	for i := range c.Tables {
		c.Tables[i].Parts = slices.Clip(c.Tables[i].Parts)
	}
	return c
}

// apply lays one change over the tables. p is the file it was written to; a Dropped change has none.
func (m *manifest) apply(c Change, p part) {
	i, ok := m.find(c.Table)
	switch {
	case c.Dropped && ok:
		m.Tables = slices.Delete(m.Tables, i, i+1)
	case c.Dropped:
	case c.Base && ok:
		m.Tables[i] = newEntry(c, p)
	case c.Base:
		m.Tables = slices.Insert(m.Tables, i, newEntry(c, p))
	default:
		m.Tables[i].Parts = append(m.Tables[i].Parts, p)
	}
}

func newEntry(c Change, p part) tableEntry {
	return tableEntry{Name: c.Table, Columns: slices.Clone(c.Columns), Keys: slices.Clone(c.Keys), Parts: []part{p}}
}
