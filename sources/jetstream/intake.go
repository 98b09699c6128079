package jetstream

import (
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/natsconn"
)

// intake takes what comes for one life of the feed's consumer. It implements natsconn.Taker.
type intake struct {
	*feed
	generation uint64
}

// Place implements natsconn.Taker. The memory is in a chunk that nobody uses again if the consumer is given up meanwhile.
func (f *intake) Place(n int) []byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.generation != f.feed.generation {
		return nil
	}
	return f.buffer.place(n)
}

// Take implements natsconn.Taker: it handles one message of the consumer, or a word about a request.
func (f *intake) Take(d *natsconn.Delivery) {
	a, ok := parseAck(d.Reply)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.generation != f.feed.generation:
		return
	case !ok:
		f.status(d.Header())
		return
	}
	if f.durable != "" {
		f.delivered.add(a, d.Reply)
	}
	if a.sequence <= f.last {
		if a.pending == 0 {
			f.drained = true
			f.signal()
		}
		return // never sent twice by a healthy server; Read would see the gap it might hide
	}
	f.buffer.add(a, d, f.want)
	f.last, f.drained = a.sequence, a.pending == 0
	f.received++
	if f.drained || a.sequence >= f.wake || f.buffer.bytes >= bufferBytes/4 {
		f.signal()
	}
}

// status handles a message that ends a request or says that the consumer is gone. The lock is held.
func (f *feed) status(h nats.Header) {
	code, text := h.Get("Status"), h.Get("Description")
	switch {
	case code == "100":
		return
	case code == "409" && strings.Contains(text, "MaxRequestBatch"):
		f.maxBatch = max(1, f.maxBatch/10)
	case code == "409" && strings.Contains(text, "Exceeds MaxBytes"):
		if f.received == 0 { // stored when the server took larger messages
			f.maxBytes *= 2
		}
	case code == "404", code == "408", code == "409" && strings.Contains(text, "Batch Completed"):
	default:
		f.broken()
		return
	}
	f.requested, f.received = max(0, f.requested-1), 0
	f.request()
	f.signal()
}
