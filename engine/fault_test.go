package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// troubled is a source or sink whose calls may fail, block or panic first.
type troubled struct {
	stream.Source
	before func(ctx context.Context, call string) error
}

func (s troubled) Available(
	ctx context.Context, from stream.Offset, id string, l stream.Limit,
) (stream.Available, error) {
	if err := s.before(ctx, "available"); err != nil {
		return stream.Available{}, err
	}
	return s.Source.Available(ctx, from, id, l) //nolint:wrapcheck // a test double
}

func (s troubled) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	if err := s.before(ctx, "read"); err != nil {
		return nil, err
	}
	return s.Source.Read(ctx, r) //nolint:wrapcheck // a test double
}

// mute is a source that can not be told what is durable.
type mute struct {
	stream.Source
	acknowledge func() error
}

func (s mute) Acknowledge(context.Context, stream.Offset) error { return s.acknowledge() }

// unacknowledged puts acknowledge in the place of that of all memory sources.
func (w *world) unacknowledged(acknowledge func() error) {
	source := w.reg.Sources["memory"]
	open := source.Open
	source.Open = func(ctx context.Context, cfg stream.SourceConfig) (stream.Source, error) {
		s, err := open(ctx, cfg)
		return mute{s, acknowledge}, err
	}
	w.reg.Sources["memory"] = source
}

type troubledSink struct {
	stream.Sink
	before func(ctx context.Context, call string) error
}

func (s troubledSink) Write(ctx context.Context, d stream.Delivery) error {
	if err := s.before(ctx, "write"); err != nil {
		return err
	}
	return s.Sink.Write(ctx, d) //nolint:wrapcheck // a test double
}

// calm takes the trouble away.
func (w *world) calm() {
	w.reg.Sources["memory"] = sourcemem.Connector(w.sources)
	w.reg.Sinks["memory"] = sinkmem.Connector(w.sinks)
}

// trouble puts before in front of the calls of all memory sources and sinks but the named ones.
func (w *world) trouble(before func(ctx context.Context, call string) error, but ...string) {
	source, sink := w.reg.Sources["memory"], w.reg.Sinks["memory"]
	openSource, openSink := source.Open, sink.Open
	source.Open = func(ctx context.Context, cfg stream.SourceConfig) (stream.Source, error) {
		s, err := openSource(ctx, cfg)
		if slices.Contains(but, cfg.Name) {
			return s, err
		}
		return troubled{s, before}, err
	}
	sink.Open = func(ctx context.Context, cfg stream.SinkConfig) (stream.Sink, error) {
		s, err := openSink(ctx, cfg)
		if slices.Contains(but, cfg.Name) {
			return s, err
		}
		return troubledSink{s, before}, err
	}
	w.reg.Sources["memory"], w.reg.Sinks["memory"] = source, sink
}

