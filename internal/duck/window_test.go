package duck

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWindowFunction asks for what planner's comparison with time_bucket leaves out: NULLs among times, and faults.
func TestWindowFunction(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	const rows = " FROM (SELECT CASE WHEN i % 3 > 0 THEN make_timestamp(i) END AS ts, i FROM range(10000) r(i))"
	got, err := c.Rows(t.Context(), "SELECT count(*), count(w), count(*) FILTER (w IS DISTINCT FROM make_timestamp(i // 7 * 7)) FROM "+
		"(SELECT "+WindowSQL("ts", 7, 0, "0")+" AS w, i"+rows+") WHERE i % 3 > 0 OR w IS NOT NULL")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(6666), int64(6666), int64(0)}}, got)
	got, err = c.Rows(t.Context(), "SELECT "+WindowSQL("ts", 7, 0, "NULL")+rows+" LIMIT 1 OFFSET 1")
	require.NoError(t, err)
	require.Equal(t, [][]any{{nil}}, got)
	for _, sql := range []string{WindowSQL("ts", 0, 0, "0"), WindowSQL("ts", 7, 7, "0"), WindowSQL("ts", 7, -1, "0"),
		WindowSQL("ts", 7, 0, "9223372036854775807")} {
		_, err = c.Rows(t.Context(), "SELECT "+sql+rows)
		require.ErrorContains(t, err, "the window of a time does not fit TIMESTAMP")
	}
}
