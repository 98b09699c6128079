package natsd

import (
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/net/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPipeIsAConn asks what any net.Conn is asked, of both sides.
func TestPipeIsAConn(t *testing.T) {
	t.Parallel()
	ends := func() (mine, server net.Conn, stop func(), err error) {
		near, far := net.Pipe()
		p := newPipe(near)
		return p, far, func() { _ = p.Close(); _ = far.Close() }, nil
	}
	nettest.TestConn(t, ends)
	nettest.TestConn(t, func() (a, b net.Conn, stop func(), err error) {
		b, a, stop, err = ends()
		return a, b, stop, err
	})
}

// TestPipeKeepsWhatIsWritten writes more than the server reads, as much as there is room for.
func TestPipeKeepsWhatIsWritten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPipe(near)
		written := 0
		require.NoError(t, p.SetWriteDeadline(time.Now().Add(time.Second)))
		for {
			n, err := p.Write(make([]byte, pipeBytes/4))
			if written += n; err != nil {
				require.ErrorIs(t, err, os.ErrDeadlineExceeded)
				break
			}
		}
		require.GreaterOrEqual(t, written, pipeBytes)
		require.LessOrEqual(t, written, 3*pipeBytes)
		require.NoError(t, p.SetWriteDeadline(time.Time{}))
		require.NoError(t, p.Close())
		require.NoError(t, p.Close(), "once more does nothing")
		got, err := io.ReadAll(far)
		require.NoError(t, err)
		require.Len(t, got, written, "what was written before the end arrives")
		_, err = p.Write([]byte("more"))
		require.ErrorIs(t, err, net.ErrClosed)
		_, err = p.Read(make([]byte, 1))
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

// TestPipeEndsWithTheServer closes the server's end while the client reads, writes and waits for room.
func TestPipeEndsWithTheServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		p := newPipe(near)
		failed := make(chan error)
		go func() {
			for {
				if _, err := p.Write(make([]byte, pipeBytes)); err != nil {
					failed <- err
					return
				}
			}
		}()
		go func() { _, err := p.Read(make([]byte, 1)); failed <- err }()
		synctest.Wait()
		require.NoError(t, far.Close())
		require.Error(t, <-failed)
		require.Error(t, <-failed)
		require.NoError(t, p.Close())
	})
}

// TestDialStaysInside connects to the server's own address without a socket, and to others with one.
func TestDialStaysInside(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{Dir: t.TempDir()})
	require.NoError(t, err)
	defer s.Stop()
	for _, c := range []struct {
		server *Server
		inside bool
	}{{s, true}, {nil, false}} {
		conn, err := c.server.Dial(t.Context(), "tcp", s.address)
		require.NoError(t, err)
		_, inside := conn.(*pipe)
		require.Equal(t, c.inside, inside)
		info := make([]byte, 5)
		_, err = io.ReadFull(conn, info)
		require.NoError(t, err)
		require.Equal(t, "INFO ", string(info))
		require.NoError(t, conn.Close())
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, listener.Close()) }()
	conn, err := s.Dial(t.Context(), "tcp", listener.Addr().String())
	require.NoError(t, err)
	require.IsType(t, &net.TCPConn{}, conn)
	require.NoError(t, conn.Close())
}

// TestDialAfterTheEnd asks a server that has stopped.
func TestDialAfterTheEnd(t *testing.T) {
	t.Parallel()
	s, err := Start(Options{Dir: t.TempDir()})
	require.NoError(t, err)
	s.Stop()
	_, err = s.Dial(t.Context(), "tcp", s.address)
	require.Error(t, err)
}
