package testkit

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Proxy stands between a client and a server and loses answers on demand. It ends with the test.
type Proxy struct {
	URL    string
	target string

	mu    sync.Mutex // guards all below
	watch []byte     // lose the answer to the first client bytes that contain this; nil: none
	lost  int
	hold  *Held // keep the first client bytes that contain its text back; nil: none
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// StartProxy starts a proxy before the server at url.
func StartProxy(tb testing.TB, url string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	p := &Proxy{URL: "nats://" + listener.Addr().String(), target: strings.TrimPrefix(url, "nats://"),
		conns: map[net.Conn]struct{}{}}
	p.wg.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.serve(client) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// LoseAnswerTo arms the proxy: the next bytes from the client that contain text reach the server, but what
// the server says next does not come back; both connections break instead.
func (p *Proxy) LoseAnswerTo(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = []byte(text)
}

// Held is what a proxy keeps back.
type Held struct {
	text     []byte
	seen     chan struct{}
	released chan struct{}
	once     sync.Once
}

// Hold arms the proxy: the next bytes from the client that contain text, and what follows on that connection, reach
// the server only after Release, even if the client is gone by then.
func (p *Proxy) Hold(text string) *Held {
	h := &Held{text: []byte(text), seen: make(chan struct{}), released: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold = h
	return h
}

// Seen is closed when the bytes have come.
func (h *Held) Seen() <-chan struct{} { return h.seen }

// Release lets the bytes go on. It may be called more than once.
func (h *Held) Release() { h.once.Do(func() { close(h.released) }) }

// wait keeps bytes that are to be held until their release.
func (p *Proxy) wait(data []byte) {
	p.mu.Lock()
	h := p.hold
	if h == nil || !bytes.Contains(data, h.text) {
		p.mu.Unlock()
		return
	}
	p.hold = nil
	p.mu.Unlock()
	close(h.seen)
	<-h.released
}

// Lost returns how many answers were lost so far.
func (p *Proxy) Lost() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost
}

// Cut breaks all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, client)
		delete(p.conns, server)
		p.mu.Unlock()
	}()
	var swallow sync.Once
	losing := make(chan struct{})
	p.wg.Go(func() {
		defer func() { _ = client.Close() }()
		pump(server, func(data []byte) bool {
			select {
			case <-losing:
				return false
			default:
				_, err := client.Write(data)
				return err == nil
			}
		})
	})
	var tail []byte
	pump(client, func(data []byte) bool {
		tail = append(tail[max(0, len(tail)-64):], data...)
		if p.matches(tail) {
			swallow.Do(func() { close(losing) })
		}
		p.wait(tail)
		_, err := server.Write(data)
		return err == nil
	})
}

func (p *Proxy) matches(data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watch == nil || !bytes.Contains(data, p.watch) {
		return false
	}
	p.watch = nil
	p.lost++
	return true
}

// pump reads until an error or until handle returns false.
func pump(from net.Conn, handle func([]byte) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !handle(buf[:n]) || err != nil {
			return
		}
	}
}
