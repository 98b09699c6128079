package state

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"iter"
	"path/filepath"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// The constants of the file format never change under the same magic.
const (
	partMagic    = "TMSTATE1"
	blockBytes   = 64 << 10
	trailerBytes = 40
	flagBase     = 1
)

// trailer is the end of a part file: how to read what stands before it.
type trailer struct {
	batch   int64
	put     int64 // bytes of the stream of put rows
	deleted int64 // bytes of the stream of deleted keys
	flags   uint32
	crc     uint32
}

func (t trailer) blocks() int64 { return (t.put + t.deleted + blockBytes - 1) / blockBytes }

func (t trailer) fileBytes() int64 { return t.put + t.deleted + 4*t.blocks() + trailerBytes }

// encode appends the trailer to the block checksums and seals both with crc.
func (t *trailer) encode(sums []byte) []byte {
	b := append(sums, partMagic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(t.batch))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.put))
	b = binary.LittleEndian.AppendUint64(b, uint64(t.deleted))
	b = binary.LittleEndian.AppendUint32(b, t.flags)
	t.crc = crc32.Checksum(b, castagnoli())
	return binary.LittleEndian.AppendUint32(b, t.crc)
}

// decodeTrailer reads the last bytes of a file of size bytes. It fails if they can not be the end of one.
func decodeTrailer(b []byte, size int64) (trailer, error) {
	if len(b) != trailerBytes || string(b[:8]) != partMagic {
		return trailer{}, errors.New("the file does not end in a trailer")
	}
	t := trailer{
		batch:   int64(binary.LittleEndian.Uint64(b[8:])),
		put:     int64(binary.LittleEndian.Uint64(b[16:])),
		deleted: int64(binary.LittleEndian.Uint64(b[24:])),
		flags:   binary.LittleEndian.Uint32(b[32:]),
		crc:     binary.LittleEndian.Uint32(b[36:]),
	}
	fits := t.put >= 0 && t.deleted >= 0 && t.put <= size && t.deleted <= size && t.fileBytes() == size
	if !fits {
		return trailer{}, errors.New("the trailer's lengths are not those of the file")
	}
	return t, nil
}

// syncBytes is how much of a file is written before it is synced: the log of the batches that go on meanwhile is on the
// same disk, and a sync there waits for what others have left to the last.
const syncBytes = 4 << 20

// partWriter writes whole blocks and remembers the checksum of each.
type partWriter struct {
	ctx      context.Context //nolint:containedctx // the writer lives inside one call that has it
	f        vfs.File
	buf      []byte
	sums     []byte
	bytes    int64
	unsynced int
	also     hash.Hash // of the copies: the name comes from the content
}

