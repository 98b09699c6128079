package peers

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks"
)

// measure runs a suite with fakes of these kinds and plain DuckDB, and returns the entries by contender.
func measure(t *testing.T, suite string, o Options, kinds ...string) (*Report, map[string]Entry) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	o.Binary, o.Dir, o.Log = self, t.TempDir(), t.Output()
	list := []contender{plainDuck{self}}
	for _, kind := range kinds {
		list = append(list, fake{kind, self})
	}
	r, err := runWith(t.Context(), suite, o, list)
	require.NoError(t, err)
	entries := map[string]Entry{}
	for _, e := range r.Entries {
		entries[e.Contender] = e
	}
	return r, entries
}

// TestVerdicts asks that only a contender with the right result gets figures, and that the report says why others have
// none.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	r, got := measure(t, "copy", Options{Rows: 2000, Files: 8, Runs: 2}, "good", "wrong", "twice", "refuses", "dies")
	require.Len(t, got, 6)
	good := got["good"]
	require.Len(t, good.Runs, 2)
	require.InDelta(t, 2.002, good.Median.Seconds, 1e-9, "from the start of the first batch to the end of the last")
	require.InDelta(t, 2000/2.002, good.Median.PerSecond, 1)
	require.InDelta(t, 500, good.Median.P50, 1e-9)
	require.InDelta(t, 500.5, good.Median.P99, 1e-9)
	require.Equal(t, 3, good.Median.Batches, "the batch of the warm-up does not count")
	require.Positive(t, good.Median.Peak)
	require.Equal(t, 2, good.BatchFiles, "of sizes that take as long the first is taken, a quarter of the files")
	require.Equal(t, "1.2", r.Versions["good"])
	require.Greater(t, good.Result, int64(900), "half of the rows are kept")
	require.Equal(t, good.Result, got["duckdb"].Result)
	require.Positive(t, got["duckdb"].Median.Seconds)
	for _, kind := range []string{"wrong", "twice", "refuses", "dies"} {
		require.Nil(t, got[kind].Median, kind)
		require.Empty(t, got[kind].Runs, kind)
	}
	require.Contains(t, got["wrong"].Differs, fmt.Sprintf("%d are missing and 0 are too many", good.Result-10))
	require.Contains(t, got["twice"].Differs, fmt.Sprintf("0 are missing and %d are too many", good.Result))
	require.Equal(t, "NO_WAY", got["refuses"].Refused)
	require.Contains(t, got["dies"].Failed, "out of luck")
	md := r.Markdown()
	for _, want := range []string{"| wrong | differs: ", "| refuses | refused NO_WAY |", "refuses refuses it: this is not for me.",
		"| dies | failed: ", "- good: none.", "2 files in a batch"} {
		require.Contains(t, md, want)
	}
	require.NoError(t, r.Fault(), "what is wrong with others is a finding")
	own := Report{Suite: "copy", Entries: []Entry{{Query: "q", Contender: "tidemill", Differs: "1 row"}}}
	require.ErrorContains(t, own.Fault(), "no verified result of q by tidemill")
	dir := filepath.Join(t.TempDir(), "results")
	require.NoError(t, r.Save(dir))
	var back Report
	text, err := os.ReadFile(filepath.Join(dir, "peers-copy.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, r.Entries, back.Entries)
	require.FileExists(t, filepath.Join(dir, "peers-copy.md"))
}

// TestLimit asks that a contender that does not come to an end is killed and has failed, even after all its work.
func TestLimit(t *testing.T) {
	t.Parallel()
	_, got := measure(t, "start", Options{Rows: 10, Limit: 2 * time.Second}, "hangs")
	require.Contains(t, got["hangs"].Failed, "it did not end within 2s")
	_, got = measure(t, "start", Options{Rows: 10, Limit: 10 * time.Second}, "stays")
	require.Equal(t, "it did not end within 10s", firstLine(got["stays"].Failed))
}

// TestFollow asks that files appear one by one, that the latency of rows is from then on, and that rows of the time of
// settling are not in it.
func TestFollow(t *testing.T) {
	t.Parallel()
	_, got := measure(t, "latency", Options{Rate: 400, Duration: time.Second, Settle: 200 * time.Millisecond, Keys: []int64{7}},
		"follows")
	e := got["follows"]
	require.NotNil(t, e.Median, "%+v", e)
	require.Equal(t, int64(24*20), e.Rows)
	require.Equal(t, int64(7), e.Result)
	require.GreaterOrEqual(t, e.Median.Latency.P50, 2.0, "a batch takes 2 ms")
	require.NotContains(t, got, "duckdb", "it can not follow")
}

// TestLatency gives a feed of four files, the first of which does not count, batches that took them.
func TestLatency(t *testing.T) {
	t.Parallel()
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	f := feed{perFile: 10, ignored: 1, sent: 4, at: []time.Time{at(0), at(100), at(200), at(300)}}
	q := f.latency([]line{
		{Time: at(50), Duration: 10, Rows: 10},
		{Time: at(150), Duration: 100, Rows: 15}, // the third file is not complete yet
		{Time: at(400), Duration: 20, Rows: 15},
	})
	require.InDelta(t, 150, q.P50, 1e-9) // files 2, 3, 4 took 150, 220 and 120 ms
	require.InDelta(t, 220, q.Max, 1e-9)
}

// TestChanges asks that of Spark's changed rows the last one of each key counts.
func TestChanges(t *testing.T) {
	t.Parallel()
	p, err := benchmarks.OpenPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	out := t.TempDir()
	for batch, rows := range map[int]string{2: "(1, 'x'), (2, 'y')", 10: "(2, 'z')"} {
		dir := filepath.Join(out, fmt.Sprintf("batch=%d", batch))
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, p.Exec(t.Context(), fmt.Sprintf("COPY (FROM (VALUES %s) AS t(k, v)) TO '%s/a.parquet' (FORMAT parquet)",
			rows, dir)))
	}
	got := sparkResult(&workload{update: true, keys: []string{"k"}}, job{Out: out})
	n, err := p.Compare(t.Context(), got, "FROM (VALUES (1, 'x'), (2, 'z')) AS t(k, v)")
	require.NoError(t, err)
	require.Equal(t, int64(2), n)
}

// TestColdFigures asks that CPU time counts from the query on, and where the start is asked about from the process's start.
func TestColdFigures(t *testing.T) {
	t.Parallel()
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := seen{start: mark{zero.Add(4 * time.Second), 3}, done: mark{zero.Add(6 * time.Second), 5}}
	p := &child{began: zero}
	warm := s.figures(&workload{rows: 10}, p)
	require.InDelta(t, 2, warm.CPU, 1e-9)
	require.InDelta(t, 2, warm.Seconds, 1e-9)
	cold := s.figures(&workload{rows: 10, cold: true}, p)
	require.InDelta(t, 5, cold.CPU, 1e-9)
	require.InDelta(t, 6, cold.Seconds, 1e-9)
}
