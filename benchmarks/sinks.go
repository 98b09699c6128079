package benchmarks

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// sinksSQL lets rows through as they are; they come in as Arrow, which costs least.
const sinksSQL = `CREATE SOURCE rows (` + columns + `
) WITH (connector = 'jetstream', url = '${NATS_URL}', stream = 'ROWS', format = 'arrow');
CREATE SINK target WITH (%s);
CREATE QUERY sinks INTO target %s AS
  %s;
`

const (
	sinksBody  = "SELECT order_id, user_id, country, amount, ts FROM rows"
	upsertBody = "SELECT user_id, count(*) AS n, sum(amount) AS amount FROM rows GROUP BY user_id"
)

// sinkLane is a sink as the suite uses it.
type sinkLane struct {
	name, with string
	goal       float64
	stream     bool   // it writes the stream OUT<run>
	got        string // reads back what it wrote; $OUT is its path
	upsert     bool
}

func sinkLanes() []sinkLane {
	const jetstream, file = "connector = 'jetstream', url = '${NATS_URL}', stream = 'OUT%d'", "connector = '%s', path = '${BENCH_DIR}/out'"
	const table = "connector = 'duckdb', path = '${BENCH_DIR}/out.duckdb', table = 'kept'"
	lines := fromJSON("$OUT/*.json", filterColumns)
	return []sinkLane{
		{name: "single", with: jetstream + ", payload = 'json'", goal: 90_000, stream: true},
		{name: "packed", with: jetstream, goal: 700_000, stream: true},
		{name: "parquet", with: fmt.Sprintf(file, "parquet"), got: "FROM read_parquet('$OUT/*.parquet')"},
		{name: "json", with: fmt.Sprintf(file, "json"), got: lines},
		{name: "csv", with: fmt.Sprintf(file, "csv"),
			got: "FROM read_csv('$OUT/*.csv', header := true, columns := " + filterColumns + ")"},
		{name: "duckdb", with: table, got: "SELECT order_id, user_id, country, amount, ts FROM out.kept"},
		{name: "upsert", with: table, upsert: true,
			got: "SELECT user_id, n, amount::DECIMAL(38, 2) AS amount FROM out.kept"},
	}
}

// sinks writes the same rows to each sink.
func (r *run) sinks(ctx context.Context) error {
	m := maker{seed: r.Seed, perSecond: 1000}
	total := cmp.Or(r.Rows, 1_000_000)
	chosen, err := chosenLanes(r.Lanes, sinkLanes(), func(l sinkLane) string { return l.name })
	if err != nil {
		return err
	}
	rowsFile := filepath.Join(r.Dir, "rows.ndjson")
	if err := writeRows(rowsFile, m, 0, total); err != nil {
		return err
	}
	const pack = 1000
	r.say("publishing %d rows as Arrow, %d in a message", total, pack)
	if err := r.client.fillWith(ctx, total, pack, m.arrow); err != nil {
		return err
	}
	result := &Lanes{By: "sink"}
	r.report.SQL = fmt.Sprintf(sinksSQL, "...", "", sinksBody)
	r.report.Target = "90,000 rows/s into JetStream one row per message and 700,000 packed, each write synced"
	for i, lane := range chosen {
		t := lane.throughput(m, total, pack)
		one, err := r.eat(ctx, t, i+1, rowsFile)
		if err != nil {
			return fmt.Errorf("sink %s: %w", lane.name, err)
		}
		r.say("%s: %.0f rows/s, verified", lane.name, one.RowsPerSecond)
		l := newLane(lane.name, one)
		l.Goal = lane.goal
		if lane.stream {
			if err := r.besideRawWrite(ctx, &l, fmt.Sprintf("OUT%d", i+1)); err != nil {
				return fmt.Errorf("sink %s: %w", lane.name, err)
			}
		}
		result.Lanes = append(result.Lanes, l)
	}
	r.report.Result = result
	return nil
}

// besideRawWrite measures the broker beside a lane: a write of the same messages, right after it.
func (r *run) besideRawWrite(ctx context.Context, l *Lane, stream string) error {
	messages := 0
	if err := r.client.each(ctx, stream, func(jetstream.Msg) error { messages++; return nil }); err != nil {
		return err
	}
	rate, err := r.client.rawWrite(ctx, stream, r.AtomicBatch)
	if err != nil {
		return fmt.Errorf("raw write: %w", err)
	}
	l.RawWrite = rate * float64(l.Rows) / float64(messages)
	l.OfRawWrite = l.RowsPerSecond / l.RawWrite
	r.say("%s: %.2f of a raw write of the same messages", l.Name, l.OfRawWrite)
	return nil
}

func (l sinkLane) throughput(m maker, total int64, pack int) throughput {
	mode, body := "", sinksBody
	if l.upsert {
		mode, body = "OUTPUT MODE UPDATE", upsertBody
	}
	t := throughput{maker: m, columns: readColumns, rows: total, pack: pack, sql: fmt.Sprintf(sinksSQL, l.with, mode, body),
		dump: func(int) string { return "" }}
	if l.stream {
		t.dump = func(run int) string { return fmt.Sprintf("OUT%d", run) }
	}
	t.checks = func(dir string) []check {
		c := check{name: l.name, want: body, got: strings.ReplaceAll(l.got, "$OUT", filepath.Join(dir, "out"))}
		switch {
		case l.stream:
			c.got = fromJSON(filepath.Join(dir, "sink.ndjson"), filterColumns)
		case strings.Contains(l.got, "out.kept"):
			c.attach = filepath.Join(dir, "out.duckdb")
		}
		return []check{c}
	}
	return t
}
