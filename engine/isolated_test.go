package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSameServer(t *testing.T) {
	t.Parallel()
	require.True(t, sameServer("nats://localhost:4222", "nats://127.0.0.1"))
	require.True(t, sameServer("nats://user:pw@HOST:1", "nats://host:1"))
	require.False(t, sameServer("nats://a:4222", "nats://b:4222"))
	require.False(t, sameServer("nats://a:4222", "nats://a:4223"))
}

func TestUnderPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sink, source string
		under        bool
	}{{"in", "in/*.json", true}, {"in/out", "in/**/*.json", true}, {"in/out", "in/*.json", false},
		{"out", "in/**/*.json", false}, {"in2", "in/**/*.json", false}} {
		require.Equal(t, c.under, underPath(c.sink, c.source), "%s %s", c.sink, c.source)
	}
}
