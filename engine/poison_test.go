package engine_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
)

// hookOnce kills the query the n-th time it comes to a point.
func (w *world) hookOnce(point string, n int) {
	w.opt = func(o *engine.Options) {
		o.Hook = func(p string) error {
			if p == point {
				if n--; n == 0 {
					return errStop
				}
			}
			return nil
		}
	}
}

// TestPoison asks that rows which make the body fail are found, logged, dead-lettered once and left out, and that a
// crash between finding and delivering changes nothing.
func TestPoison(t *testing.T) {
	p := newParser(t)
	for _, point := range []string{"", engine.AfterIntent, engine.AfterExecute, engine.MidSink, engine.AfterSink,
		engine.AfterCommit} {
		t.Run("killed "+point, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(plotSource + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
				SELECT k, sum(v::TINYINT) AS s FROM src GROUP BY k;`)
			w.add(app, "src", []any{1, "a", 1, at(0)}, []any{2, "a", 300, at(0)}, []any{3, "b", 2, at(0)},
				[]any{4, "b", -300, at(0)}, []any{5, "a", 3, at(0)})
			if point != "" {
				w.hookOnce(point, 1)
				q := w.mustOpen(app)
				require.ErrorIs(t, q.Idle(t.Context()), errStop)
				require.NoError(t, q.Abandon())
				w.opt = nil
			}
			var last engine.Progress
			w.opt = func(o *engine.Options) { o.Listener.BatchDone = func(p engine.Progress) { last = p } }
			q := w.mustOpen(app)
			require.NoError(t, q.Idle(t.Context()))
			require.EqualValues(t, 5, last.Sources[0].In)
			require.EqualValues(t, 3, last.Sources[0].Used)
			require.EqualValues(t, 2, last.Sources[0].Dead)
			w.add(app, "src", []any{6, "a", 1, at(0)})
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Abandon())

			q = w.mustOpen(app) // the batches run again from the log, the first without its poison
			w.add(app, "src", []any{7, "b", 1, at(0)})
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, []string{"0: a|4; b|2", "1: a|5", "2: b|3"}, w.batches("mem"))
			require.Equal(t, []string{
				`0 dead src #1: {"id":2,"k":"a","v":300,"ts":"2026-01-01T00:00:00.000000"}`,
				`0 dead src #3: {"id":4,"k":"b","v":-300,"ts":"2026-01-01T00:00:00.000000"}`}, w.deadLetters("q"))
		})
	}
}

// TestPoisonTogether asks that no row is blamed for what none of them did alone, and that the search ends.
func TestPoisonTogether(t *testing.T) {
	p := newParser(t)
	const body = `SELECT window_start, sum(v)::TINYINT AS s
		FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL`
	cases := map[string]struct {
		body string
		last []any // what the failing batch brings
	}{
		// The first batches fill a window whose sum does not fit; the last row only closes it.
		"an earlier window": {body, []any{9, "a", 1, at(100)}},
		"rows of one batch": {body, nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, p)
			mode := "APPEND"
			if c.last == nil {
				mode = "UPDATE"
			}
			app := w.app(plotSource + fmt.Sprintf("CREATE QUERY q INTO mem OUTPUT MODE %s AS %s;", mode, c.body))
			w.add(app, "src", []any{1, "a", 100, at(0)}, []any{2, "a", 100, at(1)})
			q := w.mustOpen(app)
			err := q.Idle(t.Context())
			if c.last != nil {
				require.NoError(t, err)
				w.add(app, "src", c.last)
				err = q.Idle(t.Context())
			}
			require.Contains(t, code(t, diag.RowFault, err), "together")
			require.NoError(t, q.Close(t.Context()))
			require.Empty(t, w.deadLetters("q"))
			require.Empty(t, w.batches("mem"))
		})
	}
}

// TestLateLetters asks that late rows are kept once over crashes at every point.
func TestLateLetters(t *testing.T) {
	p := newParser(t)
	for _, point := range []string{engine.AfterExecute, engine.MidSink, engine.AfterSink, engine.AfterCommit} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(plotSource + `CREATE QUERY q INTO mem OUTPUT MODE APPEND WITH (late = 'dead_letter') AS
				SELECT window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL;`)
			q := w.mustOpen(app)
			w.add(app, "src", []any{1, "a", 1, at(1)}, []any{2, "a", 1, at(40)})
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			w.hookOnce(point, 1)
			q = w.mustOpen(app)
			w.add(app, "src", []any{3, "a", 1, at(2)}, []any{4, "a", 1, at(45)})
			require.ErrorIs(t, q.Idle(t.Context()), errStop)
			require.NoError(t, q.Abandon())
			w.opt = nil
			q = w.mustOpen(app)
			require.NoError(t, q.Finish(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, []string{`2 late src #0: {"id":3,"k":"a","v":1,"ts":"2026-01-01T00:00:02.000000"}`},
				w.deadLetters("q"))
			rows := texts(w.sinks.Rows("mem"))
			require.Equal(t, []string{"2026-01-01T00:00:00.000000|1", "2026-01-01T00:00:40.000000|2"}, rows)
		})
	}
}
