package benchmarks

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/internal/diag"
)

const evictSQL = `CREATE SOURCE rows (k BIGINT, v BIGINT, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '%d seconds') WITH (connector = 'pieces');
CREATE SINK evict_sink WITH (connector = 'kept');
CREATE QUERY evict INTO evict_sink AS
  SELECT window_start, window_end, k, count(*) AS n, sum(v)::BIGINT AS total
  FROM tumble(rows, ts, INTERVAL '1 second') GROUP BY ALL;
`

const evictWant = `SELECT date_trunc('second', ts) AS window_start,
  date_trunc('second', ts) + INTERVAL '1 second' AS window_end,
  k, count(*) AS n, sum(v)::BIGINT AS total FROM rows GROUP BY ALL`

// evict keeps more and more groups open while as many leave with each batch.
func (r *run) evict(ctx context.Context) error {
	leave, batches, open := int64(1000), cmp.Or(r.BatchCount, 30), r.Groups
	if len(r.Keys) > 0 {
		leave = r.Keys[0]
	}
	if len(open) == 0 {
		open = []int64{10_000, 100_000, 1_000_000}
	}
	r.report.SQL = fmt.Sprintf(evictSQL, open[0]/leave)
	r.report.Target = "the cost of a batch follows what leaves, not what is open"
	result := &Evict{Leaving: leave}
	for _, groups := range open {
		windows := groups / leave
		if windows < 2 {
			return diag.New(diag.Usage, "%d open groups are fewer than two windows of %d", groups, leave)
		}
		t := task{SQL: fmt.Sprintf(evictSQL, windows), Queries: []string{"evict"}, Finish: true,
			Dir:  fmt.Sprintf("open%d", groups),
			Feed: feedSpec{Kind: "groups", Seed: r.Seed, Keys: leave, Open: windows}}
		t.Filled = steps(windows, max(1, loadRows/leave))
		const settling = 2 // steps until the first window ends
		t.Steps = t.Filled + settling + int(batches)
		r.say("%d open groups, %d leave with each of %d batches", groups, leave, batches)
		o, err := r.engine(ctx, &t)
		if err != nil {
			return err
		}
		laps := o.of(0, t.Filled+settling, t.Steps)
		one := Open{Groups: groups, StateRows: laps[len(laps)-1].State, StepTimes: stepsOf(2*leave, laps),
			PeakBytes: o.Peak}
		if want := leave * batches; one.Out != want {
			return fmt.Errorf("%d groups left in %d batches, not %d", one.Out, batches, want)
		}
		if one.Verified, err = r.verify(ctx, t, o, map[string]string{"evict": evictWant}); err != nil {
			return err
		}
		result.Open = append(result.Open, one)
	}
	r.report.Result = result
	return nil
}

// Open is a run with so many open groups.
type Open struct {
	StepTimes

	Groups    int64      `json:"open_groups"`
	StateRows int64      `json:"state_rows"`
	PeakBytes int64      `json:"peak_bytes"`
	Verified  []verified `json:"verified"`
}

// Evict says what open groups cost a batch in which few of them leave.
type Evict struct {
	Leaving int64  `json:"leaving"` // groups of a batch
	Open    []Open `json:"open"`
}

func (e *Evict) markdown() string {
	text := "| open groups | execute p50 ms | p95 | max | whole batch p50 ms | p95 | CPU ms a batch | " +
		"to the first row | peak MiB |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, o := range e.Open {
		text += fmt.Sprintf("| %d | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.2f | %d |\n", o.Groups,
			o.Execute.P50, o.Execute.P95, o.Execute.Max, o.Batch.P50, o.Batch.P95, 1000*o.CPU/float64(max(1, o.Steps)),
			o.Execute.P50/e.Open[0].Execute.P50, o.PeakBytes>>20)
	}
	first := e.Open[0]
	text += fmt.Sprintf("\nEach step brings %d rows, opens %d groups and lets %d leave; its execute is that of "+
		"the batch with data and of the one without that follows it. %d steps.",
		first.Rows, e.Leaving, e.Leaving, first.Steps)
	for _, o := range e.Open {
		text += fmt.Sprintf(" Verified with %d open groups: %d rows equal plain DuckDB.", o.Groups,
			o.Verified[0].Rows)
	}
	return text + "\n\n"
}

func (e *Evict) plots() []chart.Chart {
	p := chart.Chart{Name: "open", Title: fmt.Sprintf("A batch from which %d groups leave", e.Leaving),
		X: chart.Axis{Label: "open groups", Log: true}, Y: chart.Axis{Label: "ms a batch", Log: true}}
	execute, whole := chart.Series{Name: "execute, p50"}, chart.Series{Name: "whole batch, p50"}
	for _, o := range e.Open {
		for s, ms := range map[*chart.Series]float64{&execute: o.Execute.P50, &whole: o.Batch.P50} {
			s.X, s.Y = append(s.X, float64(o.Groups)), append(s.Y, ms)
		}
	}
	p.Series = []chart.Series{execute, whole}
	return []chart.Chart{p}
}
