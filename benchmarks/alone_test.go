package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// TestMain lets this binary be the process of the engine that the suites start.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == EngineCommand {
		if err := Engine(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// smoke runs a small suite and returns its report, which must be printable.
func smoke(t *testing.T, suite string, o Options) *Report {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	o.Binary, o.Dir, o.Log, o.Seed, o.Threads = self, t.TempDir(), t.Output(), 3, 1
	r, err := Run(t.Context(), suite, o)
	require.NoError(t, err)
	require.Contains(t, r.Markdown(), "## "+suite)
	return r
}

func TestStateSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "state", Options{Keys: 2_000, BatchCount: 3})
	s := r.Result.(*State)
	require.Equal(t, []verified{{"state", 2_000}}, s.Verified)
	require.Len(t, s.Sizes, 2)
	require.Equal(t, int64(3*2_000), s.Sizes[0].Out, "100,000 random rows reach every one of 2,000 keys")
	require.Equal(t, 3, s.Sizes[1].Steps)
	require.Less(t, s.Sizes[1].Out, int64(3*1_000+1))
	require.Positive(t, s.Sizes[1].Execute.P50)
	require.Greater(t, s.Sizes[0].Batch.P50, s.Sizes[0].Execute.P50, "execute is a part of its batch")
	require.Positive(t, s.LoadedBytes)
	require.Contains(t, r.Markdown(), "Verified state: 2000 rows equal plain DuckDB.")
}

func TestHopSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "hop", Options{Rows: 25_000, BatchRows: 4_000, Rate: 500})
	h := r.Result.(*Hop)
	require.Len(t, h.Windows, 2)
	require.Len(t, h.Verified, 2)
	for i, w := range h.Windows {
		require.Equal(t, h.Verified[i].Rows, w.Out, "%s: every window came out once", w.Query)
		require.Equal(t, 7, w.Steps)
		require.Positive(t, w.RowsPerSecond)
	}
	require.Greater(t, h.Windows[1].Out, 4*h.Windows[0].Out)
	require.InDelta(t, h.Windows[1].Seconds/h.Windows[0].Seconds, h.Ratio, 1e-9)
}

func TestJoinSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "join", Options{Rate: 20, Duration: 1}) // a nanosecond: one step after the state is full
	j := r.Result.(*Join)
	require.Equal(t, 1, j.Steps)
	require.Positive(t, j.StateRows)
	require.Len(t, j.Verified, 1)
	require.Greater(t, j.Verified[0].Rows, int64(20*pairSeconds/2))
	require.Positive(t, j.First)
	require.Contains(t, r.Markdown(), "1 batches of 40 rows")
}

func TestEvictSuite(t *testing.T) {
	t.Parallel()
	r := smoke(t, "evict", Options{Keys: 10, Groups: []int64{50, 400}, BatchCount: 4})
	open := r.Result.(*Evict).Open
	require.Len(t, open, 2)
	for i, o := range open {
		require.Equal(t, int64(4*10), o.Out, "ten groups leave with each batch")
		require.Equal(t, int64([]int{50, 400}[i]+60), o.Verified[0].Rows, "in the end every group came out once")
		require.GreaterOrEqual(t, o.StateRows, o.Groups)
	}
}

// TestNexmarkSuite asks for figures of what is verified alone, and for the same result wherever the events come from.
func TestNexmarkSuite(t *testing.T) {
	t.Parallel()
	hashes := map[string]string{}
	for _, input := range []string{"", inputNDJSON, inputMemory} {
		r := smoke(t, "nexmark", Options{Rows: 2_000, BatchRows: 500, Rate: 50, Input: input,
			Queries: []string{"q1", "q5", "q11", "q12", "q18"}})
		require.Len(t, r.Result.(*Nexmark).Queries, 5)
		for _, q := range r.Result.(*Nexmark).Queries {
			require.Equal(t, "verified", q.verdict()[len(q.verdict())-8:], q.Query)
			require.True(t, q.Verified, q.Query)
			require.Positive(t, q.PerCPU)
			require.InDelta(t, q.PerCPU/nexmark.FlinkPerCore(q.Query), q.Multiple, 1e-9)
			require.GreaterOrEqual(t, q.Batches, 4)
			require.Positive(t, q.P50)
			if q.Query == "q18" {
				require.Positive(t, q.State)
			}
			if hashes[q.Query] == "" {
				hashes[q.Query] = q.Hash
			}
			require.Equal(t, hashes[q.Query], q.Hash, "%s from %s", q.Query, r.Result.(*Nexmark).Input)
		}
	}
	_, err := (&run{Options: Options{Queries: []string{"q99"}}}).chosen()
	require.ErrorContains(t, err, `there is no query "q99"`)
	r := &run{Options: Options{Input: "tape"}, report: &Report{}}
	_, err = r.nexmarkInput(t.Context(), feedSpec{})
	require.ErrorContains(t, err, `input "tape" is not one of`)
}

