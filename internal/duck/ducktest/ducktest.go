// Package ducktest opens DuckDB for tests, for as long as a test lasts.
package ducktest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
)

// Open returns a database that is closed at the end of the test, after whatever is cleaned up later.
func Open(t testing.TB, o duck.Options) *duck.DB {
	t.Helper()
	db, err := duck.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// Conn returns a connection to a database of its own; both are closed at the end of the test.
func Conn(t testing.TB, o duck.Options) *duck.Conn {
	t.Helper()
	return Session(t, Open(t, o))
}

// Session returns a connection to a database that is closed at the end of the test.
func Session(t testing.TB, db *duck.DB) *duck.Conn {
	t.Helper()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}
