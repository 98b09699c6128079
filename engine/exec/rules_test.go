package exec

import (
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

func at(seconds ...int) []row {
	rows := make([]row, len(seconds))
	for i, s := range seconds {
		rows[i] = row{"k", i, 0.5, s}
	}
	return rows
}

const countByWindow = "SELECT epoch(window_start)::BIGINT AS start, count(*) AS n FROM " + tumble5 +
	" GROUP BY window_start"

// The steps of the case append-basic.
func TestAppendEmitsClosedWindowsOnce(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, countByWindow)
	require.NoError(t, err)
	r := f.replay(p)
	r.step(map[string][]row{"src": at(10, 11, 12, 13, 14, 15)}, false)
	r.step(nil, false)
	require.Empty(t, r.rows)
	r.step(map[string][]row{"src": at(25)}, false)
	require.Equal(t, StateCounts{Rows: 3, Updated: 1}, r.out.State)
	r.step(nil, false)
	require.Equal(t, []string{"10|5"}, r.rows)
	require.Equal(t, StateCounts{Rows: 2, Removed: 1}, r.out.State)
	r.step(map[string][]row{"src": at(10)}, false)
	require.Equal(t, StateCounts{Rows: 2, Dropped: 1}, r.out.State)
	require.Equal(t, []int64{0}, r.out.Late["src"])
	require.Equal(t, []string{"10|5"}, r.rows)
}

func TestUpdateFreesClosedGroupsAndDropsLateRows(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Update, countByWindow)
	require.NoError(t, err)
	require.Equal(t, []int{0}, p.Keys)
	r := f.replay(p)
	r.step(map[string][]row{"src": at(10, 11, 12, 13, 14, 15)}, false)
	require.Equal(t, []string{"10|5", "15|1"}, texts2(r))
	r.step(map[string][]row{"src": at(25)}, false)
	r.step(nil, false)
	require.Zero(t, r.out.Result.NumRows())
	require.Equal(t, int64(2), r.out.State.Rows)
	r.step(map[string][]row{"src": at(10, 25)}, false)
	require.Equal(t, StateCounts{Rows: 2, Updated: 1, Dropped: 1}, r.out.State)
}

func texts2(r *replay) []string { return sorted(r.result()) }

func TestCompleteIgnoresTheWatermark(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Complete, countByWindow)
	require.NoError(t, err)
	require.False(t, p.UsesWatermark())
	r := f.replay(p)
	for _, s := range []int{10, 25, 25, 10} {
		r.step(map[string][]row{"src": at(s)}, false)
	}
	require.Equal(t, []string{"10|2", "25|2"}, r.rows)
	require.Zero(t, r.out.State.Dropped)
}

// A row in several windows is late only if it is late in all of them.
func TestHopRowIsLateOnlyInAllWindows(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT window_start, count(*) AS n FROM "+hop10+" GROUP BY window_start")
	require.NoError(t, err)
	r := f.replay(p)
	r.step(map[string][]row{"src": at(35)}, false) // watermark 25 from the next batch on
	r.step(nil, false)
	r.step(map[string][]row{"src": at(17, 22, 13)}, false)
	n := r.out.Sources["src"]
	// 17 is in [10,20) and [15,25), both closed; 22 is in [15,25) and [20,30); 13 is in [5,15) and [10,20).
	require.Equal(t, int64(1), n.Used)
	require.Equal(t, int64(2), n.Late)
	require.Equal(t, []int64{0, 2}, r.out.Late["src"])
	r.step(nil, true)
	require.Equal(t, []string{"20|1", "30|1", "35|1"}, r.rows)
}

func TestRawEventTimeKey(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT ts AS at, count(*) AS n FROM src GROUP BY at")
	require.NoError(t, err)
	r := f.replay(p)
	rows := append(at(10, 20, 30), row{"k", 1, 1.0, nil})
	r.step(map[string][]row{"src": rows}, false)
	require.Equal(t, int64(1), r.out.Sources["src"].NullTime)
	r.step(map[string][]row{"src": at(20, 21)}, false) // wm 20 evicts, nothing is late yet
	require.Equal(t, []string{"10|1", "20|2"}, r.rows)
	r.step(map[string][]row{"src": at(20, 21)}, false) // now 20 is late
	require.Equal(t, []int64{0}, r.out.Late["src"])
}

