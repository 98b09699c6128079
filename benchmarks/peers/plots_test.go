package peers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks"
)

// TestPlots asks for every contender beside the others, for ratios to Tidemill, and that none without a figure has a bar.
func TestPlots(t *testing.T) {
	t.Parallel()
	entry := func(query, contender string, f *Figures) Entry {
		return Entry{Query: query, Contender: contender, Median: f}
	}
	refused := entry("q6", "spark", nil)
	refused.Refused = "NO_WAY"
	r := &Report{Suite: "nexmark", Entries: []Entry{
		entry("q0", "tidemill", &Figures{PerSecond: 900_000, CPUPerMillion: 1.5}),
		entry("q0", "duckdb", &Figures{PerSecond: 4e6, CPUPerMillion: 0.5}),
		entry("q0", "spark", &Figures{PerSecond: 150_000, CPUPerMillion: 9.25}),
		entry("q6", "tidemill", &Figures{PerSecond: 100_000, CPUPerMillion: 12}), refused,
		entry("q6", "spark-rocksdb", &Figures{PerSecond: 50_000, CPUPerMillion: 30})}}
	charts := r.plots()
	require.Len(t, charts, 3)
	speed, times, cpu := charts[0], charts[1], charts[2]
	require.Equal(t, []string{"q0", "q6"}, speed.Bars)
	require.Equal(t, []float64{900_000, 100_000}, speed.Series[0].Y)
	require.Equal(t, []string{"", "refused"}, speed.Series[2].Notes)
	require.Equal(t, []string{"not asked", ""}, speed.Series[3].Notes)
	require.Len(t, times.Series, 2, "neither Tidemill nor plain DuckDB")
	require.Equal(t, "beside spark", times.Series[0].Name)
	require.Equal(t, []float64{6, 0}, times.Series[0].Y)
	require.Equal(t, []float64{0, 2}, times.Series[1].Y)
	require.InDelta(t, 5, times.Goals[0].At, 0)
	require.Equal(t, []float64{9.25, 0}, cpu.Series[2].Y)
	for _, c := range charts {
		picture, err := c.SVG()
		require.NoError(t, err)
		for _, word := range []string{"q0", "q6", "refused", "not asked", c.Y.Label} {
			require.Contains(t, string(picture), ">"+word+"<", c.Name)
		}
	}
	require.Contains(t, r.Markdown(), "](peers-nexmark-times.svg)")

	r.Entries[0].Median = nil
	require.Equal(t, "Tidemill has no figure", r.times().Series[0].Notes[0])

	latency := &Report{Suite: "latency", Entries: []Entry{
		entry("q", "tidemill", &Figures{Latency: &benchmarks.Quantiles{P50: 12, P99: 30}})}}
	require.Equal(t, []string{"p50", "p99", "cpu"}, names(latency))
	require.Equal(t, []float64{30}, latency.plots()[1].Series[0].Y)
	start := &Report{Suite: "start", Entries: []Entry{entry("start", "tidemill", &Figures{First: 0.25, CPU: 0.125})}}
	require.Equal(t, []string{"start", "cpu"}, names(start))
	require.Equal(t, []float64{0.125}, start.plots()[1].Series[0].Y)
}

func names(r *Report) []string {
	var out []string
	for _, c := range r.plots() {
		out = append(out, c.Name)
	}
	return out
}
