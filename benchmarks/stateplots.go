package benchmarks

import (
	"math"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

// plots are what batches, state versions, recoveries and keys cost by how many keys there are.
func (s *State) plots() []chart.Chart {
	return []chart.Chart{s.batchPlot(), s.heldPlot(), s.besidePlot(), s.recoveryPlot(), s.bytesPlot()}
}

// batchPlot has a line for each size of a batch.
func (s *State) batchPlot() chart.Chart {
	c := chart.Chart{Name: "batch", Title: "A batch by the keys there are: by the clock, median",
		X: chart.Axis{Label: "keys", Log: true}, Y: chart.Axis{Label: "ms a batch", Log: true}}
	for _, run := range s.Runs {
		c.X.Ticks = append(c.X.Ticks, chart.Tick{At: float64(run.Keys), Label: chart.Short(float64(run.Keys))})
		for i, size := range run.Sizes {
			if i == len(c.Series) {
				c.Series = append(c.Series, chart.Series{Name: rowsOf(size.Rows)})
			}
			line := &c.Series[i]
			line.X, line.Y = append(line.X, float64(run.Keys)), append(line.Y, size.Step.P50)
		}
	}
	if len(s.Runs) > 0 && len(s.Runs[0].Sizes) > 1 { // of the sizes that the goals speak of
		c.Goals = []chart.Goal{{Name: "goal, 1k rows, 1M keys", At: 10}, {Name: "goal, 1k rows, 10M keys", At: 30}}
	}
	return c
}

func rowsOf(n int64) string { return chart.Short(float64(n)) + " rows" }

// heldPlot says how long batches waited for a state version to be handed over.
func (s *State) heldPlot() chart.Chart {
	c := s.byKeys("checkpoint", "Batches held by a state version", "ms")
	c.Series = []chart.Series{{Name: "median"}, {Name: "the longest"}}
	for _, run := range s.Runs {
		add(c.Series, ofAny(run.Versions.Count, run.Versions.Held.P50), ofAny(run.Versions.Count, run.Versions.Held.Max))
	}
	c.Goals = []chart.Goal{{Name: "goal", At: 20}}
	return c
}

// besidePlot says what the largest batches took beside a state version that was written, and what without one.
func (s *State) besidePlot() chart.Chart {
	c := s.byKeys("beside", "The largest batches beside a state version that is written, median", "ms a batch")
	c.Series = []chart.Series{{Name: "without a version"}, {Name: "beside a version"}}
	for _, run := range s.Runs {
		var largest During
		if len(run.Versions.Sizes) > 0 {
			largest = run.Versions.Sizes[0]
		}
		add(c.Series, largest.Without.P50, ofAny(largest.With, largest.WithMs.P50))
	}
	return c
}

func (s *State) recoveryPlot() chart.Chart {
	c := s.byKeys("recovery", "Recovery after a kill", "seconds")
	c.Series = []chart.Series{{Name: "until the query stands"}, {Name: "until its first commit"}, {Name: "CPU until it stands"}}
	for _, run := range s.Runs {
		add(c.Series, run.Recovery.OpenSeconds, run.Recovery.Seconds, run.Recovery.CPU)
	}
	c.Goals = []chart.Goal{{Name: "goal, first commit", At: 10}}
	return c
}

func (s *State) bytesPlot() chart.Chart {
	c := s.byKeys("bytes", "What a key takes", "bytes a key")
	c.Series = []chart.Series{{Name: "in memory"}, {Name: "on disk"}}
	for _, run := range s.Runs {
		add(c.Series, run.PerKey, run.DiskPerKey)
	}
	c.Goals = []chart.Goal{{Name: "goal", At: 120}}
	return c
}

// ofAny is a figure of so many cases: of none there is none.
func ofAny(cases int, figure float64) float64 {
	if cases == 0 {
		return math.NaN()
	}
	return figure
}

// byKeys has bars for each number of keys.
func (s *State) byKeys(name, title, unit string) chart.Chart {
	c := chart.Chart{Name: name, Title: title, Y: chart.Axis{Label: unit}}
	for _, run := range s.Runs {
		c.Bars = append(c.Bars, chart.Short(float64(run.Keys))+" keys")
	}
	return c
}

// add gives each series one more value.
func add(series []chart.Series, values ...float64) {
	for i, v := range values {
		series[i].Y = append(series[i].Y, v)
	}
}
