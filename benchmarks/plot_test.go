package benchmarks

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	gonum "gonum.org/v1/plot"
)

// somePlots have all that a plot can have: bars, lines, logarithms, goals, ticks of their own.
func somePlots() []plot {
	return []plot{
		{name: "bars", title: "Rows through the query", y: axis{label: "rows per second"},
			bars:   []string{"run 1", "run 2", "run 3"},
			series: []series{{name: "tidemill", y: []float64{351_000, 340_000, 362_000}}, {name: "raw read", y: []float64{501_000, 490_000, 518_000}}},
			goals:  []goal{{"target", 200_000}}},
		{name: "one", title: "One bar", y: axis{label: "rows per second"}, bars: []string{"run 1"},
			series: []series{{name: "tidemill", y: []float64{351_000}}, {name: "raw", y: []float64{501_000}}}},
		{name: "loglog", title: "Time of a batch over keys", x: axis{label: "keys", log: true}, y: axis{label: "ms a batch, p50", log: true},
			series: []series{{name: "100 rows", x: []float64{1e4, 1e5, 1e6, 1e7}, y: []float64{1.2, 1.3, 1.9, 2.4}},
				{name: "1,000 rows", x: []float64{1e4, 1e5, 1e6, 1e7}, y: []float64{1.8, 2, 3, 0}},
				{name: "100,000 rows", x: []float64{1e4, 1e5, 1e6, 1e7}, y: []float64{40, 55, 98, 150}}},
			goals: []goal{{"goal, 1,000 rows at 1M", 10}, {"goal, 1,000 rows at 10M", 30}}},
		{name: "ticks", title: "Ticks of its own", x: axis{label: "share of rows", log: true, ticks: []gonum.Tick{{Value: 1, Label: "0"}, {Value: 2, Label: "50 %"}, {Value: 100, Label: "99 %"}}},
			y: axis{label: "ms"}, series: []series{{name: "10k rows/s", x: []float64{1, 2, 10, 100}, y: []float64{1, 2, 3, 9}}}},
	}
}

// TestPlots asks for the words and numbers of every plot, and that what can not be drawn on a logarithmic axis is left
// out. TIDEMILL_PLOTS=dir keeps the pictures.
func TestPlots(t *testing.T) {
	t.Parallel()
	for _, p := range somePlots() {
		picture, err := p.svg()
		require.NoError(t, err)
		labels := append([]string{p.title, p.y.label}, p.bars...)
		for _, s := range p.series {
			labels = append(labels, s.name)
		}
		for _, g := range p.goals {
			labels = append(labels, g.name)
		}
		for _, tick := range p.x.ticks {
			labels = append(labels, tick.Label)
		}
		for _, label := range labels {
			require.Contains(t, string(picture), ">"+label+"<", p.name)
		}
		require.NotContains(t, string(picture), "NaN", p.name)
		require.Less(t, len(picture), 64<<10, p.name)
		if dir := os.Getenv("TIDEMILL_PLOTS"); dir != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, p.name+".svg"), picture, 0o600))
		}
	}
	require.Equal(t, []string{"0.5", "999", "1k", "12.5k", "1.2M", "3G"},
		[]string{short(0.5), short(999), short(1000), short(12_500), short(1_200_000), short(3e9)})
}
