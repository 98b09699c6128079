package engine

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// pacer is a source that always has more, on a machine where a batch of n messages takes fixed + n·each.
type pacer struct {
	pace        pace
	in          *input
	fixed, each time.Duration
}

// run runs batches of all that the pace admits, or of has if that is less, and returns what the last took and held.
func (p *pacer) run(batches int, has int64) (took time.Duration, n int64) {
	for range batches {
		n = p.pace.bound(p.in, p.in.limit).Rows
		if has > 0 {
			n = min(n, has)
		}
		took = p.fixed + time.Duration(n)*p.each
		p.pace.note(took, []*input{p.in}, func(*input) int64 { return n })
	}
	return took, n
}

func TestPaceComesToTheTarget(t *testing.T) {
	p := &pacer{pace: newPace(100 * time.Millisecond), in: &input{limit: stream.Limit{Rows: 100_000}},
		fixed: 2 * time.Millisecond, each: 10 * time.Microsecond}
	_, first := p.run(1, 0)
	require.EqualValues(t, firstRoom, first)
	took, n := p.run(12, 0)
	require.InDelta(t, 50*time.Millisecond, took, float64(2*time.Millisecond), "%d messages", n)

	p.each *= 10 // rows get dearer
	_, _ = p.run(1, 0)
	took, _ = p.run(12, 0)
	require.InDelta(t, 50*time.Millisecond, took, float64(2*time.Millisecond))

	p.each /= 1000 // and so cheap that the source's own limit holds
	_, n = p.run(20, 0)
	require.EqualValues(t, 100_000, n)
}

func TestPaceGrowsOnlyWithWhatItSees(t *testing.T) {
	p := &pacer{pace: newPace(time.Second), in: &input{}, fixed: time.Millisecond, each: time.Microsecond}
	_, _ = p.run(50, 10) // a quiet stream, tiny batches: nothing is learnt about large ones
	require.EqualValues(t, firstRoom, p.in.room)
	_, n := p.run(30, 0)
	require.InDelta(t, 499_000, n, 5_000)
}

func TestPaceDoesNotShrinkForNothing(t *testing.T) {
	p := &pacer{pace: newPace(10 * time.Millisecond), in: &input{}, fixed: 50 * time.Millisecond, each: 100 * time.Microsecond}
	took, n := p.run(200, 0)
	require.Less(t, took, 120*time.Millisecond)
	require.Greater(t, n, int64(300), "half of each batch is work on rows")
}

func TestNoPaceWithoutATarget(t *testing.T) {
	p := newPace(0)
	in := &input{limit: stream.Limit{Rows: 7, Bytes: 8}}
	p.note(time.Hour, []*input{in}, func(*input) int64 { return 7 })
	require.Equal(t, in.limit, p.bound(in, in.limit))
}

func TestPaceBearsNoise(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	p := &pacer{pace: newPace(100 * time.Millisecond), in: &input{}, each: 10 * time.Microsecond}
	var sum time.Duration
	for i := range 1000 {
		p.fixed = 2*time.Millisecond + time.Duration(noise.Int64N(int64(20*time.Millisecond)))
		took, _ := p.run(1, 0)
		require.Less(t, took, 100*time.Millisecond, "batch %d", i)
		sum += took
	}
	require.InDelta(t, 50*time.Millisecond, sum/1000, float64(10*time.Millisecond))
}
