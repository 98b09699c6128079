package engine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
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

// replaceable is a memory source whose life changes.
type replaceable struct {
	stream.Source
	life *string
}

func (s replaceable) Start(ctx context.Context) (stream.Offset, string, error) {
	from, _, err := s.Source.Start(ctx)
	return from, *s.life, err //nolint:wrapcheck // a test
}

func (s replaceable) Available(
	ctx context.Context, from stream.Offset, identity string, limit stream.Limit,
) (stream.Available, error) {
	if identity != "" && identity != *s.life {
		return stream.Available{}, diag.New(diag.SourceReplaced, "it was %s and is %s", identity, *s.life)
	}
	a, err := s.Source.Available(ctx, from, "", limit)
	a.Identity = *s.life
	return a, err //nolint:wrapcheck // a test
}

func (s replaceable) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	r.Identity = ""
	return s.Source.Read(ctx, r) //nolint:wrapcheck // a test
}

// TestReplacedBeforeTheFirstBatch asks that the life of a source is known from its start on, not from the first batch.
func TestReplacedBeforeTheFirstBatch(t *testing.T) {
	w := newWorld(t, newParser(t))
	life := "the first"
	memory := w.reg.Sources["memory"]
	open := memory.Open
	memory.Open = func(ctx context.Context, cfg stream.SourceConfig) (stream.Source, error) {
		s, err := open(ctx, cfg)
		return replaceable{s, &life}, err
	}
	w.reg.Sources["memory"] = memory
	app := w.app(plotSource + "CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT k, v FROM src;")
	q := w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	life = "the second"
	w.add(app, "src", []any{1, "a", 1, at(0)})
	q = w.mustOpen(app)
	require.Contains(t, code(t, diag.SourceReplaced, q.Idle(t.Context())), "it was the first and is the second")
	require.NoError(t, q.Abandon())
	require.Empty(t, w.batches("mem"))
}
