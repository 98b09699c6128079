package exec

import (
	"context"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

func (r *replay) count(t *testing.T, table string) int64 {
	t.Helper()
	rows, err := r.s.conn.Rows(t.Context(), "SELECT count(*) FROM "+table)
	require.NoError(t, err)
	n, ok := rows[0][0].(int64)
	require.True(t, ok)
	return n
}

const sessionsByKey = "SELECT k, window_start, window_end, count(*) AS n " +
	"FROM session(src, ts, k, INTERVAL '10 seconds') GROUP BY k, window_start, window_end"

// A row that touches a session that has been emitted is late, though the end of its own span is not.
func TestRowThatTouchesAClosedSessionIsLate(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, sessionsByKey)
	require.NoError(t, err)
	r := f.replay(p)
	in := func(rows ...row) { r.step(map[string][]row{"src": rows}, false) }
	in(row{"a", 1, 0.5, 10}, row{"a", 2, 0.5, 18}, row{nil, 3, 0.5, 15}, row{nil, 3, 0.5, 25})
	require.Equal(t, StateCounts{Rows: 2, Updated: 2}, r.out.State)
	in(row{"b", 3, 0.5, 39}) // watermark 29 from the next batch on
	require.Empty(t, r.rows)
	r.step(nil, false)
	require.Equal(t, []string{"a|10|28|2"}, r.rows)
	require.Equal(t, int64(1), r.count(t, "__done1"))
	// 27 and 28 touch [10, 28]; 29 does not, nor does 20 of another key, which merges with the open session.
	in(row{"a", 4, 0.5, 27}, row{"a", 5, 0.5, 28}, row{"a", 6, 0.5, 29}, row{nil, 7, 0.5, 20})
	require.Equal(t, []int64{0, 1}, r.out.Late["src"])
	require.Equal(t, int64(2), r.out.State.Dropped)
	in(row{"b", 8, 0.5, 70}) // watermark 60
	in(row{"a", 9, 0.5, 17}) // late by its own end
	require.Equal(t, []int64{0}, r.out.Late["src"])
	r.step(nil, false)
	require.Equal(t, []string{"a|10|28|2", "a|29|39|1", "b|39|49|1", "NULL|15|35|3"}, r.rows)
	require.Equal(t, int64(1), r.out.State.Rows)
	require.Zero(t, r.count(t, "__done1"))
	require.Equal(t, int64(1), r.count(t, "__rows1"))
}

// A row in between joins two sessions, also across batches and a restart.
func TestSessionsMergeAcrossBatches(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, sessionsByKey)
	require.NoError(t, err)
	r := f.replay(p)
	r.step(map[string][]row{"src": at(100, 115)}, false)
	require.Equal(t, int64(2), r.out.State.Rows)
	var changes []func(context.Context, *Session) error
	r.snapshot(&changes)
	r.restart(&changes)
	r.step(map[string][]row{"src": at(110)}, false)
	require.Equal(t, int64(1), r.out.State.Rows)
	r.step(nil, true)
	require.Equal(t, []string{"k|100|125|3"}, r.rows)
	require.Zero(t, r.count(t, "__rows1")+r.count(t, "__sessions1")+r.count(t, "__done1"))
}

func TestDedupHorizonForgetsKeys(t *testing.T) {
	f := newFixture(t)
	p, err := f.planWith(stream.Append, "SELECT DISTINCT ON (k) k, v FROM src",
		stream.Options{"dedup_horizon": 5 * time.Second})
	require.NoError(t, err)
	require.Len(t, p.NotComparable(), 1)
	require.Empty(t, p.Warnings)
	r := f.replay(p)
	in := func(rows ...row) { r.step(map[string][]row{"src": rows}, false) }
	in(row{"a", 1, 0.5, 10}, row{"a", 2, 0.5, 11}, row{"n", 3, 0.5, nil})
	require.Equal(t, int64(1), r.out.Sources["src"].NullTime)
	in(row{"b", 4, 0.5, 24}) // watermark 14 from the next batch on
	in(row{"a", 5, 0.5, 16}) // the key of 10 lives until 15
	require.Equal(t, []string{"a|1", "b|4"}, r.rows)
	in(row{"b", 6, 0.5, 25}) // watermark 15
	in(row{"b", 7, 0.5, 25})
	require.Equal(t, StateCounts{Rows: 1, Removed: 1}, r.out.State)
	in(row{"a", 8, 0.5, 15}, row{"a", 9, 0.5, 16}) // 15 is late, 16 is not and passes again
	require.Equal(t, []string{"a|1", "b|4", "a|9"}, r.rows)
	require.Equal(t, []int64{0}, r.out.Late["src"])
}

func TestDistinctWithoutTimeWarns(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Update, "SELECT DISTINCT k, v FROM src")
	require.NoError(t, err)
	require.Contains(t, p.Warnings[0], "about 28 bytes each")
	require.False(t, p.UsesWatermark())
	require.Empty(t, p.NotComparable())
}

func TestLimitStopsCounting(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT v FROM src LIMIT 2 OFFSET 1")
	require.NoError(t, err)
	r := f.replay(p)
	for range 3 {
		r.step(map[string][]row{"src": at(1, 2)}, false)
	}
	require.Equal(t, []string{"1", "0"}, r.rows)
	rows, err := r.s.conn.Rows(t.Context(), "SELECT seen FROM __limit1")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(3)}}, rows)
	require.Equal(t, int64(2), r.out.Sources["src"].Used)
}

// What rows came to be used by LIMIT does not become rows without time because a window above drops them.
func TestRowsWithoutTimeAreUsedByLimit(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "WITH l AS (SELECT * FROM src LIMIT 9) SELECT window_start, v FROM "+
		"tumble(l, ts, INTERVAL '5 seconds')")
	require.NoError(t, err)
	require.False(t, p.Inputs[0].DropsNull)
	r := f.replay(p)
	r.step(map[string][]row{"src": {{"a", 1, 0.5, nil}, {"a", 2, 0.5, 7}}}, false)
	require.Equal(t, []string{"5|2"}, r.rows)
	require.Equal(t, int64(2), r.out.Sources["src"].Used)
}

// A slot is a run of its own over all of its rows, so that DISTINCT and LIMIT begin anew.
func TestCutsInASlot(t *testing.T) {
	f := newFixture(t)
	for body, want := range map[string][]string{
		"SELECT DISTINCT v % 2 AS x FROM src WHERE ts < getvariable('slot_end')":                                       {"0", "1"},
		"SELECT v FROM src WHERE ts < getvariable('slot_end') LIMIT 2":                                                 {"0", "1"},
		"SELECT DISTINCT window_end FROM session(src, ts, k, INTERVAL '5 seconds') WHERE ts < getvariable('slot_end')": {"35", "8"},
	} {
		p, err := f.plan(stream.Append, body)
		require.NoError(t, err, body)
		s, err := Open(t.Context(), Options{Plan: p, DB: f.db, Batch: true})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) })
		rec := record(at(1, 2, 3, 30, 100))
		defer rec.Release()
		slot := [2]time.Time{time.Unix(0, 0), time.Unix(60, 0)}
		out, err := s.Run(t.Context(), Call{Slot: &slot, Final: true, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		require.NoError(t, err, body)
		defer out.Result.Release()
		require.Equal(t, want, sorted(texts(out.Result)), body)
	}
}
