package wal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/tidemill/tidemill/internal/vfs"
)

const (
	readBytes    = 64 << 10
	searchBytes  = 1 << 20
	openTriesMax = 10
)

// Torn is the tail of a log that a crash cut off in the middle of a write. It was never acknowledged.
type Torn struct {
	Path   string // of the segment
	Offset int64  // where the tail begins
	Bytes  int64
	Reason string
	Copy   string // where Open has put it, or ""
}

// scanned is a log as a scan found it.
type scanned struct {
	segments []segment
	entries  int
	durable  Position // highest frame known to have been durable
	recorded Position // highest frame with entries
	torn     *Torn
	lastSize int64 // of the last file, its torn tail included
}

// frame is one frame with its entries.
type frame struct {
	frameHead
	entries []Entry
}

// badFrame is a frame that is not whole.
type badFrame struct {
	err  error
	lost bool // it can be the rest of a write that did not arrive
}

func (b *badFrame) Error() string { return b.err.Error() }

// openSegment is a segment file open for reading.
type openSegment struct {
	file vfs.File
	path string
	size int64
}

// openSegments opens all segments of dir. An owner may remove old ones meanwhile; then it looks again.
func openSegments(fsys vfs.FS, dir string) ([]openSegment, error) {
	for try := 1; ; try++ {
		paths, _, err := listSegments(fsys, dir)
		if err != nil {
			return nil, err
		}
		open, err := openPaths(fsys, paths)
		if err == nil {
			return open, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || try == openTriesMax {
			return nil, err
		}
	}
}

func openPaths(fsys vfs.FS, paths []string) ([]openSegment, error) {
	var open []openSegment
	for _, path := range paths {
		f, err := fsys.Open(path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), closeSegments(open))
		}
		open = append(open, openSegment{file: f, path: path})
		info, err := fsys.Stat(path)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open log: %w", err), closeSegments(open))
		}
		open[len(open)-1].size = info.Size()
	}
	return open, nil
}

func closeSegments(open []openSegment) error {
	var errs []error
	for _, s := range open {
		errs = append(errs, s.file.Close())
	}
	return errors.Join(errs...)
}

// scan reads all of open, the whole log, and hands each entry to fn. It applies the tail rule and changes
// nothing.
func scan(open []openSegment, fn func(Position, Entry) error) (*scanned, error) {
	log := &scanned{}
	for i, o := range open {
		s, err := readHeader(o)
		if err != nil {
			return log, err
		}
		if i > 0 {
			if err := s.follows(&log.segments[i-1]); err != nil {
				return log, corrupt(o.path, 0, err)
			}
		}
		log.segments = append(log.segments, s)
		log.durable, log.lastSize = max(log.durable, s.first-1), o.size
		err = log.scanSegment(o, &log.segments[i], fn)
		var bad *badFrame
		if errors.As(err, &bad) {
			err = log.judge(o, bad, i == len(open)-1)
		}
		if err != nil {
			return log, err
		}
	}
	return log, nil
}

func readHeader(o openSegment) (segment, error) {
	b := make([]byte, min(headerBytes, o.size))
	if n, err := o.file.ReadAt(b, 0); n < len(b) {
		return segment{}, fmt.Errorf("read log %q: %w", o.path, err)
	}
	return parseHeader(o.path, b)
}

func (l *scanned) scanSegment(o openSegment, s *segment, fn func(Position, Entry) error) error {
	r := newFrameReader(o, s)
	for {
		f, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		l.durable = max(l.durable, f.durable)
		if len(f.entries) > 0 {
			l.recorded = f.seq
		}
		l.entries += len(f.entries)
		for _, e := range f.entries {
			if err := fn(f.seq, e); err != nil {
				return err
			}
		}
	}
}

// judge applies the tail rule of the package comment to the frame after the last whole one.
func (l *scanned) judge(o openSegment, bad *badFrame, last bool) error {
	s := &l.segments[len(l.segments)-1]
	if !last || !bad.lost {
		return corrupt(o.path, s.size, bad.err)
	}
	acknowledged, err := findWitness(o, s)
	if err != nil {
		return err
	}
	if acknowledged {
		return corrupt(o.path, s.size, fmt.Errorf("%w, which a later frame says was durable,", bad.err))
	}
	l.torn = &Torn{Path: o.path, Offset: s.size, Bytes: o.size - s.size, Reason: bad.Error()}
	return nil
}

