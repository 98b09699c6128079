package vfs

import (
	"io"
	"io/fs"
	"syscall"
)

// edit is one change of a file's bytes: data at offset, or a cut to offset.
type edit struct {
	truncate bool
	offset   int64
	data     []byte
}

func (e edit) apply(b []byte) []byte {
	end := e.offset + int64(len(e.data))
	if e.truncate && end < int64(len(b)) {
		return b[:end]
	}
	if grow := end - int64(len(b)); grow > 0 {
		b = append(b, make([]byte, grow)...)
	}
	copy(b[e.offset:], e.data)
	return b
}

func (n *node) edit(e edit, call int64) {
	n.data = e.apply(n.data)
	n.edits = append(n.edits, e)
	n.changed = call
}

// memFile is an open file of a Mem. What it changes is guarded by the Mem's mu.
type memFile struct {
	fs              *Mem
	node            *node
	name            string
	pos             int64
	writes, appends bool
	closed          bool
}

func (f *memFile) usable(op string) error {
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	if f.node.names != nil {
		return &fs.PathError{Op: op, Path: f.name, Err: syscall.EISDIR}
	}
	return nil
}

func (f *memFile) Read(p []byte) (int, error) {
	defer f.fs.enter()()
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.pos >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[f.pos:])
	f.pos += int64(n)
	return n, nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	defer f.fs.enter()()
	if err := f.usable("read"); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
	}
	n := 0
	if off < int64(len(f.node.data)) {
		n = copy(p, f.node.data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) Write(p []byte) (int, error) {
	defer f.fs.enter()()
	if err := f.usable("write"); err != nil {
		return 0, err
	}
	if !f.writes {
		return 0, &fs.PathError{Op: "write", Path: f.name, Err: syscall.EBADF}
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.appends {
		f.pos = int64(len(f.node.data))
	}
	f.node.edit(edit{offset: f.pos, data: append([]byte(nil), p...)}, f.fs.calls)
	f.pos += int64(len(p))
	return len(p), nil
}

func (f *memFile) Sync() error {
	defer f.fs.enter()()
	if err := f.usable("sync"); err != nil {
		return err
	}
	for _, e := range f.node.edits {
		f.node.synced = e.apply(f.node.synced)
	}
	f.node.edits = nil
	return nil
}

func (f *memFile) Close() error {
	defer f.fs.enter()()
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	return nil
}
