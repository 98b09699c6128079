package benchmarks

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidemill/tidemill/internal/natsconn"
)

// rawStream is the stream that rawWrite fills.
const rawStream = "RAWWRITE"

// rawWrite stores the messages of a sink's stream once more, in atomic batches of size messages, and returns messages per
// second: what any writer to this broker could reach just now, with the same durability. It promises nothing: it has no marker,
// expects nothing of the stream, and has two batches on their way at a time.
func (c *client) rawWrite(ctx context.Context, stream string, size int) (float64, error) {
	var bodies [][]byte
	if err := c.each(ctx, stream, func(m jetstream.Msg) error { bodies = append(bodies, m.Data()); return nil }); err != nil {
		return 0, err
	}
	_, err := c.js.CreateStream(ctx, jetstream.StreamConfig{Name: rawStream, Subjects: []string{rawStream}, AllowAtomicPublish: true})
	if err != nil {
		return 0, fmt.Errorf("create stream %s: %w", rawStream, err)
	}
	inbox := c.conn.NewInbox()
	acks, err := c.conn.SubscribeSync(inbox)
	if err != nil {
		return 0, fmt.Errorf("subscribe: %w", err)
	}
	defer func() { _ = acks.Unsubscribe() }() // the connection is closed soon
	began, unanswered := time.Now(), 0
	for n := 0; n < len(bodies); {
		batch := rawChunk(bodies[n:], size)
		if err := c.rawBatch(inbox, strconv.Itoa(n), batch); err != nil {
			return 0, err
		}
		n += len(batch)
		if unanswered++; unanswered < 2 {
			continue
		}
		if err := stored(ctx, acks); err != nil {
			return 0, err
		}
		unanswered--
	}
	for ; unanswered > 0; unanswered-- {
		if err := stored(ctx, acks); err != nil {
			return 0, err
		}
	}
	rate := float64(len(bodies)) / time.Since(began).Seconds()
	return rate, c.remove(ctx, rawStream)
}

// rawChunk returns what one batch takes: so many messages, and no more bytes than the sink sends in one.
func rawChunk(bodies [][]byte, size int) [][]byte {
	bytes := 0
	for i, body := range bodies {
		if bytes += len(body); i > 0 && (i == size || bytes > natsconn.UnstoredBytes) {
			return bodies[:i]
		}
	}
	return bodies
}

// rawBatch sends one atomic batch. Its answer comes to inbox.
func (c *client) rawBatch(inbox, id string, bodies [][]byte) error {
	for i, body := range bodies {
		msg := &nats.Msg{Subject: rawStream, Data: body, Header: nats.Header{"Nats-Batch-Id": {id}, "Nats-Batch-Sequence": {strconv.Itoa(i + 1)}}}
		if i == len(bodies)-1 {
			msg.Reply = inbox
			msg.Header["Nats-Batch-Commit"] = []string{"1"}
		}
		if err := c.conn.PublishMsg(msg); err != nil {
			return fmt.Errorf("publish a raw batch: %w", err)
		}
	}
	return nil
}

// stored waits for the answer to one batch.
func stored(ctx context.Context, acks *nats.Subscription) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	msg, err := acks.NextMsgWithContext(ctx)
	if err != nil {
		return fmt.Errorf("await a raw batch: %w", err)
	}
	var ack struct {
		Error *struct{ Description string }
	}
	if err := json.Unmarshal(msg.Data, &ack); err != nil {
		return fmt.Errorf("await a raw batch: %w", err)
	}
	if ack.Error != nil {
		return fmt.Errorf("the broker refuses a raw batch: %s", ack.Error.Description)
	}
	return nil
}
