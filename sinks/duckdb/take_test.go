package duckdb

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

// selected writes the results of SELECTs, a batch each, in update mode by the first column.
func selected(t *testing.T, pool *Pool, path string, batches ...string) stream.Sink {
	t.Helper()
	conn := ducktest.Conn(t, duck.Options{})
	var sink stream.Sink
	for i, sql := range batches {
		result, err := conn.Select(t.Context(), sql)
		require.NoError(t, err)
		cfg := sinktest.Config(stream.Update)
		cfg.Schema, cfg.Keys = result.Schema, []int{0}
		if sink == nil {
			sink, err = connect(pool, path, "t", cfg)
			require.NoError(t, err)
			require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
		}
		require.NoError(t, sink.Write(t.Context(), stream.Delivery{
			Marker: sinktest.Marker(sinktest.QueryA, 1, int64(i)), Mode: stream.Update,
			Result: stream.Batch{Schema: result.Schema, Records: result.Records, Keys: cfg.Keys},
		}))
		result.Release()
	}
	return sink
}

// TestLent looks which batches become a table before they are in the file: those in which a key comes twice, and those that are
// too large to be lent. Whichever way, the last row of each key is what the table has.
func TestLent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		batch    string
		imported bool
		want     [][]any
	}{
		"once each": {"SELECT i AS k, 'n' || i AS v, [i, NULL] AS l FROM range(1000) t(i)", false, [][]any{{int64(1000), int64(1000), "n999"}}},
		"twice":     {"SELECT i % 10 AS k, 'n' || i AS v, [i, NULL] AS l FROM range(1000) t(i)", true, [][]any{{int64(10), int64(10), "n999"}}},
		"NULLs":     {"SELECT nullif(i, 3) AS k, 'n' || i AS v, [i, NULL] AS l FROM range(1000) t(i)", false, [][]any{{int64(1000), int64(999), "n999"}}},
		"large":     {"SELECT i AS k, 'n' || i % 1000 AS v, [i, NULL] AS l FROM range(1100000) t(i)", true, [][]any{{int64(1100000), int64(1100000), "n999"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var said []string
			pool, path := testPool(), filepath.Join(t.TempDir(), "s.duckdb")
			pool.options.MemoryLimit = 1 << 30
			pool.options.Trace = func(sql string) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, sql)
			}
			// The first batch makes ready for those that follow.
			sink := selected(t, pool, path, c.batch+" WHERE i < 5", c.batch)
			require.Equal(t, c.want, query(t, pool, path, "SELECT count(*), count(k), max(v) FROM t"))
			require.NoError(t, sink.Close())
			made := strings.Count(strings.Join(said, "\n"), `CREATE OR REPLACE TEMP TABLE "`+incoming+`"`)
			require.Equal(t, c.imported, made > 2, "Open and the first batch make an empty one: %d", made)
		})
	}
}

// TestNothingOfBatchesStays opens what a kill would leave: rows and marker, but no view, table or function by which rows came.
func TestNothingOfBatchesStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, left := filepath.Join(dir, "s.duckdb"), filepath.Join(dir, "left.duckdb")
	sink := selected(t, testPool(), path, "SELECT i AS k, i AS v FROM range(10) t(i)", "SELECT i % 3 AS k, i AS v FROM range(20) t(i)")
	for _, end := range []string{"", ".wal"} {
		data, err := os.ReadFile(path + end)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(left+end, data, 0o600))
	}
	pool := testPool()
	require.Equal(t, [][]any{{int64(10)}}, query(t, pool, left, "SELECT count(*) FROM t"))
	require.Equal(t, [][]any{{"_tidemill_markers"}, {"t"}}, query(t, pool, left,
		"SELECT table_name FROM information_schema.tables WHERE table_catalog = 'left' ORDER BY table_name"))
	require.NoError(t, sink.Close())
}
