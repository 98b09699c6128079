package file

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

const (
	formatParquet = "parquet"
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

// content is a file as it was read.
type content struct {
	entry
	data []byte
}

// Read reads the files of the range again and checks that they are what they were.
func (s *source) Read(ctx context.Context, r stream.Range) (*stream.Input, error) {
	files, err := s.files(r)
	if err != nil {
		return nil, err
	}
	in := &stream.Input{}
	b := &batch{source: s, messages: &stream.Messages{}}
	defer b.release()
	crcs := map[int64]uint32{}
	for _, e := range files {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		c, err := s.load(e)
		if lost := diag.CodeOf(err) == diag.DataLoss; lost && s.skip {
			in.Lost++
			continue
		}
		if err == nil {
			err = b.add(ctx, c)
		}
		if err != nil {
			return nil, err
		}
		crc := crc32.Checksum(c.data, castagnoli())
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

// batch gathers the files of one range.
type batch struct {
	source   *source
	messages *stream.Messages
	broken   broken
	tables   tables
	fileSum  uint32 // over (ordinal, checksum) of the files
}

func (b *batch) crc(ordinal int64, crc uint32) {
	var buf [12]byte
	binary.LittleEndian.PutUint64(buf[:], uint64(ordinal))
	binary.LittleEndian.PutUint32(buf[8:], crc)
	b.fileSum = crc32.Update(b.fileSum, castagnoli(), buf[:])
}

func (b *batch) add(ctx context.Context, c content) error {
	if b.source.format == formatParquet {
		return b.tables.add(ctx, b.source, c, &b.broken)
	}
	data := c.data
	if strings.HasSuffix(c.Path, ".gz") {
		var err error
		if data, err = b.unpack(c); err != nil {
			return err
		}
	}
	if len(b.messages.Data)+len(data) > arenaMax {
		return diag.New(diag.ReadFailed, "source %q: the files of one batch have more than 2 GiB", b.source.cfg.Name).
			WithHint("set max_files_per_batch or max_bytes_per_batch (which counts packed bytes)")
	}
	b.split(c.entry, data)
	return nil
}

// unpack returns what a .gz file has unpacked. Of one that is cut short these are the whole lines before the cut, which
// are as right as if the file were whole; what comes after them is one broken payload. Of one that is damaged in
// another way nothing is used, because unpacking may notice a wrong byte long after it gave something wrong for it.
func (b *batch) unpack(c content) ([]byte, error) {
	data, damage := gunzip(c.data)
	if errors.Is(damage, errUnpacked) || damage != nil && b.source.cfg.Options.String("on_error") == "fail" {
		return nil, diag.Wrap(diag.ReadFailed, damage, "source %q: file %q can not be unpacked", b.source.cfg.Name, c.Path).
			WithHint(mendFile)
	}
	if damage == nil {
		return data, nil
	}
	whole := 0
	if errors.Is(damage, io.ErrUnexpectedEOF) && b.source.byLine() {
		whole = bytes.LastIndexByte(data, '\n') + 1
	}
	rest := data[whole:]
	reason := fmt.Sprintf("the packed file is damaged: %v; its first %d bytes unpacked are used, the rest is not", damage, whole)
	if whole == 0 {
		reason = fmt.Sprintf("the packed file is damaged: %v; nothing of it is used", damage)
	}
	if len(data) == 0 {
		rest = c.data // it is no packed file at all
	}
	b.broken.put(c.entry, rest[:min(len(rest), chunkBytes)], reason)
	return data[:whole], nil
}

// byLine reports that a part of a file up to the end of a line means what it means in the whole file.
func (s *source) byLine() bool {
	return s.format == "ndjson" || s.format == "text" || s.format == "csv"
}

// errUnpacked is about a limit and not about the file.
var errUnpacked = errors.New("it has more than 2 GiB unpacked")

// gunzip returns what can be unpacked, and the error that ended it.
func gunzip(data []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // an empty file
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // unpack wraps it
	}
	out, err := io.ReadAll(io.LimitReader(r, arenaMax+1))
	if err == nil && len(out) > arenaMax {
		err = errUnpacked
	}
	return out, err
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
	addSum(in, &x.messages)
}

// split makes messages out of a file: lines of text, chunks of whole lines of ndjson, else the file itself.
func (b *batch) split(e entry, data []byte) {
	part := uint64(0)
	put := func(payload []byte) {
		m := b.messages
		m.Append(uint64(e.Ordinal)<<40|part, payload)
		m.Published, m.File = append(m.Published, e.MTime), append(m.File, e.Path)
		part++
	}
	switch b.source.format {
	case "text":
		for len(data) > 0 {
			text, rest, _ := bytes.Cut(data, []byte{'\n'})
			put(bytes.TrimSuffix(text, []byte{'\r'}))
			data = rest
		}
	case "ndjson":
		for len(data) > 0 {
			end := len(data)
			if end > chunkBytes {
				if i := bytes.IndexByte(data[chunkBytes:], '\n'); i >= 0 {
					end = chunkBytes + i + 1
				}
			}
			put(data[:end])
			data = data[end:]
		}
	case "csv":
		if len(data) > 0 {
			put(data)
		}
	default:
		put(data)
	}
}

func (b *batch) finish(in *stream.Input) (*stream.Input, error) {
	if b.source.format == formatParquet {
		rows, err := b.tables.join(b.source)
		in.Rows, in.Parts, in.CRC = rows, b.tables.parts, b.fileSum
		b.broken.sum(in)
		return in, err
	}
	if b.messages.Len() > 0 {
		in.Messages = b.messages
		addSum(in, b.messages)
	}
	b.broken.sum(in)
	return in, nil
}

func addSum(in *stream.Input, m *stream.Messages) {
	var sequence [8]byte
	for i, n := range m.Sequence {
		binary.LittleEndian.PutUint64(sequence[:], n)
		in.CRC = crc32.Update(in.CRC, castagnoli(), sequence[:])
		in.CRC = crc32.Update(in.CRC, castagnoli(), m.Payload(i))
	}
}

func (b *batch) release() { b.tables.release() }

// recovered turns a panic of a reader over a damaged file into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the file is damaged: %v", r)
	}
}
