package peers

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/internal/duck"
)

// fileEvery is how often a file appears where rows go on arriving.
const fileEvery = 50 * time.Millisecond

// rowsSQL makes the rows [from, to) of the copy suite: about 200 bytes of JSON with 7 fields. A row is a function of
// the seed and its number.
const rowsSQL = `SELECT 1000000 + i AS order_id, 'user-' || (10000 + h %% 50000) AS user_id,
  ['DE', 'FR', 'JP', 'BR', 'US', 'IN', 'GB', 'ZA'][1 + (h // 50000) %% 8] AS country,
  ['books', 'games', 'garden', 'music', 'kitchen'][1 + (h // 400000) %% 5] AS category,
  ((h // 2000000) %% 50000 / 100)::DECIMAL(10, 2) AS amount,
  repeat('abcdefghijklmnopqrstuvwxyz', 3)[1:40 + (h // 7) %% 30] AS note,
  strftime(TIMESTAMP '2026-01-01' + to_milliseconds(i), '%%Y-%%m-%%dT%%H:%%M:%%S.%%g') AS ts
FROM (SELECT i, (hash(i, %d) // 2)::BIGINT AS h FROM range(%d, %d) AS numbers(i))`

// keyedSQL makes the rows [from, to) of the suites with keys.
const keyedSQL = `SELECT h %% %d AS k, (h // 1000) %% 1000 AS v
FROM (SELECT (hash(i, %d) // 2)::BIGINT AS h FROM range(%d, %d) AS numbers(i))`

// write makes files of rows [0, rows) in a folder. of gives the SELECT of a range.
func (r *run) write(
	ctx context.Context, dir, format string, rows int64, files int, of func(from, to int64) string,
) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the input: %w", err)
	}
	for n := range int64(files) {
		path := filepath.Join(dir, fmt.Sprintf("%06d.%s", n, format))
		how := map[string]string{"ndjson": "json", "parquet": "parquet, COMPRESSION snappy"}[format]
		sql := fmt.Sprintf("COPY (%s) TO %s (FORMAT %s)", of(rows*n/int64(files), rows*(n+1)/int64(files)),
			duck.QuoteLiteral(path), how)
		if err := r.plain.Exec(ctx, sql); err != nil {
			return fmt.Errorf("make the input: %w", err)
		}
	}
	return nil
}

// warm links the first quarter of the files of each table into a folder, for warming up.
func warm(dir string, tables []table) (map[string]string, error) {
	out := map[string]string{}
	for _, t := range tables {
		names, err := filepath.Glob(t.glob())
		if err != nil {
			return nil, fmt.Errorf("list the input: %w", err)
		}
		out[t.name] = filepath.Join(dir, t.name)
		if err := os.MkdirAll(out[t.name], 0o700); err != nil {
			return nil, fmt.Errorf("make the input: %w", err)
		}
		for _, name := range names[:(len(names)+3)/4] {
			if err := os.Link(name, filepath.Join(out[t.name], filepath.Base(name))); err != nil {
				return nil, fmt.Errorf("make the input: %w", err)
			}
		}
	}
	return out, nil
}

func startSuite(ctx context.Context, r *run, dir string) ([]*workload, error) {
	return r.filter(ctx, dir, "start", cmp.Or(r.Rows, 1_000), 1)
}

func copySuite(ctx context.Context, r *run, dir string) ([]*workload, error) {
	return r.filter(ctx, dir, "copy", cmp.Or(r.Rows, 4_000_000), r.Files)
}

// filter is file to file: JSON rows, half of which are kept, into Parquet.
func (r *run) filter(ctx context.Context, dir, suite string, rows int64, files int) ([]*workload, error) {
	t := table{name: "rows", dir: filepath.Join(dir, "rows"), ndjson: true, columns: "order_id BIGINT, user_id VARCHAR, " +
		"country VARCHAR, category VARCHAR, amount DECIMAL(10,2), note VARCHAR, ts TIMESTAMP"}
	err := r.write(ctx, t.dir, "ndjson", rows, files,
		func(from, to int64) string { return fmt.Sprintf(rowsSQL, r.Seed, from, to) })
	if err != nil {
		return nil, err
	}
	w := &workload{suite: suite, name: suite, tables: []table{t}, rows: rows, cold: suite == "start",
		body: "SELECT order_id, user_id, country, amount, ts FROM rows WHERE amount >= 250"}
	w.warm, err = warm(filepath.Join(dir, "warm"), w.tables)
	return []*workload{w}, err
}

// keyed is a count and a sum by key, in update mode.
func (r *run) keyed(suite, name, dir string, rows int64) *workload {
	return &workload{suite: suite, name: name, rows: rows, update: true, keys: []string{"k"},
		tables: []table{{name: "rows", dir: dir, columns: "k BIGINT, v BIGINT"}},
		body:   "SELECT k, count(*) AS n, sum(v)::BIGINT AS total FROM rows GROUP BY k"}
}

func (r *run) keyedRows(keys int64) func(from, to int64) string {
	return func(from, to int64) string { return fmt.Sprintf(keyedSQL, keys, r.Seed, from, to) }
}

func stateSuite(ctx context.Context, r *run, dir string) ([]*workload, error) {
	keys := r.Keys
	if len(keys) == 0 {
		keys = []int64{100_000, 1_000_000}
	}
	var out []*workload
	for _, n := range keys {
		here := filepath.Join(dir, fmt.Sprint(n))
		w := r.keyed("state", fmt.Sprintf("%d keys", n), filepath.Join(here, "rows"), cmp.Or(r.Rows, 4*n))
		err := r.write(ctx, w.tables[0].dir, "parquet", w.rows, r.Files, r.keyedRows(n))
		if err != nil {
			return nil, err
		}
		if w.warm, err = warm(filepath.Join(here, "warm"), w.tables); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}

// latencySuite lets files with rows appear at a steady rate.
func latencySuite(ctx context.Context, r *run, dir string) ([]*workload, error) {
	keys, rate := []int64{10_000}, cmp.Or(r.Rate, 10_000)
	if len(r.Keys) > 0 {
		keys = r.Keys
	}
	files := int(cmp.Or(r.Duration, 30*time.Second) / fileEvery)
	ignored := int(r.Settle / fileEvery)
	perFile := max(1, rate*int64(fileEvery)/int64(time.Second))
	var out []*workload
	for _, n := range keys {
		here := filepath.Join(dir, fmt.Sprint(n))
		w := r.keyed("latency", fmt.Sprintf("%d keys, %d rows/s", n, rate), filepath.Join(here, "rows"),
			perFile*int64(files+ignored))
		w.follow, w.ignored = true, ignored
		w.tables[0].staged = filepath.Join(here, "staged")
		err := r.write(ctx, w.tables[0].staged, "parquet", w.rows, files+ignored, r.keyedRows(n))
		if err != nil {
			return nil, err
		}
		w.warm = map[string]string{"rows": filepath.Join(here, "warm")}
		if err := r.write(ctx, w.warm["rows"], "parquet", perFile*40, 40, r.keyedRows(n)); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return out, nil
}
