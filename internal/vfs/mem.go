package vfs

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what a crash would leave of it: data written before the last Sync
// of a file and names made before the last SyncDir of a directory are durable, all else is not. Crash gives
// what a restart would find. Times of files count calls, so that runs repeat. Relative paths start at the
// root, which always exists.
type Mem struct {
	mu    sync.Mutex
	root  *node
	names []*nameOp // since the oldest one that is not durable
	calls int64
}

var _ FS = (*Mem)(nil)

// node is a file or, if names is not nil, a directory. It is guarded by the Mem's mu.
type node struct {
	names   map[string]*node // as programs see it
	kept    map[string]*node // as it was before Mem.names
	data    []byte           // as programs see it
	synced  []byte           // as of the last Sync
	edits   []edit           // of data since the last Sync
	changed int64            // call that changed it last
}

// nameOp is one atomic change of names: one edit, or two for a rename.
type nameOp struct{ edits []nameEdit }

type nameEdit struct {
	dir    *node
	name   string
	to     *node // nil removes the name
	synced bool
}

func (op *nameOp) durable() bool {
	return !slices.ContainsFunc(op.edits, func(e nameEdit) bool { return !e.synced })
}

// NewMem returns an empty file system.
func NewMem() *Mem { return &Mem{root: newDir()} }

func newDir() *node {
	return &node{names: map[string]*node{}, kept: map[string]*node{}}
}

// Calls returns how many calls the file system and its files have seen.
func (m *Mem) Calls() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// enter locks m and counts the call; use as defer m.enter()().
func (m *Mem) enter() func() {
	m.mu.Lock()
	m.calls++
	return m.mu.Unlock
}

func split(name string) []string {
	name = filepath.Clean(string(filepath.Separator) + name)
	return strings.FieldsFunc(name, func(r rune) bool { return r == filepath.Separator })
}

func (m *Mem) find(op, name string) (*node, error) {
	n := m.root
	for _, part := range split(name) {
		if n.names == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
		}
		if n = n.names[part]; n == nil {
			return nil, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

// parent returns the directory of name and the name in it.
func (m *Mem) parent(op, name string) (*node, string, error) {
	parts := split(name)
	if len(parts) == 0 {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	n, err := m.find(op, filepath.Join(parts[:len(parts)-1]...))
	if err != nil {
		return nil, "", err
	}
	if n.names == nil {
		return nil, "", &fs.PathError{Op: op, Path: name, Err: syscall.ENOTDIR}
	}
	return n, parts[len(parts)-1], nil
}

func (m *Mem) change(edits ...nameEdit) {
	for _, e := range edits {
		e.dir.changed = m.calls
		if e.to == nil {
			delete(e.dir.names, e.name)
		} else {
			e.dir.names[e.name] = e.to
		}
	}
	m.names = append(m.names, &nameOp{edits})
}

// settle moves the oldest changes of names that are durable out of the list. A durable change behind one that
// is not has to wait, or it would be overtaken.
func (m *Mem) settle() {
	for len(m.names) > 0 && m.names[0].durable() {
		for _, e := range m.names[0].edits {
			applyName(e.dir.kept, e)
		}
		m.names = m.names[1:]
	}
}

func applyName(names map[string]*node, e nameEdit) {
	if e.to == nil {
		delete(names, e.name)
		return
	}
	names[e.name] = e.to
}

// Create makes a file for writing, or empties the one that is there. The file may be read as well.
func (m *Mem) Create(name string) (File, error) {
	defer m.enter()()
	dir, base, err := m.parent("create", name)
	if err != nil {
		return nil, err
	}
	n := dir.names[base]
	if n != nil && n.names != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.EISDIR}
	}
	if n == nil {
		n = &node{changed: m.calls}
		m.change(nameEdit{dir: dir, name: base, to: n})
	} else {
		n.edit(edit{truncate: true}, m.calls)
	}
	return &memFile{fs: m, node: n, name: name, writes: true}, nil
}

// Append opens a file for writing at its end. It must exist. The file may be read as well.
func (m *Mem) Append(name string) (File, error) {
	defer m.enter()()
	n, err := m.find("append", name)
	if err != nil {
		return nil, err
	}
	if n.names != nil {
		return nil, &fs.PathError{Op: "append", Path: name, Err: syscall.EISDIR}
	}
	return &memFile{fs: m, node: n, name: name, writes: true, appends: true}, nil
}

// Open opens a file for reading.
func (m *Mem) Open(name string) (File, error) {
	defer m.enter()()
	n, err := m.find("open", name)
	if err != nil {
		return nil, err
	}
	return &memFile{fs: m, node: n, name: name}, nil
}

// Rename moves a file over newname. It is durable after SyncDir of both directories.
func (m *Mem) Rename(oldname, newname string) error {
	defer m.enter()()
	return m.rename(oldname, newname, false)
}

// RenameNew moves a file to newname, or fails with fs.ErrExist if that is there.
func (m *Mem) RenameNew(oldname, newname string) error {
	defer m.enter()()
	return m.rename(oldname, newname, true)
}

func (m *Mem) rename(oldname, newname string, exclusive bool) error {
	from, oldbase, err := m.parent("rename", oldname)
	if err != nil {
		return err
	}
	to, newbase, err := m.parent("rename", newname)
	if err != nil {
		return err
	}
	n := from.names[oldbase]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: oldname, Err: fs.ErrNotExist}
	}
	if exclusive && to.names[newbase] != nil {
		return &fs.PathError{Op: "rename", Path: newname, Err: fs.ErrExist}
	}
	if err := replaceable(n, to.names[newbase]); err != nil {
		return &fs.PathError{Op: "rename", Path: newname, Err: err}
	}
	if from == to && oldbase == newbase {
		return nil
	}
	m.change(nameEdit{dir: to, name: newbase, to: n}, nameEdit{dir: from, name: oldbase})
	return nil
}

