package duck

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestQueryAgain runs texts over batches of other rows, none, faulty ones and others again, and asks for each batch's own
// rows, also when the temporary catalogue has changed in between.
func TestQueryAgain(t *testing.T) {
	t.Parallel()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	f := openFeed(t, c)
	ask := func(sql string, n int) (int64, error) {
		rec := feedRecord(t, mem, 0, n)
		defer rec.Release()
		require.NoError(t, f.Lend([]arrow.Record{rec}))
		defer f.Return()
		got, err := c.QueryAgain(t.Context(), feedWith(), sql, feedColumns[:1])
		if err != nil {
			return 0, err
		}
		defer got.Release()
		return got.Records[0].Column(0).(*array.Int64).Value(0), nil
	}
	const sum = "SELECT coalesce(sum(id), -1)::BIGINT AS id FROM rows"
	for i, n := range []int{3, 0, 1, 5000, 3, 100} {
		if i == 4 {
			_, err := c.Exec(t.Context(), "CREATE OR REPLACE TEMP TABLE other AS SELECT 1 AS id")
			require.NoError(t, err)
		}
		got, err := ask(sum, n)
		require.NoError(t, err)
		want := int64(n * (n - 1) / 2)
		if n == 0 {
			want = -1
		}
		require.Equal(t, want, got, "%d rows", n)
	}
	require.Len(t, c.kept, 1)
	const faulty = "SELECT CASE WHEN count(*) = 2 THEN error('two') ELSE count(*)::VARCHAR END::BIGINT AS id FROM rows"
	for n := range 4 {
		got, err := ask(faulty, n)
		if n == 2 {
			require.ErrorContains(t, err, "two")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, int64(n), got)
	}
	_, err := ask("SELECT nothing FROM rows", 1)
	requireKind(t, Binder, err)
	for i := range 2 * preparedMax {
		got, err := ask(fmt.Sprintf("SELECT count(*) + %d AS id FROM rows", i), 4)
		require.NoError(t, err)
		require.Equal(t, int64(4+i), got)
	}
	require.LessOrEqual(t, len(c.kept), preparedMax)
	require.NoError(t, f.Close(t.Context()))
	require.Empty(t, c.kept)
}
