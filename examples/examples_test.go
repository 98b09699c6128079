// Package examples_test runs every example as its reader would: with the built binary, in a copy of its folder.
package examples_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/testkit"
)

// binary is the tidemill that the tests run, built by the first of them that needs it.
type binary struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func (b *binary) build() {
	if b.dir, b.err = os.MkdirTemp("", "tidemill-examples-"); b.err != nil {
		return
	}
	b.path = filepath.Join(b.dir, "tidemill")
	out, err := exec.Command("go", "build", "-o", b.path, "../cmd/tidemill").CombinedOutput() //nolint:noctx // TestMain ends it
	if err != nil {
		b.err = fmt.Errorf("build tidemill: %w\n%s", err, out)
	}
}

var built binary //nolint:gochecknoglobals // one binary for all tests of the package

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		if err := os.RemoveAll(built.dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

// workdir is a copy of an example's folder, and the environment that its commands run in.
type workdir struct {
	t   *testing.T
	dir string
	env []string
}

// example copies the example's folder.
func example(t *testing.T, name string, env ...string) *workdir {
	t.Helper()
	built.once.Do(built.build)
	require.NoError(t, built.err)
	w := &workdir{t: t, dir: filepath.Join(t.TempDir(), name), env: append(os.Environ(), env...)}
	require.NoError(t, os.CopyFS(w.dir, os.DirFS(name)))
	return w
}

// run runs tidemill in the folder and returns what it wrote. It must end with the exit code.
func (w *workdir) run(exit int, args ...string) (stdout, stderr string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, built.path, args...)
	var out, errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = w.dir, w.env, &out, &errs
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		require.NoError(w.t, err)
	}
	require.Equal(w.t, exit, cmd.ProcessState.ExitCode(), "tidemill %s\n%s%s", strings.Join(args, " "), &out, &errs)
	return out.String(), errs.String()
}

// until runs tidemill in the folder until its output holds a text, interrupts it once, and returns what it wrote. It
// must end by itself then, with exit code 0.
func (w *workdir) until(text string, args ...string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, built.path, args...)
	var errs strings.Builder
	cmd.Dir, cmd.Env, cmd.Stderr = w.dir, w.env, &errs
	stdout, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, cmd.Start())
	var out strings.Builder
	seen := false
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		out.WriteString(line)
		if !seen && strings.Contains(out.String(), text) {
			seen = true
			require.NoError(w.t, cmd.Process.Signal(os.Interrupt))
		}
		if err != nil {
			break
		}
	}
	require.NoError(w.t, cmd.Wait(), "%s%s", &out, &errs)
	require.True(w.t, seen, "%s%s", &out, &errs)
	return out.String()
}

// rows runs a query in plain DuckDB, in the folder's file if file is not empty, and returns a line per row. {} in
// the query stands for the folder.
func (w *workdir) rows(file, query string) []string {
	w.t.Helper()
	opt := duck.Options{MemoryLimit: 256 << 20, Threads: 1}
	if file != "" {
		opt.Path = filepath.Join(w.dir, file)
	}
	db, err := duck.Open(w.t.Context(), opt)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, db.Close()) }()
	conn, err := db.Conn(w.t.Context())
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, conn.Close()) }()
	query = "SELECT COLUMNS(*)::VARCHAR FROM (" + strings.ReplaceAll(query, "{}", w.dir) + ")"
	rows, err := conn.Rows(w.t.Context(), query)
	require.NoError(w.t, err)
	var lines []string
	for _, r := range rows {
		cells := make([]string, len(r))
		for i, c := range r {
			cells[i] = fmt.Sprint(c)
		}
		lines = append(lines, strings.Join(cells, "|"))
	}
	return lines
}

// apps returns the examples' names.
func apps(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/app.sql")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 6)
	for i, f := range files {
		files[i] = filepath.Dir(f)
	}
	return files
}

