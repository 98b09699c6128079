package main

import (
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/tidemill/tidemill/internal/diag"
)

// checked is standard output that remembers its first write error, so that main can say that what a command printed
// did not arrive, whatever the command makes of the error. Later writes are tried again: a disk may get room.
type checked struct {
	w io.Writer

	mu  sync.Mutex
	err error // guarded by mu: the first one
}

func (c *checked) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	if err != nil {
		c.mu.Lock()
		if c.err == nil {
			c.err = err
		}
		c.mu.Unlock()
	}
	return n, err //nolint:wrapcheck // the callers say what they wrote
}

// Fd is that of the file below, for the width of a terminal. It is no open file if there is none.
func (c *checked) Fd() uintptr {
	if f, ok := c.w.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// size is that of the terminal, or a usual one.
func (e *env) size() (columns, rows int) {
	if f, ok := e.stdout.(interface{ Fd() uintptr }); ok && e.tty {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return 100, 40
}

// screen is what standard output is written through while a table may stand at its end.
func (e *env) screen() *screen {
	if e.shared == nil {
		e.shared = &screen{out: e.stdout, size: e.size}
	}
	return e.shared
}

// fault joins what a command failed with and what standard output did. A reader that has gone away (`| head`) has
// seen what it wanted: that is no message, only an exit code.
func (c *checked) fault(err error) error {
	c.mu.Lock()
	lost := c.err
	c.mu.Unlock()
	if lost == nil {
		return err
	}
	alone := err == nil || causedBy(err, lost)
	if errors.Is(lost, syscall.EPIPE) {
		if alone {
			return exitError{diag.ExitFailed}
		}
		return err
	}
	full := diag.Wrap(diag.OutputFailed, lost, "not all of the output could be written").
		WithHint("make room where it goes, or send it elsewhere")
	var exit exitError
	switch coded := diag.All(err); {
	case alone:
		return full
	case coded != nil:
		return slices.Concat(coded, diag.List{full})
	case errors.As(err, &exit):
		return errors.Join(err, full)
	}
	return full.WithNote("and: %s", err)
}

// causedBy reports whether a command ended because of that write error, or another one of its kind.
func causedBy(err, lost error) bool {
	var number syscall.Errno
	return diag.CodeOf(err) == "" && (errors.Is(err, lost) || errors.As(lost, &number) && errors.Is(err, number))
}
