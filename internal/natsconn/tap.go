package natsconn

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
)

// A Taker is handed the messages of a Tap, one after the other, by the goroutine that reads the connection: while it is
// in one of the methods nothing else comes in.
type Taker interface {
	// Place returns memory for the n payload bytes of a large message that comes next, or nil if it is not wanted.
	Place(n int) []byte
	// Take is given a message. What it points to is valid until Take returns, except a payload that was placed.
	Take(d *Delivery)
}

// Delivery is one message as it came.
type Delivery struct {
	Subject, Reply []byte
	Payload        []byte
	Placed         bool // Payload is the memory that Place gave

	header           []byte      // with the status line; nil for none
	decoded          nats.Header // of a message that the client library has read
	sid              []byte
	headerSize, size int // header, and header with payload
}

// HasHeader reports whether there is a header.
func (d *Delivery) HasHeader() bool { return len(d.header) > 0 || len(d.decoded) > 0 }

// Header returns the header, or nil if there is none or it can not be read. It is new memory.
func (d *Delivery) Header() nats.Header {
	if len(d.header) == 0 {
		return d.decoded
	}
	h, err := nats.DecodeHeadersMsg(d.header)
	if err != nil {
		return nil
	}
	return h
}

// Marked reports whether a sink wrote the message for itself: there are no rows in it.
func (d *Delivery) Marked() bool {
	if len(d.header) == 0 {
		return d.decoded.Get(MarkerHeader) != ""
	}
	return bytes.Contains(d.header, []byte(MarkerHeader)) && d.Header().Get(MarkerHeader) != ""
}

// Stored is a message that was read by itself, as if it had come by a tap.
func Stored(m *StoredMsg) *Delivery {
	return &Delivery{Subject: []byte(m.Subject), Payload: m.Data, header: m.Header}
}

// A Tap is a subscription whose messages are read from the connection straight into the taker's memory: they are copied
// once, and wait in no queue of the client library. It ends with the connection, and is not made again by a reconnect.
// Where the connection speaks TLS or WebSocket the library reads for it.
type Tap struct {
	Inbox string // where messages for it are to be sent
	taker Taker
	sid   []byte
	wire  *wire
	sub   *nats.Subscription // instead of wire
}

const crlf = "\r\n"

// Tap subscribes to an inbox of its own. A connection has one tap at a time: the last.
func (c *Client) Tap(conn *nats.Conn, taker Taker) (*Tap, error) {
	t := &Tap{Inbox: conn.NewInbox(), taker: taker, wire: c.wireOf(conn)}
	if t.wire == nil {
		if err := t.subscribe(conn); err != nil {
			return nil, c.Silent(conn, err)
		}
		return t, nil
	}
	// The library counts its subscriptions, so a letter is none of its own.
	t.sid = strconv.AppendUint([]byte("t"), c.taps.Add(1), 10)
	t.wire.tap.Store(t)
	if _, err := fmt.Fprintf(t.wire, "SUB %s %s\r\n", t.Inbox, t.sid); err != nil {
		return nil, c.Silent(conn, err)
	}
	return t, nil
}

// wireOf returns the wire under a connection that is up, or nil if it can not be tapped.
func (c *Client) wireOf(conn *nats.Conn) *wire {
	c.mu.Lock()
	d := c.dialer
	if c.conn != conn {
		d = nil
	}
	c.mu.Unlock()
	if d == nil {
		return nil
	}
	// In this order: a connection that is up then is up over this wire or a later one, and has said what it speaks.
	if w := d.wire.Load(); w != nil && conn.IsConnected() && !w.opaque.Load() {
		return w
	}
	return nil
}

// subscribe lets the library read.
func (t *Tap) subscribe(conn *nats.Conn) error {
	var err error
	t.sub, err = conn.Subscribe(t.Inbox, func(m *nats.Msg) {
		t.taker.Take(&Delivery{Subject: []byte(m.Subject), Reply: []byte(m.Reply), Payload: m.Data, decoded: m.Header})
	})
	if err == nil {
		err = t.sub.SetPendingLimits(-1, -1) // those who ask for messages bound what can wait
	}
	return err //nolint:wrapcheck // Tap codes it
}

// Close ends the subscription. A message that is on its way may still be handed over.
func (t *Tap) Close() error {
	if t.sub != nil {
		if err := t.sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
			return fmt.Errorf("unsubscribe: %w", err)
		}
		return nil
	}
	t.wire.tap.CompareAndSwap(t, nil)
	if _, err := fmt.Fprintf(t.wire, "UNSUB %s\r\n", t.sid); err != nil {
		return fmt.Errorf("unsubscribe: %w", err)
	}
	return nil
}

// takes reports whether a message of this subscription is for the tap.
func (t *Tap) takes(sid []byte) bool { return t != nil && bytes.Equal(t.sid, sid) }

// tapped reports whether it came by the subscription of a tap, which may be closed.
func (d *Delivery) tapped() bool { return len(d.sid) > 0 && d.sid[0] == 't' }

// parseLine reads what the server says before a message: MSG <subject> <sid> [reply] <size> or
// HMSG <subject> <sid> [reply] <header size> <size>, with the end of the line. It returns false for any other line.
func (d *Delivery) parseLine(line []byte) bool {
	*d = Delivery{}
	rest, sizes := line[:max(0, len(line)-len(crlf))], 1
	switch {
	case bytes.HasPrefix(rest, []byte("MSG ")):
		rest = rest[len("MSG "):]
	case bytes.HasPrefix(rest, []byte("HMSG ")):
		rest, sizes = rest[len("HMSG "):], 2
	default:
		return false
	}
	var fields [5][]byte
	n := 0
	for i := 0; i >= 0 && n < len(fields); n++ {
		if i = bytes.IndexByte(rest, ' '); i >= 0 {
			fields[n], rest = rest[:i], rest[i+1:]
		} else {
			fields[n] = rest
		}
	}
	if n != 2+sizes && n != 3+sizes {
		return false
	}
	d.Subject, d.sid = fields[0], fields[1]
	if n == 3+sizes {
		d.Reply = fields[2]
	}
	ok, okHeader := false, true
	d.size, ok = parseSize(fields[n-1])
	if sizes == 2 {
		d.headerSize, okHeader = parseSize(fields[n-2])
	}
	return ok && okHeader && d.headerSize <= d.size
}

func parseSize(digits []byte) (n int, ok bool) {
	if len(digits) == 0 || len(digits) > 10 {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = n*10 + int(d-'0')
	}
	return n, true
}
