package benchmarks

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/testkit"
)

// TestPublishedIsStored asks that a message which the broker does not store is a fault: a run would wait for its rows for ever.
func TestPublishedIsStored(t *testing.T) {
	t.Parallel()
	server := testkit.StartNATS(t)
	server.CreateStream(jetstream.StreamConfig{Name: inStream, Subjects: []string{inSubject}, MaxMsgs: 5, Discard: jetstream.DiscardNew})
	c, err := dial(server.URL())
	require.NoError(t, err)
	defer c.close()
	for row := range int64(5) {
		require.NoError(t, c.publish(row, []byte("{}")))
	}
	require.NoError(t, c.acknowledged(t.Context()))
	for row := range int64(5) {
		require.NoError(t, c.publish(row, []byte("{}")))
	}
	require.ErrorContains(t, c.acknowledged(t.Context()), "did not store every row: nats: API error: code=503 err_code=10077 description=maximum messages exceeded")
}

// TestFillWaitsForTheBroker asks that no more is under way than the broker's queue holds.
func TestFillWaitsForTheBroker(t *testing.T) {
	t.Parallel()
	c, err := dial(testkit.StartNATS(t).URL())
	require.NoError(t, err)
	defer c.close()
	const size, messages = 1_000_000, 150
	most := 0
	require.NoError(t, c.fillWith(t.Context(), messages, 1, func(int64, int64) ([]byte, error) {
		most = max(most, c.js.PublishAsyncPending())
		return make([]byte, size), nil
	}))
	require.LessOrEqual(t, most, natsconn.UnstoredBytes/size)
	stream, err := c.js.Stream(t.Context(), inStream)
	require.NoError(t, err)
	require.EqualValues(t, messages, stream.CachedInfo().State.Msgs)
}
