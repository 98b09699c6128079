package jetstream

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// A spool file keeps what one range gave, for streams that may not give it again. Its name is <from>-<to>.spool. It is
// durable before Read returns and is removed when a state version holds the range. Its content, numbers of fixed size
// little endian:
//
//	crc32c u32 | length of head uvarint | head, JSON | per message: sequence − the one before uvarint,
//	payload length uvarint, and if head.published: time varint | payloads
const spoolSuffix = ".spool"

// spoolHead is what a spool file says beside sequences, times and payloads.
type spoolHead struct {
	Messages  int                 `json:"messages"`
	Lost      int64               `json:"lost"`
	CRC       uint32              `json:"crc"`
	Published bool                `json:"published,omitempty"`
	Subject   []string            `json:"subject,omitempty"`
	Headers   []map[string]string `json:"headers,omitempty"`
}

func (s *source) spoolPath(from, to uint64) string {
	return filepath.Join(s.cfg.Dir, fmt.Sprintf("%d-%d%s", from, to, spoolSuffix))
}

// spool keeps in durably.
func (s *source) spool(from, to uint64, in *stream.Input) error {
	data, err := encodeSpool(in)
	if err != nil {
		return fmt.Errorf("encode spool of source %q: %w", s.cfg.Name, err)
	}
	if err := s.cfg.FS.MkdirAll(s.cfg.Dir); err != nil {
		return fmt.Errorf("make spool of source %q: %w", s.cfg.Name, err)
	}
	if err := vfs.WriteFile(s.cfg.FS, s.spoolPath(from, to), data); err != nil {
		return fmt.Errorf("spool source %q: %w", s.cfg.Name, err)
	}
	return nil
}

func encodeSpool(in *stream.Input) ([]byte, error) {
	m := in.Messages
	head := spoolHead{Messages: m.Len(), Lost: in.Lost, CRC: in.CRC}
	if m != nil {
		head.Published, head.Subject, head.Headers = m.Published != nil, m.Subject, m.Headers
	}
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err //nolint:wrapcheck // spool wraps it
	}
	data := binary.AppendUvarint(make([]byte, 4, 4+10+len(text)), uint64(len(text)))
	data = append(data, text...)
	if m != nil {
		data = slices.Grow(data, len(m.Data)+16*m.Len())
	}
	before := uint64(0)
	for i := range m.Len() {
		data = binary.AppendUvarint(data, m.Sequence[i]-before)
		data = binary.AppendUvarint(data, uint64(len(m.Payload(i))))
		if head.Published {
			data = binary.AppendVarint(data, m.Published[i])
		}
		before = m.Sequence[i]
	}
	if m != nil {
		data = append(data, m.Data...)
	}
	return seal(data), nil
}

// seal fills in the checksum of what follows it.
func seal(data []byte) []byte {
	binary.LittleEndian.PutUint32(data, crc32.Checksum(data[4:], crc32.MakeTable(crc32.Castagnoli)))
	return data
}

// decodeSpool is the inverse of encodeSpool; it returns false for anything that encodeSpool did not make.
func decodeSpool(data []byte) (*stream.Input, bool) {
	if len(data) < 4 ||
		binary.LittleEndian.Uint32(data) != crc32.Checksum(data[4:], crc32.MakeTable(crc32.Castagnoli)) {
		return nil, false
	}
	r := spoolReader{rest: data[4:]}
	var head spoolHead
	if json.Unmarshal(r.bytes(r.uvarint()), &head) != nil || head.Messages < 0 || head.Messages > len(r.rest) {
		return nil, false
	}
	in := &stream.Input{Lost: head.Lost, CRC: head.CRC}
	if head.Messages == 0 {
		return in, !r.bad && len(r.rest) == 0
	}
	n := head.Messages
	if head.Subject != nil && len(head.Subject) != n || head.Headers != nil && len(head.Headers) != n {
		return nil, false
	}
	m := &stream.Messages{Ends: make([]int, n), Sequence: make([]uint64, n), Subject: head.Subject, Headers: head.Headers}
	if head.Published {
		m.Published = make([]int64, n)
	}
	sequence, end := uint64(0), uint64(0)
	for i := range n {
		sequence += r.uvarint()
		if end += r.uvarint(); r.bad || end > uint64(len(data)) {
			return nil, false
		}
		m.Sequence[i], m.Ends[i] = sequence, int(end) //nolint:gosec // checked above
		if head.Published {
			m.Published[i] = r.varint()
		}
	}
	m.Data = r.bytes(end)
	in.Messages = m
	return in, !r.bad && len(r.rest) == 0
}

// spoolReader takes values from the front of bytes until one is not there.
type spoolReader struct {
	rest []byte
	bad  bool
}

func (r *spoolReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *spoolReader) varint() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *spoolReader) skip(n int) {
	if n <= 0 {
		r.bad, r.rest = true, nil
		return
	}
	r.rest = r.rest[n:]
}

func (r *spoolReader) bytes(n uint64) []byte {
	if r.bad || n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

// unspool returns what a range gave before, or nil if it was not spooled.
func (s *source) unspool(from, to uint64) (*stream.Input, error) {
	if s.cfg.FS == nil {
		return nil, nil //nolint:nilnil // documented
	}
	path := s.spoolPath(from, to)
	data, err := vfs.ReadFile(s.cfg.FS, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // documented
	}
	if err == nil { // the process may have died between the rename and the sync of its name
		err = s.cfg.FS.SyncDir(s.cfg.Dir)
	}
	if err != nil {
		return nil, fmt.Errorf("read spool of source %q: %w", s.cfg.Name, err)
	}
	in, ok := decodeSpool(data)
	if !ok {
		return nil, diag.New(diag.StateCorrupt, "spool file %s of source %q is damaged", path, s.cfg.Name).
			WithHint("restore the file, or start the query in a new data dir")
	}
	return in, nil
}

// Acknowledge implements stream.Source: the server is told where it keeps messages for us, and spooled ranges up to the
// position are removed.
func (s *source) Acknowledge(ctx context.Context, to stream.Offset) error {
	upTo, err := s.sequence(to)
	if err != nil || s.cfg.FS == nil {
		return err
	}
	s.release(ctx, upTo)
	names, err := s.cfg.FS.List(s.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list spool of source %q: %w", s.cfg.Name, err)
	}
	for _, name := range names {
		bare, isSpool := strings.CutSuffix(strings.TrimSuffix(name, ".tmp"), spoolSuffix)
		_, end, _ := strings.Cut(bare, "-")
		last, err := strconv.ParseUint(end, 10, 64)
		if !isSpool || err != nil || last > upTo {
			continue
		}
		if err := s.cfg.FS.Remove(filepath.Join(s.cfg.Dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("drop spool of source %q: %w", s.cfg.Name, err)
		}
	}
	return nil
}
