package main

import (
	"strconv"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

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
		require.Less(t, js.PublishAsyncPending()*size, pendingBytesMax)
	}
	require.NoError(t, s.flush(t.Context()))
	stream, err := js.Stream(t.Context(), "S")
	require.NoError(t, err)
	require.EqualValues(t, messages, stream.CachedInfo().State.Msgs)
}
