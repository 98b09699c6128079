package natsconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// script is a connection on which a server has said something, of which each read brings the next few bytes.
type script struct {
	net.Conn
	said  *bytes.Reader
	bytes func() int // of a read
}

func (s *script) Read(p []byte) (int, error) {
	return s.said.Read(p[:min(len(p), s.bytes())]) //nolint:wrapcheck // io.EOF
}

func (s *script) Write(p []byte) (int, error) { return len(p), nil }

// keeper is a Taker that keeps what it is given as text.
type keeper struct {
	got    []string
	refuse bool
	placed []byte
}

func (k *keeper) Place(n int) []byte {
	if k.refuse {
		return nil
	}
	k.placed = make([]byte, n)
	return k.placed
}

func (k *keeper) Take(d *Delivery) {
	k.got = append(k.got, fmt.Sprintf("%s|%s|%s|%s", d.Subject, d.Reply, d.header, d.Payload))
	if d.Placed && len(d.Payload) > 0 && &d.Payload[0] != &k.placed[0] {
		k.got = append(k.got, "placed elsewhere")
	}
}

func over(conn net.Conn, k *keeper) *wire {
	w := newWire(conn)
	w.tap.Store(&Tap{sid: []byte("t7"), taker: k, wire: w})
	return w
}

// Whatever the server says and however it is cut: the tap has its messages, and the library all else, in order.
func TestWireSplitsWhatTheServerSays(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var said, forLibrary bytes.Buffer
		var forTap []string
		refuse := rapid.Bool().Draw(t, "refuse")
		body := rapid.Custom(func(t *rapid.T) string {
			n := rapid.SampledFrom([]int{0, 1, 2, 300, smallBytes - 1, smallBytes, smallBytes + 1, 2 * wireBytes}).Draw(t, "size")
			return strings.Repeat(rapid.SampledFrom([]string{"x", "\r\n", "MSG a 1 2\r\n", "PING\r\n"}).Draw(t, "text"), n)[:n]
		})
		for range rapid.IntRange(1, 12).Draw(t, "frames") {
			sid := rapid.SampledFrom([]string{"1", "t7", "t6", "77"}).Draw(t, "sid")
			payload, header := body.Draw(t, "payload"), ""
			if rapid.Bool().Draw(t, "has header") {
				header = "NATS/1.0\r\nA: " + body.Draw(t, "header") + "\r\n\r\n"
			}
			reply := rapid.SampledFrom([]string{"", "$JS.ACK.x "}).Draw(t, "reply")
			frame := rapid.SampledFrom([]string{"PING\r\n", "PONG\r\n", "+OK\r\n", "-ERR 'no'\r\n", "INFO {\"a\":1}\r\n", ""}).Draw(t, "op")
			if frame == "" && header == "" {
				frame = fmt.Sprintf("MSG s.a %s %s%d\r\n%s\r\n", sid, reply, len(payload), payload)
			} else if frame == "" {
				frame = fmt.Sprintf("HMSG s.a %s %s%d %d\r\n%s%s\r\n", sid, reply, len(header), len(header)+len(payload), header, payload)
			}
			said.WriteString(frame)
			message := strings.Contains(frame[:5], "MSG")
			switch large := len(header)+len(payload) > smallBytes; {
			case !message || sid[0] != 't':
				forLibrary.WriteString(frame)
			case sid == "t7" && (!large || !refuse):
				forTap = append(forTap, fmt.Sprintf("s.a|%s|%s|%s", strings.TrimSpace(reply), header, payload))
			}
		}
		steps := rapid.SampledFrom([]int{1, 7, 4096, 1 << 20}).Draw(t, "step")
		k := &keeper{refuse: refuse}
		w := over(&script{said: bytes.NewReader(said.Bytes()), bytes: func() int { return steps }}, k)
		got, err := io.ReadAll(io.LimitReader(w, int64(said.Len())+1))
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		require.Equal(t, forLibrary.String(), string(got))
		require.Equal(t, forTap, k.got)
	})
}

// What is not the protocol passes as it is, also if no line ever ends.
func TestWireLetsOtherProtocolsPass(t *testing.T) {
	t.Parallel()
	for _, said := range []string{
		"\x16\x03\x01no line", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nMSG s t7 1\r\nx\r\n",
		"INFO {}\r\n\x16\x03\x03MSG s t7 1\r\nx\r\n", "MSG " + strings.Repeat("x", 2*wireBytes),
	} {
		for _, step := range []int{1, 3, 1 << 20} {
			k := &keeper{}
			w := over(&script{said: bytes.NewReader([]byte(said)), bytes: func() int { return step }}, k)
			got, err := io.ReadAll(w)
			require.NoError(t, err)
			require.Equal(t, said, string(got))
			require.Empty(t, k.got)
			require.True(t, w.opaque.Load())
		}
	}
}

// A line that the server might say never makes the reader fail.
func FuzzParseLine(f *testing.F) {
	f.Add([]byte("MSG s.a t1 $JS.ACK.x 12\r\n"))
	f.Add([]byte("HMSG s.a t1 12 20\r\n"))
	f.Add([]byte("MSG"))
	f.Fuzz(func(t *testing.T, line []byte) {
		var d Delivery
		if d.parseLine(line) && (d.headerSize > d.size || d.size < 0) {
			t.Fatalf("%q: %+v", line, d)
		}
	})
}
