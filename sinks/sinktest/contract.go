package sinktest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

func (s suite) appends(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	one := []Row{{ID: 1, Name: "a", N: 10}, {ID: 2, Name: nil, N: 20}, {ID: 3, Name: "c", N: 30}}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Append, one...))
	two := []Row{{ID: 1, Name: "a", N: 10}} // the same row again is another row
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 1), stream.Append, two...))
	See(t, p, append(one, two...)...)
}

func (s suite) completes(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Complete, Owner(QueryA, 1, -1))
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Complete,
		Row{ID: 1, Name: "a", N: 1}, Row{ID: 2, Name: "b", N: 1}))
	want := []Row{{ID: 2, Name: "b", N: 2}, {ID: 3, Name: "c", N: 3}}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 1), stream.Complete, want...))
	See(t, p, want...)
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 2), stream.Complete))
	See(t, p)
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 3), stream.Complete, want[0]))
	See(t, p, want[0])
}

func (s suite) updates(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Update, Owner(QueryA, 1, -1))
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Update,
		Row{ID: 1, Name: "a", N: 1}, Row{ID: 2, Name: "b", N: 1}, Row{ID: 3, Name: "c", N: 1}))
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 1), stream.Update,
		Row{ID: 2, Name: "b2", N: 2}, Row{ID: 3, Op: stream.OpDelete}, Row{ID: 4, Name: "d", N: 2}, Row{ID: 9, Op: stream.OpDelete}))
	See(t, p, Row{ID: 1, Name: "a", N: 1}, Row{ID: 2, Name: "b2", N: 2}, Row{ID: 4, Name: "d", N: 2})
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 2), stream.Update,
		Row{ID: 4, Op: stream.OpDelete}, Row{ID: 4, Name: "d3", N: 3}, Row{ID: 1, Name: "x", N: 3}, Row{ID: 1, Op: stream.OpDelete}))
	See(t, p, Row{ID: 2, Name: "b2", N: 2}, Row{ID: 4, Name: "d3", N: 3}) // the last word on a key counts
}

func (s suite) slots(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	write := func(batch int64, slot string, rows ...Row) {
		t.Helper()
		d := stream.Delivery{Marker: Marker(QueryA, 1, batch), Mode: stream.Append, Replace: slot}
		require.NoError(t, deliver(t.Context(), sink, d, rows))
	}
	write(0, "", Row{ID: 1, Name: "stream", N: 0})
	write(1, "s1", Row{ID: 2, Name: "s1", N: 1}, Row{ID: 3, Name: "s1", N: 1})
	write(2, "s2", Row{ID: 4, Name: "s2", N: 1})
	write(3, "s1", Row{ID: 5, Name: "s1", N: 2})
	See(t, p, Row{ID: 1, Name: "stream", N: 0}, Row{ID: 4, Name: "s2", N: 1}, Row{ID: 5, Name: "s1", N: 2})
	write(3, "s1", Row{ID: 6, Name: "never", N: 2}) // the same batch again
	See(t, p, Row{ID: 1, Name: "stream", N: 0}, Row{ID: 4, Name: "s2", N: 1}, Row{ID: 5, Name: "s1", N: 2})
	write(4, "s2", Row{ID: 7, Name: "s2", N: 2})
	See(t, p, Row{ID: 1, Name: "stream", N: 0}, Row{ID: 7, Name: "s2", N: 2}, Row{ID: 5, Name: "s1", N: 2})
}

func (s suite) twice(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	row := Row{ID: 1, Name: "a", N: 10}
	for range 3 {
		require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Append, row))
	}
	See(t, p, row)
}

func (s suite) reopens(t *testing.T) {
	p := s.place(t)
	var want []Row
	for batch := range int64(4) {
		sink := s.open(t, p, stream.Append, Owner(QueryA, uint64(batch+1), batch-1)) //nolint:gosec // small
		row := Row{ID: batch, Name: "r", N: batch}
		want = append(want, row)
		require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, uint64(batch+1), batch), stream.Append, row)) //nolint:gosec // small
		require.NoError(t, sink.Close())
		require.NoError(t, sink.Close(), "Close is idempotent")
		See(t, p, want...)
	}
}

// pending is a crash between the sink's commit and the log's: the log does not know that the batch is there.
func (s suite) pending(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	row := Row{ID: 1, Name: "a", N: 10}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Append, row))
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 1), stream.Append, row))
	require.NoError(t, sink.Close())

	o := Owner(QueryA, 2, 0)
	m := Marker(QueryA, 1, 1)
	o.Pending = &m
	sink = s.open(t, p, stream.Append, o)
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 2, 1), stream.Append, row), "already there")
	See(t, p, row, row)
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 2, 2), stream.Append, row))
	See(t, p, row, row, row)
}

func (s suite) otherQuery(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	row := Row{ID: 1, Name: "a", N: 10}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Append, row))
	require.NoError(t, sink.Close())

	other, err := p.Connect(Config(stream.Append))
	require.NoError(t, err)
	defer other.Close() //nolint:errcheck // it never opened
	requireCode(t, diag.SinkMismatch, other.Open(t.Context(), Owner(QueryB, 7, -1)))
	See(t, p, row)
	s.open(t, p, stream.Append, Owner(QueryA, 2, 0)) // the refusal changed nothing
}

