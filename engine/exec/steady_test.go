package exec

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// steadyShapes keep state that the watermark frees.
var steadyShapes = map[string]struct {
	mode stream.Mode
	body string
}{
	"tumble":        {stream.Append, "SELECT window_start, k, count(*) AS n, sum(v) AS s FROM " + tumble5 + " GROUP BY ALL"},
	"hop kept rows": {stream.Append, "SELECT window_start, k, median(v) AS m FROM " + hop10 + " GROUP BY ALL"},
	"update":        {stream.Update, "SELECT window_start, k, count(*) AS n FROM " + tumble5 + " GROUP BY ALL"},
	"rank": {stream.Append, "SELECT window_start, k, v, rank() OVER (PARTITION BY window_start ORDER BY v DESC) AS r " +
		"FROM " + tumble5 + " QUALIFY r <= 3"},
	"over": {stream.Append, "SELECT k, ts, sum(v) OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 5 PRECEDING AND CURRENT ROW) AS s " +
		"FROM src"},
	"distinct": {stream.Append, "SELECT DISTINCT k, ts FROM src"},
	"session": {stream.Append, "SELECT k, window_start, window_end, count(*) AS n FROM session(src, ts, k, INTERVAL '1 second') " +
		"GROUP BY k, window_start, window_end"},
	"chain": {stream.Append, "WITH w AS (SELECT window_end - INTERVAL '1 microsecond' AS t, k, count(*) AS n FROM " + tumble5 +
		" GROUP BY ALL) SELECT window_start, max(n) AS m FROM tumble(w, t, INTERVAL '20 seconds') GROUP BY window_start"},
}

// TestMemoryIsFlat runs a thousand batches of steady input and looks at DuckDB's memory and at the state. The shapes
// share the cores with a thread each: threads of one statement would wait for one another most of the time, and what
// they hold is bounded by their number, not by that of the batches.
func TestMemoryIsFlat(t *testing.T) {
	t.Parallel()
	batches := 1000
	if testing.Short() {
		batches = 150
	}
	for name, sh := range steadyShapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixtureOf(t, 1)
			p, err := f.plan(sh.mode, sh.body)
			require.NoError(t, err)
			r := f.replay(p)
			var early, earlyRows int64
			for i := range batches {
				rows := make([]row, 30)
				for j := range rows {
					rows[j] = row{k: fmt.Sprint("key ", (i*31+j*7)%50), v: j, f: 0.5, ts: i*2 + j%3}
				}
				steadyStep(r, rows)
				if i == batches/3 {
					early, earlyRows = memoryOf(t, r.s), stateRows(r.s)
				}
			}
			require.LessOrEqual(t, stateRows(r.s), earlyRows*3/2+100, "rows of state")
			require.LessOrEqual(t, memoryOf(t, r.s), early*3/2+(4<<20), "bytes of DuckDB")
		})
	}
}

// steadyStep is replay.step without keeping results.
func steadyStep(r *replay, rows []row) {
	t := r.f.t
	rec := record(rows)
	defer rec.Release()
	c := Call{Batch: r.batch, Watermark: r.watermark(), Late: r.late, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}}
	out, err := r.s.Run(t.Context(), c)
	require.NoError(t, err)
	out.Result.Release()
	r.batch++
	r.late = c.Watermark
	if most := out.Sources["src"].MaxTime; most != nil {
		r.wm["src"] = max(r.wm["src"], *most-10_000_000)
	}
}

func stateRows(s *Session) int64 {
	var n int64
	for _, t := range s.tables {
		n += t.rows
	}
	return n
}

func memoryOf(t *testing.T, s *Session) int64 {
	t.Helper()
	rows, err := s.conn.Rows(t.Context(), "SELECT CAST(sum(memory_usage_bytes) AS BIGINT) FROM duckdb_memory()")
	require.NoError(t, err)
	return integer(rows[0][0])
}
