package jetstream

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/natsconn"
)

// A chunk of which everything was taken is left for another one, and only then given back: the messages behind it are there
// all the same, in order, and it is not filled again before they are taken.
func TestChunkIsGivenBackAfterTheNextBegan(t *testing.T) {
	t.Parallel()
	var b buffer
	add := func(sequence uint64) {
		b.add(ack{sequence: sequence}, &natsconn.Delivery{Payload: make([]byte, chunkBytesMin)}, want{})
	}
	var parts []part
	take := func(to uint64) (sequences []uint64) {
		b.take(to, func(p part) {
			parts = append(parts, p)
			sequences = append(sequences, p.sequence()...)
		})
		return sequences
	}
	add(1)
	require.Equal(t, []uint64{1}, take(1))
	add(2)
	parts[0].chunk.held--
	b.reuse(parts[0].chunk)
	add(3)
	require.Equal(t, []uint64{2, 3}, take(3))
	require.False(t, b.holds(3))
}
