package duck

import (
	"fmt"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestEveryTypeIsLent reads rows of each type through a feed, as two records: all of them, and from an odd row on, which has
// its place within a byte of each bitmap.
func TestEveryTypeIsLent(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	for name, tc := range roundTripCases() {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			_, err := c.Exec(ctx, "CREATE OR REPLACE TEMP TABLE orig AS SELECT i AS pos, "+tc.sql+" AS x FROM range(5000) t(i)")
			require.NoError(t, err)
			tb, err := c.Select(ctx, "FROM orig")
			require.NoError(t, err)
			defer tb.Release()
			f, err := c.OpenFeed(ctx, "__typed", []Column{{Name: "pos", Type: "BIGINT"}, {Name: "x", Type: tc.back}})
			require.NoError(t, err)
			defer func() { require.NoError(t, f.Close(ctx)) }()
			one, err := gatherUpTo(tb.Records, tb.Schema, 1<<20)
			require.NoError(t, err)
			defer releaseRecords(one)
			for _, from := range []int64{0, 1, 64, 1999} {
				first, second := one[0].NewSlice(from, from+2051), one[0].NewSlice(from+2051, 5000)
				require.NoError(t, f.Lend([]arrow.Record{first, second}))
				rows, err := c.Rows(ctx, "SELECT count(*), count(*) FILTER (WHERE o.x::VARCHAR IS DISTINCT FROM b.x::VARCHAR) "+
					"FROM orig o JOIN __typed b USING (pos)")
				require.NoError(t, err)
				require.Equal(t, [][]any{{5000 - from, int64(0)}}, rows)
				f.Return()
				first.Release()
				second.Release()
			}
		})
	}
}

// TestRecordsAreLentAsTheyAre lends records of all sizes, whole and sliced, and asks that only small neighbours are copied.
func TestRecordsAreLentAsTheyAre(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	f := openFeed(t, c)
	for _, sizes := range [][]int{{5000}, {5000, 5000, 2048}, {3, 5000, 1, 2, 0, 2047, 2048, 0}, {1, 1, 1}, {0, 0}, {2047, 9000, 1, 4096, 7}} {
		var recs []arrow.Record
		rows, large, asTheyAre := 0, 0, 0
		for _, n := range sizes {
			rec := feedRecord(t, memory.DefaultAllocator, rows+95, rows+100+n) // its first five rows are left out
			recs = append(recs, rec.NewSlice(5, int64(n)+5))
			rec.Release()
			if rows += n; n >= lentRowsMin {
				large++
			}
		}
		require.NoError(t, f.Lend(recs))
		for _, held := range f.lender.held {
			if slices.Contains(recs, held) {
				asTheyAre++
			}
		}
		require.GreaterOrEqual(t, asTheyAre, large, "%v", sizes)
		for range 2 {
			got, err := c.Query(t.Context(), feedWith(), "SELECT id, s FROM rows", []Column{feedColumns[0], feedColumns[3]})
			require.NoError(t, err)
			var ids []int64
			for _, rec := range got.Records {
				ids = append(ids, rec.Column(0).(*array.Int64).Int64Values()...)
			}
			require.Len(t, ids, rows, "%v", sizes)
			for i, id := range ids {
				require.Equal(t, int64(i+100), id)
			}
			got.Release()
			joined, err := c.Rows(t.Context(), "SELECT count(*) FROM __feed a JOIN __feed b USING (id)")
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("[[%d]]", rows), fmt.Sprint(joined))
		}
		f.Return()
		releaseRecords(recs)
	}
}

// TestOnlyWhatIsNamedIsRead asks for some columns, in another order, for one twice, and for none.
func TestOnlyWhatIsNamedIsRead(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	f := openFeed(t, c)
	rec := feedRecord(t, memory.DefaultAllocator, 0, 5000)
	defer rec.Release()
	require.NoError(t, f.Lend([]arrow.Record{rec}))
	for sql, want := range map[string]string{
		"SELECT count(*) FROM __feed":                                          "[[5000]]",
		"SELECT count(*) FROM __feed WHERE flag":                               "[[1667]]",
		"SELECT s, sum(id) FROM __feed WHERE s <> '' GROUP BY s ORDER BY s":    "[[r 3123750] [ro 3125000] [row 3126250]]",
		"SELECT a.s, b.id FROM __feed a JOIN __feed b USING (id) WHERE id = 7": "[[row 7]]",
	} {
		rows, err := c.Rows(t.Context(), sql)
		require.NoError(t, err, sql)
		require.Equal(t, want, fmt.Sprint(rows), sql)
	}
}

