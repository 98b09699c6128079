package engine_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/spill"
)

// TestSpilledState runs a query all of whose state lies in files: a full disk stops it with a code, and the next life,
// for which there is room, ends with what a query in memory ends with, tells what is spilled and leaves no file.
func TestSpilledState(t *testing.T) {
	dir, room := t.TempDir(), 0
	w := newWorld(t, newParser(t))
	var last engine.Progress
	w.opt = func(o *engine.Options) {
		o.Listener.BatchDone = func(p engine.Progress) { last = p }
		o.Spill = &spill.Options{Dir: dir, Least: -1, Room: -1, Reserve: func(f *os.File, size int64) error {
			if room--; room < 0 {
				return syscall.ENOSPC
			}
			return f.Truncate(size)
		}}
	}
	app := w.app(plotSource + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
		SELECT k, count(*) AS n, count(DISTINCT v) AS d FROM src GROUP BY k;`)
	w.add(app, "src", []any{1, "a", 1, at(0)}, []any{2, "b", 1, at(0)}, []any{3, "a", 2, at(0)}, []any{4, "a", 2, at(0)})
	q := w.mustOpen(app)
	text := code(t, diag.DiskFull, q.Idle(t.Context()))
	require.Contains(t, text, "fix: free some space and start again")
	require.NoError(t, q.Abandon())
	room = 100
	q = w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	w.add(app, "src", []any{5, "a", 3, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.Positive(t, last.StateOperators[0].Spilled)
	require.NoError(t, q.Close(t.Context()))
	q = w.mustOpen(app)
	w.add(app, "src", []any{6, "b", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	rows := w.sinks.Rows("mem")
	require.Len(t, rows, 4)
	require.Contains(t, rows[2:], []any{"a", int64(4), int64(3)})
	require.Contains(t, rows[2:], []any{"b", int64(2), int64(1)})
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, files)
}
