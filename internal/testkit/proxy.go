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
