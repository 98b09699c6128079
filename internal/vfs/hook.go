package vfs

import "io/fs"

// Op names a kind of call.
type Op string

// The kinds of calls. The last four are those of a File.
const (
	OpCreate   Op = "create"
	OpAppend   Op = "append"
	OpOpen     Op = "open"
	OpRename   Op = "rename"
	OpLink     Op = "link"
	OpRemove   Op = "remove"
	OpTruncate Op = "truncate"
	OpMkdirAll Op = "mkdirall"
	OpList     Op = "list"
	OpStat     Op = "stat"
	OpSyncDir  Op = "syncdir"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpClose    Op = "close"
)

// call is one call on its way to the file system below.
type call struct {
	op   Op
	path string
	to   string // new name of a rename or link
	size int64  // of a truncate
	data []byte // of a write; do writes what is here then
}

// hooked passes every call of a file system and its files through around, which decides whether to do it.
type hooked struct {
	below  FS
	around func(c *call, do func() error) error
}

func (h *hooked) open(op Op, name string, open func(string) (File, error)) (File, error) {
	var f File
	err := h.around(&call{op: op, path: name}, func() (err error) {
		f, err = open(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &hookedFile{below: f, path: name, around: h.around}, nil
}

// Create implements FS.
func (h *hooked) Create(name string) (File, error) { return h.open(OpCreate, name, h.below.Create) }

// Append implements FS.
func (h *hooked) Append(name string) (File, error) { return h.open(OpAppend, name, h.below.Append) }

// Open implements FS.
func (h *hooked) Open(name string) (File, error) { return h.open(OpOpen, name, h.below.Open) }

// Rename implements FS.
func (h *hooked) Rename(oldname, newname string) error {
	return h.around(&call{op: OpRename, path: oldname, to: newname}, func() error {
		return h.below.Rename(oldname, newname)
	})
}

// RenameNew implements FS.
func (h *hooked) RenameNew(oldname, newname string) error {
	return h.around(&call{op: OpRename, path: oldname, to: newname}, func() error {
		return h.below.RenameNew(oldname, newname)
	})
}

// Link implements FS.
func (h *hooked) Link(oldname, newname string) error {
	return h.around(&call{op: OpLink, path: oldname, to: newname}, func() error {
		return h.below.Link(oldname, newname)
	})
}

// Remove implements FS.
func (h *hooked) Remove(name string) error {
	return h.around(&call{op: OpRemove, path: name}, func() error { return h.below.Remove(name) })
}

// Truncate implements FS.
func (h *hooked) Truncate(name string, size int64) error {
	return h.around(&call{op: OpTruncate, path: name, size: size}, func() error {
		return h.below.Truncate(name, size)
	})
}

// MkdirAll implements FS.
func (h *hooked) MkdirAll(dir string) error {
	return h.around(&call{op: OpMkdirAll, path: dir}, func() error { return h.below.MkdirAll(dir) })
}

// List implements FS.
func (h *hooked) List(dir string) (names []string, err error) {
	err = h.around(&call{op: OpList, path: dir}, func() (err error) {
		names, err = h.below.List(dir)
		return err
	})
	return names, err
}

// Stat implements FS.
func (h *hooked) Stat(name string) (info fs.FileInfo, err error) {
	err = h.around(&call{op: OpStat, path: name}, func() (err error) {
		info, err = h.below.Stat(name)
		return err
	})
	return info, err
}

// SyncDir implements FS.
func (h *hooked) SyncDir(dir string) error {
	return h.around(&call{op: OpSyncDir, path: dir}, func() error { return h.below.SyncDir(dir) })
}

type hookedFile struct {
	below  File
	path   string
	around func(c *call, do func() error) error
}

func (f *hookedFile) Read(p []byte) (n int, err error) {
	err = f.around(&call{op: OpRead, path: f.path}, func() (err error) {
		n, err = f.below.Read(p)
		return err
	})
	return n, err
}

func (f *hookedFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.around(&call{op: OpRead, path: f.path}, func() (err error) {
		n, err = f.below.ReadAt(p, off)
		return err
	})
	return n, err
}

func (f *hookedFile) Write(p []byte) (n int, err error) {
	c := &call{op: OpWrite, path: f.path, data: p}
	err = f.around(c, func() (err error) {
		n, err = f.below.Write(c.data)
		return err
	})
	return n, err
}

func (f *hookedFile) Sync() error {
	return f.around(&call{op: OpSync, path: f.path}, f.below.Sync)
}

func (f *hookedFile) Close() error {
	return f.around(&call{op: OpClose, path: f.path}, f.below.Close)
}
