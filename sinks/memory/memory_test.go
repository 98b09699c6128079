package memory

import (
	"errors"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

func place(hub *Hub) func(t *testing.T) sinktest.Place {
	return func(t *testing.T) sinktest.Place {
		t.Helper()
		if hub == nil {
			return place(NewHub())(t)
		}
		return sinktest.Place{
			Connect: func(cfg stream.SinkConfig) (stream.Sink, error) { return Connector(hub).Open(t.Context(), cfg) },
			Rows:    func() [][]any { return hub.Table("out") },
		}
	}
}

func TestContract(t *testing.T) {
	t.Parallel()
	sinktest.Run(t, sinktest.Features{
		Modes: []stream.Mode{stream.Append, stream.Update, stream.Complete}, Slots: true,
	}, place(nil))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	hub := NewHub()
	sink, err := place(hub)(t).Connect(sinktest.Config(stream.Append))
	require.NoError(t, err)
	require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	boom := errors.New("boom")
	row := sinktest.Row{ID: 1, Name: "a", N: 2}
	for b, when := range []When{Before, Mid, After} {
		hub.FailNext("out", when, boom)
		m := sinktest.Marker(sinktest.QueryA, 1, int64(b))
		require.ErrorIs(t, sinktest.Deliver(t.Context(), sink, m, stream.Append, row), boom)
		want := b
		if when == After {
			want++
		}
		require.Len(t, hub.Rows("out"), want, "fault %s", when)
		require.NoError(t, sinktest.Deliver(t.Context(), sink, m, stream.Append, row))
		require.Len(t, hub.Rows("out"), b+1)
	}
}

func TestClear(t *testing.T) {
	t.Parallel()
	hub := NewHub()
	sink, err := place(hub)(t).Connect(sinktest.Config(stream.Update))
	require.NoError(t, err)
	require.NoError(t, sink.Open(t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
	write := func(b int64) {
		require.NoError(t, sinktest.Deliver(t.Context(), sink, sinktest.Marker(sinktest.QueryA, 1, b), stream.Update, sinktest.Row{ID: 7, N: b}))
	}
	write(0)
	write(1)
	require.Len(t, hub.Rows("out"), 2)
	require.Equal(t, [][]any{{int64(7), nil, int64(1)}}, hub.Table("out"))
	hub.Clear("out")
	require.Empty(t, hub.Rows("out"))
	write(1) // the marker was kept
	require.Empty(t, hub.Rows("out"))
	write(2)
	last, ok := hub.Last("out")
	require.True(t, ok)
	require.Equal(t, Delivered{
		Marker: sinktest.Marker(sinktest.QueryA, 1, 2), Mode: stream.Update, Columns: []string{"id", "name", "n"},
		Types: []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64},
		Rows:  [][]any{{int64(7), nil, int64(2)}}, Ops: []string{stream.OpUpsert}, Keys: []int{0},
	}, last)
	require.Len(t, hub.Since("out", 1), 1)
	require.Empty(t, hub.Since("out", 2))
	require.Equal(t, int64(2), hub.Marker("out").Batch)
}
