package benchmarks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// latencySQL counts by key. All that a batch changed goes out as one message: a subscriber learns from n how many of
// a key's rows are in it.
const latencySQL = `CREATE SOURCE rows (` + columns + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = '%s');
CREATE SINK seen WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'SEEN', payload = 'ndjson',
  rows_per_message = 100000);
CREATE QUERY latency INTO seen OUTPUT MODE UPDATE TRIGGER CONTINUOUS AS
  SELECT user_id, count(*) AS n, sum(amount) AS amount FROM rows GROUP BY user_id;
`

const (
	latencyColumns = `{'user_id': 'VARCHAR', 'n': 'BIGINT', 'amount': 'DECIMAL(38, 2)'}`
	latencyKeys    = 10_000
	// latencyWarmup is left out, or as long as the run if that is shorter: processes start, pages fault, caches fill, every
	// key becomes known.
	latencyWarmup = 5 * time.Second
	// latencyPackFrom is the rate from which rows are packed, because one message a row would measure the publisher.
	latencyPackFrom = 50_000
	latencyPack     = 100
	// latencySynced is how many messages a second come to a broker that syncs each: with more it would be the publisher, too, that
	// is measured.
	latencySynced = 500
)

// latency publishes rows at a steady rate and takes the time from when each was to be sent until the sink has stored
// the change that holds it. A publisher that falls behind makes its rows late, it does not make them fewer.
func (r *run) latency(ctx context.Context) error {
	rates, duration := r.Rates, r.Duration
	if len(rates) == 0 {
		rates = []int64{1_000, 10_000, 100_000}
	}
	if r.Rate > 0 {
		rates = []int64{r.Rate}
	}
	if duration == 0 {
		duration = 20 * time.Second
	}
	r.report.SQL = fmt.Sprintf(latencySQL, "json")
	r.report.Target = "p50 at most 5 ms and p99 at most 15 ms at 10,000 rows/s, p99 at most 50 ms at 100,000 rows/s"
	result := &Latencies{Keys: latencyKeys}
	for _, rate := range rates {
		one, err := r.latencyAt(ctx, rate, duration)
		if err != nil {
			return fmt.Errorf("at %d rows/s: %w", rate, err)
		}
		r.say("%d rows/s: p50 %.1f ms, p99 %.1f ms until stored, verified", rate, one.Stored.P50, one.Stored.P99)
		result.Rates = append(result.Rates, *one)
	}
	r.report.Result = result
	return nil
}

func (r *run) latencyAt(ctx context.Context, rate int64, duration time.Duration) (*Latency, error) {
	warmup := min(latencyWarmup, duration)
	p := &pacer{rate: rate, pack: r.latencyPack(rate), total: int64((duration + warmup).Seconds() * float64(rate)),
		maker: maker{seed: r.Seed, perSecond: rate, users: latencyKeys}}
	format := "json"
	if p.pack > 1 {
		format = "ndjson"
	}
	if err := r.client.renewLatency(ctx); err != nil {
		return nil, err
	}
	dir, sql := filepath.Join(r.Dir, fmt.Sprintf("rate%d", rate)), fmt.Sprintf(latencySQL, format)
	w, err := r.worker(ctx, dir, sql, r.profiles()...)
	if err != nil {
		return nil, err
	}
	reader, err := dial(r.broker.url) // a connection of its own, as a stranger's would be
	if err != nil {
		return nil, err
	}
	defer reader.close()
	l := newArrivals(p, int64(warmup.Seconds()*float64(rate)))
	stop, err := l.subscribe(ctx, reader)
	if err != nil {
		return nil, err
	}
	defer stop()
	r.say("publishing %d rows/s, %d in a message, for %s, the first %s left out", rate, p.pack, duration+warmup, warmup)
	before, beforeWorker := r.broker.cpu(), cpuSeconds(w.pid())
	if err := p.publish(ctx, r.client); err != nil {
		return nil, err
	}
	result := &Latency{Rate: rate, Pack: p.pack, Rows: p.total, Seconds: duration.Seconds(), Behind: p.behind.Seconds() * 1000,
		BrokerCPU: r.broker.cpu() - before, WorkerCPU: cpuSeconds(w.pid()) - beforeWorker}
	if err := l.await(ctx); err != nil {
		return nil, err
	}
	if err := w.interrupt(); err != nil {
		return nil, err
	}
	stop()
	result.Batches, result.PeakBytes = batchStats(w.progress()), w.peakBytes()
	l.fill(result)
	result.Verified, err = r.verifyLatency(ctx, dir, p)
	return result, err
}

// latencyPack is how many rows are in a message at a rate.
func (r *run) latencyPack(rate int64) int64 {
	pack := int64(1)
	if rate >= latencyPackFrom {
		pack = latencyPack
	}
	if r.SyncAlways {
		pack = max(pack, (rate+latencySynced-1)/latencySynced)
	}
	return pack
}

// renewLatency makes both streams anew.
func (c *client) renewLatency(ctx context.Context) error {
	for _, name := range []string{inStream, "SEEN"} {
		if err := c.remove(ctx, name); err != nil {
			return err
		}
	}
	if _, err := c.js.CreateStream(ctx, jetstream.StreamConfig{Name: "SEEN", Subjects: []string{"seen", "seen.>"},
		AllowAtomicPublish: true}); err != nil {
		return fmt.Errorf("create stream SEEN: %w", err)
	}
	return c.createInput(ctx)
}

// verifyLatency compares the last word on each key with plain DuckDB.
func (r *run) verifyLatency(ctx context.Context, dir string, p *pacer) ([]verified, error) {
	rowsFile, sinkFile := filepath.Join(dir, "rows.ndjson"), filepath.Join(dir, "sink.ndjson")
	defer func() { _ = os.Remove(rowsFile) }() // it is large, and the caller removes the rest
	if err := writeRows(rowsFile, p.maker, 0, p.total); err != nil {
		return nil, err
	}
	if err := r.client.dump(ctx, "SEEN", sinkFile); err != nil {
		return nil, err
	}
	return compare(ctx, r.Dir, rowsFile, readColumns, []check{{name: "latency",
		want: "SELECT user_id, count(*) AS n, sum(amount)::DECIMAL(38, 2) AS amount FROM rows GROUP BY user_id",
		got: "SELECT user_id, max(n) AS n, arg_max(amount, n) AS amount FROM (" + fromJSON(sinkFile, latencyColumns) +
			") GROUP BY user_id"}})
}
