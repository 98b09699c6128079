package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// OS is the machine's file system. New files have mode 0600 and new directories 0700, unless Shared made it. The zero
// value is ready.
type OS struct{ shared bool }

var _ FS = OS{}

// Shared returns fsys for what others are to read: on the machine's own file system, new files have mode 0666 and new
// directories 0777, both less the process's umask. Any other file system is returned as it is.
func Shared(fsys FS) FS {
	if _, ok := fsys.(OS); ok {
		return OS{shared: true}
	}
	return fsys
}

// Create makes a file for writing, or empties the one that is there. The file may be read as well.
func (o OS) Create(name string) (File, error) {
	mode := fs.FileMode(0o600)
	if o.shared {
		mode = 0o666
	}
	return openOS(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, mode)
}

// Append opens a file for writing at its end. It must exist. The file may be read as well.
func (OS) Append(name string) (File, error) {
	return openOS(name, os.O_RDWR|os.O_APPEND, 0)
}

// Open opens a file for reading.
func (OS) Open(name string) (File, error) { return openOS(name, os.O_RDONLY, 0) }

// Rename moves a file over newname. It is durable after SyncDir of both directories.
func (OS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }

// RenameNew moves a file to newname, or fails with fs.ErrExist if that is there. It is durable after SyncDir
// of both directories.
func (OS) RenameNew(oldname, newname string) error { return renameNew(oldname, newname) }

// Link gives a file a second name. It is durable after SyncDir of newname's directory.
func (OS) Link(oldname, newname string) error {
	target, err := filepath.EvalSymlinks(oldname) // a link to the symbolic link would not keep the bytes
	if err != nil {
		return err
	}
	return os.Link(target, newname)
}

// Remove deletes a file or an empty directory. It is durable after SyncDir of its directory.
func (OS) Remove(name string) error { return os.Remove(name) }

// Truncate cuts a file to size bytes. It is durable after a Sync of the file.
func (OS) Truncate(name string, size int64) error { return os.Truncate(name, size) }

// MkdirAll makes a directory and its parents. On return the names it made are durable, and so
// is the one name that a crash in the middle of an earlier call may have left in memory only.
func (o OS) MkdirAll(dir string) error {
	dir = filepath.Clean(dir)
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: fs.ErrExist}
	}
	parent := filepath.Dir(dir)
	if err == nil {
		// Names are made from the top down and each is synced before the next, so of the names that are there
		// only this one can be volatile. A parent we may not read was not made by us.
		if err := o.SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := o.MkdirAll(parent); err != nil {
		return err
	}
	mode := fs.FileMode(0o700)
	if o.shared {
		mode = 0o777
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return o.SyncDir(parent)
}

// List returns the names in a directory in ascending order.
func (OS) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// Stat describes a file or directory.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir makes the names in dir durable.
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func openOS(name string, flag int, mode fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, mode)
	if err != nil {
		return nil, err
	}
	return &osFile{f}, nil
}

type osFile struct{ *os.File }

func (f *osFile) Sync() error {
	if err := syncData(f.File); err != nil {
		return &fs.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
	}
	return nil
}
