package compression

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/DataDog/zstd"
	"github.com/pierrec/lz4/v4"
)

// kind is how a payload is compressed.
type kind string

const (
	plain     kind = ""
	lz4Frame  kind = "LZ4 frame"
	zstdFrame kind = "Zstandard frame"
	gzipFile  kind = "gzip file"
)

// kindOf tells it by the first bytes.
func kindOf(payload []byte) kind {
	switch {
	case bytes.HasPrefix(payload, []byte{0x04, 0x22, 0x4d, 0x18}):
		return lz4Frame
	case bytes.HasPrefix(payload, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstdFrame
	case bytes.HasPrefix(payload, []byte{0x1f, 0x8b, 0x08}):
		return gzipFile
	}
	return plain
}

// Compressed reports whether a payload begins as a compressed one does.
func Compressed(payload []byte) bool { return kindOf(payload) != plain }

// A Decompressor restores payloads, into memory that it fills again. One goroutine at a time may use it.
type Decompressor struct {
	most int
	out  []byte
	zstd zstd.Ctx
	lz4  *lz4.Reader
	gzip gzip.Reader
}

// NewDecompressor returns one that restores payloads of at most so many bytes.
func NewDecompressor(most int) *Decompressor { return &Decompressor{most: most} }

// Decompress returns what a compressed payload holds, valid until the next call; any other payload it returns as it is. The
// error says in one line what is wrong with the payload.
func (d *Decompressor) Decompress(payload []byte) ([]byte, error) {
	var err error
	kind := kindOf(payload)
	switch kind {
	case plain:
		return payload, nil
	case zstdFrame:
		err = d.zstdFrames(payload)
	case lz4Frame:
		err = d.lz4Frames(payload)
	case gzipFile:
		err = d.gzip.Reset(bytes.NewReader(payload))
		if d.out = d.out[:0]; err == nil {
			err = d.drain(&d.gzip)
		}
	}
	var large tooLargeError
	switch {
	case errors.As(err, &large):
		return nil, large
	case err != nil:
		return nil, fmt.Errorf("it begins as a %s and is no whole one: %w", kind, err)
	}
	return d.out, nil
}

// Idle gives up the memory that is kept to be filled again.
func (d *Decompressor) Idle() { d.out = nil }

// tooLargeError is about a payload that holds more than these bytes.
type tooLargeError int

func (e tooLargeError) Error() string {
	return fmt.Sprintf("it has more than %d bytes when decompressed", int(e))
}

// least is how much memory is used before more is looked for, so that a block of LZ4 goes there without a copy.
const least = 512 << 10

// zstdFrames restores Zstandard frames. How long they claim to be is not believed: memory grows until they fit or are too
// large.
func (d *Decompressor) zstdFrames(payload []byte) error {
	if d.zstd == nil {
		d.zstd = zstd.NewCtx()
	}
	for size := max(cap(d.out), least); ; size *= 2 {
		size = min(size, d.most)
		d.out = slices.Grow(d.out[:0], size)[:size]
		n, err := d.zstd.DecompressInto(d.out, payload)
		switch {
		case err == nil:
			d.out = d.out[:n]
			return nil
		case !zstd.IsDstSizeTooSmallError(err):
			return err //nolint:wrapcheck // the caller says what it is about
		case size == d.most:
			return tooLargeError(d.most)
		}
	}
}

// lz4Frames restores LZ4 frames, one behind the other.
func (d *Decompressor) lz4Frames(payload []byte) error {
	if d.lz4 == nil {
		d.lz4 = lz4.NewReader(nil)
	}
	rest := &whole{*bytes.NewReader(payload)}
	for d.out = d.out[:0]; rest.Len() > 0; {
		d.lz4.Reset(rest)
		if err := d.drain(d.lz4); err != nil {
			return err
		}
	}
	return nil
}

// whole is a reader of frames that say themselves where they end: who asks for more has one that is cut short.
type whole struct{ bytes.Reader }

func (w *whole) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err //nolint:wrapcheck // nothing else can go wrong
}

// drain appends all that a reader gives.
func (d *Decompressor) drain(r io.Reader) error {
	for {
		if cap(d.out)-len(d.out) < least {
			d.out = slices.Grow(d.out, max(cap(d.out), least))
		}
		n, err := r.Read(d.out[len(d.out):min(cap(d.out), d.most+1)])
		d.out = d.out[:len(d.out)+n]
		switch {
		case len(d.out) > d.most:
			return tooLargeError(d.most)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err //nolint:wrapcheck // the caller says what it is about
		}
	}
}
