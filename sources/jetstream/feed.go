package jetstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsconn"
)

// Sizes of the reader. Requests and buffer together keep what is in flight below 32 MiB, or 48 where messages may be large
// (unless a single one is larger), because a server cuts off clients that lag by 64 MiB.
const (
	requestMessages = 50_000
	requestBytes    = 8 << 20
	requestBytesMax = 32 << 20 // unless a message is larger
	requestsMax     = 2        // the next waits at the server while one is served
	bufferBytes     = 16 << 20 // no new request while more than this waits
	messageOverhead = 128      // subject, reply and bookkeeping of one message, roughly
	requestExpires  = 30 * time.Second
	requestAlive    = 5 * time.Second // idle heartbeat
	consumerIdle    = 5 * time.Minute // after which the server forgets an unused consumer
)

// feed is the consumer that runs ahead of the engine and the buffer it fills. The goroutine that reads the
// connection appends (intake.go); Read takes (window.go). Another request goes out as soon as one ends.
type feed struct {
	client  *natsconn.Client
	stream  string
	filters []string
	want    want
	notify  chan struct{} // of size 1: something that the waiter asked for has happened

	mu         sync.Mutex // guards all below
	alive      bool       // the consumer is there as far as we know
	generation uint64     // of the consumer; what comes for an older one is dropped
	conn       *nats.Conn
	tap        *natsconn.Tap
	consumer   string
	durable    string // its name if it stays and wants acknowledgements; else it is made and dropped with the feed
	ackEach    bool
	delivered  deliveries // of the durable consumer, not acknowledged yet
	life       string     // the stream's identity when the consumer was made
	base       uint64     // everything up to here has been taken
	last       uint64     // everything that matches in (base, last] is in the buffer
	drained    bool       // the server had nothing more when it sent the last message
	buffer     buffer
	requested  int // requests that are outstanding
	received   int // messages since one ended
	maxBytes   int // of a request
	maxBatch   int
	wake       uint64 // notify when a message of this sequence or a later one has come
}

func newFeed(stream string, filters []string, w want) *feed {
	return &feed{stream: stream, filters: filters, want: w, notify: make(chan struct{}, 1),
		maxBatch: requestMessages}
}

