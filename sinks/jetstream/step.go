package jetstream

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// Sizes of one step. The server takes 1,000 messages in an atomic batch unless it is configured otherwise, one of them is the
// marker. The bytes of a step are natsconn.UnstoredBytes at most.
const (
	batchMessages    = 1000
	batchMessagesMax = 10_000
)

// room is what a step holds so far, of most messages.
type room struct{ most, messages, bytes int }

// room returns that of an empty step.
func (s *sink) room() room { return room{most: s.batch - 1} }

// take makes room for m, and reports false if there is none. One message always fits.
func (r *room) take(m message) bool {
	size := len(m.subject) + len(m.body)
	if r.messages == r.most || r.messages > 0 && r.bytes+size > natsconn.UnstoredBytes {
		return false
	}
	r.messages++
	r.bytes += size
	return true
}

// chunk returns how many of messages one step takes, at least one.
func (s *sink) chunk(messages []message) int {
	r := s.room()
	for _, m := range messages {
		if !r.take(m) {
			break
		}
	}
	return r.messages
}

// askBatch asks the server how many messages it takes in an atomic batch. What it sends to that end can not be stored: it is the
// far end of a batch that nobody began, and waits for a sequence that no stream has.
func (s *sink) askBatch(ctx context.Context) error {
	answer, err := s.client.Request(ctx, &nats.Msg{Subject: s.subject, Header: nats.Header{
		headerBatch:    {stepID()},
		headerBatchSeq: {strconv.Itoa(math.MaxInt32)},
		headerLast:     {strconv.FormatInt(math.MaxInt64, 10)},
	}})
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	_, err = decodeAck(answer.Data)
	var refused *natsconn.APIError
	if !errors.As(err, &refused) {
		return fmt.Errorf("ask for the size of a batch: the server answers %q", answer.Data)
	}
	s.batch = batchMessages // what servers take unless told otherwise
	_, number, _ := strings.Cut(refused.Description, ": ")
	if most, err := strconv.Atoi(number); err == nil && most > 1 && refused.ErrCode == natsconn.ErrBatchTooLarge {
		s.batch = min(most, batchMessagesMax)
	}
	return nil
}

// step is an atomic batch of the server on its way. The server keeps its messages aside as they come. The last one, the
// marker, makes them all visible, if it is still in its place. Without it the server forgets them after 10 s.
type step struct {
	room

	sink   *sink
	conn   *nats.Conn
	id     []string
	number []string // in msg's header
	msg    nats.Msg // the message that is being sent; the connection keeps nothing of it
	after  uint64   // the first message must lie directly behind it; 0: anywhere
}

// begin begins a step whose first message must lie directly behind the message after; 0: anywhere.
func (s *sink) begin(after uint64) *step {
	t := &step{room: s.room(), sink: s, id: []string{stepID()}, number: []string{""}, after: after}
	t.msg.Header = nats.Header{headerBatch: t.id, headerBatchSeq: t.number}
	return t
}

// place is where the next step must begin, which is 0 if that may be anywhere: the one place where a single may still land
// whose answer was lost. One of the two gets it.
func (s *sink) place() uint64 {
	if s.chain.unsettled {
		return s.chain.end
	}
	return 0
}

// stepID returns a name that no other step of the stream should have at the same time; should one have it, the server finds a
// message out of turn and forgets both. Every message carries it, and is searched for headers dozens of times, which is cheapest
// in at most 64 bytes: 8 letters leave the last of a thousand messages 63.
func stepID() string {
	var id [6]byte
	_, _ = rand.Read(id[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// sendStep sends a step with as many of messages as fit, all but its marker.
func (s *sink) sendStep(ctx context.Context, messages []message, after uint64) (*step, error) {
	t := s.begin(after)
	if err := t.send(ctx, messages); err != nil {
		return nil, err
	}
	return t, nil
}

// send sends as many of messages as fit.
func (t *step) send(ctx context.Context, messages []message) error {
	for _, m := range messages {
		if !t.take(m) {
			return nil
		}
		if err := t.fill(ctx, m); err != nil {
			return err
		}
		if err := t.conn.PublishMsg(&t.msg); err != nil {
			return fmt.Errorf("send message %d of a batch: %w", t.messages, t.sink.client.Silent(t.conn, err))
		}
	}
	return nil
}

// probe sends the next message, for which there is room, and waits for the server's word on it: an empty answer, or why it takes
// no batch.
func (t *step) probe(ctx context.Context, m message) error {
	t.take(m)
	if err := t.fill(ctx, m); err != nil {
		return err
	}
	answer, err := t.sink.client.Request(ctx, &t.msg)
	if err != nil {
		return fmt.Errorf("begin batch: %w", err)
	}
	if len(answer.Data) == 0 {
		return nil
	}
	var refused pubAck
	if err := json.Unmarshal(answer.Data, &refused); err == nil && refused.Error != nil {
		return fmt.Errorf("begin batch: %w", refused.Error)
	}
	return fmt.Errorf("begin batch: the server answers %q", answer.Data)
}

// fill makes m, for which take has made room, the message to be sent.
func (t *step) fill(ctx context.Context, m message) (err error) {
	if t.messages == 1 {
		t.conn, err = t.sink.client.Conn(ctx)
		if err == nil && t.after > 0 {
			t.msg.Header[headerLast] = []string{strconv.FormatUint(t.after, 10)}
		}
	} else {
		delete(t.msg.Header, headerLast)
	}
	t.msg.Subject, t.msg.Data = m.subject, m.body
	t.number[0] = strconv.Itoa(t.messages)
	delete(t.msg.Header, headerOp)
	if m.deleted {
		t.msg.Header[headerOp] = []string{stream.OpDelete}
	}
	return err //nolint:wrapcheck // coded
}

// commit sends the marker. What became of it is the answer.
func (t *step) commit(ctx context.Context, m marker) (*natsconn.Answer, error) {
	msg, err := t.sink.markerMsg(m)
	if err != nil {
		return nil, err
	}
	msg.Header[headerBatch] = t.id
	msg.Header[headerBatchSeq] = []string{strconv.Itoa(t.messages + 1)}
	msg.Header[headerBatchCommit] = []string{"1"}
	return t.sink.client.Ask(ctx, t.conn, msg) //nolint:wrapcheck // coded
}
