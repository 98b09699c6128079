package jetstream_test

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	source "github.com/tidemill/tidemill/sources/jetstream"
	"github.com/tidemill/tidemill/stream"
)

// TestInProcess reads messages of many sizes from a server in this process, over restarts of it, with and without a socket:
// the ranges are the same.
func TestInProcess(t *testing.T) {
	s := basic(t)
	body := func(i int) []byte {
		n := []int{0, 9, 16 << 10, 200_000, 120, 70_000}[i%6]
		return append([]byte(strconv.Itoa(i)), bytes.Repeat([]byte{byte('a' + i%26)}, n)...)
	}
	s.Publish(240, func(i int) (string, []byte) { return "s.a", body(i) })
	want := read(t, open(t, s, nil), 0, 240, "")
	var inside atomic.Int64
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := s.Dial(ctx, network, address)
		if _, tcp := conn.(*net.TCPConn); err == nil && !tcp {
			inside.Add(1)
		}
		return conn, err
	}
	src, err := source.Connector(dial).Open(t.Context(), stream.SourceConfig{Name: "src",
		Options: stream.Options{"url": s.URL(), "stream": "S", "connect_timeout": 30 * time.Second}})
	require.NoError(t, err)
	for _, size := range []int{240, 7, 100} {
		for from := 0; from < 240; from += size {
			to := min(240, from+size)
			in := eventually(t, src, span(from, to, ""))
			for i := range in.Messages.Len() {
				require.Equal(t, want.Messages.Payload(from+i), in.Messages.Payload(i))
			}
			if from == 0 && to == 240 {
				require.Equal(t, want.CRC, in.CRC)
			}
		}
		if size == 240 {
			s.Restart()
		}
	}
	require.EqualValues(t, 2, inside.Load(), "one connection before the restart and one after it")
	require.NoError(t, src.Close())
}
