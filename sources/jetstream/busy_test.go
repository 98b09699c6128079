package jetstream_test

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// produce publishes 1 to n one behind the other, each again until the server has it. Message ids make it once.
func produce(ctx context.Context, url string, n int) error {
	conn, err := natsgo.Connect(url, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(5*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	for i := 1; i <= n; {
		limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		_, err := js.Publish(limited, "s."+strconv.Itoa(i%3), []byte(strconv.Itoa(i)), jetstream.WithMsgID(strconv.Itoa(i)),
			jetstream.WithRetryAttempts(0))
		cancel()
		if ctx.Err() != nil {
			return ctx.Err() //nolint:wrapcheck // a test
		}
		if err == nil {
			i++
		}
	}
	return nil
}

// consume reads 1 to n in batches of odd sizes, asks for the next range beside each Read as the engine does, and reads
// every range twice now and then. It returns the first thing that is not as published.
func consume(ctx context.Context, src stream.Source, n int, seen *atomic.Int64) error {
	from, identity, again := stream.Offset("0"), "", 0
	var err error
	persist := func(step func() error) error {
		for {
			if err := step(); err == nil || ctx.Err() != nil || !diag.Temporary(err) {
				return err
			}
		}
	}
	for got := 0; got < n; {
		var a stream.Available
		err = persist(func() (err error) {
			a, err = src.Available(ctx, from, identity, stream.Limit{Rows: int64(1 + got%97)})
			return err //nolint:wrapcheck // a test
		})
		if err != nil {
			return err
		}
		if a.To == from {
			if w, ok := src.(stream.Waiter); ok {
				if err := persist(func() error { return w.Wait(ctx, from) }); err != nil {
					return err
				}
			}
			continue
		}
		var in *stream.Input
		r := stream.Range{From: from, To: a.To, Identity: a.Identity}
		err = persist(func() (err error) {
			in, err = src.Read(ctx, r)
			return err //nolint:wrapcheck // a test
		})
		if err != nil {
			return err
		}
		for i := range in.Messages.Len() {
			if text := strconv.Itoa(got + i + 1); string(in.Messages.Payload(i)) != text {
				return fmt.Errorf("want %s, got %s at sequence %d", text, in.Messages.Payload(i), in.Messages.Sequence[i])
			}
		}
		if again++; again%11 == 0 {
			continue // a crash before the commit: the range comes again
		}
		got += in.Messages.Len()
		seen.Store(int64(got))
		from, identity = a.To, a.Identity
		if again%5 == 0 {
			if err := src.Acknowledge(ctx, from); err != nil {
				return fmt.Errorf("acknowledge: %w", err)
			}
		}
	}
	return src.Acknowledge(ctx, from) //nolint:wrapcheck // a test
}

// TestBusyProducerAndRestarts restarts the server, and breaks the source's connection, while a producer publishes and
// the source reads: every message must come once and in order.
func TestBusyProducerAndRestarts(t *testing.T) {
	for _, tt := range []struct {
		retention string
		filter    []string
	}{{"limits", nil}, {"limits", []string{"s.0", "s.1", "s.2"}}, {"workqueue", nil}, {"interest", []string{"s.*"}}} {
		t.Run(fmt.Sprint(tt.retention, len(tt.filter)), func(t *testing.T) {
			const n, restarts = 1500, 3
			s := testkit.StartNATS(t)
			s.NewStream("S", tt.retention, "s.>")
			proxy := testkit.StartProxy(t, s.URL())
			cfg := queueConfig(s, "S", uuid1, vfs.NewMem())
			cfg.Options["url"] = proxy.URL
			if tt.filter != nil {
				cfg.Options["subject"] = tt.filter
			}
			src := openQueue(t, cfg)
			_, _, err := src.Start(t.Context())
			require.NoError(t, err)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			group, ctx := errgroup.WithContext(ctx)
			var seen atomic.Int64
			url := s.URL()
			group.Go(func() error { return produce(ctx, url, n) })
			group.Go(func() error { return consume(ctx, src, n, &seen) })
			for round := int64(1); round <= restarts; round++ {
				reached := func(part int64) func() bool {
					return func() bool { return seen.Load() >= part*n/(restarts+1)/2 || ctx.Err() != nil }
				}
				require.Eventually(t, reached(2*round-1), time.Minute, time.Millisecond)
				proxy.Cut()
				require.Eventually(t, reached(2*round), time.Minute, time.Millisecond)
				s.Restart()
			}
			require.NoError(t, group.Wait())
			if tt.retention != "limits" {
				require.Zero(t, waiting(t, s, "S"))
			}
		})
	}
}
