package jetstream

import "github.com/tidemill/tidemill/internal/natsconn"

// Sizes of chunks. A batch that lies in one chunk is not copied, so a chunk is made for several small batches or for one
// large batch.
const (
	chunkBytesMin = 1 << 20
	chunkBytesFew = 16 << 20 // of several batches at most
	chunkBytesMax = 64 << 20 // larger batches are put together of several chunks
)

// sparesMax is how many emptied chunks are kept to be filled again: one for the batch that runs, one for that read
// ahead. New memory costs as much as the copy into it.
const sparesMax = 2

// buffer holds messages in order, in chunks.
type buffer struct {
	chunks []*chunk // the last is being filled
	spares []*chunk // empty
	bytes  int      // payloads and an allowance for each message
	last   uint64   // sequence of the last message that came
	until  uint64   // where a batch ends, if anybody has said so
	batch  int      // its payload bytes, roughly
	ended  bool     // the last message is the end of that batch
}

// size is a number of messages and of their payload bytes.
type size struct {
	rows, bytes int64
}

// expect says where a batch ends that is yet to come, and how large it is, roughly.
func (b *buffer) expect(until uint64, bytes int64) {
	b.until, b.batch, b.ended = until, int(min(bytes, chunkBytesMax)), b.last == until
}

// add puts a message behind the others.
func (b *buffer) add(a ack, d *natsconn.Delivery, w want) {
	b.open(len(d.Payload), d.Placed).add(a, d, w)
	b.bytes += len(d.Payload) + messageOverhead
	b.ended = b.last < b.until && a.sequence >= b.until
	b.last = a.sequence
}

// place returns memory for the payload of the next message.
func (b *buffer) place(size int) []byte {
	c := b.open(size, false)
	return c.Data[len(c.Data) : len(c.Data)+size]
}

// open returns the chunk that takes the next message, or has taken its payload.
func (b *buffer) open(size int, placed bool) *chunk {
	n := len(b.chunks)
	if n == 0 {
		return b.another(size)
	}
	c := b.chunks[n-1]
	// At the end of a batch is the time to leave a chunk in which the next one would not lie as a whole.
	if !placed && (c.room() < size || b.ended && c.room() < b.batch) {
		c.closed = true
		return b.another(size)
	}
	return c
}

// another begins a chunk.
func (b *buffer) another(size int) *chunk {
	size = max(size, chunkBytesMin, min(4*b.batch, chunkBytesFew), b.batch+b.batch/8)
	var c *chunk
	for n := len(b.spares); n > 0 && c == nil; n = len(b.spares) {
		if spare := b.spares[n-1]; cap(spare.Data) >= size && cap(spare.Data) <= max(4*size, chunkBytesFew) {
			c = spare
		}
		b.spares = b.spares[:n-1]
	}
	if c == nil {
		c = newChunk(size)
	}
	b.chunks = append(b.chunks, c)
	return c
}

// reuse keeps a chunk that is done, to be filled again. One that was closed after its last message had been taken is still
// the first in line.
func (b *buffer) reuse(c *chunk) {
	if !c.done() {
		return
	}
	if len(b.chunks) > 0 && b.chunks[0] == c {
		b.chunks = b.chunks[1:]
	}
	if len(b.spares) < sparesMax {
		c.reset()
		b.spares = append(b.spares, c)
	}
}

// take gives the messages up to a sequence to f part by part, or drops them if f is nil.
func (b *buffer) take(to uint64, f func(part)) {
	for len(b.chunks) > 0 {
		c := b.chunks[0]
		from, end := c.head, c.search(to)
		if end > from {
			b.bytes -= c.Ends[end-1] - c.start(from) + (end-from)*messageOverhead
			if f != nil {
				f(c.part(from, end))
			}
			c.head = end
		}
		if end < len(c.Ends) || !c.closed {
			return
		}
		b.chunks[0] = nil
		b.chunks = b.chunks[1:]
		b.reuse(c)
	}
}

// measure counts messages after a sequence until a limit is reached. A limit of 0 is none. If one is reached,
// end is the last sequence that keeps to both, or the first message's if that alone is too large.
func (b *buffer) measure(after uint64, rows, bytes int64) (known size, end uint64, cut bool) {
	end = after
	for _, c := range b.chunks {
		for i := c.search(after); i < len(c.Ends); i++ {
			next := size{known.rows + 1, known.bytes + int64(c.Ends[i]-c.start(i))}
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
	for _, c := range b.chunks {
		if c.search(after) < len(c.Ends) {
			return true
		}
	}
	return false
}
