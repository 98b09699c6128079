package vfs

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
)

// Logged is a file system that writes down every call, for tests that hold the order of calls fixed. Safe for
// concurrent use if the one below is.
type Logged struct {
	hooked
	mu    sync.Mutex
	root  string
	lines []line
}

type line struct {
	text    string
	changes bool // or makes durable
}

var _ FS = (*Logged)(nil)

// NewLogged returns a file system over below. Paths are written as seen from root.
func NewLogged(below FS, root string) *Logged {
	l := &Logged{root: root}
	l.hooked = hooked{below: below, around: l.around}
	return l
}

// Lines returns a line per call since the last Reset, such as "write log/a 64". A call that failed ends in
// its error.
func (l *Logged) Lines() []string { return l.pick(func(line) bool { return true }) }

// Changes returns those Lines that change something or make it durable.
func (l *Logged) Changes() []string { return l.pick(func(n line) bool { return n.changes }) }

// Reset forgets all lines.
func (l *Logged) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}

func (l *Logged) pick(want func(line) bool) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var texts []string
	for _, n := range l.lines {
		if want(n) {
			texts = append(texts, n.text)
		}
	}
	return texts
}

func (l *Logged) around(c *call, do func() error) error {
	text := fmt.Sprintf("%s %s", c.op, l.relative(c.path))
	switch c.op { //nolint:exhaustive // the others have a path and nothing more
	case OpRename, OpLink:
		text += " " + l.relative(c.to)
	case OpTruncate:
		text += fmt.Sprintf(" %d", c.size)
	case OpWrite:
		text += fmt.Sprintf(" %d", len(c.data))
	}
	err := do()
	if err != nil {
		text += " = " + err.Error()
	}
	reads := []Op{OpAppend, OpOpen, OpList, OpStat, OpRead, OpClose}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line{text, !slices.Contains(reads, c.op)})
	return err
}

func (l *Logged) relative(path string) string {
	if rel, err := filepath.Rel(l.root, path); err == nil {
		return rel
	}
	return path
}
