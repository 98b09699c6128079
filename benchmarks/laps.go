package benchmarks

import "slices"

// lap is one query's work on one step.
type lap struct {
	At      float64 `json:"at_ms"` // since the queries were opened
	Step    int     `json:"step"`
	Query   int     `json:"query"`
	Millis  float64 `json:"ms"`
	CPU     float64 `json:"cpu_seconds"`
	RSS     int64   `json:"rss_bytes"`
	Execute float64 `json:"execute_ms"` // phase addBatch of all its batches
	Batch   float64 `json:"batch_ms"`   // all its batches, as their progress says
	Data    float64 `json:"data_ms"`    // those of them that had data
	Batches int     `json:"batches"`
	In      int64   `json:"in"`
	Out     int64   `json:"out"`
	Late    int64   `json:"late"`
	State   int64   `json:"state_rows"`
	Kept    int64   `json:"state_bytes"` // by the engine's count, of state outside DuckDB: in memory and spilled
}

// of returns the laps of one query in [from, to) steps.
func (o *outcome) of(query, from, to int) []lap {
	return slices.DeleteFunc(slices.Clone(o.Laps), func(l lap) bool {
		return l.Query != query || l.Step < from || l.Step >= to
	})
}

// column gathers one number of each lap.
func column(laps []lap, value func(lap) float64) []float64 {
	out := make([]float64, len(laps))
	for i, l := range laps {
		out[i] = value(l)
	}
	return out
}

func sum(values []float64) float64 {
	total := 0.0
	for _, v := range values {
		total += v
	}
	return total
}