func replaceable(n, there *node) error {
	switch {
	case there == nil || there == n:
		return nil
	case n.names == nil && there.names != nil:
		return fs.ErrExist
	case n.names != nil && there.names == nil:
		return syscall.ENOTDIR
	case len(there.names) > 0:
		return fs.ErrExist
	}
	return nil
}

// Link gives a file a second name. It is durable after SyncDir of newname's directory.
func (m *Mem) Link(oldname, newname string) error {
	defer m.enter()()
	n, err := m.find("link", oldname)
	if err != nil {
		return err
	}
	if n.names != nil {
		return &fs.PathError{Op: "link", Path: oldname, Err: syscall.EPERM}
	}
	to, newbase, err := m.parent("link", newname)
	if err != nil {
		return err
	}
	if to.names[newbase] != nil {
		return &fs.PathError{Op: "link", Path: newname, Err: fs.ErrExist}
	}
	m.change(nameEdit{dir: to, name: newbase, to: n})
	return nil
}

// Remove deletes a file or an empty directory. It is durable after SyncDir of its directory.
func (m *Mem) Remove(name string) error {
	defer m.enter()()
	dir, base, err := m.parent("remove", name)
	if err != nil {
		return err
	}
	n := dir.names[base]
	if n == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if len(n.names) > 0 {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	m.change(nameEdit{dir: dir, name: base})
	return nil
}

// Truncate cuts a file to size bytes, or adds zero bytes up to size. It is durable after a Sync of the file.
func (m *Mem) Truncate(name string, size int64) error {
	defer m.enter()()
	n, err := m.find("truncate", name)
	if err != nil {
		return err
	}
	if n.names != nil {
		return &fs.PathError{Op: "truncate", Path: name, Err: syscall.EISDIR}
	}
	if size < 0 {
		return &fs.PathError{Op: "truncate", Path: name, Err: fs.ErrInvalid}
	}
	n.edit(edit{truncate: true, offset: size}, m.calls)
	return nil
}

// MkdirAll makes a directory and its parents; their names are durable at once.
func (m *Mem) MkdirAll(dir string) error {
	defer m.enter()()
	n := m.root
	for _, part := range split(dir) {
		child := n.names[part]
		if child == nil {
			child = newDir()
			child.changed = m.calls
			m.change(nameEdit{dir: n, name: part, to: child})
		}
		if child.names == nil {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
		}
		m.syncName(n, part)
		n = child
	}
	m.settle()
	return nil
}

// syncName makes one name of a directory durable.
func (m *Mem) syncName(dir *node, name string) {
	for _, op := range m.names {
		for i, e := range op.edits {
			op.edits[i].synced = e.synced || e.dir == dir && e.name == name
		}
	}
}

// List returns the names in a directory in ascending order.
func (m *Mem) List(dir string) ([]string, error) {
	defer m.enter()()
	n, err := m.find("list", dir)
	if err != nil {
		return nil, err
	}
	if n.names == nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: syscall.ENOTDIR}
	}
	return slices.Sorted(maps.Keys(n.names)), nil
}

// Stat describes a file or directory.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	defer m.enter()()
	n, err := m.find("stat", name)
	if err != nil {
		return nil, err
	}
	return memInfo{
		name: filepath.Base(filepath.Clean(name)), size: int64(len(n.data)),
		dir: n.names != nil, changed: time.Unix(n.changed, 0).UTC(),
	}, nil
}

// SyncDir makes the names in dir durable.
func (m *Mem) SyncDir(dir string) error {
	defer m.enter()()
	n, err := m.find("sync", dir)
	if err != nil {
		return err
	}
	if n.names == nil {
		return &fs.PathError{Op: "sync", Path: dir, Err: syscall.ENOTDIR}
	}
	for _, op := range m.names {
		for i, e := range op.edits {
			op.edits[i].synced = e.synced || e.dir == n
		}
	}
	m.settle()
	return nil
}

type memInfo struct {
	name    string
	size    int64
	dir     bool
	changed time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.changed }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}
