package natsconn

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Answer is the answer to a message that was sent, which may not have come yet. Await or Drop must be called once.
type Answer struct {
	client  *Client
	conn    *nats.Conn
	subject string
	came    chan *nats.Msg
	sub     *nats.Subscription
	broken  context.Context //nolint:containedctx // ends with the connection that the answer would come by
	stop    context.CancelFunc
}

// Ask sends msg on conn, which Conn returned, and leaves the waiting to Await, so that more can be sent meanwhile. An
// error means that msg may have been sent all the same.
func (c *Client) Ask(ctx context.Context, conn *nats.Conn, msg *nats.Msg) (*Answer, error) {
	a := &Answer{client: c, conn: conn, subject: msg.Subject, came: make(chan *nats.Msg, 1)}
	a.broken, a.stop = c.watch(ctx)
	msg.Reply = conn.NewInbox()
	var err error
	if a.sub, err = conn.ChanSubscribe(msg.Reply, a.came); err == nil {
		err = conn.PublishMsg(msg)
	}
	if err != nil {
		a.Drop()
		return nil, c.Silent(conn, err)
	}
	return a, nil
}

// Await returns the answer. It waits for at most connect_timeout from now, and not beyond the end of the connection.
func (a *Answer) Await() (*nats.Msg, error) {
	defer a.Drop()
	timer := time.NewTimer(a.client.timeout)
	defer timer.Stop()
	err := nats.ErrTimeout
	select {
	case msg := <-a.came:
		return a.open(msg)
	case <-timer.C:
	case <-a.broken.Done():
		if err = context.Cause(a.broken); !errors.Is(err, nats.ErrDisconnected) {
			return nil, fmt.Errorf("ask %s: %w", a.subject, err)
		}
	}
	select {
	case msg := <-a.came: // both were there
		return a.open(msg)
	default:
		return nil, a.client.Silent(a.conn, err)
	}
}

func (a *Answer) open(msg *nats.Msg) (*nats.Msg, error) {
	if len(msg.Data) == 0 && msg.Header.Get("Status") == "503" {
		return nil, a.client.Silent(a.conn, nats.ErrNoResponders)
	}
	a.client.worked.Store(true)
	return msg, nil
}

// Drop gives the answer up.
func (a *Answer) Drop() {
	if a.sub != nil {
		_ = a.sub.Unsubscribe() // fails only if the connection is gone, and the subscription with it
	}
	a.stop()
}
