package duck

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

var feedColumns = []Column{{Name: "id", Type: "BIGINT"}, {Name: "h", Type: "HUGEINT"}, {Name: "flag", Type: "BOOLEAN"},
	{Name: "s", Type: "VARCHAR"}}

// feedRecord has the rows from ... to - 1 of a sequence.
func feedRecord(t testing.TB, mem memory.Allocator, from, to int) arrow.Record {
	t.Helper()
	fields := make([]arrow.Field, len(feedColumns))
	for i, c := range feedColumns {
		typ, err := ArrowType(c.Type)
		require.NoError(t, err)
		fields[i] = arrow.Field{Name: c.Name, Type: typ, Nullable: true}
	}
	b := array.NewRecordBuilder(mem, arrow.NewSchema(fields, nil))
	defer b.Release()
	least := decimal128.New(math.MinInt64, 0)
	for i := from; i < to; i++ {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		switch i % 4 {
		case 0:
			b.Field(1).AppendNull()
		case 1:
			b.Field(1).(*array.Decimal128Builder).Append(least)
		default:
			b.Field(1).(*array.Decimal128Builder).Append(decimal128.FromI64(int64(-i)))
		}
		b.Field(2).(*array.BooleanBuilder).Append(i%3 == 0)
		b.Field(3).(*array.StringBuilder).Append("row"[:i%4])
	}
	return b.NewRecord()
}

func openFeed(t testing.TB, c *Conn) *Feed {
	t.Helper()
	f, err := c.OpenFeed(t.Context(), "__feed", feedColumns)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close(context.Background())) })
	return f
}

func feedWith() []string {
	return []string{FeedSQL("__feed", "rows", `s || id AS tag, CAST(h AS HUGEINT) AS h, s, id, flag`, true)}
}

func TestAFeedGivesEachStatementTheRowsOfTheMoment(t *testing.T) {
	t.Parallel()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	f := openFeed(t, c)
	for i := range 8 {
		first, second := feedRecord(t, mem, i, 3*i), feedRecord(t, mem, 3*i, 3*i+i%2)
		whole := feedRecord(t, mem, 0, 3*i+5)
		tail := whole.NewSlice(int64(i), int64(2*i)) // an offset, also in the bits of BOOLEAN
		require.NoError(t, f.Lend([]arrow.Record{first, second, tail}))
		sql := "SELECT id, CAST(h AS VARCHAR) AS h, flag, s FROM rows ORDER BY id"
		got, err := c.Query(t.Context(), feedWith(), sql, []Column{feedColumns[0], {Name: "h", Type: "VARCHAR"},
			feedColumns[2], feedColumns[3]})
		require.NoError(t, err)
		f.Return()

		require.NoError(t, c.Import(t.Context(), "rows", "", []arrow.Record{first, second, tail}, first.Schema()))
		text := "CASE WHEN id % 4 = 1 THEN '-170141183460469231731687303715884105728' ELSE CAST(-id AS VARCHAR) END"
		want, err := c.Select(t.Context(), "SELECT id, CASE WHEN id % 4 <> 0 THEN "+text+" END AS h, flag, s FROM rows ORDER BY id")
		require.NoError(t, err)
		require.Equal(t, selfTestText(want), selfTestText(got))
		for _, r := range []interface{ Release() }{got, want, first, second, tail, whole} {
			r.Release()
		}
	}
}

func TestAFeedIsEmptyBetweenBatches(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	f := openFeed(t, c)
	rec := feedRecord(t, memory.DefaultAllocator, 0, 10)
	defer rec.Release()
	count := func() (int64, error) {
		rows, err := c.Rows(t.Context(), WithSQL(feedWith(), "SELECT count(*) FROM rows"))
		if err != nil {
			return 0, err
		}
		return rows[0][0].(int64), nil
	}
	for range 3 {
		n, err := count()
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, f.Lend([]arrow.Record{rec}))
		n, err = count()
		require.NoError(t, err)
		require.Equal(t, int64(10), n)
		n, err = count() // as often as it is read
		require.NoError(t, err)
		require.Equal(t, int64(10), n)
		f.Return()
	}
	err := f.Lend([]arrow.Record{rec.NewSlice(0, 0)})
	require.NoError(t, err)
	n, err := count()
	require.NoError(t, err)
	require.Zero(t, n)
	f.Return()

	wrong := batchOf(t, memory.DefaultAllocator, 1)
	defer wrong.Release()
	requireKind(t, InvalidInput, f.Lend([]arrow.Record{wrong}))
}

// TestAFeedKeepsTheOrderOfRows reads a record that several threads work on.
func TestAFeedKeepsTheOrderOfRows(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Threads: 4})
	f := openFeed(t, c)
	var recs []arrow.Record
	const rows = 300_000
	for from := 0; from < rows; from += rows / 10 {
		recs = append(recs, feedRecord(t, memory.DefaultAllocator, from, from+rows/10))
	}
	defer releaseRecords(recs)
	require.True(t, f.Fits(recs))
	for range 2 {
		require.NoError(t, f.Lend(recs))
		got, err := c.Query(t.Context(), feedWith(), "SELECT id, s FROM rows WHERE id % 5 <> 2",
			[]Column{feedColumns[0], feedColumns[3]})
		require.NoError(t, err)
		f.Return()
		last := int64(-1)
		require.Equal(t, int64(rows/5*4), got.NumRows())
		for _, rec := range got.Records {
			for _, id := range rec.Column(0).(*array.Int64).Int64Values() {
				require.Less(t, last, id)
				last = id
			}
		}
		got.Release()
	}
	require.False(t, f.Fits(slices.Repeat(recs, 4)))
}

