package exec

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// A left row waits for the watermark and takes the last of the latest right rows; of right rows that are past, one per
// key stays.
func TestAsofJoinKeepsOnePastRowPerKey(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT a.ts, b.v FROM src a ASOF JOIN more b ON a.k = b.k AND a.ts >= b.ts")
	require.NoError(t, err)
	require.Len(t, p.Warnings, 1)
	r := f.replay(p)
	r.step(map[string][]row{"src": {{k: "a", ts: 22}}, "more": {{k: "a", v: 1, ts: 10}, {k: "a", v: 2, ts: 20},
		{k: "a", v: 3, ts: 20}, {k: "a", v: 4, ts: 5}}}, false)
	require.Empty(t, r.rows)
	require.Equal(t, int64(5), r.out.State.Rows)
	r.step(map[string][]row{"src": {{k: "a", ts: 50}}, "more": {{k: "a", v: 5, ts: 50}}}, false) // watermark 10
	require.Empty(t, r.rows)
	require.Equal(t, int64(6), r.out.State.Rows) // without the one at 5
	require.Equal(t, int64(1), r.out.State.Removed)
	r.step(nil, false) // watermark 40
	require.Equal(t, []string{"22|3"}, r.rows)
	require.Equal(t, int64(3), r.out.State.Rows) // left 50, right 20 and 50
	require.Equal(t, int64(3), r.out.State.Removed)
	r.step(map[string][]row{"src": {{k: "a", ts: 41}}, "more": {{k: "a", v: 6, ts: 41}, {k: "a", v: 7, ts: 40}}}, false)
	require.Equal(t, []int64{1}, r.out.Late["more"])
	r.step(nil, true)
	require.Equal(t, []string{"22|3", "50|5", "41|6"}, r.rows) // as the left rows came
	require.Equal(t, int64(1), r.out.State.Rows)
}

// Windows in the key free all of it.
func TestAsofJoinByWindowFreesAllRows(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT a.ts, b.ts AS bts FROM tumble(src, ts, INTERVAL '5 seconds') a ASOF JOIN "+
		"tumble(more, ts, INTERVAL '5 seconds') b ON a.window_start = b.window_start AND a.ts >= b.ts")
	require.NoError(t, err)
	require.Empty(t, p.Warnings)
	r := f.replay(p)
	r.step(map[string][]row{"src": at(12, 14, 50), "more": at(11, 13, 9, 50)}, false)
	r.step(nil, false)
	require.Equal(t, []string{"12|11", "14|13"}, sorted(r.rows))
	require.Equal(t, int64(2), r.out.State.Rows)
	r.step(nil, true)
	require.Equal(t, []string{"12|11", "14|13", "50|50"}, sorted(r.rows))
	require.Zero(t, r.out.State.Rows)
}
