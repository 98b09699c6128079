package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/engine"
)

const startupRows = 10_000

// startup starts a worker on a stream that has data, again and again, each time in a new data directory.
func (r *run) startup(ctx context.Context) error {
	rows, runs := cmp.Or(r.Rows, startupRows), max(1, r.Runs)
	m := maker{seed: r.Seed, perSecond: 100}
	sql := func(run int) string {
		return fmt.Sprintf(packedSQL, fmt.Sprintf("connector = 'jetstream', url = '${NATS_URL}', stream = 'COUNTS%d'", run))
	}
	r.report.SQL, r.report.Target = sql(1), "at most 300 ms from the start of the process to its first committed batch"
	r.say("publishing %d rows, then %d starts", rows, runs)
	if err := r.client.fill(ctx, m, rows, 1000); err != nil {
		return err
	}
	rowsFile := filepath.Join(r.Dir, "rows.ndjson")
	if err := writeRows(rowsFile, m, 0, rows); err != nil {
		return err
	}
	result := &Startup{Rows: rows, Runs: runs}
	var open, commit, cpu []float64
	for i := 1; i <= runs; i++ {
		dir := filepath.Join(r.Dir, fmt.Sprintf("start%d", i))
		began := time.Now()
		w, err := r.worker(ctx, dir, sql(i))
		if err != nil {
			return err
		}
		if err := w.until(ctx, func(b []engine.Progress) bool { return len(b) > 0 }); err != nil {
			return err
		}
		cpu = append(cpu, 1000*cpuSeconds(w.pid()))
		first := w.progress()[0]
		opened := first.Timestamp.Sub(began)
		open = append(open, 1000*opened.Seconds())
		commit = append(commit, 1000*opened.Seconds()+first.BatchDuration)
		if err := w.until(ctx, func(b []engine.Progress) bool { return b[len(b)-1].Totals.In >= rows }); err != nil {
			return err
		}
		if err := w.interrupt(); err != nil {
			return err
		}
		if result.Verified, err = r.verifyStart(ctx, dir, sql(i), fmt.Sprintf("COUNTS%d", i), rowsFile); err != nil {
			return fmt.Errorf("start %d: %w", i, err)
		}
	}
	result.Open, result.Commit, result.CPU = spread(open), spread(commit), spread(cpu)
	r.report.Result = result
	return nil
}

func (r *run) verifyStart(ctx context.Context, dir, sql, stream, rowsFile string) ([]verified, error) {
	if err := r.drain(ctx, dir, sql); err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "sink.ndjson")
	if err := r.client.dump(ctx, stream, out); err != nil {
		return nil, err
	}
	return compare(ctx, r.Dir, rowsFile, readColumns, []check{{name: "packed", want: wantCounts, got: fromJSON(out, countColumns)}})
}

// Startup is what passes until a process that finds data has committed its first batch.
type Startup struct {
	Rows     int64      `json:"rows"`
	Runs     int        `json:"runs"`
	Open     Spread     `json:"open_ms"`   // until the first batch began
	Commit   Spread     `json:"commit_ms"` // until it was committed
	CPU      Spread     `json:"cpu_ms"`    // of the process until then
	Verified []verified `json:"verified"`  // of the last run; each one was
}

func (s *Startup) markdown() string {
	text := "| until | p50 ms | p95 | max |\n|---|--:|--:|--:|\n"
	for _, line := range []struct {
		name string
		s    Spread
	}{{"the first batch began", s.Open}, {"it was committed", s.Commit}, {"the same, CPU time of the process", s.CPU}} {
		text += fmt.Sprintf("| %s | %.0f | %.0f | %.0f |\n", line.name, line.s.P50, line.s.P95, line.s.Max)
	}
	return text + fmt.Sprintf("\n%d starts of `tidemill run` in new data directories over a stream of %d rows, the broker running.",
		s.Runs, s.Rows) + said(s.Verified)
}

func (s *Startup) plots() []chart.Chart {
	c := chart.Chart{Name: "time", Title: "From the start of a process that finds data", Y: chart.Axis{Label: "ms"},
		Bars: []string{"first batch began", "committed", "CPU until then"}, Series: []chart.Series{{Name: "median"}, {Name: "longest"}},
		Goals: []chart.Goal{{Name: "goal, committed", At: 300}}}
	for _, one := range []Spread{s.Open, s.Commit, s.CPU} {
		add(c.Series, one.P50, one.Max)
	}
	return []chart.Chart{c}
}
