package natsconn_test

import (
	"fmt"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/testkit"
)

// mailbox is a Taker that sends on what it is given.
type mailbox chan string

func (m mailbox) Place(n int) []byte { return make([]byte, n) }
func (m mailbox) Take(d *natsconn.Delivery) {
	m <- fmt.Sprintf("%s %s %v %d %t", d.Subject, d.Header().Get("A"), d.Marked(), len(d.Payload), d.Placed)
}

// A tap has the messages sent to its inbox, whatever is read beside it, and none after it was closed: over plain TCP
// straight from the socket, over TLS by the library.
func TestTap(t *testing.T) {
	t.Parallel()
	plain := testkit.Login{Name: "plain", Server: func(*natsd.Options) {}}
	for _, login := range append(testkit.Logins(t), plain) {
		t.Run(login.Name, func(t *testing.T) {
			t.Parallel()
			s := testkit.StartNATS(t, login.Server)
			o := options{"url": s.URL()}
			for k, v := range login.Good {
				o[k] = v
			}
			c, err := natsconn.New(natsconn.Config{What: "test", Code: diag.SourceUnreachable, Options: o})
			require.NoError(t, err)
			defer c.Close()
			conn, err := c.Conn(t.Context())
			require.NoError(t, err)
			box := make(mailbox, 10)
			tap, err := c.Tap(conn, box)
			require.NoError(t, err)
			require.NoError(t, conn.Publish(tap.Inbox, []byte("small")))
			require.NoError(t, conn.PublishMsg(&natsgo.Msg{Subject: tap.Inbox, Data: []byte(strings.Repeat("x", 100_000)),
				Header: natsgo.Header{"A": {"b"}, natsconn.MarkerHeader: {"1"}}}))
			require.NoError(t, conn.Flush()) // the answer goes to the library
			straight := login.Good["tls_ca"] == ""
			require.Equal(t, tap.Inbox+"  false 5 false", <-box)
			require.Equal(t, fmt.Sprintf("%s b true 100000 %t", tap.Inbox, straight), <-box)
			require.NoError(t, tap.Close())
			require.NoError(t, conn.Publish(tap.Inbox, []byte("late")))
			require.NoError(t, conn.Flush())
			require.Empty(t, box)
		})
	}
}
