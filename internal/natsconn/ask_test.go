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

// TestAnswers asks for answers that come, that nobody gives, that do not come in time, that come no more, and that nobody
// waits for any longer.
func TestAnswers(t *testing.T) {
	srv := testkit.StartNATS(t)
	proxy := testkit.StartProxy(t, srv.URL())
	c, err := natsconn.New(natsconn.Config{What: "a test", Code: diag.SinkUnreachable,
		Options: stream.Options{"url": proxy.URL, "connect_timeout": 300 * time.Millisecond}})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	conn, err := c.Conn(t.Context())
	require.NoError(t, err)
	server := srv.JetStream().Conn()
	_, err = server.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) })
	require.NoError(t, err)
	_, err = server.Subscribe("silence", func(*nats.Msg) {})
	require.NoError(t, err)
	require.NoError(t, server.Flush())
	ask := func(ctx context.Context, subject string) *natsconn.Answer {
		t.Helper()
		a, err := c.Ask(ctx, conn, &nats.Msg{Subject: subject, Data: []byte("x")})
		require.NoError(t, err)
		return a
	}

	first, second := ask(t.Context(), "echo"), ask(t.Context(), "echo")
	for _, a := range []*natsconn.Answer{second, first} {
		msg, err := a.Await()
		require.NoError(t, err)
		require.Equal(t, "x", string(msg.Data))
	}
	_, err = ask(t.Context(), "nobody").Await()
	require.ErrorIs(t, err, nats.ErrNoResponders)
	require.True(t, diag.Temporary(err))
	_, err = ask(t.Context(), "silence").Await()
	require.ErrorIs(t, err, nats.ErrTimeout)
	require.True(t, diag.Temporary(err))

	ctx, cancel := context.WithCancel(t.Context())
	a := ask(ctx, "silence")
	cancel()
	_, err = a.Await()
	require.ErrorIs(t, err, context.Canceled)

	a = ask(t.Context(), "silence")
	proxy.Cut()
	_, err = a.Await()
	require.ErrorIs(t, err, nats.ErrDisconnected)
	require.True(t, diag.Temporary(err))
	require.Zero(t, conn.NumSubscriptions(), "nothing is left")
}
