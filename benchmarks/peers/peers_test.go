package peers

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/internal/duck"
)

// fakeCommand makes this binary a contender; what it does stands behind it.
const fakeCommand = "fake-contender"

// TestMain lets this binary be the contenders that the tests start.
func TestMain(m *testing.M) {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == DuckDBCommand:
		err = RunDuckDB(context.Background(), os.Stdin, os.Stdout)
	case len(os.Args) == 3 && os.Args[1] == fakeCommand:
		err = runFake(os.Args[2])
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fake is a contender that behaves as its kind says: good, wrong, twice, refuses, dies, hangs or follows.
type fake struct{ kind, self string }

func (f fake) name() string             { return f.kind }
func (fake) takes(*workload) bool       { return true }
func (f fake) batches() bool            { return f.kind == "good" }
func (fake) guarantee(*workload) string { return "none" }

func (f fake) command(w *workload, j job) (command, error) {
	seen := *w
	seen.tables = append([]table(nil), w.tables...)
	seen.tables[0].staged = "" // it sees what has arrived
	body := map[string]string{"wrong": "FROM (" + w.body + ") LIMIT 10", "twice": w.body + " UNION ALL " + w.body}[f.kind]
	j.SQL = seen.views() + ";\nCOPY (" + cmp.Or(body, w.body) + ") TO " + duck.QuoteLiteral(j.Out) +
		" (FORMAT parquet, PER_THREAD_OUTPUT true)"
	return command{path: f.self, args: []string{fakeCommand, f.kind}, input: j}, nil
}

func (fake) got(_ *workload, j job) string { return parquetOf(j.Out) }

// runFake is the process of a fake.
func runFake(kind string) error {
	in := bufio.NewReader(os.Stdin)
	text, err := in.ReadBytes('\n')
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	fmt.Println(`{"event":"ready","version":"1.2"}`)
	switch kind {
	case "refuses":
		fmt.Println(`{"event":"refused","code":"NO_WAY","message":"this is not for me"}`)
		return nil
	case "dies":
		return fmt.Errorf("out of luck")
	case "hangs":
		select {}
	}
	fmt.Println(`{"batchId":7,"timestamp":"2026-01-01T00:00:00.000Z","batchDuration":5,"numInputRows":900}`)
	if kind == "follows" {
		if err := idle(j); err != nil {
			return err
		}
	}
	fmt.Println(`{"event":"start"}`)
	if kind == "follows" {
		if err := follow(j, in); err != nil {
			return err
		}
	} else {
		fmt.Println(`{"batchId":0,"timestamp":"2026-01-01T00:00:00.000Z","batchDuration":500,"numInputRows":1500}`)
		fmt.Println("a line of a log")
		fmt.Println(`{"batchId":1,"timestamp":"2026-01-01T00:00:01.500Z","batchDuration":500.5,"numInputRows":500}`)
		fmt.Println(`{"batchId":2,"timestamp":"2026-01-01T00:00:02.000Z","batchDuration":2,"numInputRows":0}`)
	}
	p, err := benchmarks.OpenPlain(context.Background(), j.Scratch)
	if err != nil {
		return err
	}
	if err := p.Exec(context.Background(), j.SQL); err != nil {
		return err
	}
	fmt.Println(`{"event":"done"}`)
	_, err = io.Copy(io.Discard, in)
	return err
}

// idle asks that nothing but the first file arrives while the contender has not begun.
func idle(j job) error {
	time.Sleep(3 * fileEvery)
	files, err := filepath.Glob(filepath.Join(j.Tables["rows"], "*.parquet"))
	if len(files) != 1 {
		return fmt.Errorf("%d files have arrived before the start: %w", len(files), err)
	}
	return nil
}

// follow commits a batch of each file that appears, 20 rows each, until standard input ends.
func follow(j job, in io.Reader) error {
	end := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, in); close(end) }()
	for n, done := 0, 0; ; {
		files, err := filepath.Glob(filepath.Join(j.Tables["rows"], "*.parquet"))
		if err != nil {
			return err
		}
		if len(files) > done {
			fmt.Printf(`{"batchId":%d,"timestamp":%q,"batchDuration":2,"numInputRows":%d}`+"\n", n,
				time.Now().Format(time.RFC3339Nano), 20*(len(files)-done))
			n, done = n+1, len(files)
		}
		select {
		case <-end:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
}

// measure runs a suite with fakes of these kinds and plain DuckDB, and returns the entries by contender.
func measure(t *testing.T, suite string, o Options, kinds ...string) (*Report, map[string]Entry) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	o.Binary, o.Dir, o.Log = self, t.TempDir(), t.Output()
	list := []contender{plainDuck{self}}
	for _, kind := range kinds {
		list = append(list, fake{kind, self})
	}
	r, err := runWith(t.Context(), suite, o, list)
	require.NoError(t, err)
	entries := map[string]Entry{}
	for _, e := range r.Entries {
		entries[e.Contender] = e
	}
	return r, entries
}

