package benchmarks

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestArrivals lets rows of few users come out in changes that hold one or several, some of them told again, and asks
// that each row counts once, from when it was to be sent.
func TestArrivals(t *testing.T) {
	t.Parallel()
	p := &pacer{maker: maker{seed: 4, perSecond: 1000, users: 3}, rate: 1000, pack: 1, total: 600, began: time.Unix(1000, 0)}
	const first, every, stored, got = 100, 50, 7 * time.Millisecond, 9 * time.Millisecond
	a := newArrivals(p, first)
	counts := make([]int64, 3)
	for batch := int64(0); batch < p.total; batch += every {
		for n := batch; n < batch+every; n++ {
			counts[p.maker.user(n)]++
		}
		at := p.due(batch + every - 1)
		for user, n := range counts {
			line := fmt.Appendf(nil, `{"user_id":"user-%d","n":%d,"amount":1.50}`+"\n", firstUser+user, n)
			require.NoError(t, a.change(line, at.Add(stored), at.Add(got)))
			require.NoError(t, a.change(line, at.Add(time.Hour), at.Add(time.Hour)), "nothing new")
		}
	}
	require.Equal(t, p.total, a.seen)
	require.NoError(t, a.await(t.Context()))
	var l Latency
	a.fill(&l)
	require.Equal(t, p.total-first, l.Samples)
	require.InDelta(t, 7+24, l.Stored.P50, 0.1, "of 50 rows, due 0 to 49 ms before their batch")
	require.InDelta(t, 9+24, l.Seen.P50, 0.1)
	require.InDelta(t, 7+49, l.Stored.Max, 0.1)
	require.InDelta(t, l.Stored.P50, l.Curve[3], 0.2)
	for _, line := range []string{`{"user_id":"user-10003","n":1}`, `{"user_id":"user-10000","n":601}`, `{"n":1}`} {
		require.ErrorContains(t, a.change([]byte(line), p.began, p.began), "never sent")
	}
}
