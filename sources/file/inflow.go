package file

import (
	"bytes"
	"errors"
	"hash/crc32"
	"io"
	"slices"

	"github.com/tidemill/tidemill/stream"
)

// readBytes is how much is read at a time: little enough to be in the processor's cache when its checksum is made.
const readBytes = 256 << 10

// inflow makes messages of one file, in the arena of its batch, while it is read: lines of text, chunks of whole lines of
// ndjson, else the file itself.
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
		piece := int(min(readBytes, f.entry.Size-size))
		m.Data = slices.Grow(m.Data, piece)
		var n int
		n, err = r.Read(m.Data[len(m.Data) : len(m.Data)+piece])
		m.Data, size = m.Data[:len(m.Data)+n], size+int64(n)
		if f.batch.source.format == "ndjson" {
			f.chunks(false)
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return size, err //nolint:wrapcheck // try wraps it
	}
	f.end()
	return size, nil
}

// end makes messages of what is left in the arena.
func (f *inflow) end() {
	size := len(f.batch.messages.Data) - f.from
	switch f.batch.source.format {
	case "ndjson":
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
		f.whole(size)
	}
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
	f.batch.sums = append(f.batch.sums, sum)
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
		end += copy(m.Data[end:], bytes.TrimSuffix(text, []byte{'\r'}))
		f.put(end)
		data = rest
	}
	m.Data = m.Data[:end]
}

func (f *inflow) put(end int) {
	m, e := f.batch.messages, f.entry
	m.Ends, m.Sequence = append(m.Ends, end), append(m.Sequence, uint64(e.Ordinal)<<40|f.part)
	m.Published, m.File = append(m.Published, e.MTime), append(m.File, e.Path)
	f.part++
}

// mark is a point of a batch to which cut returns, when a file turned out to be another than it was.
type mark struct{ bytes, messages int }

func (b *batch) mark() mark { return mark{len(b.messages.Data), b.messages.Len()} }

func (b *batch) cut(to mark) {
	m, n := b.messages, to.messages
	*m = stream.Messages{Data: m.Data[:to.bytes], Ends: m.Ends[:n], Sequence: m.Sequence[:n], Published: m.Published[:n], File: m.File[:n]}
	b.sums = b.sums[:min(n, len(b.sums))]
}
