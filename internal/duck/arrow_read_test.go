package duck

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTextsBeyondArrow asks that rows whose texts do not fit an Arrow array are those rows' fault, and neither the end
// of the process nor of the connection.
func TestTextsBeyondArrow(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: results of over 2 GiB are NOT tested; `make test` does it")
	}
	_, c := openTest(t, Options{Sealed: true, MemoryLimit: 12 << 30, Threads: 1})
	// 2,048 rows are one chunk. A megabyte at a time, the texts are made once and copied, not grown by doubling.
	_, err := c.Select(t.Context(), "SELECT repeat('x', 1100000) AS x FROM range(2048)")
	e := requireKind(t, OutOfRange, err)
	require.True(t, e.RowFault())
	require.Contains(t, e.Message, "2 GiB")
	got, err := c.Select(t.Context(), "SELECT repeat('x', 11) AS x FROM range(5000)")
	require.NoError(t, err)
	require.Equal(t, int64(5000), got.NumRows())
	got.Release()
}
