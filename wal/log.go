package wal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"

	"github.com/tidemill/tidemill/internal/vfs"
)

const (
	segmentBytesDefault = 16 << 20
	minSegmentsDefault  = 2
	keptBufferBytesMax  = 1 << 20
)

// Options say where a log is and how it is cut.
type Options struct {
	FS  vfs.FS
	Dir string   // made if it is not there
	ID  [16]byte // whose log it is; a log of another id is refused
	// SegmentBytes is the size from which on Full asks for a Rotate. Default 16 MiB.
	SegmentBytes int64
	// MinSegments is how many segments Trim leaves at least. Default 2.
	MinSegments int
	// FrameBytesMax is the largest frame that Append takes. Default and upper bound FrameBytesMax.
	FrameBytesMax int64
}

func (o Options) withDefaults() Options {
	if o.SegmentBytes == 0 {
		o.SegmentBytes = segmentBytesDefault
	}
	if o.MinSegments == 0 {
		o.MinSegments = minSegmentsDefault
	}
	if o.FrameBytesMax == 0 {
		o.FrameBytesMax = FrameBytesMax
	}
	return o
}

// Validate reports all that is wrong with o.
func (o Options) Validate() error {
	var errs []error
	if o.FS == nil {
		errs = append(errs, errors.New("the log needs a file system"))
	}
	if o.Dir == "" {
		errs = append(errs, errors.New("the log needs a directory"))
	}
	if o.SegmentBytes < 0 || o.MinSegments < 0 {
		errs = append(errs, errors.New("the sizes of a log can not be negative"))
	}
	if o.FrameBytesMax < 0 || o.FrameBytesMax > FrameBytesMax {
		errs = append(errs, fmt.Errorf("a frame can have up to %d bytes, not %d", FrameBytesMax, o.FrameBytesMax))
	}
	return errors.Join(errs...)
}

// A Log is the log of one owner, who keeps others away with vfs.Lock. Its methods may be called concurrently;
// each waits for the one before. After an error of the disk every call returns that error, but Close, which
// closes.
type Log struct {
	o  Options
	mu sync.Mutex

	// Guarded by mu.
	segments []segment // oldest first; frames go to the last
	file     vfs.File  // of the last segment
	durable  Position  // highest frame that is synced
	marked   bool      // the last frame is a mark, or there is none
	err      error     // of the disk, or fs.ErrClosed
	closed   bool
	buf      []byte
}

// Append writes entries, at least one, as one frame in one call, and returns its position. After a crash
// either all of them are there or none. They are durable after the next Sync that returns nil, and until then
// the caller must do nothing that others can see. It does not keep the payloads. A frame longer than
// FrameBytesMax is refused and the log stays usable.
func (l *Log) Append(entries ...Entry) (Position, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	if len(entries) == 0 {
		return 0, errors.New("append to log: no entries")
	}
	return l.append(entries)
}

func (l *Log) append(entries []Entry) (Position, error) {
	if err := checkEntries(entries, l.o.FrameBytesMax); err != nil {
		return 0, fmt.Errorf("append to log: %w", err)
	}
	s := l.last()
	seq := s.next
	h := frameHead{seq: seq, durable: l.durable, prev: s.chain}
	b, crc := appendFrame(l.buf[:0], s.id, h, entries)
	if l.buf = b; cap(b) > keptBufferBytesMax {
		l.buf = nil
	}
	if err := writeAll(l.file, b); err != nil {
		return 0, l.poison("write log", err)
	}
	s.next, s.chain, s.size = seq+1, crc, s.size+int64(len(b))
	s.entries += len(entries)
	l.marked = len(entries) == 0
	return seq, nil
}

// Sync makes everything appended so far durable. It does nothing if it is already.
func (l *Log) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	return l.sync()
}

func (l *Log) sync() error {
	newest := l.last().next - 1
	if l.durable == newest {
		return nil
	}
	if err := l.file.Sync(); err != nil {
		return l.poison("sync log", err)
	}
	l.durable = newest
	return nil
}

// Rotate begins a new segment with head, if any, as its first frame. What was appended before is made durable
// first. On return the new segment and head are durable. A log whose current segment is empty keeps that one.
// If Rotate fails, the next Open finds the log with head or without.
func (l *Log) Rotate(head ...Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return l.err
	}
	if err := checkEntries(head, l.o.FrameBytesMax); err != nil {
		return fmt.Errorf("rotate log: %w", err)
	}
	if err := l.sync(); err != nil { // No segment is made before all in front of it is durable.
		return err
	}
	old := l.last()
	if old.next == old.first {
		if len(head) == 0 {
			return nil
		}
		if _, err := l.append(head); err != nil {
			return err
		}
		return l.sync()
	}
	s := segment{
		path: segmentPath(l.o.Dir, old.next), id: old.id, number: old.number + 1,
		first: old.next, prev: old.chain, next: old.next, chain: old.chain,
	}
	file, err := makeSegment(l.o.FS, &s, head)
	if err != nil {
		return l.poison("begin log segment", err)
	}
	done := l.file
	l.segments, l.file = append(l.segments, s), file
	l.durable, l.marked = s.next-1, len(head) == 0
	if err := done.Close(); err != nil {
		return l.poison("close log segment", err)
	}
	return nil
}

