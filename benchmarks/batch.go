package benchmarks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/internal/duck"
)

const batchSQL = `CREATE SOURCE rows (id BIGINT, ts TIMESTAMP, country VARCHAR, ad BIGINT, amount DECIMAL(18, 2),
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (connector = 'file', path = '%[1]s/rows/*.parquet', format = 'parquet');
CREATE TABLE ads AS FROM read_parquet('%[1]s/ads.parquet');
CREATE SINK out_sink WITH (connector = 'console');
`

// batchQueries are what is run over all of history, the same text by both sides.
func batchQueries() []batchQuery {
	return []batchQuery{
		{name: "filter", columns: "{'id': 'BIGINT', 'ts': 'TIMESTAMP', 'doubled': 'DECIMAL(18, 2)'}",
			body: "SELECT id, ts, amount * 2 AS doubled FROM rows WHERE country = 'c7' AND amount > 990"},
		{name: "group", columns: "{'country': 'VARCHAR', 'n': 'BIGINT', 'total': 'DECIMAL(38, 2)', 'most': 'DECIMAL(18, 2)'}",
			body: "SELECT country, count(*) AS n, sum(amount) AS total, max(amount) AS most FROM rows GROUP BY country"},
		{name: "tumble", columns: "{'window_start': 'TIMESTAMP', 'country': 'VARCHAR', 'n': 'BIGINT', 'total': 'DECIMAL(38, 2)'}",
			body: "SELECT window_start, country, count(*) AS n, sum(amount) AS total " +
				"FROM tumble(rows, ts, INTERVAL '1 minute') GROUP BY window_start, country"},
		{name: "join", columns: "{'campaign': 'BIGINT', 'n': 'BIGINT', 'total': 'DECIMAL(38, 2)'}",
			body: "SELECT campaign, count(*) AS n, sum(amount) AS total FROM rows JOIN ads USING (ad) GROUP BY campaign"},
	}
}

type batchQuery struct{ name, columns, body string }

const (
	batchFileRows = 5_000_000 // of one file
	batchAds      = 1_000
	batchMemory   = 6 << 30 // of plain DuckDB, and of `tidemill batch` unless it has a limit
)

// batch runs `tidemill batch` beside plain DuckDB over the same Parquet files, in turns.
func (r *run) batch(ctx context.Context) (err error) {
	rows, runs := cmp.Or(r.Rows, 50_000_000), max(1, r.Runs)
	dir := filepath.Join(r.Dir, "batch")
	sql := fmt.Sprintf(batchSQL, dir)
	for _, q := range batchQueries() {
		sql += fmt.Sprintf("CREATE QUERY %s_q INTO out_sink OUTPUT MODE UPDATE AS\n  %s;\n", q.name, q.body)
	}
	sql = strings.Replace(sql, "QUERY filter_q INTO out_sink OUTPUT MODE UPDATE", "QUERY filter_q INTO out_sink", 1)
	r.report.SQL, r.report.Target = sql, "at most 1.15 times the wall time of plain DuckDB"
	r.report.Durability = "Neither side writes anything but its result"
	p, err := openPlain(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := r.makeHistory(ctx, p, dir, rows); err != nil {
		return err
	}
	file := filepath.Join(dir, "batch.sql")
	if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
		return fmt.Errorf("write the queries: %w", err)
	}
	result := &Batch{Rows: rows, Runs: runs}
	for _, q := range batchQueries() {
		r.say("%s: %d runs of each side", q.name, runs)
		one, err := r.batchOf(ctx, p, file, q, runs)
		if err != nil {
			return fmt.Errorf("query %s: %w", q.name, err)
		}
		result.Queries = append(result.Queries, *one)
	}
	r.report.Result = result
	return nil
}

