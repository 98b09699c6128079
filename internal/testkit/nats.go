// Package testkit holds what tests of several packages need: an embedded NATS server on a real socket that
// can be stopped and started again, and a few helpers to fill and read its streams. Only tests import it.
package testkit

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/natsd"
)

// Server is an embedded NATS server with JetStream, a directory of its own and a port that it keeps over
// restarts. Its methods fail the test instead of returning errors, and belong to the test's goroutine.
type Server struct {
	tb      testing.TB
	options natsd.Options
	server  atomic.Pointer[natsd.Server] // nil while stopped
	conn    *nats.Conn
	login   []nats.Option
}

// patience is how long the tests wait for a server on a machine that has other things to do.
const patience = time.Minute

// StartNATS starts a server that stops with the test. The functions may change its options.
func StartNATS(tb testing.TB, change ...func(*natsd.Options)) *Server {
	tb.Helper()
	s := &Server{tb: tb, options: natsd.Options{Dir: tb.TempDir(), ReadyAfter: patience}}
	for _, f := range change {
		f(&s.options)
	}
	s.Start()
	tb.Cleanup(func() {
		if s.conn != nil {
			s.conn.Close()
		}
		s.Stop()
	})
	return s
}

// Start starts a stopped server on the port and directory it had.
func (s *Server) Start() {
	s.tb.Helper()
	if s.options.Port != 0 { // which another program may have been given meanwhile
		require.Eventually(s.tb, func() bool { return isFree(s.options.Port) }, patience, time.Millisecond)
	}
	server, err := natsd.Start(s.options)
	require.NoError(s.tb, err)
	s.options.Port = server.Port()
	s.server.Store(server)
}

func isFree(port int) bool {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	return err == nil && listener.Close() == nil
}

// Stop stops the server: connections break without a word.
func (s *Server) Stop() {
	if server := s.server.Swap(nil); server != nil {
		server.Stop()
	}
}

// Restart stops and starts the server.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Stop()
	s.Start()
}

// RestartWith restarts the server with other options.
func (s *Server) RestartWith(change func(*natsd.Options)) {
	s.tb.Helper()
	s.Stop()
	change(&s.options)
	s.Start()
}

// URL returns the address without user or password.
func (s *Server) URL() string { return s.server.Load().URL() }

// Dial connects to the server within the process, and to nothing while that is stopped or about to start. Any goroutine may call it.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if server := s.server.Load(); server != nil {
		return server.Dial(ctx, network, address) //nolint:wrapcheck // a test
	}
	return nil, syscall.ECONNREFUSED
}

// JetStream returns a client of the test's own, which reconnects over restarts.
func (s *Server) JetStream() jetstream.JetStream {
	s.tb.Helper()
	if s.conn == nil {
		conn, err := nats.Connect(s.URL(), append([]nats.Option{nats.Timeout(patience), nats.MaxReconnects(-1),
			nats.ReconnectWait(10 * time.Millisecond), nats.UserInfo(s.options.User, s.options.Password),
			nats.Token(s.options.Token)}, s.login...)...)
		require.NoError(s.tb, err)
		s.conn = conn
	}
	// A round trip, because a connection notices late that its server has gone.
	require.Eventually(s.tb, func() bool { return s.conn.FlushTimeout(time.Second) == nil }, patience,
		time.Millisecond)
	js, err := jetstream.New(s.conn, jetstream.WithDefaultTimeout(patience))
	require.NoError(s.tb, err)
	return js
}

// CreateStream makes a stream, on disk unless cfg says otherwise.
func (s *Server) CreateStream(cfg jetstream.StreamConfig) jetstream.Stream {
	s.tb.Helper()
	stream, err := s.JetStream().CreateStream(s.tb.Context(), cfg)
	require.NoError(s.tb, err)
	return stream
}

// NewStream makes a stream whose retention is limits, workqueue or interest.
func (s *Server) NewStream(name, retention string, subjects ...string) {
	s.tb.Helper()
	policy := map[string]jetstream.RetentionPolicy{"limits": jetstream.LimitsPolicy,
		"workqueue": jetstream.WorkQueuePolicy, "interest": jetstream.InterestPolicy}
	s.CreateStream(jetstream.StreamConfig{Name: name, Subjects: subjects, Retention: policy[retention]})
}

// Publish stores n messages whose subjects and payloads the functions give, in order, and waits until all are
// there.
func (s *Server) Publish(n int, message func(i int) (subject string, payload []byte)) {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(s.tb.Context(), patience)
	defer cancel()
	js := s.JetStream()
	futures := make([]jetstream.PubAckFuture, 0, n)
	for i := range n {
		subject, payload := message(i)
		f, err := js.PublishAsync(subject, payload)
		require.NoError(s.tb, err)
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			require.NoError(s.tb, err)
		case <-ctx.Done():
			require.NoError(s.tb, ctx.Err())
		}
	}
}

// Messages returns every message of a stream, read one by one at its leader.
func (s *Server) Messages(stream string) []*jetstream.RawStreamMsg {
	s.tb.Helper()
	js, err := s.JetStream().Stream(s.tb.Context(), stream)
	require.NoError(s.tb, err)
	n := int(js.CachedInfo().State.Msgs) //nolint:gosec // a test's stream is small
	if n == 0 {
		return nil
	}
	consumer, err := js.OrderedConsumer(s.tb.Context(), jetstream.OrderedConsumerConfig{})
	require.NoError(s.tb, err)
	all := make([]*jetstream.RawStreamMsg, 0, n)
	for len(all) < n {
		batch, err := consumer.Fetch(min(n-len(all), 10_000), jetstream.FetchMaxWait(5*time.Second))
		require.NoError(s.tb, err)
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			require.NoError(s.tb, err)
			all = append(all, &jetstream.RawStreamMsg{Subject: m.Subject(), Sequence: meta.Sequence.Stream, Header: m.Headers(),
				Data: m.Data(), Time: meta.Timestamp})
		}
		require.NoError(s.tb, batch.Error())
	}
	return all
}
