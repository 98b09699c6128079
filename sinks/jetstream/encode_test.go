package jetstream

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

func TestStagedBytesAreWhatWasStaged(t *testing.T) {
	t.Parallel()
	in := []message{{subject: "a", body: []byte("x")}, {subject: "b.c", deleted: true, body: []byte{}}, {subject: "d", body: []byte{0, 1}}}
	out, ok := unpickle(pickle(in))
	require.True(t, ok)
	require.Equal(t, in, out)
	require.Equal(t, checksum(in), checksum(out))
	data := pickle(in)
	for cut := 1; cut < len(data); cut++ {
		if out, ok := unpickle(data[:cut]); ok {
			require.Less(t, len(out), len(in))
		}
	}
}

func FuzzUnpickle(f *testing.F) {
	f.Add(pickle([]message{{subject: "a", body: []byte("x")}, {subject: "b", deleted: true}}))
	f.Add([]byte(stagedMagic + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x00"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		messages, ok := unpickle(data)
		if !ok {
			return
		}
		again, ok := unpickle(pickle(messages))
		if !ok || len(again) != len(messages) {
			t.Fatalf("%d messages became %d", len(messages), len(again))
		}
		for i := range messages {
			if again[i].subject != messages[i].subject || !bytes.Equal(again[i].body, messages[i].body) {
				t.Fatalf("message %d differs", i)
			}
		}
	})
}

func TestMessagesOfOneRowAreNotCompressed(t *testing.T) {
	t.Parallel()
	cfg := stream.SinkConfig{Name: "out", Mode: stream.Append,
		Options: stream.Options{"stream": "OUT", "payload": "json", "compression": "lz4"}}
	_, err := open(cfg, nil)
	require.ErrorContains(t, err, `sink "out": messages of one JSON object are not compressed`)
	cfg.Options["payload"] = "ndjson"
	cfg.Options["compression"] = "none"
	s, err := open(cfg, nil)
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
