package spill

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps n bytes of a file that has its blocks on disk and no name. It is gone when it is unmapped.
func mapFile(dir string, n int, reserve func(*os.File, int64) error) (_ []byte, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory: %w", err)
	}
	f, err := os.CreateTemp(dir, "keyed-")
	if err != nil {
		return nil, fmt.Errorf("make a file: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }() // the mapping holds on to it
	if err := os.Remove(f.Name()); err != nil {
		return nil, fmt.Errorf("take away the file's name: %w", err)
	}
	if err := reserve(f, int64(n)); err != nil {
		return nil, fmt.Errorf("reserve %d MiB in %s: %w", n>>20, dir, err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map a file: %w", err)
	}
	// Searches touch pages here and there. Without this the kernel brings in, and maps, hundreds of kilobytes around each.
	_ = unix.Madvise(mem, unix.MADV_RANDOM) // it is advice
	return mem, nil
}

// writeZeros reserves blocks where the file system has no call for it.
func writeZeros(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return fmt.Errorf("write zeros: %w", err)
		}
	}
	return nil
}
