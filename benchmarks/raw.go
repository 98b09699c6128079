package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// Requests of the raw read: as large as the server serves well, and one more on its way while one is served.
const (
	rawRequests = 2
	rawMessages = 100_000
	rawBytes    = 8 << 20
)

// rawRead reads the whole input stream by the fastest way that is known (performance.md says what was tried), looks at
// nothing, keeps nothing, and returns messages per second: what any reader of this broker on this machine could reach just
// now.
func (c *client) rawRead(ctx context.Context) (float64, error) {
	s, err := c.js.Stream(ctx, inStream)
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", inStream, err)
	}
	cons, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
	if err != nil {
		return 0, fmt.Errorf("create consumer: %w", err)
	}
	name := cons.CachedInfo().Name
	reader, err := natsconn.New(natsconn.Config{What: "the raw read", Code: diag.SourceUnreachable,
		Options: stream.Options{"url": c.conn.ConnectedUrl()}})
	if err != nil {
		return 0, err //nolint:wrapcheck // coded
	}
	defer reader.Close()
	r := &rawReader{total: s.CachedInfo().State.Msgs, done: make(chan error, 1),
		subject: "$JS.API.CONSUMER.MSG.NEXT." + inStream + "." + name}
	began := time.Now()
	if err := r.start(ctx, reader); err != nil {
		return 0, err
	}
	select {
	case err := <-r.done:
		if err != nil {
			return 0, fmt.Errorf("ask for messages: %w", err)
		}
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(2 * time.Minute):
		return 0, errors.New("the raw read did not end within two minutes")
	}
	return float64(r.total) / time.Since(began).Seconds(), s.DeleteConsumer(ctx, name)
}

// rawReader counts messages. It implements natsconn.Taker.
type rawReader struct {
	conn       *nats.Conn
	tap        *natsconn.Tap
	subject    string
	request    []byte
	got, total uint64
	scratch    []byte
	ready      chan struct{} // closed when tap is set
	done       chan error
}

func (r *rawReader) start(ctx context.Context, reader *natsconn.Client) (err error) {
	r.request, err = json.Marshal(map[string]any{"batch": rawMessages, "max_bytes": rawBytes, "expires": 10 * time.Second})
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if r.conn, err = reader.Conn(ctx); err != nil {
		return err //nolint:wrapcheck // coded
	}
	r.ready = make(chan struct{})
	if r.tap, err = reader.Tap(r.conn, r); err != nil {
		return err //nolint:wrapcheck // coded
	}
	close(r.ready)
	for range rawRequests {
		if err := r.next(); err != nil {
			return fmt.Errorf("ask for messages: %w", err)
		}
	}
	return nil
}

func (r *rawReader) next() error { return r.conn.PublishRequest(r.subject, r.tap.Inbox, r.request) }

// Place implements natsconn.Taker.
func (r *rawReader) Place(n int) []byte {
	if n > cap(r.scratch) {
		r.scratch = make([]byte, n)
	}
	return r.scratch[:n]
}

// Take implements natsconn.Taker.
func (r *rawReader) Take(d *natsconn.Delivery) {
	if !d.HasHeader() || d.Header().Get("Status") == "" {
		if r.got++; r.got == r.total {
			r.done <- nil
		}
		return
	}
	<-r.ready
	if err := r.next(); err != nil {
		select {
		case r.done <- err:
		default: // one reason is enough
		}
	}
}
