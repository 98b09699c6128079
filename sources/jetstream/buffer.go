package jetstream

import (
	"sort"

	"github.com/nats-io/nats.go"

	"github.com/tidemill/tidemill/internal/natsconn"
	"github.com/tidemill/tidemill/stream"
)

// chunkBytes is when a chunk of the buffer is full. Chunks are freed whole.
const chunkBytes = 1 << 20

// sparesMax is how many emptied chunks are kept to be filled again: as many as may be full at a time. New ones cost more
// than what is done with their messages.
const sparesMax = (bufferBytes + requestBytes) / chunkBytes

// buffer holds messages in order, in chunks.
type buffer struct {
	chunks []*chunk
	spares []*chunk // empty
	bytes  int      // payloads and an allowance for each message
}

// chunk is a run of messages. Those before head have been taken.
type chunk struct {
	taken
	head int
}

// taken is a run of messages on its way to the engine.
type taken struct {
	stream.Messages
	markers []uint64 // sequences of messages that a sink wrote for itself: they are no rows
}

// size is a number of messages and of their payload bytes.
type size struct {
	rows, bytes int64
}

func (b *buffer) add(a ack, m *nats.Msg, w want) {
	if len(b.chunks) == 0 || len(b.chunks[len(b.chunks)-1].Data) >= chunkBytes {
		b.chunks = append(b.chunks, b.empty(len(m.Data)))
	}
	c := b.chunks[len(b.chunks)-1]
	c.append(a, message{subject: m.Subject, header: m.Header, data: m.Data}, w)
	b.bytes += len(m.Data) + messageOverhead
}

// empty returns a chunk without messages, with room for those of a size until it is full.
func (b *buffer) empty(size int) *chunk {
	n := len(b.spares)
	if n == 0 {
		c := new(chunk)
		c.Data = make([]byte, 0, chunkBytes+size)
		return c
	}
	c := b.spares[n-1]
	b.spares = b.spares[:n-1]
	return c
}

// recycle keeps an emptied chunk, whose messages have been copied out, unless it has grown beyond the usual.
func (b *buffer) recycle(c *chunk) {
	if len(b.spares) == sparesMax || cap(c.Data) > 2*chunkBytes {
		return
	}
	clear(c.Subject)
	clear(c.Headers)
	c.head, c.markers = 0, c.markers[:0]
	c.Data, c.Ends, c.Sequence = c.Data[:0], c.Ends[:0], c.Sequence[:0]
	c.Subject, c.Published, c.Headers = c.Subject[:0], c.Published[:0], c.Headers[:0]
	b.spares = append(b.spares, c)
}

// message is one message, however it was read.
type message struct {
	subject string
	header  nats.Header
	data    []byte
}

func (t *taken) append(a ack, m message, w want) {
	if len(m.header) > 0 && m.header.Get(natsconn.MarkerHeader) != "" {
		t.markers = append(t.markers, a.sequence)
		m.data = nil
	}
	t.Append(a.sequence, m.data)
	if w.subject {
		t.Subject = append(t.Subject, m.subject)
	}
	if w.published {
		t.Published = append(t.Published, floorMicros(a.published))
	}
	if w.headers {
		t.Headers = append(t.Headers, firsts(m.header))
	}
}

func floorMicros(nanos int64) int64 {
	micros := nanos / 1000
	if nanos%1000 < 0 {
		micros--
	}
	return micros
}

// firsts returns the first value of each header; nil for none.
func firsts(h nats.Header) map[string]string {
	if len(h) == 0 {
		return nil
	}
	m := make(map[string]string, len(h))
	for k, v := range h {
		if len(v) > 0 {
			m[k] = v[0]
		}
	}
	return m
}

// take moves the messages up to a sequence to the end of out, or drops them if out is nil.
func (b *buffer) take(to uint64, out *taken) {
	for len(b.chunks) > 0 {
		c := b.chunks[0]
		end := c.search(to)
		if end > c.head {
			b.bytes -= c.Ends[end-1] - c.start(c.head) + (end-c.head)*messageOverhead
		}
		if out != nil {
			out.join(c, c.head, end)
		}
		c.head = end
		if end < len(c.Ends) {
			return
		}
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
		b.recycle(c)
	}
}

