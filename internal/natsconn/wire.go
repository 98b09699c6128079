package natsconn

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// Sizes of a wire's buffer and of the reads that fill it.
const (
	wireBytes  = 128 << 10
	smallBytes = 16 << 10 // a message up to here is read through the buffer, a larger one into its place
	sipBytes   = 4 << 10  // after a large message: what follows it in the buffer would be copied once more
)

// wire is a connection to a server whose bytes pass through here on their way to the client library, which sees all of
// them but the messages of a Tap. What is not the plain NATS protocol (TLS, WebSocket) passes untouched, and
// can not be tapped.
type wire struct {
	*meter
	writing sync.Mutex // a frame at a time
	tap     atomic.Pointer[Tap]
	opaque  atomic.Bool

	// What follows is the reader's alone.
	buf      []byte
	from, to int    // buf[from:to] has been read and not been handed on
	pass     int    // bytes that go on to the library before the next frame is looked at
	sip      bool   // the last message was large
	head     []byte // the line and the header of a large message
	at       Delivery
}

func newWire(c net.Conn) *wire { return &wire{meter: &meter{Conn: c}} }

// meter counts what is read from a connection.
type meter struct {
	net.Conn
	received atomic.Uint64
}

// Read counts what it reads.
func (m *meter) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.received.Add(uint64(n)) //nolint:gosec // not negative
	return n, err             //nolint:wrapcheck // nats.go looks at it
}

// Write writes whole frames, as the library does.
func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	return w.Conn.Write(p) //nolint:wrapcheck // nats.go looks at it
}

// Read returns what is not for the tap.
func (w *wire) Read(p []byte) (int, error) {
	for w.pass == 0 && !w.opaque.Load() {
		if err := w.frame(); err != nil {
			return 0, err
		}
	}
	if w.from == w.to {
		if !w.opaque.Load() {
			p = p[:min(len(p), w.pass)]
		}
		n, err := w.meter.Read(p)
		w.pass = max(0, w.pass-n)
		return n, err //nolint:wrapcheck // nats.go looks at it
	}
	n := w.to - w.from
	if !w.opaque.Load() {
		n = min(n, w.pass)
	}
	n = copy(p, w.buf[w.from:w.from+n])
	w.from += n
	w.pass = max(0, w.pass-n)
	return n, nil
}

// frame looks at what the server says next: a message of the tap is taken, all else is to pass.
func (w *wire) frame() error {
	line, err := w.line()
	if err != nil || line == nil {
		return err
	}
	d := &w.at
	switch {
	case !d.parseLine(line):
		w.pass = len(line)
		w.opaque.Store(!plain(line))
		return nil
	case !d.tapped():
		w.pass = len(line) + d.size + len(crlf)
		return nil
	}
	whole := len(line) + d.size + len(crlf)
	w.sip = d.size > smallBytes || whole > wireBytes
	if w.sip {
		return w.large(line)
	}
	if w.to-w.from < whole {
		if err := w.need(whole); err != nil {
			return err
		}
		d.parseLine(w.buf[w.from : w.from+len(line)]) // it may have moved
	}
	body := w.buf[w.from+len(line) : w.from+whole-len(crlf)]
	w.from += whole
	d.header, d.Payload = body[:d.headerSize], body[d.headerSize:]
	if t := w.tap.Load(); t.takes(d.sid) {
		t.taker.Take(d)
	}
	return nil
}

// large reads a message that does not go through the buffer as a whole.
func (w *wire) large(line []byte) error {
	d, lineSize, headerSize := &w.at, len(line), w.at.headerSize
	w.head = append(append(w.head[:0], line...), make([]byte, headerSize)...)
	w.from += lineSize
	d.parseLine(w.head[:lineSize])
	d.header = w.head[lineSize:]
	if err := w.full(d.header); err != nil {
		return err
	}
	t := w.tap.Load()
	if t.takes(d.sid) {
		d.Payload = t.taker.Place(d.size - headerSize)
	}
	d.Placed = d.Payload != nil
	if !d.Placed { // nobody wants it
		d.Payload = make([]byte, d.size-headerSize)
	}
	if err := w.full(d.Payload); err != nil {
		return err
	}
	if err := w.need(len(crlf)); err != nil {
		return err
	}
	w.from += len(crlf)
	if d.Placed {
		t.taker.Take(d)
	}
	return nil
}

// line returns the next line with its end, or nil if this is not the NATS protocol.
func (w *wire) line() ([]byte, error) {
	seen := 0
	for {
		have := w.buf[w.from:w.to]
		if i := bytes.IndexByte(have[seen:], '\n'); i >= 0 {
			return have[:seen+i+1], nil
		}
		if seen = len(have); !plain(have) || seen == wireBytes {
			w.opaque.Store(true)
			return nil, nil
		}
		if err := w.need(seen + 1); err != nil {
			return nil, err
		}
	}
}

// plain reports whether what has come of a line begins one of the NATS protocol.
func plain(line []byte) bool {
	for _, op := range [...]string{"MSG ", "HMSG ", "PING", "PONG", "INFO ", "+OK", "-ERR"} {
		n := min(len(op), len(line))
		if string(line[:n]) == op[:n] {
			return true
		}
	}
	return false
}

// need reads until n bytes are in the buffer.
func (w *wire) need(n int) error {
	if w.buf == nil {
		w.buf = make([]byte, wireBytes)
	}
	if w.from == w.to {
		w.from, w.to = 0, 0
	}
	if w.from+n > len(w.buf) {
		w.from, w.to = 0, copy(w.buf, w.buf[w.from:w.to])
	}
	for w.to-w.from < n {
		room := w.buf[w.to:]
		if w.sip {
			room = room[:min(len(room), max(sipBytes, n))]
		}
		read, err := w.meter.Read(room)
		w.to += read
		if err != nil {
			return err //nolint:wrapcheck // nats.go looks at it
		}
	}
	return nil
}

// full fills p with what comes next.
func (w *wire) full(p []byte) error {
	n := copy(p, w.buf[w.from:w.to])
	w.from += n
	_, err := io.ReadFull(w.meter, p[n:])
	return err //nolint:wrapcheck // nats.go looks at it
}
