package benchmarks

import (
	"context"
	"fmt"
)

const stateSQL = `CREATE SOURCE rows (k BIGINT, v BIGINT) WITH (connector = 'pieces');
CREATE SINK state_sink WITH (connector = 'kept');
CREATE QUERY state INTO state_sink OUTPUT MODE UPDATE AS
  SELECT k, count(*) AS n, sum(v)::BIGINT AS total FROM rows GROUP BY k;
`

// state loads a key for each of many groups and then lets batches of random keys change them.
func (r *run) state(ctx context.Context) error {
	keys, batches := or(r.Keys, 1_000_000), or(r.BatchCount, 30)
	sizes := []int64{100_000, 1_000}
	if r.Rows > 0 {
		sizes = []int64{r.Rows}
	}
	r.report.SQL, r.report.Target = stateSQL,
		"100,000 rows in at most 150 ms of execute, 1,000 rows in at most 10 ms; at most 200 bytes a key"
	t := task{SQL: stateSQL, Queries: []string{"state"}, Dir: "run", Weigh: true,
		Feed: feedSpec{Kind: "keys", Seed: r.Seed, Keys: keys}}
	t.Filled = t.Feed.loads()
	for _, size := range sizes {
		for range batches {
			t.Feed.Sizes = append(t.Feed.Sizes, size)
		}
	}
	t.Steps = t.Filled + len(t.Feed.Sizes)
	r.say("loading %d keys, then %d batches of each of %v rows", keys, batches, sizes)
	o, err := r.engine(ctx, &t)
	if err != nil {
		return err
	}
	result := &State{Keys: keys, OpenedBytes: o.Opened, LoadedBytes: o.Filled, PeakBytes: o.Peak, CPU: o.CPU,
		PerKey: float64(o.Filled-o.Opened) / float64(keys)}
	loads := o.of(0, 0, t.Filled)
	result.LoadSeconds = sum(column(loads, func(l lap) float64 { return l.Batch })) / 1000
	result.StateRows = loads[len(loads)-1].State
	for i, size := range sizes {
		from := t.Filled + i*int(batches)
		result.Sizes = append(result.Sizes, stepsOf(size, o.of(0, from, from+int(batches))))
	}
	result.Verified, err = r.verify(ctx, t, o, map[string]string{
		"state": "SELECT k, count(*) AS n, sum(v)::BIGINT AS total FROM rows GROUP BY k"})
	r.report.Result = result
	return err
}

// or returns value, or what stands for it when it is not set.
func or(value, unset int64) int64 {
	if value == 0 {
		return unset
	}
	return value
}

// StepTimes describes the steps of one kind: what a batch of so many rows took, and what followed it
// without data.
type StepTimes struct {
	Rows    int64   `json:"rows"` // of a step
	Steps   int     `json:"steps"`
	Execute Spread  `json:"execute_ms"` // the phase addBatch
	Batch   Spread  `json:"batch_ms"`   // from the start of a batch to its commit
	CPU     float64 `json:"cpu_seconds"`
	Out     int64   `json:"rows_out"`
}

// Spread is of milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	Max float64 `json:"max"`
}

func spread(ms []float64) Spread {
	return Spread{P50: quantile(ms, 0.5), P95: quantile(ms, 0.95), Max: quantile(ms, 1)}
}

func stepsOf(rows int64, laps []lap) StepTimes {
	s := StepTimes{Rows: rows, Steps: len(laps),
		Execute: spread(column(laps, func(l lap) float64 { return l.Execute })),
		Batch:   spread(column(laps, func(l lap) float64 { return l.Batch })),
		CPU:     sum(column(laps, func(l lap) float64 { return l.CPU }))}
	for _, l := range laps {
		s.Out += l.Out
	}
	return s
}

// State is what it costs to change some of many groups, and what they take.
type State struct {
	Keys        int64       `json:"keys"`
	StateRows   int64       `json:"state_rows"` // by the engine's own count, after the load
	LoadSeconds float64     `json:"load_seconds"`
	OpenedBytes int64       `json:"opened_bytes"` // resident memory before the first row
	LoadedBytes int64       `json:"loaded_bytes"` // and when every key was there
	PerKey      float64     `json:"bytes_per_key"`
	PeakBytes   int64       `json:"peak_bytes"`
	CPU         float64     `json:"cpu_seconds"`
	Sizes       []StepTimes `json:"sizes"`
	Verified    []verified  `json:"verified"`
}

func (s *State) markdown() string {
	text := "| rows in a batch | batches | execute p50 ms | p95 | max | whole batch p50 ms | p95 | max | " +
		"CPU ms a batch |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, z := range s.Sizes {
		text += fmt.Sprintf("| %d | %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f |\n", z.Rows, z.Steps,
			z.Execute.P50, z.Execute.P95, z.Execute.Max, z.Batch.P50, z.Batch.P95, z.Batch.Max,
			1000*z.CPU/float64(max(1, z.Steps)))
	}
	return text + fmt.Sprintf("\n%d keys (%d rows of state by the engine's count) loaded in %.1f s. "+
		"Resident memory %d MiB before the first row, %d MiB after the load: %.0f bytes a key; %d MiB at most.",
		s.Keys, s.StateRows, s.LoadSeconds, s.OpenedBytes>>20, s.LoadedBytes>>20, s.PerKey, s.PeakBytes>>20) +
		said(s.Verified)
}

// said ends a section with what was verified.
func said(v []verified) string {
	text := ""
	for _, one := range v {
		text += fmt.Sprintf(" Verified %s: %d rows equal plain DuckDB.", one.Query, one.Rows)
	}
	return text + "\n\n"
}
