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
	_, err := c.Select(t.Context(), "SELECT repeat('x', 1100000000) AS x FROM range(2)")
	e := requireKind(t, OutOfRange, err)
	require.True(t, e.RowFault())
	require.Contains(t, e.Message, "2 GiB")
	got, err := c.Select(t.Context(), "SELECT repeat('x', 11) AS x FROM range(5000)")
	require.NoError(t, err)
	require.Equal(t, int64(5000), got.NumRows())
	got.Release()
}