func TestImpossibleEventTimesAreDead(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, "SELECT v FROM src WHERE v <> 2")
	require.NoError(t, err)
	s, err := Open(t.Context(), Options{Plan: p, DB: f.db,
		MaxAhead: map[string]time.Duration{"src": time.Hour}})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	rec := record(at(0, 3600, 3601, 1<<42, -5))
	defer rec.Release()
	out, err := s.Run(t.Context(), Call{Time: time.Unix(0, 0),
		Inputs:   map[string]Input{"src": {Records: []arrow.Record{rec}}},
		Excluded: map[string]map[int64]string{"src": {0: "poison"}}})
	require.NoError(t, err)
	defer out.Result.Release()
	require.Equal(t, []string{"1", "4"}, texts(out.Result))
	n := out.Sources["src"]
	require.Equal(t, Counts{In: 5, Used: 2, Dead: 3, MaxTime: n.MaxTime}, *n)
	require.Equal(t, int64(3600_000_000), *n.MaxTime)
	require.Len(t, out.Dead, 3)
	require.Equal(t, DeadRow{"src", 0, "poison"}, out.Dead[0])
	require.Equal(t, int64(2), out.Dead[1].Ordinal)
	require.Contains(t, out.Dead[1].Reason, "ahead")
}

// A row fault leaves the state as it was; Try finds the row and Excluded leaves it out.
func TestRowFaultLeavesStateUntouched(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Update, "SELECT sum(CAST(k AS INTEGER)) AS s FROM src")
	require.NoError(t, err)
	s := f.open(p)
	run := func(batch int64, excluded map[int64]string, ks ...any) (*Output, error) {
		var rows []row
		for _, k := range ks {
			rows = append(rows, row{k, 1, 1.0, 1})
		}
		rec := record(rows)
		defer rec.Release()
		c := Call{Batch: batch, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}},
			Excluded: map[string]map[int64]string{"src": excluded}}
		if batch == 2 && excluded == nil {
			require.Error(t, s.Try(t.Context(), c, map[string][]int64{"src": {1, 2}}))
			require.NoError(t, s.Try(t.Context(), c, map[string][]int64{"src": {0, 2}}))
		}
		return s.Run(t.Context(), c)
	}
	out, err := run(1, nil, "5")
	require.NoError(t, err)
	out.Result.Release()
	_, err = run(2, nil, "1", "x", "2")
	var fault *duck.Error
	require.ErrorAs(t, err, &fault)
	require.True(t, fault.RowFault())
	out, err = run(2, map[int64]string{1: "not a number"}, "1", "x", "2")
	require.NoError(t, err)
	defer out.Result.Release()
	require.Equal(t, []string{"8"}, texts(out.Result))
	require.Equal(t, Counts{In: 3, Used: 2, Dead: 1, MaxTime: out.Sources["src"].MaxTime},
		*out.Sources["src"])
}

func TestBatchTimeAndSlotAreConstants(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, `SELECT epoch_ms(now()) AS ms, current_date AS d, age(ts) AS a,
		getvariable('slot_start') AS s FROM src
		WHERE ts < getvariable('slot_end')`)
	require.NoError(t, err)
	require.True(t, p.UsesNow)
	require.True(t, p.SlotBound)
	require.NotEmpty(t, p.NotComparable())
	s := f.open(p)
	rec := record(at(0, 100))
	defer rec.Release()
	slot := [2]time.Time{time.Unix(0, 0), time.Unix(60, 0)}
	out, err := s.Run(t.Context(), Call{Time: time.Unix(86_400, 5_000_000), Slot: &slot,
		Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
	require.NoError(t, err)
	defer out.Result.Release()
	require.Equal(t, []string{`86400005|1970-01-02|{"months":0,"days":1,"nanoseconds":5000000}|0`},
		texts(out.Result))
}

const rankByWindow = "SELECT window_start, v, row_number() OVER (PARTITION BY window_start ORDER BY v) AS r FROM " + tumble5

func TestStateStaysSmallWhenGroupsComeAndGo(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, rankByWindow)
	require.NoError(t, err)
	r := f.replay(p)
	r.s.tables[0].dead = 20_000
	r.step(map[string][]row{"src": at(10)}, false)
	require.Zero(t, r.s.tables[0].dead)
	r.step(nil, true)
	require.Equal(t, []string{"10|0|1"}, r.rows)
}

func TestRetractedRowsLeaveAsDeletes(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Update, "SELECT k, count(*) AS n FROM src GROUP BY k HAVING n < 2")
	require.NoError(t, err)
	r := f.replay(p)
	r.step(map[string][]row{"src": at(1)}, false)
	require.Equal(t, []string{"k|1"}, r.result())
	r.step(map[string][]row{"src": at(1)}, false)
	require.Empty(t, r.result())
	require.True(t, r.out.Result.Op)
}

