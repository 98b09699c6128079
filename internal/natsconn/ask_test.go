package natsconn_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// connect makes a client that waits for answers as long as timeout, and returns what asks by it.
func connect(t *testing.T, url string, timeout time.Duration) (*natsconn.Client, func(context.Context, string) (*natsconn.Answer, error)) {
	t.Helper()
	c, err := natsconn.New(natsconn.Config{What: "a test", Code: diag.SinkUnreachable,
		Options: stream.Options{"url": url, "connect_timeout": timeout}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c, func(ctx context.Context, subject string) (*natsconn.Answer, error) {
		conn, err := c.Conn(t.Context())
		if err != nil {
			return nil, err //nolint:wrapcheck // a test
		}
		return c.Ask(ctx, conn, &nats.Msg{Subject: subject, Data: []byte("x")}) //nolint:wrapcheck // a test
	}
}

// responders answer "echo", and say nothing to "silence".
func responders(t *testing.T, srv *testkit.Server) {
	t.Helper()
	server := srv.JetStream().Conn()
	_, err := server.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	require.NoError(t, err)
	_, err = server.Subscribe("silence", func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, server.Flush())
}

// TestAnswers asks for answers that come, that nobody gives, that come no more, and that nobody waits for any longer.
func TestAnswers(t *testing.T) {
	srv := testkit.StartNATS(t)
	responders(t, srv)
	proxy := testkit.StartProxy(t, srv.URL())
	c, may := connect(t, proxy.URL, time.Minute)
	ask := func(ctx context.Context, subject string) *natsconn.Answer {
		t.Helper()
		a, err := may(ctx, subject)
		require.NoError(t, err)
		return a
	}

	first, second := ask(t.Context(), "echo"), ask(t.Context(), "echo")
	for _, a := range []*natsconn.Answer{second, first} {
		msg, err := a.Await()
		require.NoError(t, err)
		require.Equal(t, "x", string(msg.Data))
	}
	_, err := ask(t.Context(), "nobody").Await()
	require.ErrorIs(t, err, nats.ErrNoResponders)
	require.True(t, diag.Temporary(err))

	ctx, cancel := context.WithCancel(t.Context())
	a := ask(ctx, "silence")
	cancel()
	_, err = a.Await()
	require.ErrorIs(t, err, context.Canceled)

	conn, err := c.Conn(t.Context())
	require.NoError(t, err)
	a = ask(t.Context(), "silence")
	proxy.Cut()
	_, err = a.Await()
	require.ErrorIs(t, err, nats.ErrDisconnected)
	require.True(t, diag.Temporary(err))
	require.Zero(t, conn.NumSubscriptions(), "nothing is left")
}

// TestAnswerThatDoesNotComeInTime asks a server that has answered before, however long that took.
func TestAnswerThatDoesNotComeInTime(t *testing.T) {
	srv := testkit.StartNATS(t)
	responders(t, srv)
	_, ask := connect(t, srv.URL(), 300*time.Millisecond)
	await := func(subject string) error {
		a, err := ask(t.Context(), subject)
		if err == nil {
			_, err = a.Await()
		}
		return err //nolint:wrapcheck // a test
	}
	require.Eventually(t, func() bool { return await("echo") == nil }, time.Minute, time.Millisecond)
	err := await("silence")
	require.ErrorIs(t, err, nats.ErrTimeout)
	require.True(t, diag.Temporary(err))
}
