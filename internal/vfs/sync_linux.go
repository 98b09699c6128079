package vfs

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// syncData is fdatasync: it leaves out the times of the file, which nobody needs after a crash, and with them
// one write to the journal of the file system.
func syncData(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var synced error
	err = conn.Control(func(fd uintptr) {
		for {
			if synced = unix.Fdatasync(int(fd)); !errors.Is(synced, unix.EINTR) {
				return
			}
		}
	})
	if err != nil {
		return fs.ErrClosed // The only reason for Control not to run.
	}
	return synced
}
