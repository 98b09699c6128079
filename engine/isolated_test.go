package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

func TestSameServer(t *testing.T) {
	t.Parallel()
	at := func(url string) stream.Options { return stream.Options{"url": url} }
	require.True(t, sameServer(at("nats://localhost:4222"), at("nats://127.0.0.1")))
	require.True(t, sameServer(at("nats://user:pw@HOST:1"), at("nats://host:1")))
	require.True(t, sameServer(at("nats://a:1,nats://b:1"), at("nats://c:1, nats://B:1")))
	require.False(t, sameServer(at("nats://a:4222"), at("nats://b:4222")))
	require.False(t, sameServer(at("nats://a:4222"), at("nats://a:4223")))
	require.False(t, sameServer(at("nats://a:1"), stream.Options{"url": "nats://a:1", "domain": "leaf"}), "not for sure")
}

func TestUnderPath(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sink, source string
		under        bool
	}{{"in", "in/*.json", true}, {"in/out", "in/**/*.json", true}, {"in/out", "in/*.json", false},
		{"out", "in/**/*.json", false}, {"in2", "in/**/*.json", false}, {absolute("in"), "in/*.json", true}} {
		require.Equal(t, c.under, underPath(c.sink, c.source), "%s %s", c.sink, c.source)
	}
}