// TestData asks that what is written for other engines is what the suite reads itself, a file of each stream for each
// batch.
func TestData(t *testing.T) {
	t.Parallel()
	p, err := openPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	spec := nexmarkFeed(7, 1_030, 500, 50)
	require.NoError(t, p.load(t.Context(), spec, 3))
	for _, format := range []string{inputParquet, inputNDJSON} {
		o := Dataset{Dir: t.TempDir(), Format: format, Seed: 7, Rows: 1_030, Files: 3, Rate: 50}
		require.NoError(t, WriteDataset("nexmark", o))
		for _, k := range nexmark.Kinds() {
			files, err := filepath.Glob(filepath.Join(o.Dir, k.String(), "*."+format))
			require.NoError(t, err)
			require.Len(t, files, 3)
			read, columns := "read_parquet", ""
			if format == inputNDJSON {
				read = "read_json"
				columns = ", columns := " + jsonColumns(k)
			}
			_, err = p.conn.Exec(t.Context(), fmt.Sprintf("CREATE OR REPLACE TEMP TABLE got AS FROM %s(%s%s)", read,
				duck.QuoteLiteral(filepath.Join(o.Dir, k.String(), "*."+format)), columns))
			require.NoError(t, err)
			n, err := p.compare(t.Context(), "FROM "+k.String())
			require.NoError(t, err)
			require.Positive(t, n)
		}
	}
	require.Error(t, WriteDataset("nexmark", Dataset{Dir: t.TempDir(), Format: "tape"}))
}

func jsonColumns(k nexmark.Kind) string {
	var list []string
	for _, f := range nexmark.Schema(k).Fields() {
		typ := map[arrow.Type]string{arrow.INT64: "BIGINT", arrow.STRING: "VARCHAR", arrow.TIMESTAMP: "TIMESTAMP"}
		list = append(list, duck.QuoteIdent(f.Name)+": '"+typ[f.Type.ID()]+"'")
	}
	return "{" + strings.Join(list, ", ") + "}"
}

// TestUnverified asks that a query without a right result shows no figure.
func TestUnverified(t *testing.T) {
	t.Parallel()
	n := Nexmark{Queries: []NexmarkQuery{{Query: "a", Differs: "1 | row", Seconds: 7.125},
		{Query: "b", Failed: "too slow"}}}
	text := n.markdown()
	require.Contains(t, text, "| a |  | differs |")
	require.Contains(t, text, "| b |  | failed: too slow |")
	require.Contains(t, text, "a: 1 | row")
	require.NotContains(t, text, "7.12")
	require.Contains(t, text, "0 of 2 queries verified")
}

// TestPlain asks that a row too few, too many or changed is found, and that DOUBLEs may differ in their
// last bits.
func TestPlain(t *testing.T) {
	t.Parallel()
	p, err := openPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	const want = "SELECT i AS a, (i + 1) / 3 AS b FROM range(5) t(i)"
	for _, c := range []struct{ got, fault string }{
		{want, ""},
		{"SELECT i AS a, (i + 1) / 3 + 1e-15 AS b FROM range(5) t(i)", ""},
		{"SELECT i AS a, (i + 1) / 3 AS b FROM range(4) t(i)", "1 are missing and 0 are too many"},
		{"SELECT i AS a, (i + 1) / 3 AS b FROM range(6) t(i)", "0 are missing and 1 are too many"},
		{"SELECT i AS a, (i + 1) / 3 + 1e-3 AS b FROM range(5) t(i)", "5 are missing (-), 5 are too many (+)"},
	} {
		_, err := p.conn.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE got AS "+c.got)
		require.NoError(t, err)
		n, err := p.compare(t.Context(), want)
		if c.fault == "" {
			require.NoError(t, err)
			require.Equal(t, int64(5), n)
			continue
		}
		var d *differs
		require.ErrorAs(t, err, &d)
		require.ErrorContains(t, err, c.fault)
	}
	_, err = p.compare(t.Context(), "SELECT 1 AS a, 1.0 AS b LIMIT 0")
	require.ErrorContains(t, err, "nothing to compare")
}

