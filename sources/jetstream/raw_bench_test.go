package jetstream_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
)

// BenchmarkRawPull is the yardstick of BenchmarkRead: the client library hands over the same messages, and nobody
// looks at them.
func BenchmarkRawPull(b *testing.B) {
	s := basic(b)
	body := bytes.Repeat([]byte("x"), 200)
	n := max(b.N, 1000)
	for done := 0; done < n; done += 4000 { // what the client lets be under way
		s.Publish(min(4000, n-done), func(int) (string, []byte) { return "s.a", body })
	}
	js := s.JetStream()
	made, err := js.CreateConsumer(b.Context(), "S", jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy})
	require.NoError(b, err)
	conn, err := natsgo.Connect(s.URL())
	require.NoError(b, err)
	defer conn.Close()
	next := "$JS.API.CONSUMER.MSG.NEXT.S." + made.CachedInfo().Name
	ask := fmt.Appendf(nil, `{"batch":50000,"max_bytes":%d,"expires":%d}`, 16<<20, 30*time.Second)
	var got atomic.Int64
	done := make(chan struct{})
	inbox := natsgo.NewInbox()
	sub, err := conn.Subscribe(inbox, func(m *natsgo.Msg) {
		if m.Header.Get("Status") != "" {
			_ = conn.PublishRequest(next, inbox, ask)
			return
		}
		if got.Add(1) == int64(n) {
			close(done)
		}
	})
	require.NoError(b, err)
	require.NoError(b, sub.SetPendingLimits(-1, -1))
	b.ResetTimer()
	for range 2 {
		require.NoError(b, conn.PublishRequest(next, inbox, ask))
	}
	<-done
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "msgs/s")
}
