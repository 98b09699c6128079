package jetstream

import (
	"sort"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// chunk is a run of messages in memory that does not move: payloads are read from the connection into it, and batches
// are parts of it. Those before head have been taken. The feed's lock guards it, except for the bytes of messages that
// are there or are just being read.
type chunk struct {
	stream.Messages
	markers []uint64     // sequences of messages that a sink wrote for itself: they have no bytes here and are no rows
	sums    []stream.Sum // of all messages up to this one, without markers
	head    int
	held    int  // parts of it that somebody has
	closed  bool // nothing is added any more
}

func newChunk(size int) *chunk {
	c := new(chunk)
	c.Data = make([]byte, 0, size)
	return c
}

// room returns how many bytes still fit.
func (c *chunk) room() int { return cap(c.Data) - len(c.Data) }

// done reports whether everything has been taken and nobody has a part.
func (c *chunk) done() bool { return c.closed && c.head == len(c.Ends) && c.held == 0 }

// reset empties a chunk that is done.
func (c *chunk) reset() {
	clear(c.Subject)
	clear(c.Headers)
	c.head, c.closed, c.markers = 0, false, c.markers[:0]
	c.Data, c.Ends, c.Sequence, c.sums = c.Data[:0], c.Ends[:0], c.Sequence[:0], c.sums[:0]
	c.Subject, c.Published, c.Headers = c.Subject[:0], c.Published[:0], c.Headers[:0]
}

// add puts a message behind the others. There is room for its payload, or it is there already. Its checksum is made here,
// while the processor has the bytes at hand.
func (c *chunk) add(a ack, d *natsconn.Delivery, w want) {
	payload, sum := d.Payload, c.sum(len(c.sums))
	if d.HasHeader() && d.Marked() {
		c.markers = append(c.markers, a.sequence)
		payload = nil
	} else {
		sum = sum.Message(a.sequence, payload)
	}
	c.sums = append(c.sums, sum)
	if d.Placed {
		c.Data = c.Data[:len(c.Data)+len(payload)]
	} else {
		c.Data = append(c.Data, payload...)
	}
	c.Ends = append(c.Ends, len(c.Data))
	c.Sequence = append(c.Sequence, a.sequence)
	if w.subject {
		c.Subject = append(c.Subject, c.subject(d.Subject))
	}
	if w.published {
		c.Published = append(c.Published, floorMicros(a.published))
	}
	if w.headers {
		c.Headers = append(c.Headers, firsts(d))
	}
}

// subject returns the text of a subject, which is usually that of the message before.
func (c *chunk) subject(name []byte) string {
	if n := len(c.Subject); n > 0 && c.Subject[n-1] == string(name) {
		return c.Subject[n-1]
	}
	return string(name)
}

func floorMicros(nanos int64) int64 {
	micros := nanos / 1000
	if nanos%1000 < 0 {
		micros--
	}
	return micros
}

// firsts returns the first value of each header; nil for none.
func firsts(d *natsconn.Delivery) map[string]string {
	if !d.HasHeader() {
		return nil
	}
	h := d.Header()
	m := make(map[string]string, len(h))
	for k, v := range h {
		if len(v) > 0 {
			m[k] = v[0]
		}
	}
	return m
}

// start returns where the payload of message i begins.
func (c *chunk) start(i int) int {
	if i == 0 {
		return 0
	}
	return c.Ends[i-1]
}

// sum returns the checksum of the messages before number i.
func (c *chunk) sum(i int) stream.Sum {
	if i == 0 {
		return 0
	}
	return c.sums[i-1]
}

// search returns the index of the first message after a sequence that has not been taken.
func (c *chunk) search(after uint64) int {
	rest := c.Sequence[c.head:]
	return c.head + sort.Search(len(rest), func(i int) bool { return rest[i] > after })
}

// part gives messages [from, end) to somebody who hands them back with release.
func (c *chunk) part(from, end int) part {
	c.held++
	p := part{chunk: c, from: from, end: end, start: c.start(from), all: c.Messages, before: c.sum(from), sums: c.sums}
	for _, m := range c.markers {
		if m >= c.Sequence[from] && m <= c.Sequence[end-1] {
			p.markers = append(p.markers, m)
		}
	}
	return p
}
