package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// TestCopiedDir runs a data directory and a copy of it. The copy is refused however often it is started, until it is
// told to take over; then the original is fenced at its next batch, and no row is there twice.
func TestCopiedDir(t *testing.T) {
	p := newParser(t)
	w := newWorld(t, p)
	app := w.app(plotSource + "CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT k, v FROM src;")
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	copied := *w
	disk, ok := w.disk.(*vfs.Mem)
	require.True(t, ok)
	copied.disk = disk.Crash(1, 1)

	q = w.mustOpen(app)
	for range 3 {
		_, err := copied.open(app)
		require.Contains(t, code(t, diag.SinkMismatch, err), "a copy of it runs, or has run")
	}
	w.add(app, "src", []any{2, "b", 1, at(1)})
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, []string{"0: a|1", "1: b|1"}, w.batches("mem"))

	copied.opt = func(o *engine.Options) { o.TakeOver = true }
	other := copied.mustOpen(app)
	w.add(app, "src", []any{3, "c", 1, at(2)})
	code(t, diag.SinkFenced, q.Idle(t.Context()))
	require.NoError(t, q.Abandon())
	require.NoError(t, other.Abandon())
	require.Equal(t, []string{"0: a|1", "1: b|1"}, w.batches("mem"))
}
