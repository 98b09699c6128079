package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/engine"
)

const scaleSource = `CREATE SOURCE rows (` + columns + `,
  WATERMARK FOR ts AS ts - ` + watermarkDelay + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = 'ndjson');
`

const scaleQuery = `CREATE SINK counts%[1]d WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'COUNTS%[2]d_%[1]d');
CREATE QUERY q%[1]d INTO counts%[1]d AS
  SELECT window_start, window_end, country, count(*) AS n, sum(amount) AS amount
  FROM tumble(rows, ts, INTERVAL '1 minute') GROUP BY ALL;
`

// scaleRuns are what is compared: one query on one core and on all, then more queries in one process on all cores.
func scaleRuns() []Scaled {
	all := runtime.NumCPU()
	return []Scaled{{Cores: 1, Queries: 1}, {Cores: all, Queries: 1}, {Cores: all, Queries: 2}, {Cores: all, Queries: 4},
		{Cores: all, Queries: 16}}
}

// scale runs queries over one stream on one core and on all, and more and more of them in one process.
func (r *run) scale(ctx context.Context) error {
	rows := cmp.Or(r.Rows, 1_000_000)
	m := maker{seed: r.Seed, perSecond: 1000}
	r.report.SQL = scaleSource + fmt.Sprintf(scaleQuery, 1, 1)
	r.report.Target = "rows/s grow with the cores, and CPU seconds per million rows and query do not grow with the queries"
	r.say("publishing %d rows, 1000 in a message", rows)
	if err := r.client.fill(ctx, m, rows, 1000); err != nil {
		return err
	}
	rowsFile := filepath.Join(r.Dir, "rows.ndjson")
	if err := writeRows(rowsFile, m, 0, rows); err != nil {
		return err
	}
	result := &Scale{Rows: rows}
	for i, one := range scaleRuns() {
		r.say("%s", one.name())
		if err := r.scaled(ctx, &one, i+1, rows, rowsFile); err != nil {
			return fmt.Errorf("%s: %w", one.name(), err)
		}
		result.Runs = append(result.Runs, one)
	}
	r.report.Result = result
	return nil
}

// scaled measures one of them.
func (r *run) scaled(ctx context.Context, one *Scaled, run int, rows int64, rowsFile string) error {
	var sql strings.Builder
	sql.WriteString(scaleSource)
	for q := range one.Queries {
		fmt.Fprintf(&sql, scaleQuery, q, run)
	}
	dir := filepath.Join(r.Dir, fmt.Sprintf("scale%d", run))
	var w *worker
	err := pinned(one.Cores, func() (err error) {
		w, err = r.worker(ctx, dir, sql.String(), "--threads", fmt.Sprint(one.Cores))
		return err
	})
	if err != nil {
		return err
	}
	if err := w.until(ctx, func(b []engine.Progress) bool { return finished(b, rows) == one.Queries }); err != nil {
		return err
	}
	one.CPU = cpuSeconds(w.pid()) / float64(one.Queries) / float64(rows) * 1e6
	if err := w.interrupt(); err != nil {
		return err
	}
	var t Throughput
	t.measure(w.progress())
	one.Seconds, one.PeakBytes = t.Seconds, w.peakBytes()
	one.PerSecond = float64(rows) * float64(one.Queries) / one.Seconds
	if err := r.drain(ctx, dir, sql.String()); err != nil {
		return err
	}
	var checks []check
	for q := range one.Queries {
		out := filepath.Join(dir, fmt.Sprintf("sink%d.ndjson", q))
		if err := r.client.dump(ctx, fmt.Sprintf("COUNTS%d_%d", run, q), out); err != nil {
			return err
		}
		checks = append(checks, check{name: fmt.Sprintf("q%d", q), want: wantCounts, got: fromJSON(out, countColumns)})
	}
	one.Verified, err = compare(ctx, r.Dir, rowsFile, readColumns, checks)
	return err
}

// finished counts the queries that have taken all rows.
func finished(batches []engine.Progress, rows int64) int {
	done := map[string]bool{}
	for _, p := range batches {
		if p.Totals.In >= rows {
			done[p.Name] = true
		}
	}
	return len(done)
}

// pinned runs a function that starts a process, which may use so many cores and no more.
func pinned(cores int, start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, few unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("ask for the cores: %w", err)
	}
	for cpu := 0; few.Count() < min(cores, before.Count()); cpu++ {
		if before.IsSet(cpu) {
			few.Set(cpu)
		}
	}
	if err := unix.SchedSetaffinity(0, &few); err != nil { // a process has the cores of the thread that starts it
		return fmt.Errorf("limit the cores: %w", err)
	}
	err := start()
	if uerr := unix.SchedSetaffinity(0, &before); err == nil && uerr != nil {
		return fmt.Errorf("give the cores back: %w", uerr)
	}
	return err
}
