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
	return reserveBy(f, size, func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
}

// reserveBy writes zeros where there is no such call, or where signals, such as those of a profiler, do not let it end: a
// tmpfs takes back what it has done and begins anew.
func reserveBy(f *os.File, size int64, allocate func() error) error {
	const tries = 3
	err := allocate()
	for n := 1; n < tries && errors.Is(err, unix.EINTR); n++ {
		err = allocate()
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINTR) {
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