// TestLint needs no broker: lint is offline, and nothing answers at the address.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, name := range apps(t) {
		out, _ := example(t, name, "NATS_URL=nats://127.0.0.1:1").run(0, "lint", "app.sql")
		require.Regexp(t, "^ok ", out, name)
	}
}

// TestCases runs the pipeline cases, and asks that each tests the very query that stands in app.sql.
func TestCases(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("*/*_test.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	space := regexp.MustCompile(`\s+`)
	for _, path := range cases {
		out, _ := example(t, filepath.Dir(path)).run(0, "test", filepath.Base(path))
		require.Regexp(t, "[1-9][0-9]* passed, 0 failed", out)
		app, err := os.ReadFile(filepath.Join(filepath.Dir(path), "app.sql"))
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		at := strings.Index(string(app), "CREATE QUERY")
		require.Positive(t, at)
		query := strings.TrimSpace(space.ReplaceAllString(string(app)[at:], " "))
		require.Contains(t, space.ReplaceAllString(string(text), " "), query, path)
	}
}

func TestConsole(t *testing.T) {
	t.Parallel()
	out, _ := example(t, "console").run(0, "run", "app.sql", "--progress", "off", "--listen", "off")
	require.Equal(t, `screen · batch 0 · append · 5 rows
┌────┬────────┬───────┐
│  n │ symbol │ price │
├────┼────────┼───────┤
│  2 │ A      │ 13.34 │
│  3 │ B      │ 11.02 │
│  7 │ B      │ 18.37 │
│  8 │ B      │ 15.59 │
│ 10 │ A      │ 17.75 │
└────┴────────┴───────┘
`, out)
}

func TestFiles(t *testing.T) {
	t.Parallel()
	w := example(t, "files")
	const held = "SELECT * REPLACE (window_start[:16] AS window_start) FROM " +
		"read_csv('{}/out/hits/*/*.csv', hive_partitioning = true, all_varchar = true) ORDER BY ALL"
	want := []string{"2026-01-01T08:00|/|2|2|2026-01-01", "2026-01-01T08:00|/cart|3|2|2026-01-01",
		"2026-01-01T09:00|/cart|1|1|2026-01-01"}
	for range 2 { // the second run finds nothing new and changes nothing
		w.run(0, "run", "app.sql", "--available-now", "--progress", "off", "--listen", "off")
		require.Equal(t, want, w.rows("", held))
	}
	require.Equal(t, []string{`column "user_id": expected BIGINT as a number, got "two"`},
		w.rows("", "SELECT reason FROM read_json('{}/.tidemill/hits_per_page/dead_letters/*.ndjson')"))
	another := `{"user_id": 9, "url": "https://shop.example/", "ts": "2026-01-01T11:30:00Z"}` + "\n"
	whole := filepath.Join(w.dir, "in", "visits-3.ndjson")
	require.NoError(t, os.WriteFile(whole+".tmp", []byte(another), 0o600))
	require.NoError(t, os.Rename(whole+".tmp", whole))
	w.run(0, "run", "app.sql", "--available-now", "--progress", "off", "--listen", "off")
	require.Equal(t, append(want, "2026-01-01T10:00|/|1|1|2026-01-01"), w.rows("", held))
}

// TestHop compares what the stream has written with the batch run of the same query, as far as windows are closed.
func TestHop(t *testing.T) {
	t.Parallel()
	w := example(t, "hop")
	w.run(0, "run", "app.sql", "--available-now", "--progress", "off", "--listen", "off")
	held := w.rows("out/shop.duckdb", "SELECT * FROM top_sellers ORDER BY ALL")
	require.Greater(t, len(held), 100)
	batch, _ := w.run(0, "batch", "app.sql", "-o", "csv")
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "batch.csv"), []byte(batch), 0o600))
	require.Equal(t, held, w.rows("out/shop.duckdb", "SELECT * FROM read_csv('{}/batch.csv', "+
		"types = {'revenue': 'DECIMAL(38,2)', 'best': 'DECIMAL(10,2)'}) "+
		"WHERE window_end <= (SELECT max(window_end) FROM top_sellers) ORDER BY ALL"))
}

