package jetstream

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

func TestParseAck(t *testing.T) {
	t.Parallel()
	want := ack{sequence: 42, delivery: 3, published: 1700000000000000001, pending: 7}
	for _, reply := range []string{
		"$JS.ACK.S.C.1.42.3.1700000000000000001.7",
		"$JS.ACK.domain.hash.S.C.1.42.3.1700000000000000001.7",
		"$JS.ACK.domain.hash.S.C.1.42.3.1700000000000000001.7.random",
	} {
		got, ok := parseAck([]byte(reply))
		require.True(t, ok, reply)
		require.Equal(t, want, got)
	}
	for _, reply := range []string{"", "_INBOX.x", "$JS.ACK.", "$JS.ACK.S.C.1.x.3.4.5", "$JS.ACK.S.C.1.2.3.4", "$JS.ACK.S.C.1.2.3.4.5.6"} {
		_, ok := parseAck([]byte(reply))
		require.False(t, ok, reply)
	}
}

func FuzzParseAck(f *testing.F) {
	f.Add("$JS.ACK.S.C.1.42.3.1700000000000000001.7")
	f.Add("$JS.ACK.d.h.S.C.1.42.3.1700000000000000001.7.r")
	f.Add("$JS.ACK........")
	f.Fuzz(func(t *testing.T, reply string) {
		a, ok := parseAck([]byte(reply))
		if ok && a.published < 0 {
			t.Fatalf("%q: %+v", reply, a)
		}
	})
}

// A buffer gives out what went in, whatever the cuts, and knows its size.
func TestBufferKeepsOrder(t *testing.T) {
	t.Parallel()
	var b buffer
	body := make([]byte, 300<<10)
	for i := range 20 {
		payload := append([]byte(fmt.Sprint(i)), body...)
		d := &natsconn.Delivery{Payload: payload}
		if i%3 == 0 { // as a large message is read
			d.Payload, d.Placed = b.place(len(payload)), true
			copy(d.Payload, payload)
		}
		b.add(ack{sequence: uint64(2*i + 1)}, d, want{})
	}
	require.Greater(t, len(b.chunks), 2)
	known, last, cut := b.measure(4, 3, 0)
	require.True(t, cut)
	require.Equal(t, int64(3), known.rows)
	require.Equal(t, uint64(9), last)
	var parts []part
	for _, to := range []uint64{0, 5, 6, 20, 39} {
		b.take(to, func(p part) { parts = append(parts, p) })
		require.Equal(t, b.holds(0), to < 39)
	}
	require.Zero(t, b.bytes)
	require.Len(t, b.chunks, 1) // that is being filled
	out := joined(parts, stream.Messages{})
	require.Len(t, out.Sequence, 20)
	for i := range 20 {
		require.Equal(t, uint64(2*i+1), out.Sequence[i])
		require.Equal(t, fmt.Sprint(i), string(out.Payload(i)[:len(fmt.Sprint(i))]))
		require.Len(t, out.Payload(i), len(body)+len(fmt.Sprint(i)))
	}
}