// TestVerdicts asks that only a contender with the right result gets figures, and that the report says why others have
// none.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	r, got := measure(t, "copy", Options{Rows: 2000, Files: 8, Runs: 2}, "good", "wrong", "twice", "refuses", "dies")
	require.Len(t, got, 6)
	good := got["good"]
	require.Len(t, good.Runs, 2)
	require.InDelta(t, 2.002, good.Median.Seconds, 1e-9, "from the start of the first batch to the end of the last")
	require.InDelta(t, 2000/2.002, good.Median.PerSecond, 1)
	require.InDelta(t, 500, good.Median.P50, 1e-9)
	require.InDelta(t, 500.5, good.Median.P99, 1e-9)
	require.Equal(t, 3, good.Median.Batches, "the batch of the warm-up does not count")
	require.Positive(t, good.Median.Peak)
	require.Equal(t, 2, good.BatchFiles, "of sizes that take as long the first is taken, a quarter of the files")
	require.Equal(t, "1.2", r.Versions["good"])
	require.Greater(t, good.Result, int64(900), "half of the rows are kept")
	require.Equal(t, good.Result, got["duckdb"].Result)
	require.Positive(t, got["duckdb"].Median.Seconds)
	for _, kind := range []string{"wrong", "twice", "refuses", "dies"} {
		require.Nil(t, got[kind].Median, kind)
		require.Empty(t, got[kind].Runs, kind)
	}
	require.Contains(t, got["wrong"].Differs, fmt.Sprintf("%d are missing and 0 are too many", good.Result-10))
	require.Contains(t, got["twice"].Differs, fmt.Sprintf("0 are missing and %d are too many", good.Result))
	require.Equal(t, "NO_WAY", got["refuses"].Refused)
	require.Contains(t, got["dies"].Failed, "out of luck")
	md := r.Markdown()
	for _, want := range []string{"| wrong | differs: ", "| refuses | refused NO_WAY |", "refuses refuses it: this is not for me.",
		"| dies | failed: ", "- good: none.", "2 files in a batch"} {
		require.Contains(t, md, want)
	}
	dir := filepath.Join(t.TempDir(), "results")
	require.NoError(t, r.Save(dir))
	var back Report
	text, err := os.ReadFile(filepath.Join(dir, "peers-copy.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, r.Entries, back.Entries)
	require.FileExists(t, filepath.Join(dir, "peers-copy.md"))
}

// TestLimit asks that a contender that does not come to an end is killed and has failed.
func TestLimit(t *testing.T) {
	t.Parallel()
	_, got := measure(t, "start", Options{Rows: 10, Limit: 2 * time.Second}, "hangs")
	require.Contains(t, got["hangs"].Failed, "it did not end within 2s")
}

// TestFollow asks that files appear one by one, that the latency of rows is from then on, and that rows of the time of
// settling are not in it.
func TestFollow(t *testing.T) {
	t.Parallel()
	_, got := measure(t, "latency", Options{Rate: 400, Duration: time.Second, Settle: 200 * time.Millisecond, Keys: []int64{7}},
		"follows")
	e := got["follows"]
	require.NotNil(t, e.Median, "%+v", e)
	require.Equal(t, int64(24*20), e.Rows)
	require.Equal(t, int64(7), e.Result)
	require.GreaterOrEqual(t, e.Median.Latency.P50, 2.0, "a batch takes 2 ms")
	require.NotContains(t, got, "duckdb", "it can not follow")
}

// TestLatency gives a feed of four files, the first of which does not count, batches that took them.
func TestLatency(t *testing.T) {
	t.Parallel()
	zero := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return zero.Add(time.Duration(ms) * time.Millisecond) }
	f := feed{perFile: 10, ignored: 1, sent: 4, at: []time.Time{at(0), at(100), at(200), at(300)}}
	q := f.latency([]line{
		{Time: at(50), Duration: 10, Rows: 10},
		{Time: at(150), Duration: 100, Rows: 15}, // the third file is not complete yet
		{Time: at(400), Duration: 20, Rows: 15},
	})
	require.InDelta(t, 150, q.P50, 1e-9) // files 2, 3, 4 took 150, 220 and 120 ms
	require.InDelta(t, 220, q.Max, 1e-9)
}

