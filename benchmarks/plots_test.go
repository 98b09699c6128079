package benchmarks

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

// words draws charts and asks for these words in each, by name.
func words(t *testing.T, charts []chart.Chart, want map[string][]string) {
	t.Helper()
	var names []string
	for _, c := range charts {
		names = append(names, c.Name)
		picture, err := c.SVG()
		require.NoError(t, err)
		for _, word := range want[c.Name] {
			require.Contains(t, string(picture), ">"+word+"<", c.Name)
		}
	}
	for name := range want {
		require.Contains(t, names, name)
	}
}

// TestStatePlots asks for a line of each size of a batch, the goals, and bars of each number of keys.
func TestStatePlots(t *testing.T) {
	t.Parallel()
	run := func(keys int64, held float64) StateRun {
		return StateRun{Keys: keys, PerKey: 91, DiskPerKey: 56, Recovery: Recovery{OpenSeconds: 1.5, Seconds: 2.25, CPU: 1.75},
			Sizes: []StepTimes{{Rows: 100_000, Step: Spread{P50: 133}}, {Rows: 1000, Step: Spread{P50: 4}}},
			Versions: Versions{Count: 3, Held: Spread{P50: 0.1, Max: held},
				Sizes: []During{{Rows: 100_000, With: 9, WithMs: Spread{P50: 204}, Without: Spread{P50: 133}}}}}
	}
	s := &State{Runs: []StateRun{run(10_000, 0.3), run(10_000_000, 0.4)}}
	words(t, s.plots(), map[string][]string{
		"batch":      {"100k rows", "1k rows", "10k", "10M", "keys", "ms a batch", "goal, 1k rows, 1M keys", "goal, 1k rows, 10M keys"},
		"checkpoint": {"10k keys", "10M keys", "ms", "0.1", "0.3", "0.4", "goal"},
		"beside":     {"without a version", "beside a version", "133", "204"},
		"recovery":   {"until its first commit", "seconds", "1.5", "2.2", "goal, first commit"},
		"bytes":      {"in memory", "on disk", "bytes a key", "91", "56", "goal"},
	})
	require.Equal(t, []float64{133, 133}, s.batchPlot().Series[0].Y)
	require.Equal(t, []float64{1e4, 1e7}, s.batchPlot().Series[1].X)
	one := &State{Runs: []StateRun{{Keys: 7, Sizes: []StepTimes{{Rows: 5}}}}}
	require.Empty(t, one.batchPlot().Goals, "they are of sizes that this run does not have")
	words(t, one.plots(), map[string][]string{"checkpoint": {"7 keys", "—"}, "beside": {"—"}})
	for _, c := range one.plots() {
		_, err := c.SVG()
		require.NoError(t, err, c.Name)
	}
}

func TestScalePlots(t *testing.T) {
	t.Parallel()
	s := &Scale{Rows: 10, Runs: []Scaled{{Cores: 1, Queries: 1, PerSecond: 600_000, CPU: 1.6},
		{Cores: 2, Queries: 16, PerSecond: 800_000, CPU: 1.8}}}
	words(t, s.plots(), map[string][]string{
		"speed": {"1 core, 1 query", "2 cores, 16 queries", "rows per second", "600k", "800k", "50k", "each of them"},
		"cpu":   {"1 core, 1 query", "CPU seconds per million rows and query", "1.6", "1.8", "goal, as one query"},
	})
	require.Equal(t, []chart.Goal{{Name: "goal, as one query", At: 1.6}}, s.plots()[1].Goals)
}

// TestNexmarkPlots asks that a query without a figure has no bar, and says why.
func TestNexmarkPlots(t *testing.T) {
	t.Parallel()
	n := &Nexmark{Queries: []NexmarkQuery{{Query: "q0", Verified: true, PerCPU: 632_000, Flink: 155_000, Multiple: 4.1},
		{Query: "q6", Verified: true, PerCPU: 115_000}, {Query: "q7", Differs: "1 | row", Flink: 12_300},
		{Query: "q8", Failed: "too slow: a reason", Flink: 146_000}}}
	words(t, n.plots(), map[string][]string{
		"flink": {"q0", "q6", "q7", "q8", "times Flink&#39;s published figure", "4.1", "none published", "differs", "failed", "goal"},
		"speed": {"events per CPU second", "632k", "155k", "115k", "none published", "12.3k", "differs", "failed"},
	})
	require.Equal(t, []float64{4.1, 0, 0, 0}, n.plots()[0].Series[0].Y)
}

// TestSavePlots asks for a file of each plot, and for a link to it in the report.
func TestSavePlots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := Report{Suite: "scale", Result: &Scale{Runs: []Scaled{{Cores: 1, Queries: 1, PerSecond: 5, CPU: 2}}}}
	require.NoError(t, r.Save(dir))
	for _, name := range []string{"scale.json", "scale.md", "scale-speed.svg", "scale-cpu.svg"} {
		require.FileExists(t, filepath.Join(dir, name))
	}
	text, err := os.ReadFile(filepath.Join(dir, "scale.md"))
	require.NoError(t, err)
	require.Contains(t, string(text), "](scale-speed.svg)")
	require.Contains(t, string(text), "](scale-cpu.svg)")
}

func TestBatchAndStartupPlots(t *testing.T) {
	t.Parallel()
	b := &Batch{Queries: []BatchQuery{{Query: "filter", Seconds: 4.9, Plain: 5, Ratio: 0.98, CPU: 9, PlainCPU: 8}}}
	words(t, b.plots(), map[string][]string{"time": {"filter", "seconds", "4.9", "5", "plain DuckDB"},
		"ratio": {"filter", "times plain DuckDB&#39;s", "0.98", "1.1", "CPU time", "goal, time"}})
	s := &Startup{Open: Spread{P50: 120, Max: 140}, Commit: Spread{P50: 162, Max: 189}, CPU: Spread{P50: 150, Max: 155}}
	words(t, s.plots(), map[string][]string{"time": {"committed", "162", "189", "ms", "goal, committed"}})
}