// TestAFeedInATransaction goes through a statement that fails and a rollback.
func TestAFeedInATransaction(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	f := openFeed(t, c)
	rec := feedRecord(t, memory.DefaultAllocator, 0, 10)
	defer rec.Release()
	for range 3 {
		_, err := c.Exec(t.Context(), "BEGIN TRANSACTION")
		require.NoError(t, err)
		require.NoError(t, f.Lend([]arrow.Record{rec}))
		_, err = c.Query(t.Context(), feedWith(), "SELECT CAST(s AS INTEGER) AS n FROM rows", []Column{{Name: "n", Type: "INTEGER"}})
		requireKind(t, Conversion, err)
		f.Return()
		_, err = c.Exec(t.Context(), "ROLLBACK")
		require.NoError(t, err)

		require.NoError(t, f.Lend([]arrow.Record{rec}))
		_, err = c.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE x AS "+WithSQL(feedWith(), "SELECT * FROM rows"))
		require.NoError(t, err)
		f.Return()
	}
	require.NoError(t, f.Close(t.Context()))
	views, err := c.Rows(t.Context(), "SELECT view_name FROM duckdb_views() WHERE NOT internal")
	require.NoError(t, err)
	require.Empty(t, views)
}

func TestQueryKeepsTheOrderOfItsSelect(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Threads: 4})
	got, err := c.Query(t.Context(), nil, "SELECT CAST(i AS HUGEINT) AS h, i FROM range(300000) t(i) ORDER BY i % 1000, i",
		[]Column{{Name: "h", Type: "HUGEINT"}, {Name: "i", Type: "BIGINT"}})
	require.NoError(t, err)
	defer got.Release()
	at := int64(0)
	for _, rec := range got.Records {
		for _, i := range rec.Column(1).(*array.Int64).Int64Values() {
			require.Equal(t, at%300*1000+at/300, i)
			at++
		}
	}
	require.Equal(t, int64(300_000), at)
}

func TestCancelStopsQueryAndRead(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	calls := map[string]func(ctx context.Context) error{
		"Query": func(ctx context.Context) error {
			_, err := c.Query(ctx, nil, heavySQL, []Column{{Name: "n", Type: "BIGINT"}})
			return err
		},
		"Read": func(ctx context.Context) error {
			_, err := c.Read(ctx, "("+heavySQL+")", []Column{{Name: "n", Type: "BIGINT"}})
			return err
		},
	}
	for name, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		start := time.Now()
		require.ErrorIs(t, call(ctx), context.DeadlineExceeded, name)
		require.Less(t, time.Since(start), soon, name)
		cancel()
		rows, err := c.Rows(t.Context(), "SELECT 42")
		require.NoError(t, err)
		require.Equal(t, [][]any{{int64(42)}}, rows)
	}
}

// TestStepsStayWhereTheyAre looks at DuckDB's plan of a statement over rows that get columns in steps: its condition reads
// them, and stays above the limits, so that nothing is computed twice. Rows come in order, of which it takes few first and
// most later.
func TestStepsStayWhereTheyAre(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	f := openFeed(t, c)
	with := FeedStepsSQL("__feed", "rows", "id, s, flag, md5(s) AS a", "id, a, CASE WHEN flag THEN NULL ELSE sha256(s) END AS b, md5(s) AS unread")
	sql := WithSQL([]string{with}, "SELECT id, a || b AS ab, b FROM rows WHERE (b <> 'x' AND b <> 'y') AND (id < 5 OR id >= 9000)")
	require.NoError(t, f.Lend([]arrow.Record{feedRecord(t, memory.DefaultAllocator, 0, 8000), feedRecord(t, memory.DefaultAllocator, 8000, 20_000)}))
	defer f.Return()
	rows, err := c.Rows(t.Context(), "EXPLAIN "+sql)
	require.NoError(t, err)
	plan := rows[0][1].(string)
	filter, limit := strings.Index(plan, "FILTER"), strings.Index(plan, "STREAMING_LIMIT")
	require.Positive(t, filter, plan)
	require.Greater(t, limit, filter, plan)
	require.Equal(t, 2, strings.Count(plan, "STREAMING_LIMIT"), plan)
	for _, call := range []string{"md5", "sha256", "unread", "CTE"} {
		require.NotContains(t, plan, call)
	}
	got, err := c.Query(t.Context(), nil, sql, []Column{feedColumns[0], {Name: "ab", Type: "VARCHAR"}, {Name: "b", Type: "VARCHAR"}})
	require.NoError(t, err)
	defer got.Release()
	next, n := int64(0), int64(0)
	for _, rec := range got.Records {
		for _, id := range rec.Column(0).(*array.Int64).Int64Values() {
			require.GreaterOrEqual(t, id, next)
			next, n = id+1, n+1
		}
	}
	require.EqualValues(t, 3+7_333, n, "those without a flag")
}
