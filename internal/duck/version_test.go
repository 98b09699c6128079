package duck

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestVersion asks that the library names itself as its SQL does.
func TestVersion(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	rows, err := c.Rows(t.Context(), "SELECT version()")
	require.NoError(t, err)
	require.Equal(t, rows[0][0], Version())
}
