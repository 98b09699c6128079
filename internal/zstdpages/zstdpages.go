// Package zstdpages makes Arrow's Parquet code compress Zstandard pages by the C library. The Go encoder that it comes with
// takes three to four times the CPU time for the same length, and is made anew, with several megabytes, for every page.
package zstdpages

import (
	"sync"

	"github.com/DataDog/zstd"
	"github.com/apache/arrow/go/v17/parquet/compress"
)

// Level is the one that pages are compressed at unless the writer asks for another.
const Level = 2

// Install does so for the process. Arrow's table of codecs has no lock, so whoever reads or writes Parquet calls it
// before: the first call changes the table, the others wait for it.
var Install = sync.OnceFunc(func() {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err == nil {
		compress.RegisterCodec(compress.Codecs.Zstd, &kept{Codec: codec})
	}
})

// kept is a codec that encodes whole pages with encoders that are kept.
type kept struct {
	compress.Codec
	encoders sync.Pool // of zstd.Ctx
}

// Encode compresses at Level.
func (k *kept) Encode(dst, src []byte) []byte { return k.EncodeLevel(dst, src, Level) }

// EncodeLevel is what Arrow's writer calls.
func (k *kept) EncodeLevel(dst, src []byte, level int) []byte {
	if level == compress.DefaultCompressionLevel {
		level = Level
	}
	encoder, ok := k.encoders.Get().(zstd.Ctx)
	if !ok {
		encoder = zstd.NewCtx()
	}
	defer k.encoders.Put(encoder)
	out, err := encoder.CompressLevel(dst, src, level)
	if err != nil { // the library has no memory: dst is as long as it may have to be
		panic(err)
	}
	return out
}

// CompressBound is how long n bytes can get.
func (*kept) CompressBound(n int64) int64 { return int64(zstd.CompressBound(int(n))) }