func (w *partWriter) Write(p []byte) (int, error) {
	n := len(p)
	if w.also != nil {
		w.also.Write(p)
	}
	w.bytes += int64(n)
	for len(p) > 0 {
		k := min(blockBytes-len(w.buf), len(p))
		w.buf = append(w.buf, p[:k]...)
		p = p[k:]
		if len(w.buf) == blockBytes {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *partWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.ctx.Err(); err != nil {
		return context.Cause(w.ctx)
	}
	w.sums = binary.LittleEndian.AppendUint32(w.sums, crc32.Checksum(w.buf, castagnoli()))
	if _, err := w.f.Write(w.buf); err != nil {
		return fmt.Errorf("write block: %w", err)
	}
	w.unsynced += len(w.buf)
	w.buf = w.buf[:0]
	if w.unsynced < syncBytes {
		return nil
	}
	w.unsynced = 0
	if err := w.f.Sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// stream writes records as one Arrow IPC stream, and returns its length and how many rows there were.
func (w *partWriter) stream(records iter.Seq[arrow.Record]) (bytes, rows int64, err error) {
	before := w.bytes
	var out *ipc.Writer
	for r := range records {
		if out == nil {
			out = ipc.NewWriter(w, ipc.WithSchema(r.Schema()))
		}
		err := out.Write(r)
		rows += r.NumRows()
		r.Release()
		if err != nil {
			return 0, 0, errors.Join(fmt.Errorf("write record: %w", err), out.Close())
		}
	}
	if out == nil {
		return 0, 0, nil
	}
	if err := out.Close(); err != nil {
		return 0, 0, fmt.Errorf("end stream: %w", err)
	}
	return w.bytes - before, rows, nil
}

// partContent is what one part file holds.
type partContent struct {
	batch int64
	base  bool
	rows  Rows
	also  hash.Hash
}

// partRows says how many rows a part file has.
type partRows struct{ rows, deleted int64 }

// writePart makes a part file durable, all but its name.
func writePart(ctx context.Context, fsys vfs.FS, path string, c partContent) (t trailer, n partRows, err error) {
	f, err := fsys.Create(path)
	if err != nil {
		return trailer{}, n, fmt.Errorf("create %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := &partWriter{ctx: ctx, f: f, buf: make([]byte, 0, blockBytes), also: c.also}
	t.batch = c.batch
	if c.base {
		t.flags = flagBase
	}
	if t.put, n.rows, err = w.stream(c.rows.Rows()); err != nil {
		return trailer{}, n, fmt.Errorf("write %s: %w", path, err)
	}
	if t.deleted, n.deleted, err = w.stream(c.rows.Gone()); err != nil {
		return trailer{}, n, fmt.Errorf("write %s: %w", path, err)
	}
	if err := w.flush(); err != nil {
		return trailer{}, n, fmt.Errorf("write %s: %w", path, err)
	}
	if _, err := f.Write(t.encode(w.sums)); err != nil {
		return trailer{}, n, fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Sync(); err != nil {
		return trailer{}, n, fmt.Errorf("sync %s: %w", path, err)
	}
	return t, n, nil
}

func corrupt(path string, at int64, format string, args ...any) *diag.Error {
	return diag.New(diag.StateCorrupt, "%s: byte %d: %s", path, at, fmt.Sprintf(format, args...)).
		WithNote("the file had been written and synced whole, so this is damage, not a crash; "+
			"nothing was changed").
		WithHint("restore the data directory from a copy, or start the query anew in another one; "+
			"if an older version is there, removing the newest manifest (.json) in %q goes back to it",
			filepath.Dir(path))
}

// checkPart reads a whole part file and compares every checksum. Faults of the disk come back as they are,
// faults of the content as STATE_CORRUPT.
func checkPart(ctx context.Context, f vfs.File, path string, size int64) (trailer, error) {
	if size < trailerBytes {
		return trailer{}, corrupt(path, size, "the file ends here and has no trailer")
	}
	end := make([]byte, trailerBytes)
	if err := readAt(f, end, path, size-trailerBytes); err != nil {
		return trailer{}, err
	}
	t, err := decodeTrailer(end, size)
	if err != nil {
		return trailer{}, corrupt(path, size-trailerBytes, "%s", err)
	}
	sums := make([]byte, 4*t.blocks(), 4*t.blocks()+trailerBytes)
	if err := readAt(f, sums, path, t.put+t.deleted); err != nil {
		return trailer{}, err
	}
	if got := crc32.Checksum(append(sums, end[:trailerBytes-4]...), castagnoli()); got != t.crc {
		return trailer{}, corrupt(path, t.put+t.deleted,
			"the checksum of the block checksums and the trailer differs")
	}
	return t, checkBlocks(ctx, f, path, t, sums)
}

func checkBlocks(ctx context.Context, f vfs.File, path string, t trailer, sums []byte) error {
	block := make([]byte, blockBytes)
	for at, i := int64(0), 0; at < t.put+t.deleted; at, i = at+blockBytes, i+1 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b := block[:min(blockBytes, t.put+t.deleted-at)]
		if err := readAt(f, b, path, at); err != nil {
			return err
		}
		if crc32.Checksum(b, castagnoli()) != binary.LittleEndian.Uint32(sums[4*i:]) {
			return corrupt(path, at, "the checksum of the %d bytes from here differs", len(b))
		}
	}
	return nil
}

func readAt(f vfs.File, b []byte, path string, at int64) error {
	n, err := f.ReadAt(b, at)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return corrupt(path, at+int64(n), "the file ends here, %d bytes are missing", len(b)-n)
	}
	return fmt.Errorf("read %s at byte %d: %w", path, at, err)
}

// groupRows is how many rows are handed on at once: large enough that a statement per group costs nothing,
// small enough that loading needs little memory.
const groupRows = 64 << 10

// readStream gives the records of an IPC stream in groups and returns how many rows there were.
func readStream(r io.Reader, mem memory.Allocator, fn func([]arrow.Record) error) (rows int64, err error) {
	disk := &diskReader{r: r}
	in, err := ipc.NewReader(disk, ipc.WithAllocator(mem))
	if err != nil {
		return 0, disk.fault(fmt.Errorf("read schema: %w", err))
	}
	defer in.Release()
	var group []arrow.Record
	var grouped int64
	release := func() {
		for _, r := range group {
			r.Release()
		}
		group, grouped = group[:0], 0
	}
	defer release()
	for in.Next() {
		rec := in.Record()
		rec.Retain()
		group, grouped, rows = append(group, rec), grouped+rec.NumRows(), rows+rec.NumRows()
		if grouped < groupRows {
			continue
		}
		if err := fn(group); err != nil {
			return rows, &callError{err}
		}
		release()
	}
	if err := in.Err(); err != nil {
		return rows, disk.fault(fmt.Errorf("read records: %w", err))
	}
	if len(group) > 0 {
		if err := fn(group); err != nil {
			return rows, &callError{err}
		}
	}
	return rows, nil
}

// diskReader remembers a fault of the disk, which Arrow's reader words anew and does not pass on.
type diskReader struct {
	r   io.Reader
	err error
}

func (d *diskReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		d.err = err
	}
	return n, err
}

// fault returns what the disk failed with if it did, else err, which then speaks of damage.
func (d *diskReader) fault(err error) error {
	if d.err != nil {
		return &callError{fmt.Errorf("read state: %w", d.err)}
	}
	return err
}

// callError tells a fault of the caller's function or of the disk from damage of the file.
type callError struct{ err error }

func (e *callError) Error() string { return e.err.Error() }
func (e *callError) Unwrap() error { return e.err }

// section is the stream of size bytes from byte from of a part file. The buffer keeps Arrow's many small
// header reads from becoming system calls of their own.
func section(f vfs.File, from, size int64) io.Reader {
	return bufio.NewReaderSize(io.NewSectionReader(f, from, size), blockBytes)
}
