package zstdpages

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/stretchr/testify/require"
)

// pages are such as compress well and such as do not, of one block and of several, and none at all.
func pages() [][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([][]byte, 24)
	for i := range all {
		for size := []int{0, 1, 100, 5_000, 200_000, 600_000}[i%6]; len(all[i]) < size; {
			if i%5 == 4 {
				all[i] = append(all[i], byte(r.Uint32()))
			} else {
				all[i] = strconv.AppendInt(all[i], r.Int64N(1_000), 10)
			}
		}
	}
	return all
}

// TestPagesComeBack reads what is written by the decoder in Go that Arrow's reader uses, at several levels and from several
// goroutines; what the decoder's own encoder makes is longer or about as long.
func TestPagesComeBack(t *testing.T) {
	t.Parallel()
	Install()
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	require.NoError(t, err)
	inGo := codec.(*kept).Codec //nolint:forcetypeassert // Install has put it there
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i, page := range pages() {
				room := make([]byte, 0, codec.CompressBound(int64(len(page))))
				for _, got := range [][]byte{
					codec.Encode(room, page), codec.EncodeLevel(nil, page, compress.DefaultCompressionLevel), codec.EncodeLevel(nil, page, 9),
				} {
					back := inGo.Decode(make([]byte, len(page)), got)
					if !bytes.Equal(page, back) || len(got) > len(inGo.Encode(nil, page))*11/10+20 {
						t.Errorf("page %d: %d bytes became %d", i, len(page), len(got))
					}
				}
			}
		})
	}
	all.Wait()
}

func TestAPageNeedsLittleMemory(t *testing.T) { //nolint:paralleltest // it counts what the process allocates
	Install()
	codec, err := compress.GetCodec(compress.Codecs.Zstd)
	require.NoError(t, err)
	page := bytes.Repeat([]byte("a page "), 1000)
	room := make([]byte, 0, codec.CompressBound(int64(len(page))))
	const pages = 50
	codec.EncodeLevel(room, page, compress.DefaultCompressionLevel)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range pages {
		codec.EncodeLevel(room, page, compress.DefaultCompressionLevel)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(pages*1_000))
}