// TestAFunctionOfAClosedFeedIsUsedAgain opens feeds of other columns one after the other, and two at a time.
func TestAFunctionOfAClosedFeedIsUsedAgain(t *testing.T) {
	t.Parallel()
	db, c := openTest(t, Options{Sealed: true})
	count := func(name string) string {
		rows, err := c.Rows(t.Context(), "SELECT count(*), typeof(any_value(x)) FROM "+name)
		require.NoError(t, err)
		return fmt.Sprint(rows)
	}
	for _, typ := range []string{"BIGINT", "VARCHAR", "DOUBLE"} {
		first, err := c.OpenFeed(t.Context(), "__first", []Column{{Name: "x", Type: typ}})
		require.NoError(t, err)
		second, err := c.OpenFeed(t.Context(), "__second", []Column{{Name: "x", Type: "BOOLEAN"}})
		require.NoError(t, err)
		require.NoError(t, first.Lend([]arrow.Record{nullRecord(t, first.schema, 3)}))
		require.Equal(t, "[[3 "+typ+"]]", count("__first"))
		require.Equal(t, "[[0 BOOLEAN]]", count("__second"))
		require.NoError(t, first.Close(t.Context()))
		require.NoError(t, second.Close(t.Context()))
		require.NoError(t, first.Close(t.Context()))
	}
	require.Len(t, db.lenders.all, 2)
	require.Len(t, db.lenders.free, 2)
}

// TestPartsOfANullAreNull lends a STRUCT and an ARRAY that are NULL above values, as Arrow may have them: they are sliced,
// and nested in each other.
func TestPartsOfANullAreNull(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	f, err := c.OpenFeed(t.Context(), "__nulls", []Column{{Name: "x", Type: "STRUCT(a STRUCT(b BIGINT)[2])"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(t.Context())) }()
	numbers := array.NewInt64Builder(memory.DefaultAllocator)
	defer numbers.Release()
	numbers.AppendValues([]int64{1, 2, 3, 4, 5, 6, 7, 8}, nil)
	b := numbers.NewArray()
	defer b.Release()
	top, ok := f.schema.Field(0).Type.(*arrow.StructType)
	require.True(t, ok)
	pairs, ok := top.Field(0).Type.(*arrow.FixedSizeListType)
	require.True(t, ok)
	above := func(typ arrow.DataType, n int, valid byte, part arrow.ArrayData) arrow.ArrayData {
		return array.NewData(typ, n, []*memory.Buffer{memory.NewBufferBytes([]byte{valid})}, []arrow.ArrayData{part},
			array.UnknownNullCount, 0)
	}
	inner := above(pairs.Elem(), 8, 0b1101_1111, b.Data()) // the sixth is NULL
	list := above(pairs, 4, 0b0111, inner)                 // the last is NULL
	x := array.MakeFromData(above(top, 4, 0b1101, list))   // the second is NULL
	rec := array.NewRecord(f.schema, []arrow.Array{x}, 4)
	defer rec.Release()
	for from, want := range []string{
		"[[1 2] [<nil> <nil>] [5 <nil>] [<nil> <nil>]]", "[[<nil> <nil>] [5 <nil>] [<nil> <nil>]]", "[[5 <nil>] [<nil> <nil>]]",
	} {
		tail := rec.NewSlice(int64(from), 4)
		require.NoError(t, f.Lend([]arrow.Record{tail}))
		rows, err := c.Rows(t.Context(), "SELECT x.a[1].b, x.a[2].b FROM __nulls")
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprint(rows))
		f.Return()
		tail.Release()
	}
}

// TestMoreThanFitsIsNotLent asks that no row is left out in silence.
func TestMoreThanFitsIsNotLent(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	f, err := c.OpenFeed(t.Context(), "__many", []Column{{Name: "x", Type: "BOOLEAN"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close(t.Context())) }()
	half := nullRecord(t, f.schema, FeedRowsMax/2)
	require.NoError(t, f.Lend([]arrow.Record{half, half}))
	more := []arrow.Record{half, half, nullRecord(t, f.schema, 1)}
	require.False(t, f.Fits(more))
	requireKind(t, InternalFault, f.Lend(more))
	rows, err := c.Rows(t.Context(), "SELECT count(*) FROM __many")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(0)}}, rows)
}

// TestAFeedOutlivesItsClosedDatabase reads lent rows, and closes the feed, on a connection that is still open.
func TestAFeedOutlivesItsClosedDatabase(t *testing.T) {
	t.Parallel()
	db, c := openTest(t, Options{Sealed: true})
	f := openFeed(t, c)
	rec := feedRecord(t, memory.DefaultAllocator, 0, 10)
	defer rec.Release()
	require.NoError(t, f.Lend([]arrow.Record{rec}))
	require.NoError(t, db.Close())
	rows, err := c.Rows(t.Context(), "SELECT count(s || id) FROM __feed")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(10)}}, rows)
	require.NoError(t, f.Close(t.Context()))
	require.Len(t, db.lenders.free, 1)
	require.NoError(t, c.Close())
	require.Empty(t, db.lenders.all)
}

func nullRecord(t *testing.T, schema *arrow.Schema, rows int) arrow.Record {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).AppendNulls(rows)
	rec := b.NewRecord()
	t.Cleanup(rec.Release)
	return rec
}
