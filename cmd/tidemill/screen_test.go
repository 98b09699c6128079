package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// glass is as much of a terminal as a screen needs. Like most terminals it breaks long lines, and breaks them anew when
// its width changes.
type glass struct {
	columns, rows int
	lines         []string // what was written, line by line; the cursor stands behind the last
}

func (g *glass) size() (int, int) { return g.columns, g.rows }

func (g *glass) Write(p []byte) (int, error) {
	if len(g.lines) == 0 {
		g.lines = []string{""}
	}
	for rest := string(p); rest != ""; {
		last := len(g.lines) - 1
		var up int
		switch {
		case strings.HasPrefix(rest, "\r"):
			rest = rest[1:]
		case strings.HasPrefix(rest, "\n"):
			g.lines, rest = append(g.lines, ""), rest[1:]
		case strings.HasPrefix(rest, "\x1b["):
			if n, err := fmt.Sscanf(rest, "\x1b[%dA\x1b[J", &up); n != 1 || err != nil {
				return 0, fmt.Errorf("the screen says %q", rest)
			}
			rest = rest[strings.Index(rest, "J")+1:]
			g.up(up)
		default:
			g.lines[last] += string([]rune(rest)[0])
			rest = rest[len(string([]rune(rest)[0])):]
		}
	}
	return len(p), nil
}

// up moves the cursor up by rows as they are seen and clears what is below, but never beyond the top of the glass.
func (g *glass) up(n int) {
	seen := g.seen()
	n = min(n, g.rows-1, len(seen)-1)
	g.lines = append(seen[:len(seen)-1-n:len(seen)-1-n], "")
}

func (g *glass) seen() []string {
	var seen []string
	for _, line := range g.lines {
		runes := []rune(line)
		for len(runes) > g.columns {
			seen, runes = append(seen, string(runes[:g.columns])), runes[g.columns:]
		}
		seen = append(seen, string(runes))
	}
	return seen
}

func TestScreenKeepsWhatIsPrintedAboveTheTable(t *testing.T) {
	t.Parallel()
	g := &glass{columns: 40, rows: 10}
	s := &screen{out: g, size: g.size}
	fmt.Fprintln(s, "ok")
	var want []string
	for i := range 30 {
		s.draw([]string{"QUERY", fmt.Sprintf("q %d", i)})
		fmt.Fprintf(s, "row %d\nand its second line\n", i)
		want = append(want, fmt.Sprintf("row %d", i), "and its second line")
		_, err := s.above(g, []byte("log\n"))
		require.NoError(t, err)
		want = append(want, "log")
	}
	s.leave()
	fmt.Fprintln(s, "end")
	want = append(append([]string{"ok"}, want...), "QUERY", "q 29", "end", "")
	require.Equal(t, want, g.seen())
}

func TestScreenWaitsForTheEndOfALine(t *testing.T) {
	t.Parallel()
	g := &glass{columns: 40, rows: 10}
	s := &screen{out: g, size: g.size}
	s.draw([]string{"table"})
	fmt.Fprint(s, "half ")
	s.draw([]string{"table 2"})
	fmt.Fprint(s, "a line\n")
	require.Equal(t, []string{"half a line", "table 2", ""}, g.seen())
}

func TestScreenFollowsTheWidth(t *testing.T) {
	t.Parallel()
	g := &glass{columns: 60, rows: 12}
	s := &screen{out: g, size: g.size}
	table := []string{strings.Repeat("h", 70), strings.Repeat("v", 50), "x"}
	for _, columns := range []int{60, 31, 17, 8, 60, 40} {
		g.columns = columns
		s.draw(table)
		fmt.Fprintln(s, "r")
	}
	require.Equal(t, []string{"r", "r", "r", "r", "r", "r",
		strings.Repeat("h", 39), strings.Repeat("v", 39), "x", ""}, g.seen())
}

func TestScreenCutsATableThatIsTooHigh(t *testing.T) {
	t.Parallel()
	g := &glass{columns: 20, rows: 4}
	s := &screen{out: g, size: g.size}
	for range 3 {
		s.draw([]string{"head", "a", "b", "c"})
		fmt.Fprintln(s, "r")
	}
	require.Equal(t, []string{"r", "r", "r", "head", "a", "… 2 more", ""}, g.seen())
}