// makeHistory writes the files: rows in the order of their time, and the table they are joined with.
func (r *run) makeHistory(ctx context.Context, p *plain, dir string, rows int64) error {
	if err := os.MkdirAll(filepath.Join(dir, "rows"), 0o700); err != nil {
		return fmt.Errorf("make the folder of rows: %w", err)
	}
	r.say("writing %d rows", rows)
	threads := r.Threads
	if threads == 0 {
		threads = runtime.NumCPU()
	}
	list := []string{fmt.Sprintf("SET threads = %d", threads), fmt.Sprintf("SET memory_limit = '%dB'", int64(batchMemory)),
		fmt.Sprintf("COPY (SELECT i AS ad, i %% 100 AS campaign FROM range(%d) t(i)) TO %s (FORMAT parquet)", batchAds,
			duck.QuoteLiteral(filepath.Join(dir, "ads.parquet")))}
	for from := int64(0); from < rows; from += batchFileRows {
		list = append(list, fmt.Sprintf("COPY (SELECT i AS id, TIMESTAMP '2026-01-01' + to_microseconds(i * 1000) AS ts, "+
			"'c' || (h %% 50) AS country, ((h >> 8) %% %d)::BIGINT AS ad, (((h >> 20) %% 100000) / 100)::DECIMAL(18, 2) AS amount "+
			"FROM (SELECT i, hash(i + %d) AS h FROM range(%d, %d) t(i))) TO %s (FORMAT parquet)", batchAds, r.Seed<<40>>1, from,
			min(rows, from+batchFileRows), duck.QuoteLiteral(filepath.Join(dir, "rows", fmt.Sprintf("%04d.parquet", from/batchFileRows)))))
	}
	list = append(list, fmt.Sprintf("CREATE TEMP VIEW rows AS FROM read_parquet(%s)",
		duck.QuoteLiteral(filepath.Join(dir, "rows", "*.parquet"))),
		"CREATE TEMP VIEW ads AS FROM read_parquet("+duck.QuoteLiteral(filepath.Join(dir, "ads.parquet"))+")")
	for _, sql := range list {
		if _, err := p.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("write the history: %w", err)
		}
	}
	return nil
}

// batchOf runs one query in turns, and compares the last result of each side.
func (r *run) batchOf(ctx context.Context, p *plain, file string, q batchQuery, runs int) (*BatchQuery, error) {
	one := &BatchQuery{Query: q.name, SQL: q.body}
	out := filepath.Join(filepath.Dir(file), q.name+".ndjson")
	want := filepath.Join(filepath.Dir(file), q.name+".plain.ndjson")
	var ours, plain, cpu, plainCPU []float64
	for range runs {
		began, used := time.Now(), processCPU(syscall.RUSAGE_SELF)
		_, err := p.conn.Exec(ctx, "COPY ("+q.body+") TO "+duck.QuoteLiteral(want)+" (FORMAT json)")
		if err != nil {
			return nil, fmt.Errorf("plain DuckDB: %w", err)
		}
		plain = append(plain, time.Since(began).Seconds())
		plainCPU = append(plainCPU, processCPU(syscall.RUSAGE_SELF)-used)
		began = time.Now()
		used, peak, err := r.batchProcess(ctx, file, q.name+"_q", out)
		if err != nil {
			return nil, err
		}
		ours, cpu = append(ours, time.Since(began).Seconds()), append(cpu, used)
		one.PeakBytes = max(one.PeakBytes, peak)
		r.peak = max(r.peak, peak)
	}
	one.Seconds, one.Plain, one.CPU = quantile(ours, 0.5), quantile(plain, 0.5), quantile(cpu, 0.5)
	one.PlainCPU, one.Ratio = quantile(plainCPU, 0.5), one.Seconds/one.Plain
	if _, err := p.conn.Exec(ctx, "CREATE OR REPLACE TEMP TABLE got AS "+fromJSON(out, q.columns)); err != nil {
		return nil, fmt.Errorf("read the result: %w", err)
	}
	n, err := p.compare(ctx, fromJSON(want, q.columns))
	one.Verified = n
	return one, err
}

