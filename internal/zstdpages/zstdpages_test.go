package zstdpages

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"

	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/stretchr/testify/require"
)

// TestPagesAreTheSame compares what the kept encoder makes with what a new one does, page after page, also of pages of
// several blocks and after pages that do not compress.
func TestPagesAreTheSame(t *testing.T) {
	t.Parallel()
	KeepEncoder()
	after, err := compress.GetCodec(compress.Codecs.Zstd)
	require.NoError(t, err)
	require.IsType(t, kept{}, after)
	before := after.(kept).Codec // the test that is not parallel has changed the table by now
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 24 {
		var page []byte
		for size := []int{0, 1, 100, 5_000, 200_000, 600_000}[i%6]; len(page) < size; {
			if i%5 == 4 {
				page = append(page, byte(r.Uint32()))
			} else {
				page = strconv.AppendInt(page, r.Int64N(1_000), 10)
			}
		}
		level := []int{compress.DefaultCompressionLevel, 1, 9}[i%11%3]
		want := before.EncodeLevel(nil, page, level)
		got := after.EncodeLevel(make([]byte, 0, after.CompressBound(int64(len(page)+1))), page, level)
		require.Equal(t, want, got, "%d bytes", len(page))
		back := after.Decode(make([]byte, len(page)), got)
		require.True(t, bytes.Equal(page, back))
	}
}

func TestAPageNeedsLittleMemory(t *testing.T) { //nolint:paralleltest // it counts what the process allocates
	KeepEncoder()
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	require.NoError(t, err)
	page, room := bytes.Repeat([]byte("a page "), 1000), make([]byte, 0, 10_000)
	const pages = 50
	codec.EncodeLevel(room, page, compress.DefaultCompressionLevel)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range pages {
		codec.EncodeLevel(room, page, compress.DefaultCompressionLevel)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(pages*100_000))
}
