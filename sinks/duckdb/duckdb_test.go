package duckdb

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

func testPool() *Pool { return NewPool(duck.Options{MemoryLimit: 256 << 20, Threads: 2}) }

func connect(pool *Pool, path, table string, cfg stream.SinkConfig) (stream.Sink, error) {
	cfg.Options = stream.Options{"path": path, "table": table}
	return newSink(pool, cfg)
}

// query reads the file as another user of the same process would.
func query(t *testing.T, pool *Pool, path, sql string) [][]any {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	d, err := pool.acquire(ctx, path)
	require.NoError(t, err)
	conn, err := d.db.Conn(ctx)
	require.NoError(t, err)
	rows, err := conn.Rows(ctx, sql)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, pool.release(ctx, d))
	return rows
}

func place(t *testing.T) sinktest.Place {
	t.Helper()
	pool, path := testPool(), filepath.Join(t.TempDir(), "sub", "it's.duckdb")
	return sinktest.Place{
		Connect: func(cfg stream.SinkConfig) (stream.Sink, error) { return connect(pool, path, `ta"ble`, cfg) },
		Rows:    func() [][]any { return query(t, pool, path, `SELECT id, name, n FROM "ta""ble"`) },
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Features{
		Modes: []stream.Mode{stream.Append, stream.Update, stream.Complete}, Slots: true,
	}, place)
}

func TestSharedFile(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "shop.duckdb")
	for _, table := range []string{"a", "b"} {
		sink, err := connect(pool, path, table, sinktest.Config(stream.Append))
		require.NoError(t, err)
		require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
		t.Cleanup(func() { require.NoError(t, sink.Close()) })
		for b := range int64(3) {
			require.NoError(t, sinktest.Deliver(t.Context(), sink, sinktest.Marker(sinktest.QueryA, 1, b), stream.Append, sinktest.Row{ID: b}))
		}
	}
	require.Equal(t, [][]any{{int64(3), int64(3)}}, query(t, pool, path, "SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b)"))
	require.Len(t, pool.files, 1)
}

// TestSameTable sees that DuckDB's names have no case: two sinks of one query on one table would double its rows.
func TestSameTable(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "s.duckdb")
	one, err := connect(pool, path, "t", sinktest.Config(stream.Append))
	require.NoError(t, err)
	require.NoError(t, one.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	two, err := connect(pool, path, "T", sinktest.Config(stream.Append))
	require.NoError(t, err)
	err = two.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1))
	require.Equal(t, diag.SinkMismatch, diag.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "another sink of query")
	require.NoError(t, two.Close())
	require.NoError(t, sinktest.Deliver(t.Context(), one, sinktest.Marker(sinktest.QueryA, 1, 0), stream.Append, sinktest.Row{ID: 1}))
	require.NoError(t, one.Close())
	require.NoError(t, two.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 2, 0)), "the next life may spell it otherwise")
	require.NoError(t, two.Close())
}

// TestSymlink sees that two names of one file are one instance: two would write over one another.
func TestSymlink(t *testing.T) {
	t.Parallel()
	pool, dir := testPool(), t.TempDir()
	path, link := filepath.Join(dir, "a.duckdb"), filepath.Join(dir, "b.duckdb")
	require.NoError(t, os.Symlink(path, link))
	for i, name := range []string{path, link} {
		sink, err := connect(pool, name, "t"+string(rune('0'+i)), sinktest.Config(stream.Append))
		require.NoError(t, err)
		require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
		t.Cleanup(func() { require.NoError(t, sink.Close()) })
	}
	require.Len(t, pool.files, 1)
}

func TestNullKeys(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "k.duckdb")
	cfg := sinktest.Config(stream.Update)
	cfg.Keys = []int{1}
	sink, err := connect(pool, path, "t", cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, sink.Close()) }()
	require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	for b := range int64(3) {
		batch := sinktest.Batch(stream.Update, sinktest.Row{ID: b, Name: nil, N: b}, sinktest.Row{ID: b, Name: "x", N: b})
		batch.Keys = []int{1}
		require.NoError(t, sink.Write(t.Context(), stream.Delivery{Marker: sinktest.Marker(sinktest.QueryA, 1, b), Mode: stream.Update, Result: batch}))
		batch.Release()
	}
	require.Equal(t, [][]any{{int64(2), nil}, {int64(2), "x"}}, query(t, pool, path, "SELECT id, name FROM t ORDER BY name NULLS FIRST"))
}

func TestSchemaMismatch(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "m.duckdb")
	d, err := pool.acquire(t.Context(), path)
	require.NoError(t, err)
	conn, err := d.db.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE t (id VARCHAR); CREATE TABLE full_ (id BIGINT, name VARCHAR, n BIGINT); INSERT INTO full_ VALUES (1, 'mine', 1)")
	require.NoError(t, err)
	defer func() {
		require.NoError(t, conn.Close())
		require.NoError(t, pool.release(context.WithoutCancel(t.Context()), d))
	}()
	for table, text := range map[string]string{"t": "other columns", "full_": "already has rows"} {
		sink, err := connect(pool, path, table, sinktest.Config(stream.Append))
		require.NoError(t, err)
		err = sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1))
		require.Equal(t, diag.SinkMismatch, diag.CodeOf(err), "%v", err)
		require.ErrorContains(t, err, text)
		require.NoError(t, sink.Close())
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	for path, code := range map[string]diag.Code{"": diag.MissingOption, "a?b": diag.BadOption, "s3://x/y": diag.BadOption} {
		_, err := connect(testPool(), path, "t", sinktest.Config(stream.Append))
		require.Equal(t, code, diag.CodeOf(err), "path %q: %v", path, err)
	}
	_, err := connect(testPool(), "x", markers, sinktest.Config(stream.Append))
	require.Equal(t, diag.BadOption, diag.CodeOf(err))
	dir := t.TempDir() // a directory is no database
	sink, err := connect(testPool(), dir, "t", sinktest.Config(stream.Append))
	require.NoError(t, err)
	require.Equal(t, diag.SinkFailed, diag.CodeOf(sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1))))
	require.NoError(t, sink.Close())
}

