package benchmarks

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
)

// TestRows asks that rows are what every report says they are: 200 to 236 bytes of JSON with 7 fields, the same for
// the same seed, never so disordered that one is late.
func TestRows(t *testing.T) {
	t.Parallel()
	m := maker{seed: 7, perSecond: 1000}
	other := maker{seed: 8, perSecond: 1000}
	most := time.Time{}
	for n := range int64(20_000) {
		row := m.Append(nil, n)
		require.GreaterOrEqual(t, len(row), 200, "%s", row)
		require.LessOrEqual(t, len(row), 236, "%s", row)
		require.Equal(t, row, m.Append(nil, n))
		require.NotEqual(t, row, other.Append(nil, n))
		var fields map[string]any
		require.NoError(t, json.Unmarshal(row, &fields))
		require.Len(t, fields, 7)
		at, err := time.Parse("2006-01-02T15:04:05.999999", fields["ts"].(string))
		require.NoError(t, err)
		require.Less(t, most.Sub(at), 10*time.Second)
		if at.After(most) {
			most = at
		}
	}
}

// TestCompare asks that a sink that lacks a row, has one too many, or has one twice is found out.
func TestCompare(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rows, sink := filepath.Join(dir, "rows.ndjson"), filepath.Join(dir, "sink.ndjson")
	const cols = "{'a': 'BIGINT'}"
	write := func(path, body string) { require.NoError(t, os.WriteFile(path, []byte(body), 0o600)) }
	write(rows, "{\"a\":1}\n{\"a\":2}\n{\"a\":2}\n")
	for _, c := range []struct{ sink, fault string }{
		{"{\"a\":2}\n{\"a\":1}\n{\"a\":2}\n", ""},
		{"{\"a\":2}\n{\"a\":1}\n", "1 are missing and 0 are too many"},
		{"{\"a\":2}\n{\"a\":1}\n{\"a\":2}\n{\"a\":2}\n", "0 are missing and 1 are too many"},
		{"{\"a\":2}\n{\"a\":3}\n{\"a\":2}\n", "1 are missing and 1 are too many"},
	} {
		write(sink, c.sink)
		got, err := compare(t.Context(), dir, rows, cols, []check{{name: "q", want: "FROM rows", got: fromJSON(sink, cols)}})
		if c.fault != "" {
			require.ErrorContains(t, err, c.fault)
			continue
		}
		require.NoError(t, err)
		require.Equal(t, []verified{{"q", 3}}, got)
	}
	write(rows, "")
	write(sink, "")
	_, err := compare(t.Context(), dir, rows, cols, []check{{name: "q", want: "FROM rows", got: fromJSON(sink, cols)}})
	require.ErrorContains(t, err, "nothing to compare")
}

// TestQuantile compares quantiles of shuffled numbers with what they must be.
func TestQuantile(t *testing.T) {
	t.Parallel()
	values := make([]float64, 1000)
	for i := range values {
		values[i] = float64(i + 1)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	require.Equal(t, Spread{P50: 500, P95: 950, P99: 990, Max: 1000}, spread(values))
	require.Equal(t, Spread{}, spread(nil))
}

// TestMeasure asks that the clock runs from the first batch to the last one with data.
func TestMeasure(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	batch := func(after, ms float64, rows int64, noData bool) engine.Progress {
		return engine.Progress{Name: "q", Timestamp: began.Add(time.Duration(after * float64(time.Second))), BatchDuration: ms,
			NumInputRows: rows, NoData: noData, DurationMs: map[string]float64{"sink": ms / 2}}
	}
	r := Throughput{Rows: 30, RawPerSecond: 60}
	r.measure([]engine.Progress{batch(0, 500, 10, false), batch(0.5, 1500, 20, false), batch(9, 10, 0, true)})
	require.InDelta(t, 2.0, r.Seconds, 1e-9)
	require.InDelta(t, 15.0, r.RowsPerSecond, 1e-9)
	require.InDelta(t, 0.25, r.Ratio, 1e-9)
	require.Equal(t, Batches{Count: 2, Rows: 30, P50: 500, P99: 1500, Phases: map[string]float64{"sink": 500},
		Max: 1500, Worst: map[string]float64{"sink": 750}}, r.Batches)
}

// TestMemory asks for means of the first and the last quarter after the warm-up, and for all three queries to end.
func TestMemory(t *testing.T) {
	t.Parallel()
	samples := make([]int64, 50)
	for i := range samples {
		samples[i] = 100
		if i < 10 {
			samples[i] = 1
		}
		if i >= 40 {
			samples[i] = 200
		}
	}
	var m Memory
	m.fill(samples, time.Minute)
	require.Equal(t, Memory{First: 100, Last: 200, Most: 200, Samples: 40}, m)

	done := []engine.Progress{{Name: "a", Totals: checkpoint.Totals{In: 5}}, {Name: "b", Totals: checkpoint.Totals{In: 5}},
		{Name: "c", Totals: checkpoint.Totals{In: 4}}}
	require.False(t, consumed(done, 5))
	require.True(t, consumed(append(done, engine.Progress{Name: "c", Totals: checkpoint.Totals{In: 5}}), 5))
}

// TestSave asks for all files of a report: what was measured as JSON, Markdown that shows the plots, and the plots.
func TestSave(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "results")
	measured := &Throughputs{Target: 1000, Runs: []Throughput{{Rows: 7, RowsPerSecond: 1234, RawPerSecond: 2345,
		Verified: []verified{{"filter", 3}}}}}
	r := &Report{Suite: "filter", Machine: machine(), Result: measured}
	require.NotEmpty(t, r.Machine.CPU)
	require.NoError(t, r.Save(dir))
	text, err := os.ReadFile(filepath.Join(dir, "filter.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "| 1 | 1234 |")
	require.Contains(t, string(text), "Verified filter: 3 rows equal plain DuckDB.")
	require.Contains(t, string(text), "](filter-throughput.svg)")
	back := struct{ Result *Throughputs }{}
	data, err := os.ReadFile(filepath.Join(dir, "filter.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, measured, back.Result)
	picture, err := os.ReadFile(filepath.Join(dir, "filter-throughput.svg"))
	require.NoError(t, err)
	require.Contains(t, string(picture), "<svg")
	for _, label := range []string{"rows per second", "raw read", "target", "1.23k", "2.35k"} {
		require.Contains(t, string(picture), ">"+label+"<")
	}
}
