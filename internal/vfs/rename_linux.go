package vfs

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"
)

// renameNew is renameat2 with RENAME_NOREPLACE, which plain rename can not be made to do without a race.
func renameNew(oldname, newname string) error {
	var err error
	for {
		err = unix.Renameat2(unix.AT_FDCWD, oldname, unix.AT_FDCWD, newname, unix.RENAME_NOREPLACE)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) { // an old kernel or a file system without it
		return linkNew(oldname, newname)
	}
	if err != nil {
		return &fs.PathError{Op: "rename", Path: newname, Err: err}
	}
	return nil
}
