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

// residentFiles returns what tells how many bytes of mapped files the process has in memory, or -1 if that is not known.
func residentFiles() func() int64 {
	statm, err := os.Open("/proc/self/statm") // open as long as what is returned is in use
	return func() int64 {
		var text [128]byte // pages in total, resident, and of that of files
		n := 0
		if err == nil {
			n, _ = statm.ReadAt(text[:], 0) // up to its end, which is an error
		}
		fields := bytes.Fields(text[:n])
		if len(fields) < 3 {
			return -1
		}
		pages, err := strconv.ParseInt(string(fields[2]), 10, 64)
		if err != nil {
			return -1
		}
		return pages * int64(os.Getpagesize())
	}
}
