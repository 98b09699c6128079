package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// rawRead reads the whole input stream with the largest requests that the server serves well, looks at nothing, and
// returns messages per second: what any reader of this broker on this machine could reach just now.
func (c *client) rawRead(ctx context.Context) (float64, error) {
	s, err := c.js.Stream(ctx, inStream)
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", inStream, err)
	}
	total := s.CachedInfo().State.Msgs
	cons, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
	if err != nil {
		return 0, fmt.Errorf("create consumer: %w", err)
	}
	name := cons.CachedInfo().Name
	inbox := c.conn.NewInbox()
	request, err := json.Marshal(map[string]any{"batch": 50_000, "max_bytes": 16 << 20, "expires": 10 * time.Second})
	if err != nil {
		return 0, fmt.Errorf("encode request: %w", err)
	}
	next := func() error {
		return c.conn.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+inStream+"."+name, inbox, request)
	}
	done := make(chan error, 1)
	began := time.Now()
	got := uint64(0)
	sub, err := c.conn.Subscribe(inbox, func(m *nats.Msg) {
		if len(m.Header) == 0 || m.Header.Get("Status") == "" {
			if got++; got == total {
				done <- nil
			}
			return
		}
		if err := next(); err != nil {
			select {
			case done <- err:
			default: // one reason is enough
			}
		}
	})
	if err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection is closed soon
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	if err := next(); err != nil {
		return 0, fmt.Errorf("ask for messages: %w", err)
	}
	select {
	case err := <-done:
		if err != nil {
			return 0, fmt.Errorf("ask for messages: %w", err)
		}
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(2 * time.Minute):
		return 0, errors.New("the raw read did not end within two minutes")
	}
	return float64(total) / time.Since(began).Seconds(), s.DeleteConsumer(ctx, name)
}
