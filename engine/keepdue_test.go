package engine

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// TestKeepDue asks when a state version is due: by time, by bytes, and by what a recovery would have to do again, but never so often
// that batches wait for state versions more than a twentieth of what they work.
func TestKeepDue(t *testing.T) {
	t.Parallel()
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		options stream.Options
		since   time.Duration
		s       snapshots
		due     bool
	}{
		{name: "nothing yet"},
		{name: "almost", since: 9 * time.Second, s: snapshots{bytes: 64<<20 - 1, work: 1999 * time.Millisecond}},
		{name: "time", since: 10 * time.Second, due: true},
		{name: "bytes", s: snapshots{bytes: 64 << 20}, due: true},
		{name: "work", s: snapshots{work: 2 * time.Second}, due: true},
		{name: "work as asked for", options: stream.Options{"checkpoint_work": time.Second},
			s: snapshots{work: time.Second}, due: true},
		{name: "batches waited for the last one", s: snapshots{work: 9 * time.Second, held: 500 * time.Millisecond}},
		{name: "and have worked enough since", s: snapshots{work: 10 * time.Second, held: 500 * time.Millisecond}, due: true},
	} {
		c.s.last = began
		q := &Query{life: life{opt: Options{Clock: clock.NewManual(began.Add(c.since))},
			def: &planner.Query{Options: c.options}, snapshot: c.s}}
		require.Equal(t, c.due, q.keepDue(), c.name)
	}
}
