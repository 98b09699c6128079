package file

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

const (
	formatParquet = "parquet"
	formatLines   = "ndjson"
	// chunkBytes is how much of an ndjson file becomes one message, so that one message is never the whole of
	// a large file.
	chunkBytes = 1 << 20
	// brokenPart numbers what is broken of a file behind all its messages.
	brokenPart = 1<<40 - 1
	arenaMax   = math.MaxInt32
	// mendFile is the way out of a file that can not be read: once found it must stay as it is.
	mendFile = "put the right file there under another name, remove this one, and set on_data_loss = 'skip', " +
		"which counts it as lost and goes on"
)

// Read reads the files of the range again and checks that they are what they were.
func (s *source) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	return s.read(ctx, r, nil, nil)
}

// ReadWithout implements stream.Narrow: columns of Parquet files stay there. Messages are whole.
func (s *source) ReadWithout(ctx context.Context, r stream.Range, unread []string) (*stream.Input, error) {
	return s.read(ctx, r, nil, unread)
}

// ReadPieces implements stream.Pieces. A piece is a chunk of ndjson, or a file of another format.
func (s *source) ReadPieces(ctx context.Context, r stream.Range, to stream.PieceTaker) (*stream.Input, error) {
	return s.read(ctx, r, to, nil)
}

func (s *source) read(ctx context.Context, r stream.Range, to stream.PieceTaker, unread []string) (*stream.Input, error) {
	files, err := s.files(r)
	if err != nil {
		return nil, err
	}
	in := &stream.Input{}
	b := s.batch(files, to)
	b.tables.unread = unread
	defer b.release()
	crcs := map[int64]uint32{}
	for _, e := range files {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		start := b.mark()
		crc, err := b.add(ctx, e)
		if lost := diag.CodeOf(err) == diag.DataLoss; lost && s.skip {
			b.cut(start)
			in.Lost++
			continue
		}
		if err != nil {
			return nil, err
		}
		if e.CRC == nil {
			crcs[e.Ordinal] = crc
		}
		b.crc(e.Ordinal, crc)
	}
	if err := s.remember(crcs); err != nil {
		return nil, err
	}
	return b.finish(in)
}

// Recycle implements stream.Recycler.
func (s *source) Recycle(m *stream.Messages) { s.arenas.Give(m) }

// files returns the files of a range.
func (s *source) files(r stream.Range) ([]entry, error) {
	from, err := s.position(r.From)
	if err != nil {
		return nil, err
	}
	to, err := s.position(r.To)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.opened()
	if err != nil {
		return nil, err
	}
	if r.Identity != "" && r.Identity != l.id {
		return nil, s.replaced(r.Identity, l.id)
	}
	files := l.after(from, to)
	if int64(len(files)) != max(0, to-from) {
		return nil, diag.New(diag.DataLoss, "source %q: the seen-file log does not know all files from %d to %d", s.cfg.Name, from+1, to).
			WithHint("restore %s, or start the query in a new data dir", l.path())
	}
	return files, nil
}

