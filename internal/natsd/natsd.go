// Package natsd starts a NATS server with JetStream inside this process, on a loopback TCP port and with its
// streams on disk. It serves the demo, --embedded-nats and the tests. Clients reach it as they reach any server, and
// those of this process without a socket if they like.
package natsd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// LargeBatch is a good choice for Options.Batch: the server syncs a few files for each atomic batch, which is the less for a
// message the more there are.
const LargeBatch = 10_000

// Options say how a server runs. Only Dir is required.
type Options struct {
	Dir        string      // where streams are kept
	Port       int         // on 127.0.0.1; 0 lets the system choose
	SyncAlways bool        // fsync before each acknowledgement, instead of every two minutes
	MaxPayload int32       // largest message in bytes; 0 is NATS's default of 1 MiB
	Batch      int         // most messages of an atomic batch; 0 is NATS's default of 1,000
	User       string      // with Password, the only user that may connect; "" lets everybody in
	Password   string      // of User
	Token      string      // the only token that may connect; "" lets everybody in
	NKeys      []string    // public keys of the only users that may connect
	TLS        *tls.Config // makes clients speak TLS; nil lets them speak plainly
	// Operator is the public key whose accounts may connect, with user JWTs; Accounts are their JWTs by public key, and
	// System is which of them the server itself uses.
	Operator, System string
	Accounts         map[string]string
	ReadyAfter       time.Duration // how long Start waits for the server to accept clients; 0 is 10 seconds
}

// Server is a running server.
type Server struct {
	server  *server.Server
	address string // of its TCP port
	stop    sync.Once
}

// Start starts a server and returns when it accepts clients. It fails if the port is taken or Dir can not be
// used.
func Start(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("start nats server: no directory given")
	}
	if o.Port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if o.ReadyAfter == 0 {
		o.ReadyAfter = 10 * time.Second
	}
	options := &server.Options{
		ServerName:      "tidemill",
		Host:            "127.0.0.1",
		Port:            o.Port,
		JetStream:       true,
		StoreDir:        o.Dir,
		SyncAlways:      o.SyncAlways,
		MaxPayload:      o.MaxPayload,
		Username:        o.User,
		Password:        o.Password,
		Authorization:   o.Token,
		NoSigs:          true,
		JetStreamLimits: server.JSLimitOpts{MaxBatchSize: o.Batch},
		NoLog:           true,
		TLSConfig:       o.TLS,
	}
	for _, key := range o.NKeys {
		options.Nkeys = append(options.Nkeys, &server.NkeyUser{Nkey: key})
	}
	if o.Operator != "" {
		resolver := &server.MemAccResolver{}
		for key, token := range o.Accounts {
			if err := resolver.Store(key, token); err != nil {
				return nil, fmt.Errorf("configure nats server: %w", err)
			}
		}
		options.TrustedKeys, options.AccountResolver, options.SystemAccount = []string{o.Operator}, resolver, o.System
	}
	s, err := server.NewServer(options)
	if err != nil {
		return nil, fmt.Errorf("configure nats server: %w", err)
	}
	s.Start()
	if !s.ReadyForConnections(o.ReadyAfter) || !s.JetStreamEnabled() {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, fmt.Errorf("start nats server on port %d in %s: not ready after %s", o.Port, o.Dir,
			o.ReadyAfter)
	}
	return &Server{server: s, address: s.Addr().String()}, nil
}

// URL returns the address that clients connect to.
func (s *Server) URL() string { return s.server.ClientURL() }

// Port returns the TCP port.
func (s *Server) Port() int {
	if a, ok := s.server.Addr().(*net.TCPAddr); ok {
		return a.Port
	}
	return 0
}

// Stop closes all connections at once, flushes the streams and waits. It may be called more than once.
func (s *Server) Stop() {
	s.stop.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
	})
}
