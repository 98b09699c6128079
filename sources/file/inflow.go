package file

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"github.com/tidemill/tidemill/stream"
)

// readBytes is how much is read at a time.
const readBytes = 256 << 10

// restBytes is how much is read at a time where a chunk may end: what is read behind its end is moved before the next.
const restBytes = 16 << 10

// inflow makes messages of one file, in the arena of its batch, while it is read: lines of text, chunks of whole lines of
// ndjson, else the file itself. What has become messages is handed over at once if somebody takes pieces.
type inflow struct {
	batch  *batch
	entry  entry
	part   uint64 // the number of the next message
	from   int    // where the next message begins in the arena
	looked int    // how far the end of the next message has been looked for, from there
	crc    uint32 // of the bytes that have become messages
}

func (b *batch) inflow(e entry) *inflow {
	return &inflow{batch: b, entry: e, from: len(b.messages.Data)}
}

// pour reads the file into the arena and cuts it. It returns how much there was, at most what the entry says.
func (f *inflow) pour(r io.Reader) (size int64, err error) {
	m := f.batch.messages
	for size < f.entry.Size && err == nil {
		piece := int(min(f.piece(), f.entry.Size-size))
		m.Data = slices.Grow(m.Data, piece)
		var n int
		n, err = r.Read(m.Data[len(m.Data) : len(m.Data)+piece])
		m.Data, size = m.Data[:len(m.Data)+n], size+int64(n)
		if f.batch.source.format == formatLines {
			f.chunks(false)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return size, err //nolint:wrapcheck // try wraps it
	}
	f.end()
	return size, nil
}

// piece returns how much to read.
func (f *inflow) piece() int64 {
	if b := f.batch; b.to != nil && b.source.format == formatLines {
		return int64(min(readBytes, max(restBytes, chunkBytes-(len(b.messages.Data)-f.from))))
	}
	return readBytes
}

// end makes messages of what is left in the arena.
func (f *inflow) end() {
	size := len(f.batch.messages.Data) - f.from
	switch f.batch.source.format {
	case formatLines:
		f.chunks(true)
	case "text":
		f.lines()
	case "csv":
		if size > 0 {
			f.whole(size)
		}
	default:
		f.whole(size)
	}
	f.hand()
}

// chunks makes messages of as much as is a chunk and has its last line whole; of all of it at the end of the file.
func (f *inflow) chunks(last bool) {
	for {
		data := f.batch.messages.Data[f.from:]
		size := f.chunk(data)
		if size == 0 && last {
			size = len(data)
		}
		if size == 0 {
			return
		}
		if f.whole(size); !last { // else all goes in one piece
			f.hand()
		}
	}
}

// hand gives away the messages that are there, if somebody takes pieces. What is read of the next one stays.
func (f *inflow) hand() {
	f.from -= f.batch.hand()
}

// chunk returns the size of the first chunk, or 0 if its end is not there.
func (f *inflow) chunk(data []byte) int {
	if f.looked = max(f.looked, chunkBytes); len(data) <= f.looked {
		return 0
	}
	if i := bytes.IndexByte(data[f.looked:], '\n'); i >= 0 {
		return f.looked + i + 1
	}
	f.looked = len(data)
	return 0
}

// whole makes the next bytes one message.
func (f *inflow) whole(size int) {
	end := f.from + size
	sum := crc32.Checksum(f.batch.messages.Data[f.from:end], castagnoli())
	f.crc = stream.Combine(f.crc, sum, size)
	f.batch.sum = f.batch.sum.Summed(f.sequence(), sum, size)
	f.put(end)
	f.from, f.looked = end, 0
}

// lines makes a message of each line, without its end: so they move together.
func (f *inflow) lines() {
	m := f.batch.messages
	data, end := m.Data[f.from:], f.from
	f.crc = crc32.Checksum(data, castagnoli())
	for len(data) > 0 {
		text, rest, _ := bytes.Cut(data, []byte{'\n'})
		start := end
		end += copy(m.Data[end:], bytes.TrimSuffix(text, []byte{'\r'}))
		f.batch.sum = f.batch.sum.Message(f.sequence(), m.Data[start:end])
		f.put(end)
		data = rest
	}
	m.Data = m.Data[:end]
}

// sequence is the number of the next message.
func (f *inflow) sequence() uint64 { return uint64(f.entry.Ordinal)<<40 | f.part }

func (f *inflow) put(end int) {
	m, e := f.batch.messages, f.entry
	m.Ends, m.Sequence = append(m.Ends, end), append(m.Sequence, f.sequence())
	m.Published, m.File = append(m.Published, e.MTime), append(m.File, e.Path)
	f.part++
}

// hand gives the messages that are there to whom takes pieces, and returns how many bytes they had. Their memory is filled
// again, from its start.
func (b *batch) hand() (bytes int) {
	m := b.messages
	n := m.Len()
	if b.to == nil || n == 0 {
		return 0
	}
	rest := m.Data[m.Ends[n-1]:]
	bytes = len(m.Data) - len(rest)
	m.Data = m.Data[:bytes]
	b.to.Take(m)
	b.handed += n
	m.Data = m.Data[:copy(m.Data[:cap(m.Data)], rest)]
	b.clip(0)
	return bytes
}

// mark is a point of a batch to which cut returns, when a file turned out to be another than it was.
type mark struct {
	bytes, messages int
	sum             stream.Sum
}

func (b *batch) mark() mark { return mark{len(b.messages.Data), b.handed + b.messages.Len(), b.sum} }

func (b *batch) cut(to mark) {
	if to.messages < b.handed {
		b.to.Cut(to.messages)
		b.handed = to.messages
	}
	b.messages.Data, b.sum = b.messages.Data[:to.bytes], to.sum
	b.clip(to.messages - b.handed)
}

// clip leaves n messages in the arena, and its bytes as they are.
func (b *batch) clip(n int) {
	m := b.messages
	m.Ends, m.Sequence, m.Published, m.File = m.Ends[:n], m.Sequence[:n], m.Published[:n], m.File[:n]
}
