package wal

import (
	"fmt"
	"io/fs"

	"github.com/tidemill/tidemill/internal/vfs"
)

// Report says what a log holds.
type Report struct {
	ID       [16]byte
	Segments []SegmentReport // up to the one that is damaged, if any
	Entries  int
	Bytes    int64 // of whole frames and headers
	Torn     *Torn // tail that the next Open will cut off, or nil
}

// SegmentReport says what one segment holds.
type SegmentReport struct {
	Path    string
	Number  uint64
	First   Position // its first frame
	Last    Position // its last frame; First-1 if it has none
	Entries int
	Bytes   int64
}

// Verify reads all of the log in dir and checks every byte. It changes nothing and needs no lock: beside an
// owner that writes, the last frame may look torn. The error is as Open's; the Report says how far it came.
func Verify(fsys vfs.FS, dir string) (Report, error) {
	found, err := scanDir(fsys, dir, func(Position, Entry) error { return nil })
	if found == nil {
		return Report{}, err
	}
	r := Report{Entries: found.entries, Torn: found.torn}
	for _, s := range found.segments {
		r.ID = s.id
		r.Bytes += s.size
		r.Segments = append(r.Segments, SegmentReport{
			Path: s.path, Number: s.number, First: s.first, Last: s.next - 1, Entries: s.entries, Bytes: s.size,
		})
	}
	if err == nil && len(r.Segments) == 0 {
		err = fmt.Errorf("verify log %q: no segments: %w", dir, fs.ErrNotExist)
	}
	return r, err
}

// Scan hands every entry of the log in dir to fn, in order, up to a torn tail. It changes nothing and needs
// no lock. fn may keep the payload. It returns the first error of fn, or an error as Open's.
func Scan(fsys vfs.FS, dir string, fn func(Position, Entry) error) error {
	found, err := scanDir(fsys, dir, fn)
	if err == nil && len(found.segments) == 0 {
		err = fmt.Errorf("scan log %q: no segments: %w", dir, fs.ErrNotExist)
	}
	return err
}
