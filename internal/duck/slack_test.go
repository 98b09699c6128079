package duck

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSlackIsGivenBack lets a statement free much memory: less than the bound of it is left.
func TestSlackIsGivenBack(t *testing.T) {
	most := slack(64 << 20)
	if most.now() < 0 {
		t.Skip("the linked DuckDB has another allocator")
	}
	const sql = "SELECT max(x) FROM (SELECT repeat(i::VARCHAR, 20) AS x FROM range(2000000) t(i) ORDER BY hash(i) LIMIT 1900000)"
	_, loose := openTest(t, Options{Sealed: true})
	_, err := loose.Exec(t.Context(), sql)
	require.NoError(t, err)
	require.Greater(t, most.now(), int64(most), "the test is about a statement that leaves more")
	_, bound := openTest(t, Options{Sealed: true, Slack: int64(most)})
	_, err = bound.Exec(t.Context(), sql)
	require.NoError(t, err)
	require.LessOrEqual(t, most.now(), int64(most))
}
