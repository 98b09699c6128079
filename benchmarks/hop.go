package benchmarks

import (
	"cmp"
	"context"
	"fmt"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

const hopSQL = `CREATE SOURCE rows (k BIGINT, v BIGINT, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '2 seconds') WITH (connector = 'pieces');
CREATE SINK tumble_sink WITH (connector = 'kept');
CREATE SINK hop_sink WITH (connector = 'kept');
CREATE QUERY tumble INTO tumble_sink AS
  SELECT window_start, window_end, k, count(*) AS n, sum(v)::BIGINT AS total
  FROM tumble(rows, ts, INTERVAL '10 seconds') GROUP BY ALL;
CREATE QUERY hop INTO hop_sink AS
  SELECT window_start, window_end, k, count(*) AS n, sum(v)::BIGINT AS total
  FROM hop(rows, ts, INTERVAL '2 seconds', INTERVAL '10 seconds') GROUP BY ALL;
`

// hopWant is the plain query of a window that starts every so many seconds and holds ten: %d windows hold
// each row.
const hopWant = `SELECT window_start, window_start + INTERVAL '10 seconds' AS window_end, k, count(*) AS n,
  sum(v)::BIGINT AS total
  FROM (SELECT *,
      time_bucket(INTERVAL '%d seconds', ts, TIMESTAMP '1970-01-01') - to_seconds(%d * i) AS window_start
    FROM rows, range(%d) t(i)) GROUP BY ALL`

// hop runs the same rows through tumbling and hopping windows, in turns.
func (r *run) hop(ctx context.Context) error {
	t := task{SQL: hopSQL, Queries: []string{"tumble", "hop"}, Dir: "run", Finish: true,
		Feed: feedSpec{Kind: "windows", Seed: r.Seed, Rows: cmp.Or(r.BatchRows, 100_000), Rate: cmp.Or(r.Rate, 10_000),
			Total: cmp.Or(r.Rows, 4_000_000)}}
	t.Steps = steps(t.Feed.Total, t.Feed.Rows)
	r.report.SQL, r.report.Target = hopSQL, "hop 10 s / 2 s within 2 times the time of tumble 10 s"
	r.say("%d rows in batches of %d, %d in a second of event time", t.Feed.Total, t.Feed.Rows, t.Feed.Rate)
	o, err := r.engine(ctx, &t)
	if err != nil {
		return err
	}
	result := &Hop{Rows: t.Feed.Total, Rate: t.Feed.Rate, PeakBytes: o.Peak}
	for i, name := range t.Queries {
		laps := o.of(i, 0, t.Steps+1)
		w := Windows{Query: name, StepTimes: stepsOf(t.Feed.Rows, o.of(i, 0, t.Steps)),
			Seconds: sum(column(laps, func(l lap) float64 { return l.Batch })) / 1000}
		w.CPU, w.Out = sum(column(laps, func(l lap) float64 { return l.CPU })), stepsOf(0, laps).Out
		w.RowsPerSecond = float64(result.Rows) / w.Seconds
		result.Windows = append(result.Windows, w)
	}
	result.Ratio = result.Windows[1].Seconds / result.Windows[0].Seconds
	result.Verified, err = r.verify(ctx, t, o, map[string]string{
		"tumble": fmt.Sprintf(hopWant, 10, 10, 1), "hop": fmt.Sprintf(hopWant, 2, 2, 5)})
	r.report.Result = result
	return err
}

// Windows is one query's way through the rows.
type Windows struct {
	StepTimes

	Query         string  `json:"query"`
	Seconds       float64 `json:"seconds"` // all its batches
	RowsPerSecond float64 `json:"rows_per_second"`
}

// Hop compares hopping with tumbling windows.
type Hop struct {
	Rows      int64      `json:"rows"`
	Rate      int64      `json:"event_rate"` // rows in a second of event time
	Windows   []Windows  `json:"windows"`
	Ratio     float64    `json:"ratio"` // time of hop to time of tumble
	PeakBytes int64      `json:"peak_bytes"`
	Verified  []verified `json:"verified"`
}

func (h *Hop) markdown() string {
	text := "| windows | rows/s | seconds | CPU s | rows out | execute p50 ms | p95 |\n" +
		"|---|--:|--:|--:|--:|--:|--:|\n"
	for _, w := range h.Windows {
		text += fmt.Sprintf("| %s | %.0f | %.2f | %.2f | %d | %.1f | %.1f |\n", w.Query, w.RowsPerSecond, w.Seconds,
			w.CPU, w.Out, w.Execute.P50, w.Execute.P95)
	}
	return text + fmt.Sprintf("\n%d rows, %d in a second of event time. Hop took %.2f times as long as tumble. "+
		"%d MiB at most, both queries together.", h.Rows, h.Rate, h.Ratio, h.PeakBytes>>20) + said(h.Verified)
}

func (h *Hop) plots() []chart.Chart {
	p := chart.Chart{Name: "windows", Title: "Hopping windows of 10 s every 2 s beside tumbling ones of 10 s",
		Y: chart.Axis{Label: "rows per second"}, Series: []chart.Series{{Name: "rows/s"}}}
	for _, w := range h.Windows {
		p.Bars, p.Series[0].Y = append(p.Bars, w.Query), append(p.Series[0].Y, w.RowsPerSecond)
	}
	return []chart.Chart{p}
}
