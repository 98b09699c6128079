package planner

import (
	"fmt"

	"github.com/tidemill/tidemill/internal/duck"
)

const epoch = "TIMESTAMP '1970-01-01 00:00:00'"

// grid is where windows of a fixed length begin.
type grid struct {
	col    string // SQL of the time column, a TIMESTAMP
	step   string // SQL of the interval from one beginning to the next
	micros int64  // its length
	origin string // SQL of one beginning
	offset *int64 // its microseconds since 1970; nil if it is NULL or infinite
}

func newGrid(ts, step string, micros int64) grid {
	return grid{col: duck.QuoteIdent(ts), step: step, micros: micros, origin: epoch, offset: new(int64)}
}

// bounds writes the start and the end of a window of a size: of the latest that holds the time, or of one so many steps
// before it, as SQL says. What the function of internal/duck can not do is left to time_bucket.
func (g grid) bounds(size string, micros int64, earlier string) string {
	var start, end string
	if g.offset != nil {
		first := g.first()
		moves := []string{"0", fmt.Sprint(micros)}
		if earlier != "" {
			moves = []string{fmt.Sprintf("%s * -%d", earlier, g.micros), fmt.Sprintf("%d - %s * %d", micros, earlier, g.micros)}
		}
		start, end = duck.WindowSQL(g.col, g.micros, first, moves[0]), duck.WindowSQL(g.col, g.micros, first, moves[1])
	} else {
		start, end = fmt.Sprintf("time_bucket(%s, %s, %s)", g.step, g.col, g.origin), "window_start + "+size
		if earlier != "" {
			start += fmt.Sprintf(" - to_microseconds(%s * %d)", earlier, g.micros)
		}
	}
	return fmt.Sprintf("%s AS window_start, %s AS window_end", start, end)
}

// first is the first beginning since 1970.
func (g grid) first() int64 {
	first := *g.offset % g.micros
	if first < 0 {
		first += g.micros
	}
	return first
}
