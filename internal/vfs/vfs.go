// Package vfs is the seam between the engine and the disk. Every byte that must be found again after a crash
// goes through an FS, so that a test can stop the machine after any call and look at what a restart would
// find.
//
// Durability follows POSIX as ext4 and XFS keep it: file data is durable after File.Sync, a created, renamed
// or removed name after SyncDir of its directory. A failed Sync is final: the caller stops and never syncs
// again.
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Paths use the operating system's separator. Errors are *fs.PathError or wrap one, so
// that errors.Is with fs.ErrNotExist and fs.ErrExist works. All methods may be called concurrently.
type FS interface {
	// Create makes a file for writing, or empties the one that is there.
	Create(name string) (File, error)
	// Append opens a file for writing at its end. It must exist.
	Append(name string) (File, error)
	// Open opens a file for reading.
	Open(name string) (File, error)
	// Rename moves a file over newname, which is replaced if it is there. Durable after SyncDir of both
	// directories.
	Rename(oldname, newname string) error
	// RenameNew moves a file like Rename, but fails with fs.ErrExist if newname is there. Of several callers,
	// in whatever process, one wins.
	RenameNew(oldname, newname string) error
	// Link gives a file a second name, under which its bytes stay when the first name is removed or replaced;
	// what is written through either is seen through both. A symbolic link is followed. It fails with
	// fs.ErrExist if newname is there, and where the file system has no such links or they can not reach
	// newname's directory. Durable after SyncDir of newname's directory; it makes no data durable.
	Link(oldname, newname string) error
	// Remove deletes a file or an empty directory.
	Remove(name string) error
	// Truncate cuts a file to size bytes; durable after a Sync of it.
	Truncate(name string, size int64) error
	// MkdirAll makes a directory and its parents with mode 0700 and makes their names durable.
	MkdirAll(dir string) error
	// List returns the names in a directory in ascending order.
	List(dir string) ([]string, error)
	// Stat describes a file or directory.
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
}

// File is an open file. It may be used by one goroutine at a time, except ReadAt.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	// Sync makes the data written so far durable (fdatasync).
	Sync() error
}