// remember makes the checksums of files that were read for the first time durable.
func (s *source) remember(crcs map[int64]uint32) error {
	if len(crcs) == 0 || s.cfg.Beside {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l, err := s.opened()
	if err != nil {
		return err
	}
	return l.add(line{Read: crcs})
}

// content is a file as it was read.
type content struct {
	entry
	data []byte
}

// batch gathers the files of one range.
type batch struct {
	source   *source
	arenas   *stream.Arenas
	to       stream.PieceTaker // nil to keep all messages
	handed   int               // messages that to has
	messages *stream.Messages  // the others
	sum      stream.Sum        // of all messages
	packed   []byte            // memory for files that are unpacked
	broken   broken
	tables   tables
	fileSum  uint32 // over (ordinal, checksum) of the files
}

// batch begins one whose arena has room for all files, or for the largest piece.
func (s *source) batch(files []entry, to stream.PieceTaker) *batch {
	b := &batch{source: s, arenas: &s.arenas, messages: &stream.Messages{}, to: to}
	if s.format == formatParquet {
		s.columns.Turn()
		return b
	}
	var size, largest int64
	for _, e := range files {
		size = min(size+e.Size, arenaMax)
		largest = max(largest, e.Size)
	}
	if to != nil {
		b.arenas = &s.pieces
		to.Expect(size)
		if size = largest; s.format == formatLines {
			size = min(size, chunkBytes+readBytes)
		}
	}
	if *b.messages = b.arenas.Take(int(size)); b.messages.Data == nil {
		b.messages.Data = make([]byte, 0, size)
	}
	return b
}

func (b *batch) crc(ordinal int64, crc uint32) {
	var buf [12]byte
	binary.LittleEndian.PutUint64(buf[:], uint64(ordinal))
	binary.LittleEndian.PutUint32(buf[8:], crc)
	b.fileSum = crc32.Update(b.fileSum, castagnoli(), buf[:])
}

// add reads one file and returns its checksum.
func (b *batch) add(ctx context.Context, e entry) (crc uint32, err error) {
	switch packed := strings.HasSuffix(e.Path, ".gz"); {
	case b.source.format == formatParquet:
		c := content{e, b.source.memory().Allocate(int(e.Size))}
		defer b.source.memory().Free(c.data)
		if crc, err = b.source.load(e, c.fill); err == nil {
			err = b.tables.add(ctx, b.source, c, &b.broken)
		}
	case packed:
		b.packed = slices.Grow(b.packed[:0], int(e.Size))[:e.Size]
		c, f := content{e, b.packed}, b.inflow(e)
		if crc, err = b.source.load(e, c.fill); err == nil {
			if err = b.unpack(c); err == nil {
				f.end()
			}
		}
	default:
		crc, err = b.pour(e)
	}
	return crc, err
}

// fill reads the file into memory of its size.
func (c content) fill(r io.Reader) (size int64, crc uint32, err error) {
	n, err := io.ReadFull(r, c.data)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil
	}
	return int64(n), crc32.Checksum(c.data[:n], castagnoli()), err //nolint:wrapcheck // try wraps it
}

// pour reads a file straight into the arena.
func (b *batch) pour(e entry) (uint32, error) {
	start := b.mark()
	if int64(start.bytes)+e.Size > arenaMax {
		return 0, b.full()
	}
	return b.source.load(e, func(r io.Reader) (int64, uint32, error) {
		b.cut(start) // of what has been read under another name
		f := b.inflow(e)
		size, err := f.pour(r)
		return size, f.crc, err
	})
}

func (b *batch) full() error {
	return diag.New(diag.ReadFailed, "source %q: the files of one batch have more than 2 GiB", b.source.cfg.Name).
		WithHint("set max_files_per_batch or max_bytes_per_batch (which counts packed bytes)")
}

// broken gathers what the files of a batch have that is damaged.
type broken struct {
	messages stream.Messages
	reasons  []string
}

func (x *broken) put(e entry, payload []byte, reason string) {
	m := &x.messages
	m.Append(uint64(e.Ordinal)<<40|brokenPart, payload)
	m.Published, m.File = append(m.Published, e.MTime), append(m.File, e.Path)
	x.reasons = append(x.reasons, reason)
}

// sum adds the broken payloads to the checksum of a range.
func (x *broken) sum(in *stream.Input) {
	if len(x.reasons) == 0 {
		return
	}
	in.Broken = &stream.Broken{Messages: &x.messages, Reasons: x.reasons}
	in.CRC = uint32(stream.Sum(in.CRC).Messages(&x.messages))
}

func (b *batch) finish(in *stream.Input) (*stream.Input, error) {
	if b.source.format == formatParquet {
		in.Rows, in.Parts, in.CRC = b.tables.take(), b.tables.parts, b.fileSum
		b.broken.sum(in)
		return in, nil
	}
	in.CRC = uint32(b.sum)
	if b.messages.Len() > 0 {
		in.Messages = b.messages
	} else {
		b.arenas.Give(b.messages)
	}
	b.broken.sum(in)
	return in, nil
}

func (b *batch) release() { b.tables.release() }

// recovered turns a panic of a reader over a damaged file into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the file is damaged: %v", r)
	}
}