// start makes a consumer that begins after a sequence, in place of the one there is, and checks that the
// stream is the one that identity names (unless that is empty).
func (f *feed) start(ctx context.Context, after uint64, check func(*natsconn.StreamInfo) error) error {
	f.stop()
	conn, err := f.client.Conn(ctx)
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.generation++
	generation := f.generation
	f.mu.Unlock()
	tap, err := f.client.Tap(conn, &intake{f, generation})
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	consumer, drained, err := f.open(ctx, after)
	var info *natsconn.StreamInfo
	if err == nil {
		info, err = f.client.StreamInfo(ctx, f.stream, false)
	}
	if err == nil {
		err = check(info)
	}
	if err != nil {
		f.drop(tap)
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.generation != generation { // the connection broke meanwhile
		f.drop(tap)
		return f.client.Silent(conn, nats.ErrDisconnected)
	}
	f.alive, f.conn, f.tap, f.consumer = true, conn, tap, consumer
	f.base, f.last, f.drained, f.life = after, after, drained, info.Identity()
	f.maxBytes, f.received = max(requestBytes, min(2*int(conn.MaxPayload()), requestBytesMax)), 0
	f.request()
	return nil
}

// open makes the consumer, or sets the durable one back to what was acknowledged.
func (f *feed) open(ctx context.Context, after uint64) (name string, drained bool, err error) {
	f.mu.Lock()
	durable := f.durable
	f.mu.Unlock()
	if durable == "" {
		return f.create(ctx, after)
	}
	var state struct {
		Pending uint64 `json:"num_pending"`
	}
	err = f.client.API(ctx, "CONSUMER.RESET."+f.stream+"."+durable, nil, &state)
	if errors.Is(err, nats.ErrNoResponders) {
		return "", false, diag.New(diag.BadOption, "%s: the server can not set consumer %q of stream %q back",
			f.client.What(), durable, f.stream).
			WithHint("work-queue and interest streams need a server from 2.14; mirror the stream into one with limits retention")
	}
	if err != nil {
		return "", false, fmt.Errorf("reset consumer: %w", err)
	}
	return durable, state.Pending == 0, nil
}

// create asks for the consumer and returns its name, and whether nothing waits for it.
func (f *feed) create(ctx context.Context, after uint64) (name string, drained bool, err error) {
	config := map[string]any{
		"deliver_policy": "by_start_sequence", "opt_start_seq": after + 1, "ack_policy": "none",
		"replay_policy": "instant", "mem_storage": true, "num_replicas": 1, "inactive_threshold": consumerIdle,
		"max_waiting": 8,
	}
	filterInto(config, f.filters)
	var made struct {
		Name    string `json:"name"`
		Pending uint64 `json:"num_pending"`
	}
	request := map[string]any{"stream_name": f.stream, "config": config}
	if err := f.client.API(ctx, "CONSUMER.CREATE."+f.stream, request, &made); err != nil {
		return "", false, fmt.Errorf("create consumer: %w", err)
	}
	return made.Name, made.Pending == 0, nil
}

// stop drops the consumer and the buffer.
func (f *feed) stop() {
	f.mu.Lock()
	tap, conn, consumer, durable := f.tap, f.conn, f.consumer, f.durable
	f.alive, f.tap, f.conn, f.consumer, f.requested = false, nil, nil, "", 0
	f.generation++
	f.buffer, f.delivered = buffer{until: f.buffer.until, batch: f.buffer.batch}, deliveries{}
	f.mu.Unlock()
	if tap == nil {
		return
	}
	f.drop(tap)
	if durable != "" {
		return
	}
	// Nobody waits for the answer: a consumer that stays behind is forgotten by the server after a while.
	_ = conn.Publish(f.client.Prefix()+"CONSUMER.DELETE."+f.stream+"."+consumer, nil)
}

// drop ends a subscription. One that stays ends with its connection, and what comes by it is not taken.
func (f *feed) drop(tap *natsconn.Tap) { _ = tap.Close() }

// lost marks the consumer as gone; the next reader makes another.
func (f *feed) lost() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken()
}

// broken does what lost does, with the lock held.
func (f *feed) broken() {
	f.alive = false
	f.generation++
	f.signal()
}

func (f *feed) signal() {
	select {
	case f.notify <- struct{}{}:
	default:
	}
}

// request asks for more while there is room. The lock is held.
func (f *feed) request() {
	most := requestsMax
	if f.maxBytes > requestBytes {
		most = 1
	}
	for f.alive && f.requested < most && f.buffer.bytes < bufferBytes {
		body, err := json.Marshal(map[string]any{
			"batch": f.maxBatch, "max_bytes": f.maxBytes, "expires": requestExpires, "idle_heartbeat": requestAlive,
		})
		if err == nil {
			next := f.client.Prefix() + "CONSUMER.MSG.NEXT." + f.stream + "." + f.consumer
			err = f.conn.PublishRequest(next, f.tap.Inbox, body)
		}
		if err != nil {
			f.broken()
			return
		}
		f.requested++
	}
}

// setDurable lets the next start use a consumer that stays, and that wants every message acknowledged if each is set.
func (f *feed) setDurable(name string, each bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.durable, f.ackEach = name, each
}

// unacknowledged returns what was delivered up to a sequence and the reply subject of one of the messages.
func (f *feed) unacknowledged(upTo uint64) (runs []run, reply string, each bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.alive {
		return nil, "", false
	}
	return f.delivered.upTo(upTo), f.delivered.reply, f.ackEach
}

// acknowledged forgets deliveries that the server need not be told of any more.
func (f *feed) acknowledged(upTo uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.delivered.drop(upTo)
}
