package benchmarks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/natsconn"
)

const latencySQL = `CREATE SOURCE rows (` + columns + `,
  WATERMARK FOR ts AS ts - ` + watermarkDelay + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = 'json');
CREATE SINK seen WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'SEEN', subject = 'seen');
CREATE QUERY latency INTO seen TRIGGER CONTINUOUS AS
  SELECT order_id, user_id, country, amount, ts FROM rows;
`

// latencyWarmup is left out: processes start, pages fault, caches fill.
const latencyWarmup = 3 * time.Second

// latency publishes tiny messages at a steady rate, each stamped as it is published, and takes the time until a
// subscriber of the sink's stream has the row.
func (r *run) latency(ctx context.Context) error {
	rate, duration := r.Rate, r.Duration
	if rate == 0 {
		rate = 10_000
	}
	if duration == 0 {
		duration = 30 * time.Second
	}
	total := duration + latencyWarmup
	r.report.SQL, r.report.Target = latencySQL, "p99 at most 50 ms"
	if err := r.client.createInput(ctx); err != nil {
		return err
	}
	if _, err := r.client.js.CreateStream(ctx, jetstream.StreamConfig{Name: "SEEN", Subjects: []string{"seen", "seen.>"},
		AllowAtomicPublish: true}); err != nil {
		return fmt.Errorf("create stream SEEN: %w", err)
	}
	dir := filepath.Join(r.Dir, "run")
	w, err := r.worker(ctx, dir, latencySQL, r.profiles()...)
	if err != nil {
		return err
	}
	l := &latencyRun{sent: make([]time.Time, 0, int64(total.Seconds()*float64(rate))+1)}
	reader, err := dial(r.broker.url) // a connection of its own, as a stranger's would be
	if err != nil {
		return err
	}
	defer reader.close()
	stop, err := l.subscribe(ctx, reader)
	if err != nil {
		return err
	}
	defer stop()
	before, beforeWorker := r.broker.cpu(), cpuSeconds(w.pid())
	n, err := l.publish(ctx, r, rate, total)
	if err != nil {
		return err
	}
	result := &Latency{Rate: rate, Seconds: duration.Seconds(), Rows: n,
		BrokerCPU: r.broker.cpu() - before, WorkerCPU: cpuSeconds(w.pid()) - beforeWorker}
	if err := l.await(ctx, n); err != nil {
		return err
	}
	if err := w.interrupt(); err != nil {
		return err
	}
	stop()
	result.Batches, result.PeakBytes = batchStats(w.progress()), w.peakBytes()
	l.fill(result, int64(latencyWarmup.Seconds()*float64(rate)))
	result.Verified, err = r.verifyLatency(ctx, dir, l, n)
	r.report.Result = result
	return err
}

// publish sends rows at the rate, each stamped just before.
func (l *latencyRun) publish(ctx context.Context, r *run, rate int64, total time.Duration) (int64, error) {
	r.say("publishing %d rows/s for %s, the first %s left out", rate, total, latencyWarmup)
	m := maker{seed: r.Seed, perSecond: rate}
	return r.client.pace(ctx, rate, total, func(n int64) []byte {
		now := time.Now()
		l.mu.Lock()
		l.sent = append(l.sent, now)
		l.mu.Unlock()
		return m.appendAt(nil, n, now.UTC().Truncate(time.Microsecond))
	})
}

func (r *run) verifyLatency(ctx context.Context, dir string, l *latencyRun, n int64) ([]verified, error) {
	rowsFile := filepath.Join(r.Dir, "rows.ndjson")
	m := maker{seed: r.Seed, perSecond: 1}
	var b []byte
	for i := range n {
		b = append(m.appendAt(b, i, l.sent[i].UTC().Truncate(time.Microsecond)), '\n')
	}
	if err := os.WriteFile(rowsFile, b, 0o600); err != nil {
		return nil, fmt.Errorf("write the rows: %w", err)
	}
	if err := r.client.dump(ctx, "SEEN", filepath.Join(dir, "sink.ndjson")); err != nil {
		return nil, err
	}
	return compare(ctx, r.Dir, rowsFile, readColumns, []check{{name: "latency",
		want: "SELECT order_id, user_id, country, amount, ts FROM rows",
		got:  fromJSON(filepath.Join(dir, "sink.ndjson"), filterColumns)}})
}

// latencyRun pairs the time a row was published with the times it was stored by the sink and seen by a subscriber.
type latencyRun struct {
	mu     sync.Mutex
	sent   []time.Time // guarded by mu: by row
	seen   []sample    // guarded by mu
	broken error       // guarded by mu: what made the subscriber stop
}

// sample is one row that came out.
type sample struct {
	row    int64
	stored time.Duration // until the broker had stored the sink's message
	seen   time.Duration // until the subscriber had it
}

// subscribe follows the sink's stream as any consumer would.
func (l *latencyRun) subscribe(ctx context.Context, c *client) (stop func(), err error) {
	s, err := c.js.Stream(ctx, "SEEN")
	if err != nil {
		return nil, fmt.Errorf("look at stream SEEN: %w", err)
	}
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	running, err := cons.Consume(func(m jetstream.Msg) { l.receive(m, time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("follow stream SEEN: %w", err)
	}
	return running.Stop, nil
}

var idKey = []byte(`"order_id":`) //nolint:gochecknoglobals // a constant

func (l *latencyRun) receive(m jetstream.Msg, now time.Time) {
	if m.Headers().Get(natsconn.MarkerHeader) != "" {
		return
	}
	meta, err := m.Metadata()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.broken = err
		return
	}
	for line := range bytes.Lines(m.Data()) {
		_, rest, ok := bytes.Cut(line, idKey)
		end := bytes.IndexAny(rest, ",}")
		if !ok || end < 0 {
			l.broken = fmt.Errorf("the sink holds %q", line)
			return
		}
		id, err := strconv.ParseInt(string(bytes.TrimSpace(rest[:end])), 10, 64)
		row := id - 1_000_000
		if err != nil || row < 0 || row >= int64(len(l.sent)) {
			l.broken = fmt.Errorf("the sink holds a row that was never sent: %q", line)
			return
		}
		l.seen = append(l.seen, sample{row, meta.Timestamp.Sub(l.sent[row]), now.Sub(l.sent[row])})
	}
}

// await waits until as many rows as were sent have come out.
func (l *latencyRun) await(ctx context.Context, n int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not every row came out within a minute"))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		l.mu.Lock()
		got, broken := int64(len(l.seen)), l.broken
		l.mu.Unlock()
		if broken != nil || got >= n {
			return broken
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d rows have come out: %w", got, n, context.Cause(ctx))
		}
	}
}

// fill computes the quantiles over rows that were sent after the warm-up.
func (l *latencyRun) fill(out *Latency, first int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var stored, seen []float64
	for _, s := range l.seen {
		if s.row >= first {
			stored = append(stored, float64(s.stored.Microseconds())/1000)
			seen = append(seen, float64(s.seen.Microseconds())/1000)
		}
	}
	out.Samples = len(seen)
	out.Seen, out.Stored = quantiles(seen), quantiles(stored)
	if span := l.sent[len(l.sent)-1].Sub(l.sent[first]).Seconds(); span > 0 {
		out.Achieved = float64(int64(len(l.sent))-1-first) / span
	}
}

func quantiles(ms []float64) Quantiles {
	return Quantiles{P50: quantile(ms, 0.5), P90: quantile(ms, 0.9), P99: quantile(ms, 0.99),
		P999: quantile(ms, 0.999), Max: quantile(ms, 1)}
}

// Quantiles are in milliseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Latency is from just before a row is published.
type Latency struct {
	Rate      int64      `json:"rate"`
	Achieved  float64    `json:"achieved_rate"`
	Seconds   float64    `json:"seconds"`
	Rows      int64      `json:"rows"`
	Samples   int        `json:"samples"`
	Stored    Quantiles  `json:"stored_ms"` // until the broker has stored the sink's message
	Seen      Quantiles  `json:"seen_ms"`   // until a subscriber of the sink's stream has it
	WorkerCPU float64    `json:"worker_cpu_seconds"`
	BrokerCPU float64    `json:"broker_cpu_seconds"`
	PeakBytes int64      `json:"worker_peak_bytes"`
	Batches   Batches    `json:"batches"`
	Verified  []verified `json:"verified"`
}

func (l *Latency) markdown() string {
	var b strings.Builder
	b.WriteString("| until | p50 ms | p90 | p99 | p99.9 | max |\n|---|--:|--:|--:|--:|--:|\n")
	for _, line := range []struct {
		name string
		q    Quantiles
	}{{"stored in the sink", l.Stored}, {"seen by a subscriber", l.Seen}} {
		fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.1f | %.1f |\n", line.name, line.q.P50, line.q.P90, line.q.P99,
			line.q.P999, line.q.Max)
	}
	fmt.Fprintf(&b, "\n%d rows, asked for %d rows/s, sent %.0f rows/s. CPU: worker %.1f s, broker %.1f s. ",
		l.Rows, l.Rate, l.Achieved, l.WorkerCPU, l.BrokerCPU)
	batches(&b, l.Batches, l.Verified)
	return b.String()
}
