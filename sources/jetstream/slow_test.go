package jetstream_test

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

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
	src := open(t, s, stream.Options{"url": slowLine(t, s.URL(), 2<<20), "connect_timeout": time.Second})
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
