package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	lockName     = "LOCK"
	lockTriesMax = 10
	lockBytesMax = 4096
)

// A LockedError says that somebody else holds a directory. What is not known of the holder is empty: it may
// have taken the lock and not yet written who it is.
type LockedError struct {
	Path string // of the lock file
	PID  string
	Host string
	Info string
}

func (e *LockedError) Error() string {
	holder := "another process"
	if e.PID != "" {
		holder = "process " + e.PID
	}
	if e.Host != "" {
		holder += " on host " + e.Host
	}
	return fmt.Sprintf("%s is locked by %s", e.Path, holder)
}

// A DirLock is a directory held by this process until Close or the process ends, however it ends.
type DirLock struct {
	file *os.File
	path string
}

var _ io.Closer = (*DirLock)(nil)

// Lock takes the directory dir, which must exist, for this process by flock on dir/LOCK and writes process
// id, host and info, one line, into that file. If it is held, by another process or by another Lock of this
// one, the error is a *LockedError. The file is never removed: whoever removed it would let a second owner
// in. Not for network file systems, where flock may not reach other machines. The Closer is a *DirLock.
func Lock(dir, info string) (io.Closer, error) {
	path := filepath.Join(dir, lockName)
	for range lockTriesMax {
		l, err := tryLock(path)
		if err != nil {
			return nil, err
		}
		if err := l.Check(); err != nil {
			// The file was replaced between open and flock: we hold a lock that nobody else will ever look
			// at.
			if err := l.Close(); err != nil {
				return nil, fmt.Errorf("lock %q: %w", path, err)
			}
			continue
		}
		if err := l.describe(info); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %q: %w", path, err), l.Close())
		}
		return l, nil
	}
	return nil, fmt.Errorf("lock %q: the file is replaced again and again", path)
}

// Held reports who holds dir by Lock, or nil if nobody does. It neither takes the lock nor writes. To find out it
// shares the lock for an instant, in which a Lock that is just being tried fails.
func Held(dir string) (*LockedError, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nobody has ever locked it
	}
	if err != nil {
		return nil, fmt.Errorf("look at lock %q: %w", path, err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return holder(path, f), f.Close()
	}
	if err != nil {
		err = fmt.Errorf("look at lock %q: %w", path, err)
	}
	return nil, errors.Join(err, f.Close())
}

func tryLock(path string) (*DirLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %q: %w", path, err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errors.Join(holder(path, f), f.Close())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %q: %w", path, err), f.Close())
	}
	return &DirLock{file: f, path: path}, nil
}

// holder reads who holds the lock. It may read a line that is being written; then it knows less.
func holder(path string, f *os.File) *LockedError {
	e := &LockedError{Path: path}
	text, err := io.ReadAll(io.LimitReader(f, lockBytesMax))
	if err != nil {
		return e
	}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch key {
		case "pid":
			e.PID = value
		case "host":
			e.Host = value
		case "info":
			e.Info = value
		}
	}
	return e
}

func (l *DirLock) describe(info string) error {
	host, err := os.Hostname()
	if err != nil {
		host = "" // The lock holds without a name.
	}
	info = strings.NewReplacer("\n", " ", "\r", " ").Replace(info)
	text := fmt.Sprintf("pid=%d\nhost=%s\ninfo=%s\n", os.Getpid(), host, info)
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err = l.file.WriteAt([]byte(text), 0)
	return err
}

// Check returns an error if the lock file has been removed or replaced since Lock, so that somebody else may
// own the directory by now.
func (l *DirLock) Check() error {
	mine, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("check lock %q: %w", l.path, err)
	}
	there, err := os.Stat(l.path)
	if err != nil {
		return fmt.Errorf("check lock %q: %w", l.path, err)
	}
	if !os.SameFile(mine, there) {
		return &fs.PathError{Op: "check lock", Path: l.path, Err: errors.New("the file was replaced")}
	}
	return nil
}

// Close gives the directory back. Closing a nil or closed lock does nothing.
func (l *DirLock) Close() error {
	if l == nil || l.file == nil {
		return nil
	}
	// Closing is not enough: a child that is being started shares the open file until its exec.
	err := errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
	l.file = nil
	return err
}