// TestMarkersOfBefore opens a file whose table of markers has no lives yet.
func TestMarkersOfBefore(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "o.duckdb")
	d, err := pool.acquire(t.Context(), path)
	require.NoError(t, err)
	conn, err := d.db.Conn(t.Context())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE "+markers+` (tbl VARCHAR, query VARCHAR, epoch BIGINT, batch BIGINT, intent_crc BIGINT);
		CREATE TABLE t (id BIGINT, name VARCHAR, n BIGINT); INSERT INTO t VALUES (1, 'a', 1);
		INSERT INTO `+markers+" VALUES ('t', '"+sinktest.QueryA+"', 1, 0, 1000)")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, pool.release(context.WithoutCancel(t.Context()), d))
	for epoch := range uint64(3) {
		o := sinktest.Owner(sinktest.QueryA, epoch+2, int64(epoch)) //nolint:gosec // small
		o.Life = string(rune('a' + epoch))                          //nolint:gosec // small
		o.Lives = []string{"a", "b", "c"}[:epoch+1]
		sink, err := connect(pool, path, "t", sinktest.Config(stream.Append))
		require.NoError(t, err)
		require.NoError(t, sink.Open(t.Context(), o))
		m := sinktest.Marker(sinktest.QueryA, epoch+2, int64(epoch)+1) //nolint:gosec // small
		m.Life = o.Life
		for range 2 {
			require.NoError(t, sinktest.Deliver(t.Context(), sink, m, stream.Append, sinktest.Row{ID: 2}))
		}
		require.NoError(t, sink.Close())
	}
	require.Equal(t, [][]any{{int64(4)}}, query(t, pool, path, "SELECT count(*) FROM t"))
}

// TestCheckpoint sees that the WAL is written into the file at Close, and before that once it is large.
func TestCheckpoint(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "c.duckdb")
	s, err := connect(pool, path, "t", sinktest.Config(stream.Append))
	require.NoError(t, err)
	require.NoError(t, s.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	require.NoError(t, sinktest.Deliver(t.Context(), s, sinktest.Marker(sinktest.QueryA, 1, 0), stream.Append, sinktest.Row{ID: 1}))
	wal, err := size(path + ".wal")
	require.NoError(t, err)
	require.Positive(t, wal)
	own := s.(*sink).file
	require.NoError(t, own.checkpoint(t.Context(), wal+1))
	same, err := size(path + ".wal")
	require.NoError(t, err)
	require.Equal(t, wal, same, "too small to be worth it")
	require.NoError(t, s.Close())
	_, err = vfs.OS{}.Stat(path + ".wal")
	require.Error(t, err, "the WAL is in the file")
	require.Empty(t, pool.files)
}

// TestFatal sees that after a fatal error nothing touches the file any more.
func TestFatal(t *testing.T) {
	t.Parallel()
	pool, path := testPool(), filepath.Join(t.TempDir(), "f.duckdb")
	s, err := connect(pool, path, "t", sinktest.Config(stream.Append))
	require.NoError(t, err)
	require.NoError(t, s.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	own := s.(*sink)
	file := own.file
	text := `Could not write file "f.duckdb.wal": No space left on device`
	err = file.judge(&duck.Error{Kind: duck.Other, Message: "Failed to commit: " + text}, "commit")
	require.Equal(t, diag.DiskFull, diag.CodeOf(err))
	require.NoError(t, file.failed())
	err = file.judge(&duck.Error{Kind: duck.Fatal, Message: "it broke"}, "commit")
	require.Equal(t, diag.SinkFailed, diag.CodeOf(err))
	err = file.judge(&duck.Error{Kind: duck.Fatal, Message: text}, "commit")
	require.Equal(t, diag.DiskFull, diag.CodeOf(err))
	err = sinktest.Deliver(t.Context(), s, sinktest.Marker(sinktest.QueryA, 1, 0), stream.Append, sinktest.Row{ID: 1})
	require.ErrorContains(t, err, "gave up the file")
	require.NoError(t, s.Close())
	again, err := connect(pool, path, "t", sinktest.Config(stream.Append))
	require.NoError(t, err)
	err = again.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 2, -1))
	require.ErrorContains(t, err, "gave up the file", "no second instance opens the file beside the first")
	require.NoError(t, again.Close())
	conn, err := file.db.Conn(t.Context())
	require.NoError(t, err, "the instance was left alone")
	require.NoError(t, conn.Close())
	require.NoError(t, file.db.Close()) // this test's instance is healthy
}
