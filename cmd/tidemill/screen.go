package main

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"
)

// screen is the one writer of a terminal on which a table lives below what else is printed: rows of console sinks and
// lines of the log take the table away, are printed, and the table is drawn again behind them, all in one step. Without
// a table it hands through what is written, one caller at a time.
type screen struct {
	out  io.Writer
	size func() (columns, rows int)

	mu    sync.Mutex // guards what follows, and the order of what is printed
	table []string   // the lines of the table; nil when there is none
	drawn []int      // how long the lines of it are that stand on the screen now
	open  bool       // what was printed last ends within a line: the table waits for its end
}

// Write prints above the table what goes to standard output.
func (s *screen) Write(p []byte) (int, error) { return s.above(s.out, p) }

// above prints p to w, which may be another stream of the same terminal.
func (s *screen) above(w io.Writer, p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	s.erase()
	n, err := w.Write(p)
	s.open = p[len(p)-1] != '\n'
	s.show()
	return n, err //nolint:wrapcheck // the callers say what they wrote
}

// draw puts the lines of a table in the place of the table before.
func (s *screen) draw(lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	s.table = lines
	s.show()
}

// leave lets the table stand as it is, as text like any other.
func (s *screen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table, s.drawn = nil, nil
}

// erase takes the table off the screen. A terminal that has become narrower has broken its lines into several, so they
// are counted by the width of now. The caller holds mu.
func (s *screen) erase() {
	if len(s.drawn) == 0 {
		return
	}
	columns, _ := s.size()
	up := 0
	for _, n := range s.drawn {
		up += max(1, (n+columns-1)/columns)
	}
	s.drawn = nil
	fmt.Fprintf(s.out, "\r\x1b[%dA\x1b[J", up)
}

// show draws the table where the cursor is, cut to what fits: what is wider or higher than the terminal could not be
// taken off again. The caller holds mu.
func (s *screen) show() {
	if s.open || len(s.table) == 0 {
		return
	}
	columns, rows := s.size()
	lines := s.table
	if most := max(2, rows-1); len(lines) > most {
		lines = append(lines[:most-1:most-1], fmt.Sprintf("… %d more", len(lines)-most+1))
	}
	var b bytes.Buffer
	for _, line := range lines {
		if runes := []rune(line); len(runes) >= columns {
			line = string(runes[:max(1, columns-1)])
		}
		b.WriteString(line + "\n")
		s.drawn = append(s.drawn, utf8.RuneCountInString(line))
	}
	_, _ = s.out.Write(b.Bytes()) // standard output is gone
}
