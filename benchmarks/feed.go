package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/compression"
	"github.com/tidemill/tidemill/internal/natsconn"
)

// client is the driver's own connection to the broker.
type client struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	refused chan error // why the broker did not store a message, of the first that acknowledged has not told of
}

func dial(url string) (*client, error) {
	conn, err := nats.Connect(url)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker: %w", err)
	}
	refused := make(chan error, 1)
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(20_000), jetstream.WithPublishAsyncTimeout(time.Minute),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, _ *nats.Msg, err error) {
			select {
			case refused <- err:
			default:
			}
		}))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("open JetStream: %w", err)
	}
	return &client{conn: conn, js: js, refused: refused}, nil
}

func (c *client) close() { c.conn.Close() }

const (
	inStream  = "ROWS"
	inSubject = "rows"
)

// createInput makes the stream that the rows go into. A broker that starts reads all messages that may have doubles, of
// which these have none.
func (c *client) createInput(ctx context.Context) error {
	_, err := c.js.CreateStream(ctx, jetstream.StreamConfig{Name: inStream, Subjects: []string{inSubject},
		Duplicates: 100 * time.Millisecond})
	if err != nil {
		return fmt.Errorf("create stream %s: %w", inStream, err)
	}
	return nil
}

// remove removes a stream, if it is there.
func (c *client) remove(ctx context.Context, stream string) error {
	if err := c.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("remove stream %s: %w", stream, err)
	}
	return nil
}

// fill publishes rows [0, n), pack of them in a message, and returns when the broker has acknowledged all.
func (c *client) fill(ctx context.Context, m rowMaker, n int64, pack int) error {
	return c.fillWith(ctx, n, pack, bodies(m, pack))
}

// fillCompressed does so with compressed messages.
func (c *client) fillCompressed(ctx context.Context, m rowMaker, n int64, pack int, algorithm string) error {
	compressor, err := compression.NewCompressor(algorithm)
	if err != nil {
		return err //nolint:wrapcheck // says what
	}
	body := bodies(m, pack)
	return c.fillWith(ctx, n, pack, func(from, to int64) ([]byte, error) {
		plain, err := body(from, to)
		if err != nil {
			return nil, err
		}
		return compressor.Compress(plain) //nolint:wrapcheck // says what
	})
}

// bodies makes messages of rows, a line each if there are several.
func bodies(m rowMaker, pack int) func(from, to int64) ([]byte, error) {
	return func(from, to int64) ([]byte, error) {
		body := make([]byte, 0, 260*pack)
		for i := from; i < to; i++ {
			if body = m.Append(body, i); pack > 1 {
				body = append(body, '\n')
			}
		}
		return body, nil
	}
}

// fillWith does so with messages that encode makes of rows [from, to).
func (c *client) fillWith(ctx context.Context, n int64, pack int, encode func(from, to int64) ([]byte, error)) error {
	if err := c.createInput(ctx); err != nil {
		return err
	}
	inFlight := 0
	for from := int64(0); from < n; from += int64(pack) {
		body, err := encode(from, min(n, from+int64(pack)))
		if err != nil {
			return err
		}
		if inFlight += len(body); inFlight > natsconn.UnstoredBytes {
			if err := c.acknowledged(ctx); err != nil {
				return err
			}
			inFlight = len(body)
		}
		if err := c.publish(from, body); err != nil {
			return err
		}
	}
	return c.acknowledged(ctx)
}

// publish sends a message of rows from one on. Whether the broker has stored it, acknowledged says.
func (c *client) publish(row int64, body []byte) error {
	if _, err := c.js.PublishAsync(inSubject, body, jetstream.WithStallWait(time.Minute)); err != nil {
		return fmt.Errorf("publish row %d: %w", row, err)
	}
	return nil
}

// acknowledged waits until the broker has stored all that was published.
func (c *client) acknowledged(ctx context.Context) error {
	select {
	case <-c.js.PublishAsyncComplete():
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Minute):
		return errors.New("the broker did not acknowledge every row within a minute")
	}
	select {
	case err := <-c.refused:
		return fmt.Errorf("the broker did not store every row: %w", err)
	default:
		return nil
	}
}

// pace publishes one row a message at a steady rate for a duration. next returns the next message just before it is
// sent. It returns how many were sent.
func (c *client) pace(ctx context.Context, rate int64, d time.Duration, next func(n int64) []byte) (int64, error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	sent := int64(0)
	for {
		passed := min(time.Since(began), d)
		for due := int64(passed.Seconds() * float64(rate)); sent < due; sent++ {
			if err := c.publish(sent, next(sent)); err != nil {
				return sent, err
			}
		}
		if passed == d {
			return sent, c.acknowledged(ctx)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return sent, context.Cause(ctx)
		}
	}
}
