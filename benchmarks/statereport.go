package benchmarks

import (
	"fmt"
	"strings"
)

// StepTimes describes the steps of one kind: what a batch of so many rows took, and what followed it
// without data.
type StepTimes struct {
	Rows    int64   `json:"rows"` // of a step
	Steps   int     `json:"steps"`
	Execute Spread  `json:"execute_ms"` // the phase addBatch
	Batch   Spread  `json:"batch_ms"`   // from the start of a batch to its commit
	Step    Spread  `json:"step_ms"`    // by the clock around it, with what state versions take
	CPU     float64 `json:"cpu_seconds"`
	Out     int64   `json:"rows_out"`
}

// Spread is of milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func spread(ms []float64) Spread {
	return Spread{P50: quantile(ms, 0.5), P95: quantile(ms, 0.95), P99: quantile(ms, 0.99), Max: quantile(ms, 1)}
}

func stepsOf(rows int64, laps []lap) StepTimes {
	s := StepTimes{Rows: rows, Steps: len(laps),
		Execute: spread(column(laps, func(l lap) float64 { return l.Execute })),
		Batch:   spread(column(laps, func(l lap) float64 { return l.Batch })),
		Step:    spread(column(laps, func(l lap) float64 { return l.Millis })),
		CPU:     sum(column(laps, func(l lap) float64 { return l.CPU }))}
	for _, l := range laps {
		s.Out += l.Out
	}
	return s
}

// State is what it costs to change some of many groups, and what they take.
type State struct {
	Runs []StateRun `json:"runs"` // one for each number of keys
}

// StateRun is the load of so many keys, changes to them, a kill and a recovery.
type StateRun struct {
	Keys        int64       `json:"keys"`
	StateRows   int64       `json:"state_rows"` // by the engine's own count, after the load
	LoadSeconds float64     `json:"load_seconds"`
	OpenedBytes int64       `json:"opened_bytes"`          // resident memory before the first row
	LoadedBytes int64       `json:"loaded_bytes"`          // and when every key was there
	PerKey      float64     `json:"bytes_per_key"`         // of state, in memory and spilled, by the engine's own count
	GrownPerKey float64     `json:"process_bytes_per_key"` // by which the process grew, with what it keeps for the next batch
	DiskPerKey  float64     `json:"disk_bytes_per_key"`    // of the newest state version
	PeakBytes   int64       `json:"peak_bytes"`
	CPU         float64     `json:"cpu_seconds"`
	Sizes       []StepTimes `json:"sizes"`
	Sustained   float64     `json:"sustained_rows_per_second"` // batches of the largest size, state versions included
	Versions    Versions    `json:"versions"`
	Recovery    Recovery    `json:"recovery"`
	Verified    []verified  `json:"verified"`
}

// Versions describes the state versions that were written while batches went on.
type Versions struct {
	Count int      `json:"count"`
	Held  Spread   `json:"held_ms"` // how long batches waited for one to be handed over
	Took  Spread   `json:"ms"`      // until one was durable
	Sizes []During `json:"sizes"`
}

// During compares batches of a size while a version was written with those when none was.
type During struct {
	Rows    int64  `json:"rows"`
	With    int    `json:"steps_with"`
	WithMs  Spread `json:"with_ms"`
	Without Spread `json:"without_ms"`
}

// Recovery is what a process does that finds what a killed one left.
type Recovery struct {
	OpenSeconds  float64 `json:"open_seconds"`  // until its query stands where the log says
	LoadSeconds  float64 `json:"load_seconds"`  // of that, reading the state version
	RerunSeconds float64 `json:"rerun_seconds"` // of that, running batches again
	Reruns       int     `json:"reruns"`        // how many
	Seconds      float64 `json:"seconds"`       // until its first batch is committed
	CPU          float64 `json:"cpu_seconds"`   // of the process, until its query stands
	PeakBytes    int64   `json:"peak_bytes"`
}

