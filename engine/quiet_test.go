package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
)

const quietQuery = plotSource + `
CREATE SOURCE other (id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'memory');
CREATE VIEW merged AS %s;
CREATE QUERY q INTO mem OUTPUT MODE APPEND WITH (idle_advance = '1 minute') AS
SELECT window_start::VARCHAR AS w, count(*) AS n FROM tumble(merged, ts, INTERVAL '10 seconds') GROUP BY window_start;`

func quietText(merged string) string { return fmt.Sprintf(quietQuery, merged) }

// TestIdleAdvance asks that windows of a stream that has gone quiet close as the clock goes on, in steps, never past
// the clock less the delay; that rows which come too late are counted; and that a restart goes on where it stood.
func TestIdleAdvance(t *testing.T) {
	w := newWorld(t, newParser(t))
	var done []engine.Progress
	w.opt = func(o *engine.Options) { o.Listener.BatchDone = func(p engine.Progress) { done = append(done, p) } }
	app := w.app(quietText("SELECT * FROM src"))
	q := w.mustOpen(app)
	idle := func() { t.Helper(); require.NoError(t, q.Idle(t.Context())) }
	mark := func(want time.Duration) {
		t.Helper()
		require.NotNil(t, q.Watermark())
		require.Equal(t, start.Add(want), time.UnixMicro(*q.Watermark()).UTC())
	}
	w.manual.Advance(time.Hour)
	idle()
	require.Nil(t, q.Watermark(), "nothing is known before the first row")
	w.add(app, "src", []any{1, "a", 1, at(3590)})
	idle()
	mark(time.Hour - 15*time.Second)
	w.manual.Advance(59 * time.Second)
	idle()
	mark(time.Hour - 15*time.Second)
	require.Empty(t, w.batches("mem"))
	w.manual.Advance(2 * time.Second)
	idle()
	mark(time.Hour + 45*time.Second)
	require.Len(t, w.sinks.Rows("mem"), 1, "the window has closed without a newer row")
	require.True(t, done[len(done)-1].NoData)
	n := len(done)
	w.manual.Advance(30 * time.Second)
	idle()
	require.Len(t, done, n, "between two steps nothing runs")

	require.NoError(t, q.Close(t.Context()))
	w.manual.Advance(time.Hour) // nobody asked the source meanwhile
	q = w.mustOpen(app)
	idle()
	mark(time.Hour + 45*time.Second)
	w.manual.Advance(time.Minute)
	idle()
	mark(time.Hour + 105*time.Second)

	w.add(app, "src", []any{2, "a", 1, at(3600)}) // its window has closed by the clock
	idle()
	require.EqualValues(t, 1, done[len(done)-1].Totals.Late)
	mark(time.Hour + 105*time.Second)
	require.NoError(t, q.Close(t.Context()))
}

// TestIdleAdvanceKeepsBehindTheClock asks that event times ahead of the clock do not carry the watermark past it.
func TestIdleAdvanceKeepsBehindTheClock(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(quietText("SELECT * FROM src"))
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(100)})
	require.NoError(t, q.Idle(t.Context()))
	for range 5 {
		w.manual.Advance(time.Minute)
		require.NoError(t, q.Idle(t.Context()))
		behind := w.manual.Now().Add(-5 * time.Second)
		require.Equal(t, max(start.Add(95*time.Second).UnixMicro(), behind.UnixMicro()), *q.Watermark())
	}
	require.NoError(t, q.Close(t.Context()))
}

// TestIdleAdvanceNeedsAll asks that one source which still gives rows keeps the clock from moving the watermark, and
// so does one that can not be asked.
func TestIdleAdvanceNeedsAll(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(quietText("SELECT * FROM src UNION ALL SELECT * FROM other"))
	away := false
	w.trouble(func(_ context.Context, call string) error {
		if call == "available" && away {
			away = false
			return diag.Retry(errors.New("away"))
		}
		return nil
	})
	w.opt = func(o *engine.Options) { o.Clock = eager{w.manual} }
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(-10)})
	w.add(app, "other", []any{1, "a", 1, at(-20)})
	require.NoError(t, q.Idle(t.Context()))
	before := *q.Watermark()
	require.Equal(t, start.Add(-25*time.Second).UnixMicro(), before)
	for i := range 4 {
		w.manual.Advance(50 * time.Second)
		w.add(app, "src", []any{2, "a", 1, at(50 * i)})
		require.NoError(t, q.Idle(t.Context()))
	}
	require.Equal(t, before, *q.Watermark(), "the other source holds it")
	w.manual.Advance(50 * time.Second)
	away = true
	require.NoError(t, q.Idle(t.Context()))
	w.manual.Advance(50 * time.Second)
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, before, *q.Watermark(), "who was away was not idle")
	w.manual.Advance(10 * time.Second)
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, before+time.Minute.Microseconds(), *q.Watermark())
	require.NoError(t, q.Close(t.Context()))
}

