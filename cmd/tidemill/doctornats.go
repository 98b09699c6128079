package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/diag"
)

// checkNATS asks the server, the embedded one unless another is named, what a source and a sink need.
func (e *env) checkNATS(ctx context.Context, o doctorOptions) []check {
	if o.named {
		o.broker.embedded = false // it would not be asked
	}
	stop, err := e.embedNATS(o.broker, o.dataDir)
	if err != nil {
		return []check{noNATS(err)}
	}
	defer stop()
	if v, ok := e.getenv("NATS_URL"); ok && !o.named {
		o.nats.url = v // of the embedded server
	}
	client, conn, err := e.connect(ctx, "tidemill doctor", o.nats)
	if err != nil {
		return []check{noNATS(err)}
	}
	defer client.Close()
	c := check{name: "nats", state: healthy}
	c.detail = fmt.Sprintf("%s, version %s, largest message %s", client.Address(),
		conn.ConnectedServerVersion(), human(conn.MaxPayload()))
	if rtt, err := conn.RTT(); err == nil {
		c.detail += fmt.Sprintf(", round trip %.2f ms", float64(rtt.Microseconds())/1000)
	}
	js := check{name: "jetstream", exit: diag.ExitUnreachable}
	api, err := jetstream.New(conn)
	if err == nil {
		var info *jetstream.AccountInfo
		if info, err = api.AccountInfo(ctx); err == nil {
			js.state, js.detail = healthy, fmt.Sprintf("%s, %s stored", plural(int64(info.Streams), "stream"),
				human(int64(info.Store))) //nolint:gosec // far below 2^63
		}
	}
	if err != nil {
		js.state, js.detail, js.fix = failing, err.Error(), "start the server with JetStream (nats-server -js), or enable it for the account"
	}
	return []check{c, js, checkAtomic(conn.ConnectedServerVersion())}
}

// noNATS says why there is no server to ask.
func noNATS(err error) check {
	c := check{name: "nats", state: failing, detail: err.Error(), fix: "start the server there, or correct --url",
		exit: diag.ExitOf(err)}
	if all := diag.All(err); len(all) > 0 {
		c.detail, c.fix = all[0].Message, all[0].Hint
	}
	return c
}

// checkAtomic says which protocol the jetstream sink will use.
func checkAtomic(serverVersion string) check {
	c := check{name: "atomic batches", state: healthy, detail: "the server publishes a batch in one step"}
	if !atLeast(serverVersion, 2, 12) {
		c.state = warning
		c.detail = "the server is older than 2.12: jetstream sinks fall back to message ids"
		c.fix = "upgrade the server to 2.12 or later"
	}
	return c
}

func atLeast(v string, major, minor int) bool {
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return false
	}
	a, err1 := strconv.Atoi(parts[0])
	b, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (a > major || a == major && b >= minor)
}
