package benchmarks

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/engine"
)

// throughput is a suite that lets a worker eat a filled stream as fast as it can.
type throughput struct {
	maker   rowMaker
	columns string // of a row, as the argument of read_json
	rows    int64
	pack    int // rows in a message; 0 for rows in files
	target  float64

	compression string                        // of messages; "" for none
	also        string                        // of the target, after the number
	sql         string                        // %d stands for the number of the run
	checks      func(dir string) []check      // of one run, in its folder
	dump        func(run int) (stream string) // the sink's stream to read back; "" for none
}

const filterSQL = `CREATE SOURCE rows (` + columns + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = 'json');
CREATE SINK kept WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'KEPT%d');
CREATE QUERY filter INTO kept AS
  SELECT order_id, user_id, country, amount, ts FROM rows WHERE amount >= 250;
`

const filterColumns = `{'order_id': 'BIGINT', 'user_id': 'VARCHAR', 'country': 'VARCHAR', 'amount': 'DECIMAL(10, 2)',
  'ts': 'TIMESTAMP'}`

// filter is one JSON row per message, half of them kept, into a JetStream sink.
func (r *run) filter(ctx context.Context) error {
	return r.throughput(ctx, throughput{rows: 1_000_000, pack: 1, target: 200_000, sql: filterSQL,
		dump: func(run int) string { return fmt.Sprintf("KEPT%d", run) },
		checks: func(dir string) []check {
			return []check{{name: "filter",
				want: "SELECT order_id, user_id, country, amount, ts FROM rows WHERE amount >= 250",
				got:  fromJSON(filepath.Join(dir, "sink.ndjson"), filterColumns)}}
		}})
}

const packedSQL = `CREATE SOURCE rows (` + columns + `,
  WATERMARK FOR ts AS ts - ` + watermarkDelay + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = 'ndjson');
CREATE SINK counts WITH (%s);
CREATE QUERY packed INTO counts AS
  SELECT window_start, window_end, country, count(*) AS n, sum(amount) AS amount
  FROM tumble(rows, ts, INTERVAL '1 minute') GROUP BY ALL;
`

const countColumns = `{'window_start': 'TIMESTAMP', 'window_end': 'TIMESTAMP', 'country': 'VARCHAR', 'n': 'BIGINT',
  'amount': 'DECIMAL(38, 2)'}`

const wantCounts = `SELECT window_start, window_start + INTERVAL '1 minute' AS window_end, country, count(*) AS n,
    sum(amount)::DECIMAL(38, 2) AS amount
  FROM (SELECT *, time_bucket(INTERVAL '1 minute', ts, TIMESTAMP '1970-01-01') AS window_start FROM rows)
  WHERE window_start + INTERVAL '1 minute' ` + closed + ` GROUP BY ALL`

// closed ends a condition on the end of a window: those that the final watermark has not closed are still open.
const closed = "<= (SELECT max(ts) FROM rows) - " + watermarkDelay

// Sinks are those of packed, first the one it has unless told.
func Sinks() []string { return []string{"jetstream", "duckdb", "parquet"} }

// packed is a thousand JSON rows per message, counted in tumbling windows.
func (r *run) packed(ctx context.Context) error {
	t := throughput{rows: 4_000_000, pack: 1000, target: 800_000, dump: func(int) string { return "" }}
	var sink, got string
	switch r.Sink {
	case "", "jetstream":
		sink = "connector = 'jetstream', url = '${NATS_URL}', stream = 'COUNTS%d'"
		t.dump = func(run int) string { return fmt.Sprintf("COUNTS%d", run) }
		got = fromJSON("$DIR/sink.ndjson", countColumns)
	case "duckdb":
		sink = "connector = 'duckdb', path = '${BENCH_DIR}/out%d.duckdb', table = 'counts'"
		got = "SELECT window_start, window_end, country, n, amount::DECIMAL(38, 2) FROM out.counts"
	case "parquet":
		sink = "connector = 'parquet', path = '${BENCH_DIR}/out%d'"
		got = "SELECT window_start, window_end, country, n, amount::DECIMAL(38, 2) FROM read_parquet('$DIR/out*/*.parquet')"
	default:
		return Known("sink of packed", []string{r.Sink}, Sinks())
	}
	t.sql = strings.Replace(packedSQL, "%s", sink, 1)
	t.checks = func(dir string) []check {
		c := check{name: "packed", want: wantCounts, got: strings.ReplaceAll(got, "$DIR", dir)}
		if r.Sink == "duckdb" {
			c.attach, _ = firstMatch(filepath.Join(dir, "out*.duckdb"))
		}
		return []check{c}
	}
	return r.throughput(ctx, t)
}

func firstMatch(glob string) (string, bool) {
	found, err := filepath.Glob(glob)
	if err != nil || len(found) == 0 {
		return "", false
	}
	return found[0], true
}

// runSQL is the application of a run.
func runSQL(sql string, run int) string { return strings.ReplaceAll(sql, "%d", fmt.Sprint(run)) }

func (r *run) throughput(ctx context.Context, t throughput) error {
	if r.Rows > 0 {
		t.rows = r.Rows
	}
	runs := max(1, r.Runs)
	if t.maker == nil {
		t.maker, t.columns = maker{seed: r.Seed, perSecond: 1000}, readColumns
	}
	r.report.SQL, r.report.Target = runSQL(t.sql, 1), fmt.Sprintf("%.0f rows/s", t.target)+t.also
	rowsFile, err := r.provide(ctx, t)
	if err != nil {
		return err
	}
	result := &Throughputs{Target: t.target, BytesPerRow: rowBytes(t.maker)}
	for i := 1; i <= runs; i++ {
		one, err := r.eat(ctx, t, i, rowsFile)
		if err != nil {
			return fmt.Errorf("run %d: %w", i, err)
		}
		result.Runs = append(result.Runs, *one)
		r.say("run %d of %d: %.0f rows/s, verified; raw read %.0f; %.3f CPU seconds per million rows", i, runs,
			one.RowsPerSecond, one.RawPerSecond, one.CPUPerMillion)
	}
	r.report.Result = result
	return nil
}

// partsDir is the folder of the rows of a suite that reads files, and partBytes the size that these have about.
const (
	partsDir  = "in"
	partBytes = 50 << 20
)

// provide puts the rows where the worker reads them, and returns the file, or the pattern, that plain DuckDB reads.
func (r *run) provide(ctx context.Context, t throughput) (rowsFile string, err error) {
	if t.pack == 0 {
		files := max(1, int(float64(t.rows)*rowBytes(t.maker)/partBytes))
		r.say("writing %d rows to %d files", t.rows, files)
		dir := filepath.Join(r.Dir, partsDir)
		return filepath.Join(dir, "*.ndjson"), writeParts(dir, t.maker, t.rows, files)
	}
	r.say("publishing %d rows, %d in a message", t.rows, t.pack)
	if err := r.publish(ctx, t); err != nil {
		return "", err
	}
	rowsFile = filepath.Join(r.Dir, "rows.ndjson")
	return rowsFile, writeRows(rowsFile, t.maker, 0, t.rows)
}

func (r *run) publish(ctx context.Context, t throughput) error {
	if t.compression != "" {
		return r.client.fillCompressed(ctx, t.maker, t.rows, t.pack, t.compression)
	}
	return r.client.fill(ctx, t.maker, t.rows, t.pack)
}

// rowBytes is the mean size of the first rows of a maker.
func rowBytes(m rowMaker) float64 {
	const sampled = 1000
	sample := make([]byte, 0, 1<<20)
	for n := range int64(sampled) {
		sample = m.Append(sample, n)
	}
	return float64(len(sample)) / sampled
}

// eat measures one run, and the raw read beside it where there is a broker.
func (r *run) eat(ctx context.Context, t throughput, run int, rowsFile string) (_ *Throughput, err error) {
	raw := 0.0
	if r.client != nil {
		if raw, err = r.client.rawRead(ctx); err != nil {
			return nil, fmt.Errorf("raw read: %w", err)
		}
	}
	dir := filepath.Join(r.Dir, fmt.Sprintf("run%d", run))
	one := &Throughput{Rows: t.rows, RawPerSecond: raw * float64(t.pack)}
	if err := r.lendBroker(ctx, dir, func(flags []string) error { return r.work(ctx, one, dir, runSQL(t.sql, run), flags) }); err != nil {
		return nil, err
	}
	if stream := t.dump(run); stream != "" {
		if err := r.client.dump(ctx, stream, filepath.Join(dir, "sink.ndjson")); err != nil {
			return nil, err
		}
	}
	one.Verified, err = compare(ctx, r.Dir, rowsFile, t.columns, t.checks(dir))
	return one, err
}

// work lets a worker take all rows, which is measured, and another one what is left behind them.
func (r *run) work(ctx context.Context, one *Throughput, dir, sql string, flags []string) error {
	before := r.broker.cpu()
	w, err := r.worker(ctx, dir, sql, append(flags, r.profiles()...)...)
	if err != nil {
		return err
	}
	all := func(b []engine.Progress) bool { return len(b) > 0 && b[len(b)-1].Totals.In >= one.Rows }
	if err := w.until(ctx, all); err != nil {
		return err
	}
	one.WorkerCPU, one.BrokerCPU = cpuSeconds(w.pid()), r.broker.cpu()-before
	if err := w.interrupt(); err != nil {
		return err
	}
	one.measure(w.progress())
	one.PeakBytes = w.peakBytes()
	return r.drain(ctx, dir, sql, flags...)
}
