// Command tidemill runs streaming SQL over NATS JetStream: see README.md, or `tidemill help`.
package main

import (
	"context"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/stream"
)

func main() {
	e := &env{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.LookupEnv, clock: clock.System{},
		tty: term.IsTerminal(int(os.Stdout.Fd())),
	}
	os.Exit(int(e.main(context.Background(), os.Args[1:])))
}

// env is what a command may touch of the world, so that tests call commands in their own process.
type env struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) (string, bool)
	clock  clock.Clock
	tty    bool // stdout is a terminal

	connectors *stream.Registry // made by registry when first asked for
	broker     *natsd.Server    // of embedNATS; nil for none
	shared     *screen          // made by screen when first asked for
}
