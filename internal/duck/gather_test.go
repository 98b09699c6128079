package duck

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestLargeResultsOverflow asks for more than Go is to hold: all rows are there in order, most of them in the memory that
// was given for it, which is whole again afterwards.
func TestLargeResultsOverflow(t *testing.T) {
	t.Parallel()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	_, c := openTest(t, Options{Overflow: Overflow{After: 20 << 20, Memory: mem}})
	cols := []Column{{Name: "i", Type: "BIGINT"}, {Name: "x", Type: "VARCHAR"}}
	const rows = 100_000
	got, err := c.Query(t.Context(), nil, "SELECT i, repeat('x', 1000) AS x FROM range(100000) t(i) ORDER BY i", cols)
	require.NoError(t, err)
	defer got.Release()
	require.Greater(t, mem.CurrentAlloc(), 70<<20)
	require.Less(t, mem.CurrentAlloc(), 90<<20)
	next := int64(0)
	for _, rec := range got.Records {
		require.LessOrEqual(t, RecordBytes(rec), int64(resultBytesMax+4<<20))
		ids, ok := rec.Column(0).(*array.Int64)
		require.True(t, ok)
		for i := range ids.Len() {
			require.Equal(t, next, ids.Value(i))
			next++
		}
	}
	require.EqualValues(t, rows, next)
	few, err := c.Query(t.Context(), nil, "SELECT i, 'x' AS x FROM range(10) t(i)", cols)
	require.NoError(t, err)
	before := mem.CurrentAlloc()
	few.Release()
	require.Equal(t, before, mem.CurrentAlloc(), "few rows are Go's")
}

// TestRowsFailOnTheWay lets a row fail when others of the result have been read.
func TestRowsFailOnTheWay(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Threads: 1})
	sql := "SELECT CAST(CASE WHEN i = 900000 THEN 'none' ELSE i::VARCHAR END AS BIGINT) AS n FROM range(1000000) t(i)"
	for range 2 {
		_, err := c.Query(t.Context(), nil, sql, []Column{{Name: "n", Type: "BIGINT"}})
		require.True(t, requireKind(t, Conversion, err).RowFault())
	}
	rows, err := c.Rows(t.Context(), "SELECT 42")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(42)}}, rows)
}
