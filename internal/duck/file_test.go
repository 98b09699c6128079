package duck

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestImportIntoAFileSurvivesACrash copies file and WAL as a crash would leave them, and opens the copy.
func TestImportIntoAFileSurvivesACrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, c := openTest(t, Options{Path: filepath.Join(dir, "sink.db")})
	rec := batchOf(t, memory.DefaultAllocator, 100)
	defer rec.Release()
	recs := []arrow.Record{rec}
	_, err := c.Exec(t.Context(), "CREATE TABLE out(batch BIGINT, id BIGINT)")
	require.NoError(t, err)
	for batch := range 3 {
		// Once on its own, once as a part of the sink's transaction, once failing.
		require.NoError(t, c.Import(t.Context(), "alone", "", recs, rec.Schema()))
		_, err = c.Exec(t.Context(), "BEGIN")
		require.NoError(t, err)
		require.NoError(t, c.Import(t.Context(), "delta", "id", recs, rec.Schema()))
		n, err := c.Exec(t.Context(), "INSERT INTO out SELECT ?, id FROM delta", batch)
		require.NoError(t, err)
		require.Equal(t, int64(100), n)
		_, err = c.Exec(t.Context(), "COMMIT")
		require.NoError(t, err)
		requireKind(t, Conversion, c.Import(t.Context(), "alone", "customer::INT", recs, rec.Schema()))

		crashed := filepath.Join(dir, "crash"+strconv.Itoa(batch)+".db")
		copyFile(t, filepath.Join(dir, "sink.db"), crashed)
		copyFile(t, filepath.Join(dir, "sink.db.wal"), crashed+".wal")
		_, after := openTest(t, Options{Path: crashed})
		rows, err := after.Rows(t.Context(), "SELECT count(*), count(DISTINCT batch) FROM out")
		require.NoError(t, err)
		require.Equal(t, [][]any{{int64(100 * (batch + 1)), int64(batch + 1)}}, rows)
		names, err := after.Rows(t.Context(), "SELECT name FROM (SHOW ALL TABLES) ORDER BY name")
		require.NoError(t, err)
		require.Equal(t, [][]any{{"out"}}, names)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, 0o600))
}

func TestAFileHasTheSafetySettings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "sink.db")
	db, err := Open(t.Context(), Options{Path: path})
	require.NoError(t, err)
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	_, err = c.Exec(t.Context(), "CREATE TABLE kept AS SELECT 1 AS x")
	require.NoError(t, err)
	rows, err := c.Rows(t.Context(), "SELECT current_setting('wal_autocheckpoint')")
	require.NoError(t, err)
	require.Equal(t, [][]any{{"953.6 MiB"}}, rows)
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
	// No checkpoint was made at shutdown: the table is still in the WAL.
	info, err := os.Stat(path + ".wal")
	require.NoError(t, err)
	require.Positive(t, info.Size())
	_, again := openTest(t, Options{Path: path})
	rows, err = again.Rows(t.Context(), "FROM kept")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(1)}}, rows)
}
