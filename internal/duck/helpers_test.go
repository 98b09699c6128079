package duck

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// openTest opens a database and one connection, closed at the end of the test.
func openTest(t testing.TB, o Options) (*DB, *Conn) {
	t.Helper()
	db, err := Open(t.Context(), o)
	require.NoError(t, err)
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Close())
		require.NoError(t, db.Close())
	})
	return db, c
}

// requireKind fails unless err is an *Error of the kind.
func requireKind(t testing.TB, want Kind, err error) *Error {
	t.Helper()
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, want, e.Kind, "%v", err)
	return e
}