// TestChanges asks that of Spark's changed rows the last one of each key counts.
func TestChanges(t *testing.T) {
	t.Parallel()
	p, err := benchmarks.OpenPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Close()) }()
	out := t.TempDir()
	for batch, rows := range map[int]string{2: "(1, 'x'), (2, 'y')", 10: "(2, 'z')"} {
		dir := filepath.Join(out, fmt.Sprintf("batch=%d", batch))
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, p.Exec(t.Context(), fmt.Sprintf("COPY (FROM (VALUES %s) AS t(k, v)) TO '%s/a.parquet' (FORMAT parquet)",
			rows, dir)))
	}
	got := sparkResult(&workload{update: true, keys: []string{"k"}}, job{Out: out})
	n, err := p.Compare(t.Context(), got, "FROM (VALUES (1, 'x'), (2, 'z')) AS t(k, v)")
	require.NoError(t, err)
	require.Equal(t, int64(2), n)
}

func TestParse(t *testing.T) {
	t.Parallel()
	stat := "42 (a (b) c) S 1 77 77 0 -1 4194304 1 2 3 4 150 50 25 75 20 0 1 0 100 0 0"
	group, cpu, ok := parseStat(stat)
	require.True(t, ok)
	require.Equal(t, 77, group)
	require.InDelta(t, 3, cpu, 1e-9, "its own time and that of its children")
	_, _, ok = parseStat("42 (gone")
	require.False(t, ok)

	// Spark's words.
	l, ok := parseLine([]byte(`{"id":"x","batchId":0,"batchDuration":120,"timestamp":"2026-11-29T10:00:00.250Z","numInputRows":4,` +
		`"durationMs":{"addBatch":100}}`))
	require.True(t, ok)
	require.Equal(t, int64(4), l.Rows)
	require.Equal(t, time.Date(2026, 11, 29, 10, 0, 0, 370e6, time.UTC), l.end())
	for _, text := range []string{"", "26/11/29 WARN x", "{}", `{"a":1}`, "{"} {
		_, ok = parseLine([]byte(text))
		require.False(t, ok, text)
	}
	require.Equal(t, "JOIN_UNSUPPORTED", refusedCode("x\nerror[JOIN_UNSUPPORTED]: a join\n"))
	require.Empty(t, refusedCode("killed"))
}

// TestUsageOfGroup asks that this process is found by its group.
func TestUsageOfGroup(t *testing.T) {
	t.Parallel()
	self, err := os.ReadFile("/proc/self/stat")
	require.NoError(t, err)
	group, _, ok := parseStat(string(self))
	require.True(t, ok)
	u := groupUsage(group)
	require.Positive(t, u.peak)
}

func TestSizes(t *testing.T) {
	t.Parallel()
	require.Equal(t, []int{4, 2, 1}, sizes(16))
	require.Equal(t, []int{16, 8, 4}, sizes(64))
	require.Equal(t, []int{1}, sizes(1))
}

// TestNotInstalled asks that a missing environment or Java is said, with how to mend it.
func TestNotInstalled(t *testing.T) {
	dir := t.TempDir()
	_, err := Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"tidemill", "spark"}})
	require.ErrorContains(t, err, `peer "spark" is not installed: there is no `+filepath.Join(dir, ".venv", "spark"))
	python := script{dir: dir, engine: "spark"}.python()
	require.NoError(t, os.MkdirAll(filepath.Dir(python), 0o700))
	require.NoError(t, os.WriteFile(python, nil, 0o700))
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
	_, err = Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"spark"}})
	require.ErrorContains(t, err, `peer "spark" needs Java, and there is no java in PATH`)
	t.Setenv("JAVA_HOME", dir)
	_, err = Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"spark"}})
	require.ErrorContains(t, err, "which has no bin/java")
	_, err = Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"sparc"}})
	require.ErrorContains(t, err, `there is no contender "sparc"`)
}

// TestScript looks at what Tidemill is given.
func TestScript(t *testing.T) {
	t.Parallel()
	w := &workload{body: "SELECT k FROM rows", update: true, keys: []string{"k"}, setup: "CREATE MACRO m() AS 1;",
		tables: []table{{name: "rows", dir: "/in", columns: "k BIGINT, ts TIMESTAMP", ts: "ts", delay: "5 seconds"}},
		static: []table{{name: "c", dir: "/c", columns: "a BIGINT", ndjson: true}}}
	require.Equal(t, strings.TrimLeft(`
CREATE SOURCE rows (k BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'file', path = '/in/*.parquet', format = 'parquet', max_files_per_batch = 3);
CREATE TABLE c AS FROM read_json('/c/*.ndjson', format := 'newline_delimited', columns := {'a': 'BIGINT'});
CREATE SINK result WITH (connector = 'duckdb', path = '/out');
CREATE MACRO m() AS 1;
CREATE QUERY q INTO result OUTPUT MODE UPDATE AS
SELECT k FROM rows;
`, "\n"), tidemill{}.script(w, job{Out: "/out", Files: 3}))
}