// lostMarker is a log that delivered batches which the sink does not have: it was emptied, or the log is
// another's.
func (s suite) lostMarker(t *testing.T) {
	p := s.place(t)
	sink, err := p.Connect(Config(stream.Append))
	require.NoError(t, err)
	defer sink.Close() //nolint:errcheck // it never opened
	requireCode(t, diag.SinkMismatch, sink.Open(t.Context(), Owner(QueryA, 2, 5)))
}

func (s suite) takesOver(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 9, -1))
	row := Row{ID: 1, Name: "a", N: 10}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 9, 0), stream.Append, row))
	require.NoError(t, sink.Close())

	o := Owner(QueryB, 1, -1)
	o.TakeOver = true
	sink = s.open(t, p, stream.Append, o)
	mine := Row{ID: 2, Name: "b", N: 20}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryB, 1, 0), stream.Append, mine))
	See(t, p, row, mine)
	require.NoError(t, sink.Close())
	s.open(t, p, stream.Append, Owner(QueryB, 2, 0)) // from now on it is B's
}

// zombie is an owner that sleeps while another opens the sink, and then goes on.
func (s suite) zombie(t *testing.T) {
	p := s.place(t)
	old := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	row := Row{ID: 1, Name: "a", N: 10}
	require.NoError(t, Deliver(t.Context(), old, Marker(QueryA, 1, 0), stream.Append, row))
	s.open(t, p, stream.Append, Owner(QueryA, 2, 0))
	err := Deliver(t.Context(), old, Marker(QueryA, 1, 1), stream.Append, Row{ID: 2, Name: "zombie", N: 1})
	requireCode(t, diag.SinkFenced, err)
	require.NotEmpty(t, diag.All(err)[0].Hint, "what to do about it")
	See(t, p, row)
	late, err := p.Connect(Config(stream.Append))
	require.NoError(t, err)
	defer late.Close() //nolint:errcheck // it never opened
	requireCode(t, diag.SinkFenced, late.Open(t.Context(), Owner(QueryA, 1, 0)))
}

// copied is two lives of one epoch: the data directory was copied, and both copies run. Whoever opened last has the
// place, the other one is fenced at its next Write, and no row is there twice.
func (s suite) copied(t *testing.T) {
	p := s.place(t)
	row := Row{ID: 1, Name: "a", N: 10}
	before := lived(Owner(QueryA, 1, -1), "before")
	sink := s.open(t, p, stream.Append, before)
	require.NoError(t, Deliver(t.Context(), sink, markerOf(before, 0), stream.Append, row))
	require.NoError(t, sink.Close())

	one := lived(Owner(QueryA, 2, 0), "one", "before")
	first := s.open(t, p, stream.Append, one)
	for _, epoch := range []uint64{2, 3} { // the same command given again is another epoch
		copied, err := p.Connect(Config(stream.Append))
		require.NoError(t, err)
		requireCode(t, diag.SinkMismatch, copied.Open(t.Context(), lived(Owner(QueryA, epoch, 0), "two", "before")))
		require.NoError(t, copied.Close())
	}
	row2 := Row{ID: 2, Name: "b", N: 20}
	require.NoError(t, Deliver(t.Context(), first, markerOf(one, 1), stream.Append, row2), "the refusal changed nothing")
	See(t, p, row, row2)

	// Both copies stand where the sink does, and the other one is told to take over: in the same epoch, and in an older.
	for batch, epoch := range []uint64{2, 1} {
		o := lived(Owner(QueryA, epoch, 0), fmt.Sprintf("three%d", epoch), "before")
		o.TakeOver = true
		second := s.open(t, p, stream.Append, o)
		m := markerOf(o, int64(batch+2))
		m.IntentCRC += 7 // another range under the same number
		require.NoError(t, Deliver(t.Context(), second, m, stream.Append, Row{ID: int64(batch + 3), Name: "c", N: 30}))
		want := []Row{row, row2, {ID: 3, Name: "c", N: 30}, {ID: 4, Name: "c", N: 30}}[:batch+3]
		for range 2 { // it stays fenced, and its own rows and those of the other are not there twice
			err := Deliver(t.Context(), first, markerOf(one, int64(batch+2)), stream.Append, Row{ID: 9, Name: "copy", N: 9})
			requireCode(t, diag.SinkFenced, err)
			See(t, p, want...)
		}
		require.NoError(t, Deliver(t.Context(), second, m, stream.Append, Row{ID: 8, Name: "again", N: 8}))
		See(t, p, want...)
		first, one = second, o
	}
}

// lived gives an owner a life among those that its log remembers.
func lived(o stream.Owner, life string, before ...string) stream.Owner {
	o.Life, o.Lives = life, append(before, life)
	return o
}

func markerOf(o stream.Owner, batch int64) stream.Marker {
	m := Marker(o.Query, o.Epoch, batch)
	m.Life = o.Life
	return m
}

// cancelled is a Write whose context has ended: it says so or has done all of it, and another Write makes it
// whole.
func (s suite) cancelled(t *testing.T) {
	p := s.place(t)
	sink := s.open(t, p, stream.Append, Owner(QueryA, 1, -1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	row := Row{ID: 1, Name: "a", N: 10}
	if err := Deliver(ctx, sink, Marker(QueryA, 1, 0), stream.Append, row); err != nil {
		require.ErrorIs(t, err, context.Canceled)
		See(t, p)
	}
	require.NoError(t, Deliver(t.Context(), sink, Marker(QueryA, 1, 0), stream.Append, row))
	See(t, p, row)
}