func TestBackfill(t *testing.T) {
	t.Parallel()
	w := example(t, "backfill")
	const held = "SELECT * FROM read_parquet('{}/out/daily/*.parquet') ORDER BY ALL"
	want := []string{"2026-01-01|oslo|12.50|2", "2026-01-02|bergen|7.00|1", "2026-01-02|oslo|1.00|1",
		"2026-01-03|bergen|3.00|1"}
	for range 2 { // a slot that runs again replaces what it wrote
		w.run(0, "backfill", "app.sql", "--query", "daily", "--from", "2026-01-01", "--to", "2026-01-04", "--every", "1d")
		require.Equal(t, want, w.rows("", held))
	}
	late := "shop,amount,ts\noslo,100.00,2026-01-02 20:00:00\n"
	require.NoError(t, os.WriteFile(filepath.Join(w.dir, "history", "c.csv"), []byte(late), 0o600))
	w.run(0, "backfill", "app.sql", "--query", "daily", "--from", "2026-01-02", "--to", "2026-01-03", "--every", "1d")
	want[2] = "2026-01-02|oslo|101.00|2"
	require.Equal(t, want, w.rows("", held))
}

// orders fills a stream with orders of the examples.
func orders(t *testing.T, from, n int, s *testkit.Server) {
	t.Helper()
	s.Publish(n, func(i int) (string, []byte) {
		i += from
		country := []string{"NO", "SE", "XX"}[i%3]
		ts := time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC).Format(time.RFC3339)
		return "orders." + country, fmt.Appendf(nil, `{"order_id":%d,"country":%q,"amount":%d.5,"ts":%q}`, i, country, i, ts)
	})
}

func TestFilter(t *testing.T) {
	t.Parallel()
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	orders(t, 0, 103, s)
	w := example(t, "filter", "NATS_URL="+s.URL())
	for range 2 {
		w.run(0, "run", "app.sql", "--available-now", "--progress", "off", "--listen", "off")
	}
	var got []string
	for _, m := range s.Messages("LARGE") {
		if m.Header.Get("Tidemill-Marker") == "" {
			got = append(got, m.Subject+" "+string(m.Data))
		}
	}
	require.Equal(t, []string{
		`large.SE {"order_id":100,"country":"SE","amount":100.5,"ts":"2026-01-01T00:01:40.000000"}`,
		`large.XX {"order_id":101,"country":"XX","amount":101.5,"ts":"2026-01-01T00:01:41.000000"}`,
		`large.NO {"order_id":102,"country":"NO","amount":102.5,"ts":"2026-01-01T00:01:42.000000"}`,
	}, got)
}

func TestRevenue(t *testing.T) {
	t.Parallel()
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	w := example(t, "revenue", "NATS_URL="+s.URL())
	orders(t, 0, 100, s)
	w.run(0, "run", "app.sql", "--available-now", "--progress", "off", "--listen", "off")
	const held = "SELECT strftime(window_start, '%H:%M') AS start, country, revenue, orders, day " +
		"FROM read_parquet('{}/out/revenue/*/*.parquet', hive_partitioning = true) ORDER BY ALL"
	first := []string{"00:00|Norway|580.00|20|2026-01-01", "00:00|Sweden|600.00|20|2026-01-01",
		"00:00|elsewhere|620.00|20|2026-01-01"}
	require.Equal(t, first, w.rows("", held))
	orders(t, 100, 60, s)
	w.run(0, "run", "app.sql", "--available-now", "--progress", "off", "--listen", "off")
	require.Equal(t, append(first, "00:01|Norway|1780.00|20|2026-01-01", "00:01|Sweden|1800.00|20|2026-01-01",
		"00:01|elsewhere|1820.00|20|2026-01-01"), w.rows("", held))
}