// start returns where the payload of message i begins.
func (c *chunk) start(i int) int {
	if i == 0 {
		return 0
	}
	return c.Ends[i-1]
}

// search returns the index of the first message after a sequence that has not been taken.
func (c *chunk) search(after uint64) int {
	rest := c.Sequence[c.head:]
	return c.head + sort.Search(len(rest), func(i int) bool { return rest[i] > after })
}

// join appends messages [from, end) of c.
func (t *taken) join(c *chunk, from, end int) {
	if from == end {
		return
	}
	start := c.start(from)
	shift := len(t.Data) - start
	t.Data = append(t.Data, c.Data[start:c.Ends[end-1]]...)
	for _, e := range c.Ends[from:end] {
		t.Ends = append(t.Ends, e+shift)
	}
	t.Sequence = append(t.Sequence, c.Sequence[from:end]...)
	if c.Subject != nil {
		t.Subject = append(t.Subject, c.Subject[from:end]...)
	}
	if c.Published != nil {
		t.Published = append(t.Published, c.Published[from:end]...)
	}
	if c.Headers != nil {
		t.Headers = append(t.Headers, c.Headers[from:end]...)
	}
	for _, m := range c.markers {
		if m >= c.Sequence[from] && m <= c.Sequence[end-1] {
			t.markers = append(t.markers, m)
		}
	}
}

// truncate keeps the first n messages.
func (t *taken) truncate(n int) {
	t.Ends, t.Sequence = t.Ends[:n], t.Sequence[:n]
	t.Data = t.Data[:end(t.Ends)]
	if t.Subject != nil {
		t.Subject = t.Subject[:n]
	}
	if t.Published != nil {
		t.Published = t.Published[:n]
	}
	if t.Headers != nil {
		t.Headers = t.Headers[:n]
	}
	for len(t.markers) > 0 && (n == 0 || t.markers[len(t.markers)-1] > t.Sequence[n-1]) {
		t.markers = t.markers[:len(t.markers)-1]
	}
}

func end(ends []int) int {
	if len(ends) == 0 {
		return 0
	}
	return ends[len(ends)-1]
}

// rows returns the messages without the sinks' markers, or nil if there are none.
func (t *taken) rows() *stream.Messages {
	if len(t.Ends) == len(t.markers) {
		return nil
	}
	if len(t.markers) == 0 {
		return &t.Messages
	}
	m := &stream.Messages{Data: t.Data} // markers have no bytes here
	next := 0
	for i, seq := range t.Sequence {
		if next < len(t.markers) && t.markers[next] == seq {
			next++
			continue
		}
		m.Ends = append(m.Ends, t.Ends[i])
		m.Sequence = append(m.Sequence, seq)
		if t.Subject != nil {
			m.Subject = append(m.Subject, t.Subject[i])
		}
		if t.Published != nil {
			m.Published = append(m.Published, t.Published[i])
		}
		if t.Headers != nil {
			m.Headers = append(m.Headers, t.Headers[i])
		}
	}
	return m
}

// measure counts messages after a sequence until a limit is reached. A limit of 0 is none. If one is reached,
// end is the last sequence that keeps to both, or the first message's if that alone is too large.
func (b *buffer) measure(after uint64, rows, bytes int64) (known size, end uint64, cut bool) {
	end = after
	for _, c := range b.chunks {
		for i := c.search(after); i < len(c.Ends); i++ {
			next := size{known.rows + 1, known.bytes + int64(len(c.Payload(i)))}
			over := rows > 0 && next.rows > rows || bytes > 0 && next.bytes > bytes
			if over && known.rows > 0 {
				return known, end, true
			}
			known, end = next, c.Sequence[i]
			if over {
				return known, end, true
			}
		}
	}
	return known, end, false
}

// holds reports whether a message after a sequence is there.
func (b *buffer) holds(after uint64) bool {
	n := len(b.chunks)
	return n > 0 && b.chunks[n-1].search(after) < len(b.chunks[n-1].Ends)
}
