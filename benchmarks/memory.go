package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/engine"
)

const memorySQL = `CREATE SOURCE rows (` + columns + `,
  WATERMARK FOR ts AS ts - ` + watermarkDelay + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = 'json');
CREATE SINK tumbled_stream WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'TUMBLED');
CREATE SINK hopped_stream WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'HOPPED');
CREATE SINK updated_stream WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'UPDATED');
CREATE QUERY tumbled INTO tumbled_stream AS
  SELECT window_start, window_end, country, category, count(*) AS n, sum(amount) AS amount
  FROM tumble(rows, ts, INTERVAL '10 seconds') GROUP BY ALL;
CREATE QUERY hopped INTO hopped_stream AS
  SELECT window_start, window_end, country, count(*) AS n, sum(amount) AS amount
  FROM hop(rows, ts, INTERVAL '10 seconds', INTERVAL '1 minute') GROUP BY ALL;
CREATE QUERY updated INTO updated_stream OUTPUT MODE UPDATE AS
  SELECT country, category, count(*) AS n, sum(amount) AS amount FROM rows GROUP BY ALL;
`

const (
	memoryLimit  = 300 << 20 // unless it is set
	sampleEvery  = time.Second
	memoryWarmup = 10 * time.Second // at most a quarter of the run
)

// memory lets three queries run on a steady stream and watches the worker's memory.
func (r *run) memory(ctx context.Context) error {
	rate, duration := r.Rate, r.Duration
	if rate == 0 {
		rate = 5_000
	}
	if duration == 0 {
		duration = 10 * time.Minute
	}
	limit := cmp.Or(r.Memory, memoryLimit)
	goal := float64(limit >> 20)
	if r.Memory > 0 {
		goal *= memoryOver
	}
	r.report.SQL, r.report.Target = memorySQL, fmt.Sprintf("flat, at most %.0f MiB", goal)
	if err := r.client.createInput(ctx); err != nil {
		return err
	}
	dir := filepath.Join(r.Dir, "run")
	w, err := r.worker(ctx, dir, memorySQL, append(r.profiles(), "--memory-limit", fmt.Sprintf("%d MiB", limit>>20))...)
	if err != nil {
		return err
	}
	r.say("publishing %d rows/s for %s", rate, duration)
	watched, samples := watch(w.pid()), []int64(nil)
	m := maker{seed: r.Seed, perSecond: rate}
	n, err := r.client.pace(ctx, rate, duration, func(n int64) []byte { return m.Append(nil, n) })
	if err == nil {
		n, duration, err = r.moreBatches(ctx, w, rate, duration, n, m)
	}
	samples = watched()
	if err != nil {
		return err
	}
	if err := w.until(ctx, func(b []engine.Progress) bool { return consumed(b, n) }); err != nil {
		return err
	}
	result := &Memory{goal: goal, Rate: rate, Seconds: duration.Seconds(), Rows: n, WorkerCPU: cpuSeconds(w.pid())}
	if err := w.interrupt(); err != nil {
		return err
	}
	result.samples = samples
	result.fill(samples, duration)
	result.PeakBytes, result.Batches = w.peakBytes(), batchStats(w.progress())
	if err := r.drain(ctx, dir, memorySQL); err != nil {
		return err
	}
	result.Verified, err = r.verifyMemory(ctx, dir, m, n)
	r.report.Result = result
	return err
}

// moreBatches goes on for as long as it takes until the worker has committed so many batches as were asked for.
func (r *run) moreBatches(
	ctx context.Context, w *worker, rate int64, lasted time.Duration, sent int64, m maker,
) (int64, time.Duration, error) {
	const piece = 10 * time.Second
	for int64(len(w.progress())) < r.BatchCount {
		more, err := r.client.pace(ctx, rate, piece, func(n int64) []byte { return m.Append(nil, sent+n) })
		sent, lasted = sent+more, lasted+piece
		if err != nil {
			return sent, lasted, err
		}
	}
	return sent, lasted, nil
}

// watch samples the memory of a process until the function it returns is called.
func watch(pid int) func() []int64 {
	quit, done := make(chan struct{}), make(chan []int64)
	go func() { // ends with quit
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		var samples []int64
		for {
			select {
			case <-tick.C:
				if rss := residentBytes(pid); rss > 0 {
					samples = append(samples, rss)
				}
			case <-quit:
				done <- samples
				return
			}
		}
	}()
	return func() []int64 {
		close(quit)
		return <-done
	}
}

// consumed reports that each of the three queries has taken n rows.
func consumed(batches []engine.Progress, n int64) bool {
	done := map[string]bool{}
	for _, p := range slices.Backward(batches) {
		if p.Totals.In >= n {
			done[p.Name] = true
		}
		if len(done) == 3 {
			return true
		}
	}
	return false
}

// fill compares the first quarter after the warm-up with the last.
func (m *Memory) fill(samples []int64, d time.Duration) {
	skip := min(int(min(memoryWarmup, d/4)/sampleEvery), len(samples))
	samples = samples[skip:]
	quarter := max(1, len(samples)/4)
	if len(samples) < 2 {
		return
	}
	m.First, m.Last = mean(samples[:quarter]), mean(samples[len(samples)-quarter:])
	m.Most = slices.Max(samples)
	m.Samples = len(samples)
}

func mean(values []int64) int64 {
	var sum int64
	for _, v := range values {
		sum += v
	}
	return sum / int64(len(values))
}

// verifyMemory compares all three sinks. Of the keyed messages in update mode the last one of each key counts.
func (r *run) verifyMemory(ctx context.Context, dir string, m maker, n int64) ([]verified, error) {
	rowsFile := filepath.Join(r.Dir, "rows.ndjson")
	if err := writeRows(rowsFile, m, 0, n); err != nil {
		return nil, err
	}
	for _, stream := range []string{"TUMBLED", "HOPPED", "UPDATED"} {
		if err := r.client.dump(ctx, stream, filepath.Join(dir, stream+".ndjson")); err != nil {
			return nil, err
		}
	}
	defer func() { _ = os.Remove(rowsFile) }() // it is large, and the caller removes the rest
	from := func(stream, cols string) string { return fromJSON(filepath.Join(dir, stream+".ndjson"), cols) }
	tumbled := strings.Replace(countColumns, "'n'", "'category': 'VARCHAR', 'n'", 1)
	return compare(ctx, r.Dir, rowsFile, readColumns, []check{
		{name: "tumbled", got: from("TUMBLED", tumbled),
			want: `SELECT window_start, window_start + INTERVAL '10 seconds' AS window_end, country, category, count(*) AS n,
				sum(amount)::DECIMAL(38, 2) AS amount
				FROM (SELECT *, time_bucket(INTERVAL '10 seconds', ts, TIMESTAMP '1970-01-01') AS window_start FROM rows)
				WHERE window_start + INTERVAL '10 seconds' ` + closed + ` GROUP BY ALL`},
		{name: "hopped", got: from("HOPPED", countColumns),
			want: `SELECT window_start, window_start + INTERVAL '1 minute' AS window_end, country, count(*) AS n,
				sum(amount)::DECIMAL(38, 2) AS amount
				FROM (SELECT *, time_bucket(INTERVAL '10 seconds', ts, TIMESTAMP '1970-01-01') - to_seconds(10 * i)
					AS window_start FROM rows, range(6) t(i))
				WHERE window_start + INTERVAL '1 minute' ` + closed + ` GROUP BY ALL`},
		{name: "updated", got: `SELECT country, category, arg_max(n, n) AS n, arg_max(amount, n) AS amount FROM (` +
			from("UPDATED", updateColumns) + `) GROUP BY ALL`,
			want: `SELECT country, category, count(*) AS n, sum(amount)::DECIMAL(38, 2) AS amount FROM rows GROUP BY ALL`},
	})
}

const updateColumns = `{'country': 'VARCHAR', 'category': 'VARCHAR', 'n': 'BIGINT', 'amount': 'DECIMAL(38, 2)'}`

// Memory is the worker's resident memory under a steady stream.
type Memory struct {
	Rate      int64      `json:"rate"`
	Seconds   float64    `json:"seconds"`
	Rows      int64      `json:"rows"`
	Samples   int        `json:"samples"`
	First     int64      `json:"first_quarter_bytes"` // mean, after the warm-up
	Last      int64      `json:"last_quarter_bytes"`
	Most      int64      `json:"most_bytes"`
	PeakBytes int64      `json:"peak_bytes"` // by the kernel's count, from the start on
	WorkerCPU float64    `json:"worker_cpu_seconds"`
	Batches   Batches    `json:"batches"`
	Verified  []verified `json:"verified"`

	samples []int64 // one each second, for the plot
	goal    float64 // MiB
}

func (m *Memory) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| first quarter MiB | last quarter | most | growth |\n|--:|--:|--:|--:|\n| %d | %d | %d | %+.1f %% |\n\n",
		m.First>>20, m.Last>>20, max(m.Most, m.PeakBytes)>>20, 100*(float64(m.Last)/float64(max(1, m.First))-1))
	fmt.Fprintf(&b, "%d rows at %d rows/s over %.0f s, %d samples. CPU: worker %.1f s. ", m.Rows, m.Rate, m.Seconds, m.Samples,
		m.WorkerCPU)
	batches(&b, m.Batches, m.Verified)
	return b.String()
}

func (m *Memory) plots() []chart.Chart {
	p := chart.Chart{Name: "memory", Title: "Resident memory under a steady stream", X: chart.Axis{Label: "seconds"},
		Y: chart.Axis{Label: "MiB"}, Series: []chart.Series{{Name: "worker"}}, Goals: []chart.Goal{{Name: "goal", At: m.goal}}}
	for _, bytes := range m.samples {
		p.Series[0].Y = append(p.Series[0].Y, float64(bytes)/(1<<20))
	}
	return []chart.Chart{p}
}