// TestIdleAdvanceIsLogged kills the batch that the clock made due and asks that the next life runs it with the same
// watermark, whatever the clock says by then.
func TestIdleAdvanceIsLogged(t *testing.T) {
	p := newParser(t)
	for _, point := range []string{engine.AfterIntent, engine.AfterExecute, engine.AfterSink, engine.AfterCommit} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(quietText("SELECT * FROM src"))
			q := w.mustOpen(app)
			w.add(app, "src", []any{1, "a", 1, at(-1)}, []any{2, "a", 1, at(50)})
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			w.hookOnce(point, 1)
			q = w.mustOpen(app)
			w.manual.Advance(time.Minute)
			require.ErrorIs(t, q.Idle(t.Context()), errStop)
			require.NoError(t, q.Abandon())
			w.opt = nil
			w.manual.Advance(20 * time.Minute)
			q = w.mustOpen(app)
			require.NoError(t, q.Idle(t.Context()))
			require.Equal(t, start.Add(55*time.Second).UnixMicro(), *q.Watermark())
			require.NoError(t, q.Close(t.Context()))
			s, err := checkpoint.Inspect(w.disk, engine.DataDirOf(w.dir, "q"))
			require.NoError(t, err)
			require.Equal(t, start.Add(55*time.Second).UnixMicro(), *s.LastIntent.Watermark)
			require.Len(t, w.sinks.Rows("mem"), 1)
		})
	}
}

// TestStopWhileTheSourceIsAway asks that Stop ends a query cleanly while it waits for a source, between batches and in
// a batch that has only been promised: what was done is durable, and the next start runs nothing of it again.
func TestStopWhileTheSourceIsAway(t *testing.T) {
	p := newParser(t)
	for _, call := range []string{"available", "read"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(counting)
			away := false
			w.trouble(func(_ context.Context, c string) error {
				if away && c == call {
					return diag.Retry(errors.New("the broker is away"))
				}
				return nil
			})
			var q *engine.Query
			var stopped []error
			w.opt = func(o *engine.Options) { // the manual clock stands still: only Stop can end the pause
				o.Listener.BatchRetried = func(engine.Retried) { q.Stop() }
				o.Listener.QueryStopped = func(s engine.Stopped) { stopped = append(stopped, s.Err) }
			}
			q = w.mustOpen(app)
			w.add(app, "src", []any{1, "a", 1, at(0)})
			require.NoError(t, q.Idle(t.Context()))
			away = true
			w.add(app, "src", []any{2, "a", 1, at(0)})
			require.NoError(t, q.Run(t.Context()))
			require.Equal(t, []error{nil}, stopped)
			require.Equal(t, "stopped", q.Status().State)

			s, err := checkpoint.Inspect(w.disk, engine.DataDirOf(w.dir, "q"))
			require.NoError(t, err)
			require.True(t, s.Closed)
			require.EqualValues(t, 0, s.Last.Batch, "its Commit is durable")
			require.EqualValues(t, 0, s.Versions[len(s.Versions)-1].Batch(), "and so is its state")
			require.Equal(t, call == "read", s.Pending != nil)

			var first engine.Started
			w.calm()
			w.opt = func(o *engine.Options) { o.Listener.QueryStarted = func(s engine.Started) { first = s } }
			q = w.mustOpen(app)
			require.Zero(t, first.Replayed)
			require.NoError(t, q.Idle(t.Context()))
			require.Equal(t, []string{"0: a|1", "1: a|2"}, w.batches("mem"))
			require.NoError(t, q.Close(t.Context()))
		})
	}
}

// TestStopWithoutAcknowledgement asks that a clean stop does not fail because the source can not be told of it.
func TestStopWithoutAcknowledgement(t *testing.T) {
	w := newWorld(t, newParser(t))
	w.clock = clock.System{}
	app := w.app(counting)
	asked := 0
	w.unacknowledged(func() error { asked++; return diag.Retry(errors.New("the broker is away")) })
	w.add(app, "src", []any{1, "a", 1, at(0)})
	q := w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	q.Stop()
	require.NoError(t, q.Run(t.Context()))
	require.Equal(t, 1, asked)
}