const counting = plotSource + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS SELECT k, count(*) AS n FROM src GROUP BY k;`

// TestTemporaryFaults asks that faults which say so are tried again inside their step, with doubling pauses.
func TestTemporaryFaults(t *testing.T) {
	p := newParser(t)
	for _, call := range []string{"available", "read", "write"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(counting)
			left := 3
			w.trouble(func(_ context.Context, c string) error {
				if c == call && left > 0 {
					left--
					return diag.Retry(errors.New("the line is busy"))
				}
				return nil
			})
			var pauses []time.Duration
			w.opt = func(o *engine.Options) {
				o.Clock = eager{w.manual}
				o.Listener.BatchRetried = func(r engine.Retried) { pauses = append(pauses, r.Pause) }
			}
			q := w.mustOpen(app)
			w.add(app, "src", []any{1, "a", 1, at(0)}, []any{2, "a", 1, at(0)})
			require.NoError(t, q.Idle(t.Context()))
			require.Equal(t, []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond}, pauses)
			require.Equal(t, []string{"0: a|2"}, w.batches("mem"))
			require.NoError(t, q.Close(t.Context()))
		})
	}
}

// TestStopEndsRetries asks that Stop does not wait for the pauses between tries.
func TestStopEndsRetries(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(counting)
	w.trouble(func(_ context.Context, c string) error {
		if c == "read" {
			return diag.Retry(errors.New("the line is busy"))
		}
		return nil
	})
	var q *engine.Query
	w.opt = func(o *engine.Options) { // the manual clock stands still: only Stop can end the pause
		o.Listener.BatchRetried = func(engine.Retried) { q.Stop() }
	}
	q = w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.NoError(t, q.Run(t.Context()), "nobody outside has seen anything of the batch")
}

// eager is a clock on which nobody waits: sleeping moves it.
type eager struct{ clock interface{ Now() time.Time } }

func (e eager) Now() time.Time { return e.clock.Now() }

func (e eager) Sleep(ctx context.Context, d time.Duration) error {
	if m, ok := e.clock.(interface{ Advance(d time.Duration) }); ok {
		m.Advance(d)
	}
	return context.Cause(ctx)
}

// TestRetriesEnd asks that a fault which stays stops the query after as many tries as it was told.
func TestRetriesEnd(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(plotSource + "CREATE QUERY q INTO mem WITH (retries = 2) AS SELECT id FROM src;")
	tries := 0
	w.trouble(func(_ context.Context, call string) error {
		if call != "write" {
			return nil
		}
		tries++
		return diag.Retry(errors.New("still busy"))
	})
	w.opt = func(o *engine.Options) { o.Clock = eager{w.manual} }
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.ErrorContains(t, q.Idle(t.Context()), "still busy")
	require.Equal(t, 3, tries)
	require.NoError(t, q.Abandon())
}

// TestCloseAfterFault asks that the state of a batch which was executed but not delivered never becomes a state
// version: the batch runs again, and would count twice.
func TestCloseAfterFault(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(counting)
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	w.sinks.FailNext("mem", sinkmem.Before, errStop)
	w.add(app, "src", []any{2, "a", 1, at(0)})
	require.ErrorIs(t, q.Idle(t.Context()), errStop)
	require.ErrorIs(t, q.Idle(t.Context()), errStop, "a query that failed stays failed until it is opened again")
	require.NoError(t, q.Close(t.Context()))

	q = w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"0: a|1", "1: a|2"}, w.batches("mem"))
}

// TestPanics asks that a panic in a connector stops one query with INTERNAL and that the others live on.
func TestPanics(t *testing.T) {
	p := newParser(t)
	for _, call := range []string{"read", "available", "write"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(plotSource + `CREATE SINK good WITH (connector = 'memory');
				CREATE SOURCE calm (id BIGINT) WITH (connector = 'memory');
				CREATE QUERY bad INTO mem AS SELECT id FROM src;
				CREATE QUERY fine INTO good TRIGGER AVAILABLE NOW AS SELECT id FROM calm;`)
			var calls atomic.Int64
			w.trouble(func(_ context.Context, c string) error {
				// The second read is the one ahead, on a goroutine of its own.
				if c == call && (call == "write" || calls.Add(1) >= 2) {
					panic("the connector is broken")
				}
				return nil
			}, "calm", "good")
			w.add(app, "src", []any{1, "a", 1, at(0)})
			w.add(app, "calm", []any{1}, []any{2})
			w.opt = func(o *engine.Options) {
				o.Listener.BatchDone = func(p engine.Progress) {
					if p.Name == "bad" && p.BatchID == 0 {
						w.add(app, "src", []any{2, "a", 1, at(0)})
					}
				}
			}
			err := engine.Run(t.Context(), w.options(), app, nil, nil)
			require.Contains(t, code(t, diag.Internal, err), "the connector is broken")
			require.Equal(t, []string{"1", "2"}, sorted(texts(w.sinks.Rows("good"))))
		})
	}
}

// TestStop asks that Stop finishes the batch in flight and closes cleanly.
func TestStop(t *testing.T) {
	w := newWorld(t, newParser(t))
	w.clock = clock.System{}
	app := w.app(counting)
	writing, goOn := make(chan struct{}), make(chan struct{})
	w.trouble(func(_ context.Context, call string) error {
		if call == "write" {
			close(writing)
			<-goOn
		}
		return nil
	})
	w.add(app, "src", []any{1, "a", 1, at(0)})
	stop, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- engine.Run(t.Context(), w.options(), app, nil, stop) }()
	<-writing
	close(stop)
	close(goOn)
	require.NoError(t, <-ended)
	require.Equal(t, []string{"0: a|1"}, w.batches("mem"))

	var first engine.Started
	w.calm()
	w.opt = func(o *engine.Options) { o.Listener.QueryStarted = func(s engine.Started) { first = s } }
	q := w.mustOpen(app)
	require.Zero(t, first.Replayed, "a clean stop leaves nothing to run again")
	require.EqualValues(t, 1, first.Batch)
	require.NoError(t, q.Close(t.Context()))
}

// TestCancel asks that a cancelled context gives the batch up, wherever it is, and that nothing is lost by it.
func TestCancel(t *testing.T) {
	p := newParser(t)
	for _, call := range []string{"available", "read", "write"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t, p)
			w.clock = clock.System{}
			app := w.app(counting)
			ctx, cancel := context.WithCancel(t.Context())
			w.trouble(func(ctx context.Context, c string) error {
				if c == call {
					cancel()
					<-ctx.Done()
					return context.Cause(ctx)
				}
				return nil
			})
			w.add(app, "src", []any{1, "a", 1, at(0)})
			require.ErrorIs(t, engine.Run(ctx, w.options(), app, nil, nil), context.Canceled)

			w.calm()
			q := w.mustOpen(app)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, []string{"0: a|1"}, w.batches("mem"))
		})
	}
}

// TestBases asks that deltas of the state are folded into bases, so that disk use and the next start stay bounded.
func TestBases(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(counting)
	q := w.mustOpen(app)
	const batches = 40
	for i := range batches {
		w.manual.Advance(11 * time.Second)
		w.add(app, "src", []any{i, "a", 1, at(i)})
		require.NoError(t, q.Idle(t.Context()))
	}
	require.NoError(t, q.Close(t.Context()))
	names, err := w.disk.List(w.dir + "/q/state")
	require.NoError(t, err)
	require.Less(t, len(names), 15, "%v", names)
	q = w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	got := w.batches("mem")
	require.Equal(t, fmt.Sprintf("%d: a|%d", batches, batches+1), got[len(got)-1])
}

// TestSnapshotFault asks that a state version which can not be written stops the query, and that the next start
// loses nothing.
func TestSnapshotFault(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(counting)
	mem := w.disk
	w.disk = vfs.NewFault(mem, vfs.Rule{Op: vfs.OpCreate, Path: "/state/", Nth: 1, Err: errStop})
	q := w.mustOpen(app)
	var err error
	for i := range 2 {
		w.manual.Advance(11 * time.Second)
		w.add(app, "src", []any{i, "a", 1, at(i)})
		err = errors.Join(err, q.Idle(t.Context()))
	}
	require.ErrorIs(t, errors.Join(err, q.Close(t.Context())), errStop)
	w.disk = mem
	q = w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	w.add(app, "src", []any{3, "a", 1, at(3)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"0: a|1", "1: a|2", "2: a|3"}, w.batches("mem"))
}