// batchProcess runs `tidemill batch` into a file, from the start of the process to its end.
func (r *run) batchProcess(ctx context.Context, file, query, out string) (cpu float64, peak int64, err error) {
	f, err := os.Create(out)
	if err != nil {
		return 0, 0, fmt.Errorf("write the result: %w", err)
	}
	args := []string{"batch", file, "--query", query, "-o", "jsonl", "--data-dir", filepath.Join(filepath.Dir(file), "data"),
		"--memory-limit", fmt.Sprint(cmp.Or(r.Memory, int64(batchMemory)))}
	if r.Threads > 0 {
		args = append(args, "--threads", fmt.Sprint(r.Threads))
	}
	cmd := exec.CommandContext(ctx, r.Binary, args...) //nolint:gosec // ourselves
	var faults strings.Builder
	cmd.Stdout, cmd.Stderr = f, &faults
	if err := cmd.Start(); err != nil {
		return 0, 0, errors.Join(fmt.Errorf("tidemill batch: %w", err), f.Close())
	}
	ended, peaks := make(chan struct{}), make(chan int64, 1)
	go func() { peaks <- peakUntil(cmd.Process.Pid, ended) }() // ends with the process
	err = cmd.Wait()
	close(ended)
	peak = <-peaks
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, 0, fmt.Errorf("tidemill batch: %w\n%s", err, faults.String())
	}
	return cmd.ProcessState.UserTime().Seconds() + cmd.ProcessState.SystemTime().Seconds(), peak, nil
}

// Batch is a run of queries over all of history beside plain DuckDB.
type Batch struct {
	Rows    int64        `json:"rows"`
	Runs    int          `json:"runs"` // of each query by each side, in turns
	Queries []BatchQuery `json:"queries"`
}

// BatchQuery is one of them, by the medians.
type BatchQuery struct {
	Query     string  `json:"query"`
	SQL       string  `json:"sql"`
	Seconds   float64 `json:"seconds"`       // of the process, its start included
	Plain     float64 `json:"plain_seconds"` // of the statement in plain DuckDB
	Ratio     float64 `json:"ratio"`
	CPU       float64 `json:"cpu_seconds"` // of the process
	PlainCPU  float64 `json:"plain_cpu_seconds"`
	PeakBytes int64   `json:"peak_bytes"` // the most of all runs
	Verified  int64   `json:"verified_rows"`
}

func (b *Batch) markdown() string {
	text := "| query | tidemill batch s | plain DuckDB s | ratio | rows/s | its CPU s | plain DuckDB's | ratio | peak MiB | " +
		"rows verified |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
	for _, q := range b.Queries {
		text += fmt.Sprintf("| %s | %.2f | %.2f | %.2f | %.0f | %.2f | %.2f | %.2f | %d | %d |\n", q.Query, q.Seconds, q.Plain, q.Ratio,
			float64(b.Rows)/q.Seconds, q.CPU, q.PlainCPU, q.CPU/q.PlainCPU, q.PeakBytes>>20, q.Verified)
	}
	return text + fmt.Sprintf("\n%d rows of Parquet, %d runs of each side in turns, medians. The time of `tidemill batch` is "+
		"that of its process, from start to end; that of plain DuckDB is of the statement alone. Each result equals plain "+
		"DuckDB's.\n\n", b.Rows, b.Runs)
}

// plots set both sides side by side, and say how far they are apart.
func (b *Batch) plots() []chart.Chart {
	time := chart.Chart{Name: "time", Title: "tidemill batch beside plain DuckDB", Y: chart.Axis{Label: "seconds"},
		Series: []chart.Series{{Name: "tidemill batch"}, {Name: "plain DuckDB"}}}
	ratio := chart.Chart{Name: "ratio", Title: "tidemill batch, as a multiple of plain DuckDB", Y: chart.Axis{Label: "times plain DuckDB's"},
		Series: []chart.Series{{Name: "time"}, {Name: "CPU time"}}, Goals: []chart.Goal{{Name: "goal, time", At: 1.15}}}
	for _, q := range b.Queries {
		time.Bars, ratio.Bars = append(time.Bars, q.Query), append(ratio.Bars, q.Query)
		add(time.Series, q.Seconds, q.Plain)
		add(ratio.Series, q.Ratio, q.CPU/max(q.PlainCPU, 1e-3))
	}
	return []chart.Chart{time, ratio}
}
