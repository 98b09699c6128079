package jetstream

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// numberedPayload is of a size that is random but the same for a sequence.
func numberedPayload(seq uint64, size int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%d,", seq), 1+int(seq*7919)%size)
}

// markerOf is a message that a sink wrote for itself, with a payload to be left out.
func markerOf(seq uint64) *natsconn.Delivery {
	return natsconn.Stored(&natsconn.StoredMsg{Seq: seq, Header: []byte("NATS/1.0\r\n" + natsconn.MarkerHeader + ": 1\r\n\r\n"), Data: []byte("x")})
}

// A part stays as it is until it is released, whatever is added, taken and filled again meanwhile.
func TestPartsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var b buffer
		var held []part
		added, takenTo := uint64(0), uint64(0)
		size := rapid.SampledFrom([]int{10, 60_000}).Draw(t, "size")
		look := func() {
			for _, p := range held {
				m := without(p.messages(), p.markers)
				if m == nil {
					m = &stream.Messages{}
				}
				for i, seq := range m.Sequence {
					require.True(t, bytes.Equal(numberedPayload(seq, size), m.Payload(i)), "message %d", seq)
				}
				require.Equal(t, stream.Sum(7).Run(stream.Sum(0).Messages(m), m.Len(), len(m.Data)), p.sum(7))
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(t, "n") {
					added++
					if rapid.IntRange(0, 3).Draw(t, "marker") == 0 {
						b.add(ack{sequence: added}, markerOf(added), want{})
						continue
					}
					d := &natsconn.Delivery{Payload: numberedPayload(added, size)}
					if rapid.Bool().Draw(t, "placed") {
						d.Placed = true
						d.Payload = b.place(copy(b.place(len(d.Payload)), d.Payload))
					}
					b.add(ack{sequence: added}, d, want{})
				}
			},
			"expect": func(t *rapid.T) {
				b.expect(takenTo+rapid.Uint64Range(0, 40).Draw(t, "n"), rapid.Int64Range(0, 8<<20).Draw(t, "bytes"))
			},
			"take": func(t *rapid.T) {
				to := rapid.Uint64Range(takenTo, added).Draw(t, "to")
				next := takenTo + 1
				b.take(to, func(p part) {
					require.Equal(t, next, p.sequence()[0])
					next += uint64(p.len())
					held = append(held, p)
				})
				require.Equal(t, to+1, next)
				takenTo = to
			},
			"release": func(t *rapid.T) {
				if len(held) == 0 {
					t.Skip("nothing is held")
				}
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				held[i].chunk.held--
				b.reuse(held[i].chunk)
				held = append(held[:i], held[i+1:]...)
			},
			"": func(*rapid.T) { look() },
		})
	})
}

// A chunk that is closed when all of it has been taken already is given back before the next messages are taken.
func TestAChunkIsGivenBackWhileItIsFirstInLine(t *testing.T) {
	t.Parallel()
	var b buffer
	var held []part
	add := func(seq uint64) {
		b.add(ack{sequence: seq}, &natsconn.Delivery{Payload: make([]byte, chunkBytesMin*2/3)}, want{})
	}
	take := func(to uint64) (got []uint64) {
		b.take(to, func(p part) { held, got = append(held, p), append(got, p.sequence()...) })
		return got
	}
	add(1)
	require.Equal(t, []uint64{1}, take(1))
	add(2) // closes the chunk of the first
	held[0].chunk.held--
	b.reuse(held[0].chunk)
	add(3)
	require.Equal(t, []uint64{2, 3}, take(3))
	require.False(t, b.holds(0))
}

// Batches are lent parts of chunks. Two are in use at a time, as in the engine, while the connection goes on filling; what
// was given back is filled again, and what is in use stays as it is.
func TestBatchesAreLent(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	const n, size = 300, 50_000
	s.Publish(n, func(i int) (string, []byte) { return "s.a", numberedPayload(uint64(i+1), size) })
	src := openInside(t, s, t.TempDir())
	var running []*stream.Input
	from, next, lent, chunks := stream.Offset("0"), uint64(1), 0, map[*chunk]int{}
	for next <= n {
		a, err := src.Available(t.Context(), from, "", stream.Limit{Bytes: 5 << 20})
		require.NoError(t, err)
		in, err := src.Read(t.Context(), stream.Range{From: from, To: a.To})
		require.NoError(t, err)
		from, running = a.To, append(running, in)
		for _, seq := range in.Messages.Sequence {
			require.Equal(t, next, seq)
			next++
		}
		src.lent.mu.Lock()
		if l := len(src.lent.parts); l > 0 && src.lent.parts[l-1].messages == in.Messages {
			lent++
			chunks[src.lent.parts[l-1].part.chunk]++
		}
		src.lent.mu.Unlock()
		if len(running) < 2 && next <= n {
			continue
		}
		for i, seq := range running[0].Messages.Sequence {
			require.True(t, bytes.Equal(numberedPayload(seq, size), running[0].Messages.Payload(i)), "message %d", seq)
		}
		require.Equal(t, running[0].CRC, uint32(stream.Sum(0).Messages(running[0].Messages)))
		src.Recycle(running[0].Messages)
		running = running[1:]
	}
	require.Greater(t, lent, 4)
	require.Less(t, len(chunks), lent)
}
