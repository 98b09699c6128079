package natsd

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

const (
	// pipeBytes is how much may wait to be taken by the server before a writer waits too.
	pipeBytes = 1 << 20
	// lastWords is how long the server may take for what waits when the client closes.
	lastWords = 2 * time.Second
)

// Dial connects to an address as a net.Dialer does, but to that of s within the process: what the server sends is copied
// once, by the reader, and no byte passes the kernel. The server treats such a connection as any other, but does not insist
// on TLS.
func (s *Server) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	if s == nil || address != s.address {
		return new(net.Dialer).DialContext(ctx, network, address) //nolint:wrapcheck // as a net.Dialer
	}
	conn, err := s.server.InProcessConn()
	if err != nil {
		return nil, fmt.Errorf("connect to the NATS server of this process: %w", err)
	}
	return newPipe(conn), nil
}

// pipe is the client's end of a connection within the process. Reads wait for the server's writes, as those of a net.Pipe
// do. What is written is kept until the server takes it, as a socket's buffers would: a client that held a lock while it
// waited, for a server that waits for the client's reader, which needs that lock, would wait for ever.
type pipe struct {
	net.Conn // of a net.Pipe; written to by pump alone

	mu       sync.Mutex
	changed  sync.Cond // of what follows
	waiting  []byte
	deadline time.Time // of writes
	err      error     // why nothing can be written any more
}

func newPipe(conn net.Conn) *pipe {
	p := &pipe{Conn: conn}
	p.changed.L = &p.mu
	go p.pump() // ends when the client closes, or the server
	return p
}

// pump hands over what waits, and closes the connection when nothing will come any more.
func (p *pipe) pump() {
	defer func() { _ = p.Conn.Close() }() // of a net.Pipe, which has no faults
	var b []byte
	for {
		if b = p.take(b); len(b) == 0 {
			return
		}
		if _, err := p.Conn.Write(b); err != nil {
			p.end(err)
			return
		}
	}
}

// take waits for something to write and returns it, in exchange for a buffer, or nothing at the end.
func (p *pipe) take(empty []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.waiting) == 0 && p.err == nil {
		p.changed.Wait()
	}
	b := p.waiting
	p.waiting = empty[:0]
	p.changed.Broadcast()
	return b
}

// end lets writes fail from now on, if it is the first end.
func (p *pipe) end(err error) (first bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if first = p.err == nil; first {
		p.err = err
	}
	p.changed.Broadcast()
	return first
}

func (p *pipe) closed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err != nil
}

// Read implements net.Conn.
func (p *pipe) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if err != nil && p.closed() {
		err = net.ErrClosed
	}
	return n, err //nolint:wrapcheck // as the net.Conn it is
}

// Write implements net.Conn. It does not keep b.
func (p *pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil {
		left := time.Until(p.deadline)
		switch limited := !p.deadline.IsZero(); {
		case limited && left <= 0:
			return 0, os.ErrDeadlineExceeded
		case len(p.waiting) < pipeBytes:
			p.waiting = append(p.waiting, b...)
			p.changed.Broadcast()
			return len(b), nil
		case limited:
			timer := time.AfterFunc(left, p.wake)
			p.changed.Wait()
			timer.Stop()
		default:
			p.changed.Wait()
		}
	}
	return 0, p.err
}

// wake lets those who wait look again. It takes the lock, or one who is about to wait would miss it.
func (p *pipe) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changed.Broadcast()
}

// Close implements net.Conn. As with a socket, what was written before still reaches a server that takes it.
func (p *pipe) Close() error {
	if p.end(net.ErrClosed) {
		_ = p.Conn.SetWriteDeadline(time.Now().Add(lastWords)) // of a net.Pipe, which has no faults
		_ = p.Conn.SetReadDeadline(time.Unix(1, 0))            // lets go of a reader
	}
	return nil
}

// SetDeadline implements net.Conn.
func (p *pipe) SetDeadline(t time.Time) error {
	_ = p.SetWriteDeadline(t) // returns no error
	return p.SetReadDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (p *pipe) SetReadDeadline(t time.Time) error {
	if p.closed() {
		return net.ErrClosed
	}
	return p.Conn.SetReadDeadline(t) //nolint:wrapcheck // as the net.Conn it is
}

// SetWriteDeadline implements net.Conn.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	p.changed.Broadcast()
	return nil
}
