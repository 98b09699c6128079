package benchmarks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/natsconn"
)

// pacer publishes rows at a steady rate: row n is to be sent n/rate after the first, and a message when its last row
// is.
type pacer struct {
	maker  maker
	rate   int64
	pack   int64 // rows of a message
	total  int64
	began  time.Time     // when row 0 was to be sent; set by publish before the first message is out
	behind time.Duration // the most that a message was sent too late
}

func (p *pacer) due(row int64) time.Time {
	return p.began.Add(time.Duration(float64(row) / float64(p.rate) * float64(time.Second)))
}

// publish returns when the broker has acknowledged every row.
func (p *pacer) publish(ctx context.Context, c *client) error {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	p.began = time.Now()
	for sent := int64(0); sent < p.total; {
		end := min(p.total, sent+p.pack)
		late := time.Since(p.due(end - 1))
		if late < 0 {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		p.behind = max(p.behind, late)
		var body []byte
		for ; sent < end; sent++ {
			if body = p.maker.Append(body, sent); p.pack > 1 {
				body = append(body, '\n')
			}
		}
		if err := c.publish(sent-1, body); err != nil {
			return err
		}
	}
	return c.acknowledged(ctx)
}

// arrivals finds out from what the sink stores when each row of a pacer was in it, each exactly once: the change that
// says that a key has n rows holds all of the first n that no change before it held.
type arrivals struct {
	pacer *pacer
	first int64 // rows before it are not measured

	mu     sync.Mutex
	rows   [][]int64 // of each key that have not come out; guarded by mu, as all below
	count  []int64   // of each key that have
	seen   int64
	stored *hdrhistogram.Histogram // µs until the broker had stored the message
	got    *hdrhistogram.Histogram // µs until the subscriber had it
	broken error                   // what made the subscriber stop
}

func newArrivals(p *pacer, first int64) *arrivals {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(1, time.Hour.Microseconds(), 3) }
	a := &arrivals{pacer: p, first: first, rows: make([][]int64, p.maker.users), count: make([]int64, p.maker.users),
		stored: histogram(), got: histogram()}
	for n := range p.total {
		user := p.maker.user(n)
		a.rows[user] = append(a.rows[user], n)
	}
	return a
}

// subscribe follows the sink's stream as any consumer would.
func (a *arrivals) subscribe(ctx context.Context, c *client) (stop func(), err error) {
	s, err := c.js.Stream(ctx, "SEEN")
	if err != nil {
		return nil, fmt.Errorf("look at stream SEEN: %w", err)
	}
	cons, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return nil, fmt.Errorf("create consumer: %w", err)
	}
	running, err := cons.Consume(func(m jetstream.Msg) { a.receive(m, time.Now()) })
	if err != nil {
		return nil, fmt.Errorf("follow stream SEEN: %w", err)
	}
	return running.Stop, nil
}

func (a *arrivals) receive(m jetstream.Msg, now time.Time) {
	if m.Headers().Get(natsconn.MarkerHeader) != "" {
		return
	}
	meta, err := m.Metadata()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.broken = err
		return
	}
	for line := range bytes.Lines(m.Data()) {
		if err := a.change(line, meta.Timestamp, now); err != nil && a.broken == nil {
			a.broken = err
		}
	}
}

// change takes one line of the sink, such as {"user_id":"user-10001","n":7,"amount":1.00}.
func (a *arrivals) change(line []byte, stored, got time.Time) error {
	user, n := number(line, `"user_id":"user-`)-firstUser, number(line, `"n":`)
	if user < 0 || user >= int64(len(a.rows)) || n > a.count[user]+int64(len(a.rows[user])) {
		return fmt.Errorf("the sink holds rows that were never sent: %q", line)
	}
	for ; a.count[user] < n; a.count[user]++ {
		row := a.rows[user][0]
		a.rows[user] = a.rows[user][1:]
		if a.seen++; row < a.first {
			continue
		}
		due := a.pacer.due(row)
		if err := errors.Join(a.stored.RecordValue(stored.Sub(due).Microseconds()),
			a.got.RecordValue(got.Sub(due).Microseconds())); err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
	}
	return nil
}

// number returns the number behind a key, or -1.
func number(line []byte, key string) int64 {
	_, rest, ok := bytes.Cut(line, []byte(key))
	end := bytes.IndexAny(rest, `,}"`)
	if !ok || end < 0 {
		return -1
	}
	n, err := strconv.ParseInt(string(rest[:end]), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// await waits until as many rows as were sent have come out.
func (a *arrivals) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, errors.New("not every row came out within a minute"))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		a.mu.Lock()
		got, broken := a.seen, a.broken
		a.mu.Unlock()
		if broken != nil || got >= a.pacer.total {
			return broken
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d rows have come out: %w", got, a.pacer.total, context.Cause(ctx))
		}
	}
}

// fill takes the quantiles over rows that were sent after the warm-up.
func (a *arrivals) fill(out *Latency) {
	a.mu.Lock()
	defer a.mu.Unlock()
	out.Samples = a.stored.TotalCount()
	out.Stored, out.Seen = quantilesOf(a.stored), quantilesOf(a.got)
	for _, above := range curveAbove() {
		out.Curve = append(out.Curve, float64(a.stored.ValueAtPercentile(100*(1-1/above)))/1000)
	}
}

func quantilesOf(h *hdrhistogram.Histogram) Quantiles {
	at := func(percent float64) float64 { return float64(h.ValueAtPercentile(percent)) / 1000 }
	return Quantiles{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
}
