package duck

import (
	"context"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// soon is when a statement must have ended that was cancelled, however little of the machine it gets.
const soon = 10 * time.Second

// heavySQL runs for minutes.
const heavySQL = "SELECT count(*) AS n FROM range(10000000) a(i), range(10000000) b(j) WHERE (i * j) % 7 = 3"

func TestCancelStopsEveryMethodSoonAndLeavesTheConnectionUsable(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	rec := batchOf(t, memory.DefaultAllocator, 3)
	defer rec.Release()
	calls := map[string]func(ctx context.Context) error{
		"Exec": func(ctx context.Context) error { _, err := c.Exec(ctx, heavySQL); return err },
		"Exec two": func(ctx context.Context) error {
			_, err := c.Exec(ctx,
				heavySQL+"; SELECT 1")
			return err
		},
		"Rows":   func(ctx context.Context) error { _, err := c.Rows(ctx, heavySQL); return err },
		"Select": func(ctx context.Context) error { _, err := c.Select(ctx, heavySQL); return err },
		"Query": func(ctx context.Context) error {
			_, err := c.Query(ctx, nil, heavySQL, []Column{{Name: "n", Type: "BIGINT"}})
			return err
		},
		"Query, rows on the way": func(ctx context.Context) error {
			_, err := c.Query(ctx, nil, "SELECT i % 7 AS n FROM range(100000000000) t(i) WHERE i % 1000000 = 0",
				[]Column{{Name: "n", Type: "BIGINT"}})
			return err
		},
		"Import": func(ctx context.Context) error {
			return c.Import(ctx, "x", "("+heavySQL+") + id AS n", []arrow.Record{rec}, rec.Schema())
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := call(ctx)
			late := time.Since(start) - 50*time.Millisecond
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.Less(t, late, soon)

			ctx, cancel = context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, call(ctx), context.Canceled)

			rows, err := c.Rows(t.Context(), "SELECT 42")
			require.NoError(t, err)
			require.Equal(t, [][]any{{int64(42)}}, rows)
		})
	}
	views, err := c.Rows(t.Context(), "SELECT view_name FROM duckdb_views() WHERE NOT internal")
	require.NoError(t, err)
	require.Empty(t, views)
}

func TestCancelOfOneConnectionLeavesTheOtherAlone(t *testing.T) {
	t.Parallel()
	db, c := openTest(t, Options{Threads: 2})
	other, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := c.Exec(ctx, heavySQL)
		done <- err
	}()
	for range 20 {
		_, err := other.Rows(t.Context(), "SELECT sum(i) FROM range(100000) t(i)")
		require.NoError(t, err)
	}
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	_, err = other.Rows(t.Context(), "SELECT 1")
	require.NoError(t, err)
}
