package compression

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"runtime"

	"github.com/DataDog/zstd"
	"github.com/pierrec/lz4/v4"
)

// Algorithms are the names of what NewCompressor makes.
func Algorithms() []string { return []string{"lz4", "zstd", "gzip"} }

// zstdLevel is where Zstandard gives the most for its time: levels 2 and 3 make packed JSON no shorter.
const zstdLevel = 1

// A Compressor compresses payloads. One goroutine at a time may use it.
type Compressor struct {
	zstd zstd.Ctx
	to   interface { // of the other algorithms
		io.WriteCloser
		Reset(to io.Writer)
	}
	out bytes.Buffer
}

// NewCompressor returns a compressor of one of Algorithms.
func NewCompressor(algorithm string) (*Compressor, error) {
	switch algorithm {
	case "lz4":
		// A checksum would cost whoever reads a message half as much again, and whoever keeps it has one of its own.
		to := lz4.NewWriter(nil)
		err := to.Apply(lz4.ChecksumOption(false), lz4.BlockSizeOption(lz4.Block256Kb), lz4.ConcurrencyOption(1))
		if err != nil {
			return nil, fmt.Errorf("set up LZ4: %w", err)
		}
		return &Compressor{to: to}, nil
	case "zstd":
		return &Compressor{zstd: zstd.NewCtx()}, nil
	case "gzip":
		return &Compressor{to: gzip.NewWriter(nil)}, nil
	}
	return nil, fmt.Errorf("there is no compression %q", algorithm)
}

// Compress returns the payload compressed, in memory of its own. It is a few dozen bytes longer at most, and the same for
// the same payload.
func (c *Compressor) Compress(payload []byte) ([]byte, error) {
	if c.zstd != nil {
		packed, err := c.zstd.CompressLevel(nil, payload, zstdLevel)
		runtime.KeepAlive(c) // a call that is under way does not keep the library from freeing the context
		if err != nil {
			return nil, fmt.Errorf("compress a payload: %w", err)
		}
		return bytes.Clone(packed), nil // it lies in memory for the worst case
	}
	c.out.Reset()
	c.to.Reset(&c.out)
	_, err := c.to.Write(payload)
	if err == nil {
		err = c.to.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compress a payload: %w", err)
	}
	return bytes.Clone(c.out.Bytes()), nil
}
