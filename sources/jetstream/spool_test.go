package jetstream

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

func spooledInputs() []*stream.Input {
	m := &stream.Messages{Subject: []string{"a", "b.c"}, Published: []int64{-5, 1 << 50},
		Headers: []map[string]string{nil, {"k": "v"}}}
	m.Append(7, []byte("one"))
	m.Append(1<<40, nil)
	plain := &stream.Messages{}
	plain.Append(1, []byte("x"))
	return []*stream.Input{{}, {Lost: 3, CRC: 9}, {Messages: m, CRC: 1<<32 - 1}, {Messages: plain, Lost: 1}}
}

func TestSpoolRoundTrip(t *testing.T) {
	t.Parallel()
	for _, in := range spooledInputs() {
		data, err := encodeSpool(in)
		require.NoError(t, err)
		out, ok := decodeSpool(data)
		require.True(t, ok)
		require.Equal(t, in, out)
		for i := range data { // no flipped bit and no cut goes unnoticed
			data[i] ^= 1
			_, ok = decodeSpool(data)
			require.False(t, ok, i)
			data[i] ^= 1
			_, ok = decodeSpool(data[:i])
			require.False(t, ok, i)
		}
	}
}

func FuzzDecodeSpool(f *testing.F) {
	for _, in := range spooledInputs() {
		data, err := encodeSpool(in)
		require.NoError(f, err)
		f.Add(data[4:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in, ok := decodeSpool(seal(append(make([]byte, 4), body...)))
		if !ok {
			return
		}
		for i := range in.Messages.Len() {
			_ = in.Messages.Payload(i)
		}
		again, err := encodeSpool(in)
		require.NoError(t, err)
		same, ok := decodeSpool(again)
		require.True(t, ok)
		require.Equal(t, in.Messages.Len(), same.Messages.Len())
	})
}

func TestDeliveries(t *testing.T) {
	t.Parallel()
	var d deliveries
	for i, seq := range []uint64{3, 4, 5, 9, 10, 4, 20} {
		d.add(ack{sequence: seq, delivery: uint64(i + 1)}, []byte("r"))
	}
	require.Equal(t, []run{{3, 1, 3}, {9, 4, 2}, {20, 7, 1}}, d.runs)
	require.Empty(t, d.upTo(2))
	require.Equal(t, []run{{3, 1, 2}}, d.upTo(4))
	require.Equal(t, []run{{3, 1, 3}, {9, 4, 1}}, d.upTo(9))
	d.drop(4)
	require.Equal(t, []run{{5, 3, 1}, {9, 4, 2}, {20, 7, 1}}, d.runs)
	d.drop(15)
	require.Equal(t, []run{{20, 7, 1}}, d.upTo(100))
	require.Equal(t, "$JS.ACK.S.C.1.20.7.99.0", ackSubject("$JS.ACK.S.C.1.3.1.99.0", 20, 7))
	require.Equal(t, "$JS.ACK.d.h.S.C.1.20.7.99.0.r", ackSubject("$JS.ACK.d.h.S.C.1.3.1.99.0.r", 20, 7))
	require.Empty(t, ackSubject("x", 1, 1))
}
