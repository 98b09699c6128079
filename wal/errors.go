package wal

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/tidemill/tidemill/internal/diag"
)

// A CorruptError says where a log is damaged. It comes inside a *diag.Error with code LOG_CORRUPT.
type CorruptError struct {
	Path   string // of the segment
	Offset int64  // of the frame or header that is damaged
	Err    error  // what is wrong with it
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("%s: %v at byte %d", e.Path, e.Err, e.Offset)
}

// Unwrap returns what is wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

func corrupt(path string, offset int64, err error) error {
	c := &CorruptError{Path: path, Offset: offset, Err: err}
	e := diag.New(diag.LogCorrupt, "%s", c.Error()).
		WithNote("this had been acknowledged or was changed later, so it is damage and not a crash").
		WithNote("nothing was changed").
		WithHint("look with: tidemill checkpoint verify; then restore the folder from a copy, " +
			"or begin anew in another one")
	e.Err = c
	return e
}

// failed describes an error of the disk, with a code if the user can mend it.
func failed(what, path string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return diag.Wrap(diag.DiskFull, err, "%s %q", what, path).
			WithNote("what was acknowledged is safe").
			WithHint("free some space and start again")
	}
	return fmt.Errorf("%s %q: %w", what, path, err)
}
