package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/vfs"
)

// brokerFlags say whether a command brings a broker along.
type brokerFlags struct {
	embedded bool
	natsPort int
}

func (f *brokerFlags) add(c *cobra.Command) {
	c.Flags().BoolVar(&f.embedded, "embedded-nats", false,
		"start a NATS server with JetStream in this process, kept under the data dir")
	c.Flags().IntVar(&f.natsPort, "nats-port", 4222,
		"port of the embedded NATS server on 127.0.0.1; 0 for any")
}

// reading are the flags of commands that read sources and keep nothing themselves.
type reading struct {
	brokerFlags
	dataDir string
}

func (f *reading) add(e *env, c *cobra.Command) {
	f.brokerFlags.add(c)
	c.Flags().StringVar(&f.dataDir, "data-dir", e.defaultDataDir(),
		"directory under which --embedded-nats finds its streams")
}

// dialNATS connects sources and sinks to a server: to the one in this process, if there is one, without the network.
func (e *env) dialNATS(ctx context.Context, network, address string) (net.Conn, error) {
	return e.broker.Dial(ctx, network, address) //nolint:wrapcheck // as a net.Dialer
}

// embedNATS starts the embedded broker, if one is asked for, and points NATS_URL at it, unless that is set.
func (e *env) embedNATS(f brokerFlags, dataDir string) (stop func(), err error) {
	if f.natsPort < 0 || f.natsPort > 65535 {
		return nil, diag.New(diag.Usage, "--nats-port is %d, expected 0 to 65535", f.natsPort).
			WithHint("0 takes any free port")
	}
	if !f.embedded {
		return func() {}, nil
	}
	dir := filepath.Join(dataDir, "nats")
	if err := (vfs.OS{}).MkdirAll(dir); err != nil {
		return nil, checkpoint.Unmakable(dir, err) //nolint:wrapcheck // a coded error
	}
	lock, err := vfs.Lock(dir, "tidemill "+version()) // two servers on one store would spoil it
	var held *vfs.LockedError
	if errors.As(err, &held) {
		return nil, diag.Wrap(diag.CheckpointLocked, err, "the embedded NATS server of %s runs already", dataDir).
			WithHint("leave --embedded-nats out while it does: the address is the same")
	}
	if err != nil {
		return nil, fmt.Errorf("lock the directory of the embedded NATS server: %w", err)
	}
	server, err := natsd.Start(natsd.Options{Dir: dir, Port: f.natsPort, Batch: natsd.LargeBatch})
	if err != nil {
		_ = lock.Close() // nothing was written
		return nil, diag.Wrap(diag.SourceUnreachable, err, "start the embedded NATS server").
			WithHint("is another server on the port? choose one with --nats-port")
	}
	e.broker = server
	outer := e.getenv
	e.getenv = func(name string) (string, bool) {
		if v, ok := outer(name); ok || name != "NATS_URL" {
			return v, ok
		}
		return server.URL(), true
	}
	return func() {
		server.Stop()
		_ = lock.Close() // the process ends
	}, nil
}
