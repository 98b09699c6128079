package vfs

import (
	"errors"
	"io/fs"
	"math"
	"strings"
	"sync"
)

// ErrCrashed is what every call after StopAfter's limit fails with.
var ErrCrashed = errors.New("the machine has stopped")

// Rule says which calls of a Fault fail.
type Rule struct {
	Op   Op     // kind of call; "" is any
	Path string // part of the path, or of either path of a rename or link; "" is any
	Nth  int    // which of the calls that match, from 1; 0 is all of them
	Err  error  // what it fails with, such as syscall.ENOSPC or syscall.EIO
	// Short is how many bytes a write that fails still writes.
	Short int
}

// Fault is a file system whose calls fail as its rules say. A call that fails does nothing below, but that a
// failed write may write its first bytes, and that a failed Close closes. Safe for concurrent use if the one
// below is.
type Fault struct {
	hooked
	mu       sync.Mutex
	rules    []*rule
	limit    int64
	calls    int64
	injected int64
}

type rule struct {
	Rule
	seen int
}

var _ FS = (*Fault)(nil)

// NewFault returns a file system over below with rules.
func NewFault(below FS, rules ...Rule) *Fault {
	f := &Fault{limit: math.MaxInt64}
	f.hooked = hooked{below: below, around: f.around}
	for _, r := range rules {
		f.Inject(r)
	}
	return f
}

// Inject adds a rule. Its count of calls begins now.
func (f *Fault) Inject(r Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{Rule: r})
}

// StopAfter lets n calls from the first one on succeed and fails every later one with ErrCrashed. All calls
// count, of files too, reading or writing.
func (f *Fault) StopAfter(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.limit = n
}

// Calls returns how many calls there were, those that failed included.
func (f *Fault) Calls() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Injected returns how many calls failed by a rule or by StopAfter.
func (f *Fault) Injected() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.injected
}

func (f *Fault) around(c *call, do func() error) error {
	short, err := f.decide(c)
	if err == nil {
		return do()
	}
	err = &fs.PathError{Op: string(c.op), Path: c.path, Err: err}
	switch {
	case c.op == OpWrite && short > 0:
		c.data = c.data[:min(short, len(c.data))]
		return errors.Join(err, do())
	case c.op == OpClose:
		return errors.Join(err, do())
	}
	return err
}

func (f *Fault) decide(c *call) (short int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.calls > f.limit {
		f.injected++
		return 0, ErrCrashed
	}
	for _, r := range f.rules {
		if !r.matches(c) {
			continue
		}
		if r.seen++; r.Nth != 0 && r.Nth != r.seen {
			continue
		}
		if err == nil {
			f.injected++
			short, err = r.Short, r.Err
		}
	}
	return short, err
}

func (r *rule) matches(c *call) bool {
	if r.Op != "" && r.Op != c.op {
		return false
	}
	return strings.Contains(c.path, r.Path) || c.to != "" && strings.Contains(c.to, r.Path)
}
