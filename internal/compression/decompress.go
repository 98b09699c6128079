package compression

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"

	"github.com/DataDog/zstd"
)

// kind is how a payload is compressed, as a message says it.
type kind string

const (
	plain    kind = ""
	lz4Kind  kind = "an LZ4 frame"
	zstdKind kind = "a Zstandard frame"
	gzipKind kind = "a gzip file"
)

// kindOf tells it by the first bytes.
func kindOf(payload []byte) kind {
	switch {
	case bytes.HasPrefix(payload, []byte{0x04, 0x22, 0x4d, 0x18}):
		return lz4Kind
	case bytes.HasPrefix(payload, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zstdKind
	case bytes.HasPrefix(payload, []byte{0x1f, 0x8b, 0x08}):
		return gzipKind
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
	case zstdKind:
		err = d.zstdFrames(payload)
	case lz4Kind:
		err = d.lz4Frames(payload)
	case gzipKind:
		err = d.gzipFiles(payload)
	}
	if err == nil {
		return d.out, nil
	}
	var large tooLargeError
	if errors.As(err, &large) {
		return nil, large
	}
	return nil, fmt.Errorf("it begins as %s and is no whole one: %w", kind, err)
}

// Idle gives up the memory that is kept to be filled again, and the payload that came last.
func (d *Decompressor) Idle() { d.out, d.gzip = nil, gzip.Reader{} }

// tooLargeError is about a payload that holds more than these bytes.
type tooLargeError int

func (e tooLargeError) Error() string {
	return fmt.Sprintf("it has more than %d bytes when decompressed", int(e))
}

// least is how much memory is used before more is looked for.
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
		runtime.KeepAlive(d) // a call that is under way does not keep the library from freeing the context
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

// gzipFiles restores gzip, one file behind the other.
func (d *Decompressor) gzipFiles(payload []byte) error {
	if err := d.gzip.Reset(bytes.NewReader(payload)); err != nil {
		return err //nolint:wrapcheck // the caller says what it is about
	}
	for d.out = d.out[:0]; ; {
		if at := len(d.out); cap(d.out)-at < least {
			d.out = slices.Grow(d.out, min(max(at, least), d.most+1-at))
		}
		n, err := d.gzip.Read(d.out[len(d.out):min(cap(d.out), d.most+1)])
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
