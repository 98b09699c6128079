package spill

import (
	"bytes"
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// dropsZero says that anonymous memory reads as zero after MADV_DONTNEED.
const dropsZero = true

// reserve gives a file its blocks on disk.
func reserve(f *os.File, size int64) error {
	err := unix.Fallocate(int(f.Fd()), 0, 0, size)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return writeZeros(f, size)
	}
	return err //nolint:wrapcheck // mapFile says what it did
}

// residentFiles returns how many bytes of mapped files the process has in memory, or -1 if that is not known.
func residentFiles() int64 {
	fd, err := unix.Open("/proc/self/statm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	var text [128]byte // total, resident, and of that pages of files
	n, err := unix.Read(fd, text[:])
	_ = unix.Close(fd)
	fields := bytes.Fields(text[:max(0, n)])
	if err != nil || len(fields) < 3 {
		return -1
	}
	pages, err := strconv.ParseInt(string(fields[2]), 10, 64)
	if err != nil {
		return -1
	}
	return pages * int64(os.Getpagesize())
}
