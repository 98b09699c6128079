package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// feed publishes the demo's orders: row n is a function of seed and n alone. Event time runs faster than the clock,
// so that minutes close while one watches.
type feed struct {
	seed   uint64
	rate   int // orders per second
	speed  int // seconds of event time per second
	start  time.Time
	broken int64
	late   int64 // orders that were made far too old
	sent   int64
}

const (
	feedDisorder = 8 * time.Second // less than the watermark's delay
	feedLateOf   = 200             // one order in so many comes minutes too late
	feedBrokenOf = 500             // one payload in so many does not decode
)

// order returns payload n.
func (f *feed) order(n int64) []byte {
	r := rand.New(rand.NewPCG(f.seed, uint64(n))) //nolint:gosec // reproducible, not secret
	at := f.start.Add(time.Duration(float64(n) / float64(f.rate) * float64(f.speed) * float64(time.Second)))
	at = at.Add(-time.Duration(r.Int64N(int64(feedDisorder))))
	if n > int64(f.rate) && r.IntN(feedLateOf) == 0 {
		f.late++
		at = at.Add(-time.Duration(2+r.IntN(3)) * time.Minute)
	}
	if r.IntN(feedBrokenOf) == 0 {
		f.broken++
		broken := []string{`{"order_id": %d, "amount": "a lot"}`, `{"order_id": %d, "seller": `, `order %d`, `{"order_id": %d.5}`}
		return fmt.Appendf(nil, broken[r.IntN(len(broken))], n)
	}
	countries := []string{"DE", "FR", "JP", "BR", "XX"}
	return fmt.Appendf(nil, `{"order_id": %d, "seller": "seller-%02d", "country": %q, "amount": %d.%02d, "ts": %q}`,
		n, r.IntN(25), countries[r.IntN(len(countries))], 1+r.IntN(499), r.IntN(100), at.Format("2006-01-02T15:04:05.000000"))
}

// run publishes at the rate until ctx is done, and returns when every order is acknowledged.
func (f *feed) run(ctx context.Context, url string) (err error) {
	nc, err := nats.Connect(url)
	if err != nil {
		return fmt.Errorf("connect the feed: %w", err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}})
	if err != nil {
		return fmt.Errorf("create stream ORDERS: %w", err)
	}
	const step = 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	began := time.Now()
	for {
		due := int64(time.Since(began).Seconds() * float64(f.rate))
		for ; f.sent < due; f.sent++ {
			if _, err := js.PublishAsync("orders.eu", f.order(f.sent), jetstream.WithStallWait(10*time.Second)); err != nil {
				return fmt.Errorf("publish order %d: %w", f.sent, err)
			}
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
		}
		select {
		case <-js.PublishAsyncComplete():
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("the broker did not acknowledge every order within 10 seconds")
		}
	}
}
