package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
)

// behind makes every batch of a source small, so that it leaves something and the next one is computed early.
func behind(sql string, rows int) string {
	return strings.ReplaceAll(sql, "(connector = 'memory');\nCREATE SINK",
		fmt.Sprintf("(connector = 'memory', max_rows_per_batch = %d);\nCREATE SINK", rows))
}

// heard is a log handler that tells of one message.
type heard struct {
	message string
	tell    func(batch int64)
}

func (h heard) Enabled(context.Context, slog.Level) bool { return true }
func (h heard) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h heard) WithGroup(string) slog.Handler            { return h }
func (h heard) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "batch" && r.Message == h.message {
			h.tell(a.Value.Int64())
		}
		return true
	})
	return nil
}

// hears lets tell hear of the batch whenever the engine logs a message.
func (w *world) hears(message string, tell func(batch int64)) {
	before := w.opt
	w.opt = func(o *engine.Options) {
		if before != nil {
			before(o)
		}
		o.Log = slog.New(heard{message, tell})
	}
}

// pairs adds n rows of the key a, of which a batch takes two.
func (w *world) pairs(sql string, n int) (open func() *engine.Query) {
	w.t.Helper()
	app := w.app(behind(sql, 2))
	for i := range n {
		w.add(app, "src", []any{i, "a", 1, at(i)})
	}
	return func() *engine.Query { return w.mustOpen(app) }
}

const pairsOf6 = "0: a|2\n1: a|4\n2: a|6"

// TestNextBesideDelivery asks that the next batch is computed while a sink writes, and that until the one before is
// committed nothing of it is to be seen: neither rows nor its Intent.
func TestNextBesideDelivery(t *testing.T) {
	w := newWorld(t, newParser(t))
	computed := make(chan int64, 3)
	w.hears("batch computed early", func(batch int64) { computed <- batch })
	var early []bool
	before := w.opt
	w.opt = func(o *engine.Options) {
		before(o)
		o.Listener.BatchDone = func(p engine.Progress) { early = append(early, p.Early) }
	}
	batch := int64(0)
	w.trouble(func(_ context.Context, call string) error {
		if call != "write" {
			return nil
		}
		if batch < 2 { // the last batch leaves nothing behind
			require.Equal(t, batch+1, <-computed, "the next batch does not wait for the sink")
		}
		s, err := checkpoint.Inspect(w.disk, filepath.Join(w.dir, "q"))
		require.NoError(t, err)
		require.NotNil(t, s.Pending)
		require.Equal(t, batch, s.Pending.Batch, "the next batch is not promised before this one is committed")
		require.Len(t, w.sinks.Batches("mem"), int(batch))
		batch++
		return nil
	})
	q := w.pairs(counting, 6)()
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, []bool{false, true, true}, early)
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, pairsOf6, strings.Join(w.batches("mem"), "\n"))
}

// TestNextOnlyBehind asks that no batch is computed early where the source was emptied, by a single step, where a latency
// target sizes batches by the one before, or beside a result that takes much of the memory.
func TestNextOnlyBehind(t *testing.T) {
	p := newParser(t)
	target := strings.Replace(counting, "OUTPUT MODE UPDATE", "OUTPUT MODE UPDATE WITH (latency_target = '1 second')", 1)
	for name, c := range map[string]struct {
		sql  string
		rows int
		run  func(q *engine.Query, ctx context.Context) error
	}{
		"emptied":        {counting, 2, (*engine.Query).Idle},
		"latency target": {target, 6, (*engine.Query).Idle},
		"large result": {plotSource + `CREATE QUERY q INTO mem WITH (memory_limit = '16 MiB') AS
			SELECT id, repeat('x', 500000) AS x FROM src;`, 6, (*engine.Query).Idle},
		"step": {counting, 6, func(q *engine.Query, ctx context.Context) error {
			_, err := q.Step(ctx)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, p)
			w.hears("batch computed early", func(batch int64) { t.Errorf("batch %d was computed early", batch) })
			q := w.pairs(c.sql, c.rows)()
			require.NoError(t, c.run(q, t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.NotEmpty(t, w.batches("mem"))
		})
	}
}

// TestNextAfterFailedDelivery asks that a batch which was computed beside a delivery that failed for good never was: the
// state of neither becomes a version, and the next start gives what an undisturbed run gives.
func TestNextAfterFailedDelivery(t *testing.T) {
	p := newParser(t)
	for _, when := range []sinkmem.When{sinkmem.Before, sinkmem.Mid, sinkmem.After} {
		t.Run(string(when), func(t *testing.T) {
			w := newWorld(t, p)
			open := w.pairs(counting, 6)
			q := open()
			w.sinks.FailNext("mem", when, errStop)
			w.manual.Advance(11 * time.Second) // a state version is due
			require.ErrorIs(t, q.Idle(t.Context()), errStop)
			require.NoError(t, q.Close(t.Context()))
			q = open()
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, pairsOf6, strings.Join(w.batches("mem"), "\n"))
		})
	}
}

// TestNextPanics asks that a panic beside a delivery, of the source or of the sink, fails the query and nothing else.
func TestNextPanics(t *testing.T) {
	p := newParser(t)
	for call, nth := range map[string]int64{"read": 2, "available": 2, "write": 1} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t, p)
			var calls atomic.Int64
			w.trouble(func(_ context.Context, c string) error {
				if c == call && calls.Add(1) == nth {
					panic("the connector is broken")
				}
				return nil
			})
			open := w.pairs(counting, 6)
			q := open()
			require.Contains(t, code(t, diag.Internal, q.Idle(t.Context())), "the connector is broken")
			require.NoError(t, q.Close(t.Context()))
			w.calm()
			q = open()
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, pairsOf6, strings.Join(w.batches("mem"), "\n"))
		})
	}
}