// makeSegment makes the file of s, durable with its name, and opens it for writing.
func makeSegment(fsys vfs.FS, s *segment, head []Entry) (vfs.File, error) {
	b := s.header()
	if len(head) > 0 {
		b, s.chain = appendFrame(b, s.id, frameHead{seq: s.next, durable: s.next - 1, prev: s.chain}, head)
		s.next++
		s.entries = len(head)
	}
	s.size = int64(len(b))
	tmp := s.path + tmpSuffix
	write := func(f vfs.File) error { return writeAll(f, b) }
	if err := makeFile(fsys, tmp, write); err != nil {
		return nil, err
	}
	if err := fsys.RenameNew(tmp, s.path); err != nil {
		return nil, err
	}
	if err := fsys.SyncDir(filepath.Dir(s.path)); err != nil {
		return nil, err
	}
	return fsys.Append(s.path)
}

// makeFile makes a file with what write puts into it, synced, its name not. It leaves nothing behind if it
// can.
func makeFile(fsys vfs.FS, name string, write func(vfs.File) error) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = fsys.Remove(name) // On a full disk it would be in the way; else Open removes it.
	}
	return err
}

// Trim removes the oldest segments that hold only frames before the position, but leaves MinSegments. It
// returns how many it removed, durably. If a file can not be removed the log stays usable.
func (l *Log) Trim(before Position) (removed int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	for len(l.segments) > max(1, l.o.MinSegments) && l.segments[1].first <= before {
		path := l.segments[0].path
		if err := l.o.FS.Remove(path + tornSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return removed, fmt.Errorf("trim log: %w", err)
		}
		if err := l.o.FS.Remove(path); err != nil {
			return removed, fmt.Errorf("trim log: %w", err)
		}
		l.segments = l.segments[1:]
		// One by one: a crash could otherwise bring an older segment back and not the one behind it.
		if err := l.o.FS.SyncDir(l.o.Dir); err != nil {
			return removed, l.poison("sync log", err)
		}
		removed++
	}
	return removed, nil
}

// Read hands all retained entries from position from on to fn, in order, those not yet synced included, and
// returns the first error of fn. fn may keep the payload, and call the log, except Trim.
func (l *Log) Read(from Position, fn func(Position, Entry) error) error {
	l.mu.Lock()
	segments, err := append([]segment(nil), l.segments...), l.err
	l.mu.Unlock()
	if err != nil {
		return err
	}
	for _, s := range segments {
		if s.next <= from {
			continue
		}
		if err := readSegment(l.o.FS, s, from, fn); err != nil {
			return err
		}
	}
	return nil
}

func readSegment(fsys vfs.FS, s segment, from Position, fn func(Position, Entry) error) error {
	f, err := fsys.Open(s.path)
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	err = readFrames(openSegment{file: f, path: s.path, size: s.size}, s, from, fn)
	return errors.Join(err, f.Close())
}

func readFrames(o openSegment, s segment, from Position, fn func(Position, Entry) error) error {
	s.next, s.chain, s.size = s.first, s.prev, headerBytes
	r := newFrameReader(o, &s)
	for {
		f, err := r.next()
		var bad *badFrame
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad): // It was whole when it was written or opened.
			return corrupt(o.path, s.size, bad.err)
		case err != nil:
			return err
		case f.seq < from:
			continue
		}
		for _, e := range f.entries {
			if err := fn(f.seq, e); err != nil {
				return err
			}
		}
	}
}

// Size returns the bytes of all segments.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var n int64
	for i := range l.segments {
		n += l.segments[i].size
	}
	return n
}

// SegmentSize returns the bytes of the segment that frames go to.
func (l *Log) SegmentSize() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last().size
}

// Full says that the segment that frames go to has reached SegmentBytes and Rotate is due.
func (l *Log) Full() bool { return l.SegmentSize() >= l.o.SegmentBytes }

// Close makes everything durable, leaves a mark that says so, and closes the log. After an error of the disk
// it writes nothing and returns that error. A second Close does nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	err := l.err
	if err == nil {
		err = l.finish()
	}
	err = errors.Join(err, l.file.Close())
	l.err = fmt.Errorf("log %q: %w", l.o.Dir, fs.ErrClosed)
	return err
}

func (l *Log) finish() error {
	if err := l.sync(); err != nil {
		return err
	}
	if l.marked {
		return nil
	}
	if _, err := l.append(nil); err != nil {
		return err
	}
	return l.sync()
}

func (l *Log) last() *segment { return &l.segments[len(l.segments)-1] }

// poison makes err the answer to every later call: what the kernel has kept of a failed write or sync is
// unknown.
func (l *Log) poison(what string, err error) error {
	l.err = failed(what, l.last().path, err)
	return l.err
}

func writeAll(f vfs.File, b []byte) error {
	n, err := f.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
