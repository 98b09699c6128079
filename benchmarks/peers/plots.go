package peers

import (
	"slices"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/benchmarks/chart"
)

// timesGoal is how many times Spark's speed Tidemill is to reach in a suite; 0 where there is no goal.
func timesGoal(suite string) float64 { return map[string]float64{"yahoo": 8, "nexmark": 5}[suite] }

// plots set the contenders side by side: by what a suite is about, and by the CPU time that it took them.
func (r *Report) plots() []chart.Chart {
	cpu := r.plot("cpu", "CPU time", "CPU seconds per million rows", func(f *Figures) float64 { return f.CPUPerMillion })
	switch r.Suite {
	case "start":
		return []chart.Chart{
			r.plot("start", "From the start of the process to the first committed output", "seconds",
				func(f *Figures) float64 { return f.First }),
			r.plot("cpu", "CPU time from the start of the process to its output", "CPU seconds", func(f *Figures) float64 { return f.CPU })}
	case "latency":
		latency := func(name, title string, of func(*benchmarks.Quantiles) float64) chart.Chart {
			return r.plot(name, "From when a row appeared to its commit: "+title, "ms", func(f *Figures) float64 {
				if f.Latency == nil {
					return 0
				}
				return of(f.Latency)
			})
		}
		return []chart.Chart{
			latency("p50", "median", func(q *benchmarks.Quantiles) float64 { return q.P50 }),
			latency("p99", "99 % of rows", func(q *benchmarks.Quantiles) float64 { return q.P99 }), cpu}
	}
	return []chart.Chart{
		r.plot("speed", "Speed", "rows per second", func(f *Figures) float64 { return f.PerSecond }), r.times(), cpu}
}

// plot has bars of every contender for each query.
func (r *Report) plot(name, title, unit string, of func(*Figures) float64) chart.Chart {
	c := chart.Chart{Name: name, Title: r.Suite + ": " + title, Y: chart.Axis{Label: unit}, Bars: r.queries()}
	for _, contender := range r.contenders() {
		c.Series = append(c.Series, r.series(contender, c.Bars, of))
	}
	return c
}

// times is how often Tidemill's speed is that of others that work on a stream.
func (r *Report) times() chart.Chart {
	c := chart.Chart{Name: "times", Title: r.Suite + ": Tidemill's speed, as a multiple of others'",
		Y: chart.Axis{Label: "times as many rows per second"}, Bars: r.queries()}
	for _, contender := range r.contenders() {
		if contender == (tidemill{}).name() || contender == (plainDuck{}).name() {
			continue
		}
		s := r.series(contender, c.Bars, func(f *Figures) float64 { return f.PerSecond })
		for i, query := range c.Bars {
			own := r.entry((tidemill{}).name(), query)
			switch {
			case own == nil || own.Median == nil:
				s.Y[i], s.Notes[i] = 0, "Tidemill has no figure"
			case s.Notes[i] == "":
				s.Y[i] = own.Median.PerSecond / s.Y[i]
			}
		}
		s.Name = "beside " + contender
		c.Series = append(c.Series, s)
	}
	if goal := timesGoal(r.Suite); goal > 0 {
		c.Goals = []chart.Goal{{Name: "goal", At: goal}}
	}
	return c
}

// series are the figures of one contender, or in a word or two why there is none.
func (r *Report) series(contender string, queries []string, of func(*Figures) float64) chart.Series {
	s := chart.Series{Name: contender}
	for _, query := range queries {
		value, note := 0.0, ""
		switch e := r.entry(contender, query); {
		case e == nil:
			note = "not asked"
		case e.Median == nil:
			note = e.trouble()
		default:
			value = of(e.Median)
		}
		s.Y, s.Notes = append(s.Y, value), append(s.Notes, note)
	}
	return s
}

// entry is what a contender answered to a query, or nil.
func (r *Report) entry(contender, query string) *Entry {
	i := slices.IndexFunc(r.Entries, func(e Entry) bool { return e.Contender == contender && e.Query == query })
	if i < 0 {
		return nil
	}
	return &r.Entries[i]
}

// contenders lists those that were asked anything, in the order in which they were.
func (r *Report) contenders() []string {
	var out []string
	for _, e := range r.Entries {
		if !slices.Contains(out, e.Contender) {
			out = append(out, e.Contender)
		}
	}
	return out
}

// trouble is why there are no figures, in a word or two.
func (e *Entry) trouble() string {
	switch {
	case e.Refused != "":
		return "refused"
	case e.Failed != "":
		return "failed"
	case e.Differs != "":
		return "differs"
	}
	return "not run"
}