// findWitness looks behind the last whole frame of s for the head of a frame which says that the one that is
// not whole was durable. It need not read bodies, so it takes one pass however the bytes are.
func findWitness(o openSegment, s *segment) (bool, error) {
	buf := make([]byte, min(searchBytes, o.size-s.size))
	seqMax := s.next + Position((o.size-s.size)/frameHeadBytes) //nolint:gosec // a file's length
	for at := s.size; o.size-at >= frameHeadBytes; at += searchBytes - frameHeadBytes {
		b := buf[:min(int64(len(buf)), o.size-at)]
		if _, err := o.file.ReadAt(b, at); err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read log %q: %w", o.path, err)
		}
		for ; len(b) >= frameHeadBytes; b = b[alignBytes:] {
			seq := Position(binary.LittleEndian.Uint64(b[8:]))
			if seq <= s.next || seq > seqMax {
				continue // Cheaper than the checksum, and rules out nearly all.
			}
			if h, ok := parseHead(b, s.id); ok && h.durable >= s.next {
				return true, nil
			}
		}
	}
	return false, nil
}

// frameReader reads the frames of one segment and keeps its segment up to date with what it has seen.
type frameReader struct {
	buf *bufio.Reader
	o   openSegment
	seg *segment
}

func newFrameReader(o openSegment, s *segment) *frameReader {
	body := io.NewSectionReader(o.file, s.size, o.size-s.size)
	return &frameReader{buf: bufio.NewReaderSize(body, readBytes), o: o, seg: s}
}

// next returns the next frame, io.EOF behind the last one, a *badFrame if it is not whole, or what the disk
// says.
func (r *frameReader) next() (frame, error) {
	left := r.o.size - r.seg.size
	if left == 0 {
		return frame{}, io.EOF
	}
	if left < frameHeadBytes {
		return frame{}, &badFrame{fmt.Errorf("frame %d is cut off after %d bytes", r.seg.next, left), true}
	}
	b := make([]byte, frameHeadBytes)
	if err := r.read(b); err != nil {
		return frame{}, err
	}
	h, err := r.head(b, left)
	if err != nil {
		return frame{}, err
	}
	b = append(make([]byte, 0, frameHeadBytes+int(h.bodyBytes)), b...)[:frameHeadBytes+int(h.bodyBytes)]
	body := b[frameHeadBytes:]
	if err := r.read(body); err != nil {
		return frame{}, err
	}
	if castagnoli(body) != h.bodyCRC {
		lost := looksLost(b, r.seg.size) || r.zerosFollow()
		return frame{}, &badFrame{fmt.Errorf("the checksum of frame %d differs", h.seq), lost}
	}
	entries, err := parseBody(body, h.entries)
	if err != nil {
		return frame{}, &badFrame{fmt.Errorf("frame %d: %w", h.seq, err), false}
	}
	r.seg.next, r.seg.chain, r.seg.size = h.seq+1, h.crc, r.seg.size+int64(len(b))
	r.seg.entries += len(entries)
	return frame{h, entries}, nil
}

// head checks the head of the next frame, of whose segment left bytes are left. What it returns may be read.
func (r *frameReader) head(b []byte, left int64) (frameHead, error) {
	h, ok := parseHead(b, r.seg.id)
	switch {
	case !ok:
		lost := looksLost(b, r.seg.size) || r.zerosFollow()
		return h, &badFrame{fmt.Errorf("the checksum of the head of frame %d differs", r.seg.next), lost}
	case h.seq != r.seg.next:
		return h, &badFrame{fmt.Errorf("frame %d stands where %d is expected", h.seq, r.seg.next), false}
	case h.prev != r.seg.chain || h.durable >= h.seq:
		return h, &badFrame{fmt.Errorf("frame %d does not continue the one before", h.seq), false}
	case h.bodyBytes > FrameBytesMax-frameHeadBytes || h.bodyBytes%alignBytes != 0:
		return h, &badFrame{fmt.Errorf("frame %d has an impossible length of %d", h.seq, h.bodyBytes), false}
	case int64(h.bodyBytes) > left-frameHeadBytes:
		size := frameHeadBytes + int64(h.bodyBytes)
		return h, &badFrame{fmt.Errorf("frame %d is cut off after %d of %d bytes", h.seq, left, size), true}
	}
	return h, nil
}

// zerosFollow says whether zeros come next, with which neither a body nor a frame begins: the end of the file
// got its length and not its data.
func (r *frameReader) zerosFollow() bool {
	b, err := r.buf.Peek(alignBytes)
	return err == nil && zero(b)
}

func (r *frameReader) read(b []byte) error {
	if _, err := io.ReadFull(r.buf, b); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF // The file was longer a moment ago.
		}
		return fmt.Errorf("read log %q: %w", r.o.path, err)
	}
	return nil
}