// versionsOf sorts the laps from step from on by whether a version was being written meanwhile.
func versionsOf(o *outcome, from int) Versions {
	v := Versions{}
	var held, took []float64
	with, without := map[int64][]float64{}, map[int64][]float64{}
	var order []int64
	for _, l := range o.of(0, from, o.Steps) {
		if _, known := with[l.In]; !known {
			order, with[l.In] = append(order, l.In), nil
		}
		if o.during(l) {
			with[l.In] = append(with[l.In], l.Millis)
			continue
		}
		without[l.In] = append(without[l.In], l.Millis)
	}
	for _, k := range o.Kept {
		held, took = append(held, k.Held), append(took, k.Millis)
	}
	v.Count, v.Held, v.Took = len(held), spread(held), spread(took)
	for _, rows := range order {
		v.Sizes = append(v.Sizes, During{Rows: rows, With: len(with[rows]), WithMs: spread(with[rows]),
			Without: spread(without[rows])})
	}
	return v
}

// during reports whether a state version was being taken or written in a lap.
func (o *outcome) during(l lap) bool {
	for _, k := range o.Kept {
		if k.At < l.At+l.Millis && l.At < k.At+k.Millis {
			return true
		}
	}
	return false
}

func (s *State) markdown() string {
	text := "| keys | rows in a batch | batches | execute p50 ms | p95 | p99 | max | whole step p50 ms | p95 | p99 | max | " +
		"CPU ms a batch |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, r := range s.Runs {
		for _, z := range r.Sizes {
			text += fmt.Sprintf("| %d | %d | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |\n", r.Keys,
				z.Rows, z.Steps, z.Execute.P50, z.Execute.P95, z.Execute.P99, z.Execute.Max, z.Step.P50, z.Step.P95, z.Step.P99,
				z.Step.Max, 1000*z.CPU/float64(max(1, z.Steps)))
		}
	}
	text += "\n| keys | load rows/s | sustained rows/s | bytes a key | on disk | by which the process grew | peak MiB | recovery s | " +
		"of it loading | batches run again | in s | its CPU s | peak MiB |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, r := range s.Runs {
		text += fmt.Sprintf("| %d | %.0f | %.0f | %.0f | %.0f | %.0f | %d | %.2f | %.2f | %d | %.2f | %.2f | %d |\n", r.Keys,
			float64(r.Keys)/r.LoadSeconds, r.Sustained, r.PerKey, r.DiskPerKey, r.GrownPerKey, r.PeakBytes>>20, r.Recovery.Seconds,
			r.Recovery.LoadSeconds, r.Recovery.Reruns, r.Recovery.RerunSeconds, r.Recovery.CPU, r.Recovery.PeakBytes>>20)
	}
	text += "\n| keys | versions | took p50 ms | max | batches held p50 ms | max | rows in a batch | steps beside a version | " +
		"p50 ms | p99 | max | steps without one p50 ms | p99 | max |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, r := range s.Runs {
		text += r.Versions.rows(r.Keys)
	}
	text += "\n"
	for _, r := range s.Runs {
		text += fmt.Sprintf("%d keys:%s", r.Keys, said(r.Verified))
	}
	return text
}

func (v Versions) rows(keys int64) string {
	text := ""
	for _, d := range v.Sizes {
		steps := 0
		if d.Without.Max > 0 {
			steps = 1
		}
		text += fmt.Sprintf("| %d | %d | %s | %s | %d | %d | %s | %s |\n", keys, v.Count,
			cells(v.Count, 0, v.Took.P50, v.Took.Max), cells(v.Count, 1, v.Held.P50, v.Held.Max), d.Rows, d.With,
			cells(d.With, 1, d.WithMs.P50, d.WithMs.P99, d.WithMs.Max), cells(steps, 1, d.Without.P50, d.Without.P99, d.Without.Max))
	}
	return text
}

// cells are figures of so many cases with so many decimals: of none there are none.
func cells(cases, decimals int, figures ...float64) string {
	texts := make([]string, len(figures))
	for i, f := range figures {
		if texts[i] = "—"; cases > 0 {
			texts[i] = fmt.Sprintf("%.*f", decimals, f)
		}
	}
	return strings.Join(texts, " | ")
}

// said ends a section with what was verified.
func said(v []verified) string {
	text := ""
	for _, one := range v {
		text += fmt.Sprintf(" Verified %s: %d rows equal plain DuckDB.", one.Query, one.Rows)
	}
	return text + "\n\n"
}
