package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

const joinSQL = `CREATE SOURCE shown (k BIGINT, v BIGINT, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'pieces');
CREATE SOURCE clicked (k BIGINT, v BIGINT, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'pieces');
CREATE SINK joined_sink WITH (connector = 'kept');
CREATE QUERY joined INTO joined_sink AS
` + joinBody + ";\n"

const joinBody = `  SELECT s.k, s.v AS shown, c.v AS clicked, s.ts AS shown_at, c.ts AS clicked_at
  FROM shown s JOIN clicked c ON s.k = c.k AND c.ts BETWEEN s.ts AND s.ts + INTERVAL '1 minute'`

// join joins two streams on their key within a minute: first the state fills up, then it is held for a
// while. A step is one second of event time, so that what it takes says how much faster than time the
// engine is.
func (r *run) join(ctx context.Context) error {
	rate, hold := cmp.Or(r.Rate, 50_000), r.Duration
	if hold == 0 {
		hold = time.Minute
	}
	t := task{SQL: joinSQL, Queries: []string{"joined"}, Dir: "run", Filled: pairSeconds + 2, For: hold,
		Feed: feedSpec{Kind: "pairs", Seed: r.Seed, Rows: rate, Rate: rate}}
	t.Steps = t.Filled
	r.report.SQL, r.report.Target = joinSQL, fmt.Sprintf("%d rows/s in total, memory flat", 2*rate)
	r.say("filling a minute of state with two streams of %d rows/s, then going on for %s", rate, hold)
	o, err := r.engine(ctx, &t)
	if err != nil {
		return err
	}
	fill, held := o.of(0, 0, t.Filled), o.of(0, t.Filled, o.Steps)
	result := &Join{Rate: rate, StateRows: held[len(held)-1].State, PeakBytes: o.Peak,
		FillPerSecond: rowsPerSecond(fill), RowsPerSecond: rowsPerSecond(held), StepTimes: stepsOf(2*rate, held)}
	result.Seconds = sum(column(held, func(l lap) float64 { return l.Millis })) / 1000
	quarter := max(1, len(held)/4)
	result.First = mean(memoryOf(held[:quarter]))
	result.Last = mean(memoryOf(held[len(held)-quarter:]))
	result.Verified, err = r.verify(ctx, t, o, map[string]string{"joined": joinBody})
	r.report.Result = result
	return err
}

func memoryOf(laps []lap) []int64 {
	out := make([]int64, len(laps))
	for i, l := range laps {
		out[i] = l.RSS
	}
	return out
}

// rowsPerSecond is by the clock on the wall, with all that a query does beside its batches.
func rowsPerSecond(laps []lap) float64 {
	rows := 0.0
	for _, l := range laps {
		rows += float64(l.In)
	}
	return rows / sum(column(laps, func(l lap) float64 { return l.Millis })) * 1000
}

// plots say how much a full state costs.
func (j *Join) plots() []chart.Chart {
	return []chart.Chart{{Name: "rate", Title: "Two streams joined within a minute", Y: chart.Axis{Label: "rows per second of both"},
		Bars: []string{"while the state fills", "with a minute of state"}, Goals: []chart.Goal{{Name: "goal", At: float64(2 * j.Rate)}},
		Series: []chart.Series{{Name: "rows/s", Y: []float64{j.FillPerSecond, j.RowsPerSecond}}}}}
}

// Join is a join of two streams with a minute of state.
type Join struct {
	StepTimes

	Rate          int64      `json:"event_rate"` // of each stream, rows in a second of event time
	Seconds       float64    `json:"seconds"`
	RowsPerSecond float64    `json:"rows_per_second"`      // of both streams, with full state
	FillPerSecond float64    `json:"fill_rows_per_second"` // while it filled
	StateRows     int64      `json:"state_rows"`
	First         int64      `json:"first_quarter_bytes"` // mean resident memory after a batch
	Last          int64      `json:"last_quarter_bytes"`
	PeakBytes     int64      `json:"peak_bytes"`
	Verified      []verified `json:"verified"`
}

func (j *Join) markdown() string {
	return "| rows/s of both streams | while the state filled | execute p50 ms | p95 | " +
		"whole batch p50 ms | p95 | first quarter MiB | last quarter | growth | most |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n" +
		fmt.Sprintf("| %.0f | %.0f | %.1f | %.1f | %.1f | %.1f | %d | %d | %+.1f %% | %d |\n\n",
			j.RowsPerSecond, j.FillPerSecond, j.Execute.P50, j.Execute.P95, j.Batch.P50, j.Batch.P95,
			j.First>>20, j.Last>>20, 100*(float64(j.Last)/float64(max(1, j.First))-1), j.PeakBytes>>20) +
		fmt.Sprintf("%d batches of %d rows (a second of event time each) in %.1f s, %d rows of state, "+
			"%d rows out, CPU %.1f s.", j.Steps, j.Rows, j.Seconds, j.StateRows, j.Out, j.CPU) + said(j.Verified)
}