// TestKept delivers rows with and without ops and asks for what a keyed table would hold.
func TestKept(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "sink")
	p, err := openPlain(t.Context(), t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.close()) })
	s := &keptSink{dir: dir}
	require.NoError(t, s.Open(t.Context(), stream.Owner{}))
	for _, sql := range []string{"i AS k, i AS v FROM range(4) t(i)",
		"1::BIGINT AS k, 10::BIGINT AS v, 'delete' AS __op",
		"2::BIGINT AS k, 20::BIGINT AS v, 'upsert' AS __op", "3::BIGINT AS k, 30::BIGINT AS v"} {
		rows, err := p.conn.Select(t.Context(), "SELECT "+sql)
		require.NoError(t, err)
		require.NoError(t, s.Write(t.Context(), stream.Delivery{Result: stream.Batch{Records: rows.Records}}))
		rows.Release()
	}
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	require.NoError(t, p.result(t.Context(), dir, []string{"k"}))
	n, err := p.compare(t.Context(), "FROM (VALUES (0, 0), (2, 20), (3, 30))")
	require.NoError(t, err)
	require.Equal(t, int64(3), n)
	require.NoError(t, p.result(t.Context(), dir, nil))
	all, err := p.counts(t.Context(), "SELECT count(*) FROM got")
	require.NoError(t, err)
	require.Equal(t, []int64{7}, all)
	require.ErrorContains(t, p.result(t.Context(), t.TempDir(), nil), "given nothing")
}

// TestFeeds asks that rows are a function of the settings and the step, and keys what they are said to be.
func TestFeeds(t *testing.T) {
	t.Parallel()
	for _, spec := range []feedSpec{
		{Kind: "keys", Seed: 1, Keys: 150_000, Sizes: []int64{10, 20}},
		{Kind: "windows", Seed: 1, Rows: 50, Rate: 10, Total: 180},
		{Kind: "pairs", Seed: 1, Rows: 50, Rate: 10},
		{Kind: "groups", Seed: 1, Keys: 5, Open: 3},
		{Kind: "nexmark", Seed: 1, Rows: 50, Rate: 10, Total: 180},
	} {
		one, err := spec.feed()
		require.NoError(t, err)
		two, err := spec.feed()
		require.NoError(t, err)
		for n := range 4 {
			a, b := one(n), two(n)
			require.NotEmpty(t, a)
			for name, rec := range a {
				require.Equal(t, fmt.Sprint(rec), fmt.Sprint(b[name]), "%s %d", spec.Kind, n)
				rec.Release()
				b[name].Release()
			}
		}
	}
	_, err := feedSpec{Kind: "other"}.feed()
	require.Error(t, err)
	keys := map[int64]bool{}
	spec := feedSpec{Kind: "keys", Seed: 1, Keys: 150_000, Sizes: []int64{1_000}}
	for n := range spec.loads() + 1 {
		rec := spec.keys(n)["rows"]
		for _, k := range int64s(t, rec, 0) {
			keys[k] = true
		}
		rec.Release()
	}
	require.Len(t, keys, 150_000)
}

func int64s(t *testing.T, rec arrow.Record, column int) []int64 {
	t.Helper()
	values, ok := rec.Column(column).(interface{ Int64Values() []int64 })
	require.True(t, ok)
	return values.Int64Values()
}

// TestTaskEnds asks that a process of the engine says what is wrong with a task, and ends when its driver
// does.
func TestTaskEnds(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	require.NoError(t, err)
	r := &run{Options: Options{Binary: self, Dir: t.TempDir(), Log: t.Output()}, report: &Report{Suite: "state"}}
	_, err = r.engine(t.Context(), &task{SQL: "CREATE QUERY nonsense", Queries: []string{"q"},
		Feed: feedSpec{Kind: "keys"}})
	var refused *refusal
	require.ErrorAs(t, err, &refused)
	require.NotEmpty(t, refused.code)
	require.ErrorContains(t, err, "the engine refuses the query: ")
	_, err = r.engine(t.Context(), &task{Feed: feedSpec{Kind: "other"}})
	require.ErrorContains(t, err, `there is no feed "other"`)
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("enough")
	cancel(reason)
	_, err = r.engine(ctx, &task{SQL: stateSQL, Queries: []string{"state"}, Steps: 1,
		Feed: feedSpec{Kind: "keys", Keys: 10}})
	require.Error(t, err)
}
