// Package zstdpages makes Arrow's Parquet writer keep its Zstandard encoder: as it comes, it makes one for every page, of
// several megabytes. What is written stays the same, byte for byte.
package zstdpages

import (
	"sync"

	"github.com/apache/arrow/go/v17/parquet/compress"
)

// KeepEncoder does so for the process. Arrow's table of codecs has no lock, so whoever reads or writes Parquet calls it
// before: the first call changes the table, the others wait for it.
var KeepEncoder = sync.OnceFunc(func() {
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	if err == nil {
		compress.RegisterCodec(compress.Codecs.Zstd, kept{codec})
	}
})

// kept is a codec whose Encode keeps an encoder of the default level.
type kept struct{ compress.Codec }

// EncodeLevel is what the writer calls.
func (k kept) EncodeLevel(dst, src []byte, level int) []byte {
	if level == compress.DefaultCompressionLevel {
		return k.Encode(dst, src)
	}
	return k.Codec.EncodeLevel(dst, src, level)
}
