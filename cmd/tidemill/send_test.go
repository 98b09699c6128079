package main

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/testkit"
)

// TestSenderWaitsForTheStream asks that no more is under way than the queue of a stream holds, which refuses what is beyond.
func TestSenderWaitsForTheStream(t *testing.T) {
	t.Parallel()
	server := testkit.StartNATS(t)
	server.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	js := server.JetStream()
	s := &subjectSender{js: js, subject: "s"}
	const size, messages = 1_000_000, 80
	for n := range messages {
		require.NoError(t, s.send(t.Context(), strconv.Itoa(n), make([]byte, size)))
		require.Less(t, js.PublishAsyncPending()*size, natsconn.UnstoredBytes)
	}
	require.NoError(t, s.flush(t.Context()))
	stream, err := js.Stream(t.Context(), "S")
	require.NoError(t, err)
	require.EqualValues(t, messages, stream.CachedInfo().State.Msgs)
}

// answered is a message that the stream has, or has refused; until asked, neither is known of one that interrupts.
type answered struct {
	jetstream.PubAckFuture

	ok        chan *jetstream.PubAck
	fault     chan error
	interrupt context.CancelFunc
}

func (a *answered) Ok() <-chan *jetstream.PubAck {
	if a.interrupt != nil {
		a.interrupt()
	}
	return a.ok
}

func (a *answered) Err() <-chan error { return a.fault }

// TestSenderFlushesAfterAnInterrupt asks that a flush goes on where one that was interrupted ended: no answer comes twice.
func TestSenderFlushesAfterAnInterrupt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, interrupt := context.WithCancel(t.Context())
		future := func() *answered { return &answered{ok: make(chan *jetstream.PubAck, 1), fault: make(chan error, 1)} }
		stored, later := future(), future()
		stored.ok <- &jetstream.PubAck{Duplicate: true}
		later.interrupt = interrupt
		s := &subjectSender{pending: []published{{"1", stored}, {"2", later}}, client: &natsconn.Client{}}
		require.ErrorIs(t, s.flush(ctx), context.Canceled)
		later.ok <- &jetstream.PubAck{}
		require.NoError(t, s.flush(t.Context()))
		require.EqualValues(t, 1, s.there)
		require.NoError(t, s.flush(t.Context()))

		refused := future()
		refused.fault <- jetstream.ErrStreamMessageExceedsMaximum
		s.pending = append(s.pending, published{"3", refused})
		fault := s.flush(t.Context())
		require.ErrorContains(t, fault, "a message is larger than the stream")
		require.Equal(t, fault, s.flush(t.Context()), "that it was not stored stays so")
	})
}

// taken is a sender that notes what it takes.
type taken struct {
	sender

	ids []string
}

func (s *taken) send(ctx context.Context, id string, payload []byte) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.ids = append(s.ids, id+" "+string(payload))
	return nil
}

// TestGeneratedRowsOutliveAnInterrupt asks that rows which are told of are sent, though an interrupt came before they were.
func TestGeneratedRowsOutliveAnInterrupt(t *testing.T) {
	t.Parallel()
	out := &taken{}
	g := &generation{out: out, id: "g", body: []byte("{}"), packed: 1, rows: 1}
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	require.ErrorIs(t, g.emit(ctx), context.Canceled)
	require.NoError(t, g.emit(t.Context()))
	require.Equal(t, []string{"g-1 {}"}, out.ids)
	require.EqualValues(t, 1, g.messages)
}
