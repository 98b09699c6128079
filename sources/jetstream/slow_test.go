package jetstream_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// slowLine listens before a server that brings perSecond bytes at most, and returns its address.
func slowLine(t *testing.T, url string, perSecond int64) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = client.Close() }()
		server, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
		if err != nil {
			return
		}
		defer func() { _ = server.Close() }()
		go func() { _, _ = io.Copy(server, client) }()
		for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
			if _, err := io.CopyN(client, server, perSecond/20); err != nil {
				tick.Stop()
				return
			}
		}
	}()
	return "nats://" + listener.Addr().String()
}

// A message that takes longer than the consumer may be silent is waited for: it is on its way.
func TestLargeMessageOnASlowLine(t *testing.T) {
	s := testkit.StartNATS(t, func(o *natsd.Options) { o.MaxPayload = 12 << 20 })
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	const size = 8 << 20
	s.Publish(1, func(int) (string, []byte) { return "s.big", make([]byte, size) })
	src := open(t, s, stream.Options{"url": slowLine(t, s.URL(), 2<<20), "connect_timeout": 3 * time.Second})
	require.Len(t, read(t, src, 0, 1, "").Messages.Payload(0), size)
}

// What is asked for ahead on a slow line stays below what the server lets wait for a client, however large messages may be.
func TestManyMessagesOnASlowLine(t *testing.T) {
	s := testkit.StartNATS(t, func(o *natsd.Options) { o.MaxPayload = 64 << 20 })
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	const n, size = 13, 8 << 20
	s.Publish(n, func(int) (string, []byte) { return "s.big", make([]byte, size) })
	src := open(t, s, stream.Options{"url": slowLine(t, s.URL(), 25<<20)})
	require.Len(t, read(t, src, 0, n, "").Messages.Data, n*size)
}

// The connection breaks in the middle of large messages, again and again: what had come of them is forgotten, and every message
// is read once, whole.
func TestConnectionBreaksInALargeMessage(t *testing.T) {
	s := testkit.StartNATS(t)
	s.CreateStream(jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	const n, size = 40, 400_000
	text := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d,", i), size/4) }
	s.Publish(n, func(i int) (string, []byte) { return "s.big", text(i) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	var lines atomic.Int64
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "nats://"))
			if err != nil {
				return
			}
			lines.Add(1)
			go func() { _, _ = io.Copy(server, client) }()
			_, _ = io.CopyN(client, server, 3<<20+lines.Load()*100_003)
			_, _ = client.Close(), server.Close()
		}
	}()
	src := open(t, s, stream.Options{"url": "nats://" + listener.Addr().String()})
	const each = 4
	for from := 0; from < n; from += each {
		var in *stream.Input
		require.Eventually(t, func() bool {
			in, err = src.Read(t.Context(), span(from, from+each, ""))
			return err == nil || !diag.Temporary(err)
		}, time.Minute, time.Millisecond)
		require.NoError(t, err)
		require.Equal(t, each, in.Messages.Len())
		for i := range each {
			require.True(t, bytes.Equal(text(from+i), in.Messages.Payload(i)), "message %d", from+i)
		}
	}
	require.Greater(t, lines.Load(), int64(2))
}