// Without snapshots the remembered keys do not grow for ever.
func TestChangesAreBounded(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, rankByWindow)
	require.NoError(t, err)
	r := f.replay(p)
	first, err := r.s.Snapshot(t.Context(), false)
	require.NoError(t, err)
	require.True(t, first[0].Base)
	r.step(map[string][]row{"src": at(10, 11)}, false)
	delta, err := r.s.Snapshot(t.Context(), false)
	require.NoError(t, err)
	require.False(t, delta[0].Base)
	require.Equal(t, int64(2), delta[0].Records[0].NumRows())
	delta[0].Release()
	r.s.tables[0].changes = 200_001
	r.step(map[string][]row{"src": at(20)}, false)
	base, err := r.s.Snapshot(t.Context(), false)
	require.NoError(t, err)
	require.True(t, base[0].Base)
	require.Equal(t, int64(3), base[0].Records[0].NumRows())
	base[0].Release()
}

// Columns that may be alike in different rows do not name them: a keyed sink would lose all but one.
func TestUpdateKeysNameOneRow(t *testing.T) {
	f := newFixture(t)
	for body, keys := range map[string]int{
		"SELECT k, unnest(list(v)) AS x FROM src GROUP BY k":                                       0,
		"SELECT window_start::DATE AS d, count(*) AS n FROM " + tumble5 + " GROUP BY window_start": 0,
		"SELECT epoch(window_start)::BIGINT AS e, count(*) AS n FROM " +
			"tumble(src, ts, INTERVAL '1 second', INTERVAL '500 milliseconds') GROUP BY window_start": 0,
		"SELECT epoch(window_start)::BIGINT AS e, count(*) AS n FROM " +
			"tumble(src, ts, INTERVAL '5 seconds', INTERVAL '1 second') GROUP BY window_start, window_end": 1,
		"WITH x AS (SELECT k AS my_window_start, v AS my_window_end FROM src) " +
			"SELECT my_window_start, count(*) AS n FROM x GROUP BY my_window_start, my_window_end": 0,
		"WITH x AS (SELECT ts, window_start AS a FROM " + tumble5 + ") SELECT window_start, count(*) AS n " +
			"FROM tumble(x, ts, INTERVAL '5 seconds', INTERVAL '2 seconds') GROUP BY window_start, a": 0,
	} {
		p, err := f.plan(stream.Update, body)
		require.NoError(t, err, body)
		require.Len(t, p.Keys, keys, body)
	}
}

// What is known of a column is not taken for another one of the same name.
func TestColumnsOfOneNameHaveNoWatermark(t *testing.T) {
	f := newFixture(t)
	for _, body := range []string{
		"WITH x AS (SELECT make_timestamp(v) AS ts, * FROM src) SELECT ts, count(*) AS n FROM x GROUP BY ts",
		"WITH x AS (SELECT make_timestamp(v) AS ts, src.ts FROM src) SELECT ts, count(*) AS n FROM x GROUP BY ts",
		"SELECT ts, count(*) AS n FROM (SELECT * FROM (SELECT k, TIMESTAMP '2024-01-01' AS ts FROM ref) r " +
			"JOIN src ON r.k = src.k) GROUP BY ts",
	} {
		_, err := f.plan(stream.Append, body)
		require.Equal(t, diag.AppendNeedsWatermark, diag.CodeOf(err), body)
	}
}

func TestMacrosReadReferenceTables(t *testing.T) {
	f := newFixture(t)
	for _, text := range []string{"named(a) AS TABLE SELECT * FROM ref WHERE name <> upper_or(a)",
		"upper_or(a) AS coalesce(upper(a), 'NONE')", "most(a) AS (SELECT max(name) FROM ref WHERE ref.k = a)",
		"twice(a, b := 1) AS a * 2 + b", "inner_sum(a) AS sum(a)", "total(a) AS inner_sum(a)"} {
		name, _, _ := strings.Cut(text, "(")
		f.app.Macros = append(f.app.Macros, &planner.Macro{Name: name, Text: "CREATE OR REPLACE MACRO " + text})
	}
	p, err := f.plan(stream.Append, "SELECT v, name, most(k), twice(v), twice(v, b := 3) AS t "+
		"FROM src JOIN named('x') USING (k)")
	require.NoError(t, err)
	r := f.replay(p)
	r.step(map[string][]row{"src": {{"a", 1, 1.0, 1}, {"b", 2, 1.0, 1}, {"c", 3, 1.0, 1}}}, false)
	require.Equal(t, []string{"1|anna|anna|3|5", "2|bea|bert|5|7", "2|bert|bert|5|7"}, sorted(r.rows))
	require.Equal(t, "most(k)", p.Schema[2].Name)
	require.Equal(t, p.Schema[2].Name, r.out.Result.Schema.Field(2).Name)
	_, err = f.plan(stream.Append, "SELECT total(v) AS s FROM src")
	require.Equal(t, diag.AppendNeedsWatermark, diag.CodeOf(err))
}