// TestNextFaults asks that what goes wrong beside a delivery waits for its turn: a source that is away is tried again
// then, and rows that make the plan fail are found and logged behind their Intent.
func TestNextFaults(t *testing.T) {
	p := newParser(t)
	t.Run("source", func(t *testing.T) {
		w := newWorld(t, p)
		var asked atomic.Int64
		var away atomic.Bool
		w.trouble(func(_ context.Context, call string) error {
			if call == "available" && asked.Add(1) == 2 {
				away.Store(true) // from when batch 0 reads ahead
			}
			if call == "available" && away.Load() {
				return diag.Retry(errors.New("the source is away"))
			}
			return nil
		})
		var retried []int64
		w.opt = func(o *engine.Options) {
			o.Clock = eager{w.manual}
			o.Listener.BatchRetried = func(r engine.Retried) {
				retried = append(retried, r.Batch)
				away.Store(false)
			}
		}
		q := w.pairs(counting, 6)()
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, []int64{1}, retried, "nobody waits beside the delivery of batch 0")
		require.Equal(t, pairsOf6, strings.Join(w.batches("mem"), "\n"))
	})
	t.Run("poison", func(t *testing.T) {
		w := newWorld(t, p)
		var turn []int64
		w.hears("batch will be computed in its turn", func(batch int64) { turn = append(turn, batch) })
		app := w.app(behind(plotSource+`CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
			SELECT k, sum(v::TINYINT) AS s FROM src GROUP BY k;`, 2))
		w.add(app, "src", []any{1, "a", 1, at(0)}, []any{2, "a", 2, at(0)}, []any{3, "a", 300, at(0)},
			[]any{4, "a", 3, at(0)}, []any{5, "a", 4, at(0)}, []any{6, "a", -300, at(0)})
		q := w.mustOpen(app)
		require.NoError(t, q.Idle(t.Context()))
		require.Equal(t, []int64{1, 2}, turn)
		require.NoError(t, q.Abandon())
		q = w.mustOpen(app) // the batches run again from the log, without their poison
		w.add(app, "src", []any{7, "a", 1, at(0)})
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Close(t.Context()))
		require.Equal(t, []string{"0: a|3", "1: a|6", "2: a|10", "3: a|11"}, w.batches("mem"))
		require.Equal(t, []string{
			`1 dead src #0: {"id":3,"k":"a","v":300,"ts":"2026-01-01T00:00:00.000000"}`,
			`2 dead src #1: {"id":6,"k":"a","v":-300,"ts":"2026-01-01T00:00:00.000000"}`}, w.deadLetters("q"))
	})
}

// TestNextAndStop asks that Stop delivers the batch that is computed already, and no other, and leaves nothing to run
// again; and that a cancelled context gives up both batches in flight.
func TestNextAndStop(t *testing.T) {
	p := newParser(t)
	for _, how := range []string{"stop", "cancel"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, p)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			computed := make(chan int64, 3)
			w.hears("batch computed early", func(batch int64) { computed <- batch })
			var q *engine.Query
			w.trouble(func(_ context.Context, call string) error {
				if call == "write" && len(w.sinks.Batches("mem")) == 0 {
					<-computed
					if how == "cancel" {
						cancel()
						return ctx.Err()
					}
					q.Stop()
				}
				return nil
			})
			open := w.pairs(counting, 6)
			q = open()
			err := q.Run(ctx)
			if how == "cancel" {
				require.ErrorIs(t, err, context.Canceled)
				require.Empty(t, w.batches("mem"))
			} else {
				require.NoError(t, err)
				require.Equal(t, []string{"0: a|2", "1: a|4"}, w.batches("mem"))
			}
			w.calm()
			var began engine.Started
			w.opt = func(o *engine.Options) { o.Listener.QueryStarted = func(s engine.Started) { began = s } }
			q = open()
			require.Zero(t, began.Replayed)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, pairsOf6, strings.Join(w.batches("mem"), "\n"))
		})
	}
}

// TestNextKeepsVersions asks that a state version of a batch holds nothing of the next one, which was computed before it
// could be written, and that a kill finds it.
func TestNextKeepsVersions(t *testing.T) {
	for _, sql := range []string{counting, strings.Replace(counting, "count(*) AS n", "count(*) AS n, median(v) AS m", 1)} {
		w := newWorld(t, newParser(t))
		var began engine.Started
		w.opt = func(o *engine.Options) { o.Listener.QueryStarted = func(s engine.Started) { began = s } }
		open := w.pairs(sql, 6)
		q := open()
		w.manual.Advance(11 * time.Second)
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Abandon())
		s, err := checkpoint.Inspect(w.disk, filepath.Join(w.dir, "q"))
		require.NoError(t, err)
		require.Len(t, s.Versions, 1)
		require.Zero(t, s.Versions[0].Batch())
		q = open()
		require.Equal(t, 1, began.Replayed, "batch 1 is run again on the version of batch 0, and 2 has no Commit")
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Close(t.Context()))
		require.Len(t, w.batches("mem"), 3)
		require.Contains(t, w.batches("mem")[2], "a|6")
	}
}
