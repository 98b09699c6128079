package compression

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/DataDog/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

const most = 1 << 20

// lines are n bytes of text that compresses, but not to nothing.
func lines(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "{\"id\":%d,\"user\":\"%x\"}\n", i, i*i*7919)
	}
	return b.Bytes()[:n]
}

// each runs a test for every algorithm.
func each(t *testing.T, test func(t *testing.T, compress func(payload []byte) []byte)) {
	t.Helper()
	for _, algorithm := range Algorithms() {
		t.Run(algorithm, func(t *testing.T) {
			c, err := NewCompressor(algorithm)
			require.NoError(t, err)
			test(t, func(payload []byte) []byte {
				packed, err := c.Compress(payload)
				require.NoError(t, err)
				return packed
			})
		})
	}
}

func TestWhatIsCompressedComesBack(t *testing.T) {
	each(t, func(t *testing.T, compress func([]byte) []byte) {
		d := NewDecompressor(most)
		for _, n := range []int{0, 1, 100, 70_000, 300_000, most, 5, 0} { // each in the memory of the one before
			packed := compress(lines(n))
			require.True(t, Compressed(packed))
			got, err := d.Decompress(packed)
			require.NoError(t, err)
			require.True(t, bytes.Equal(lines(n), got), "%d bytes", n)
			require.Equal(t, packed, compress(lines(n)), "the same payload compresses to the same bytes")
			d.Idle()
		}
		require.Less(t, len(compress(lines(70_000))), 40_000)
	})
}

func TestNothingGrowsMuch(t *testing.T) {
	noise := make([]byte, most)
	for i, x := 0, uint64(1); i < len(noise); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		noise[i] = byte(x >> 32)
	}
	each(t, func(t *testing.T, compress func([]byte) []byte) {
		require.Less(t, len(compress(noise)), len(noise)+512)
	})
}

// TestEveryCutShows cuts a compressed payload at every place, and puts a byte behind it.
func TestEveryCutShows(t *testing.T) {
	each(t, func(t *testing.T, compress func([]byte) []byte) {
		d := NewDecompressor(most)
		for _, n := range []int{0, 1000} {
			packed := compress(lines(n))
			for cut := range packed {
				if Compressed(packed[:cut]) {
					_, err := d.Decompress(packed[:cut])
					require.ErrorContains(t, err, "no whole one", "%d of %d bytes", cut, len(packed))
				}
			}
			_, err := d.Decompress(append(packed, 'x'))
			require.ErrorContains(t, err, "no whole one")
			got, err := d.Decompress(packed)
			require.NoError(t, err)
			require.True(t, bytes.Equal(lines(n), got), "what went wrong before does no harm")
		}
	})
}

func TestFramesOneBehindTheOther(t *testing.T) {
	each(t, func(t *testing.T, compress func([]byte) []byte) {
		got, err := NewDecompressor(most).Decompress(append(compress([]byte("one ")), compress([]byte("two"))...))
		require.NoError(t, err)
		require.Equal(t, "one two", string(got))
	})
}

func TestPlainPayloadsStayAsTheyAre(t *testing.T) {
	d := NewDecompressor(4)
	for _, payload := range []string{"", "{", "[1,2,3]", "\x1f\x8b", "(\xb5/", "\xff\xff\xff\xff\x10\x00"} {
		require.False(t, Compressed([]byte(payload)))
		got, err := d.Decompress([]byte(payload))
		require.NoError(t, err)
		require.Equal(t, payload, string(got))
	}
}

// TestLimit has payloads that are as long as they may be, and a byte longer, and ones that are nothing but zeros.
func TestLimit(t *testing.T) {
	each(t, func(t *testing.T, compress func([]byte) []byte) {
		for _, limit := range []int{1, 1000, most} {
			d := NewDecompressor(limit)
			got, err := d.Decompress(compress(lines(limit)))
			require.NoError(t, err)
			require.Len(t, got, limit)
			_, err = d.Decompress(compress(lines(limit + 1)))
			require.EqualError(t, err, fmt.Sprintf("it has more than %d bytes when decompressed", limit))
			_, err = d.Decompress(compress(make([]byte, 64<<20)))
			require.ErrorContains(t, err, "more than")
			require.LessOrEqual(t, cap(d.out), 2*max(least, limit))
		}
	})
}

// TestClaimsAreNotBelieved has a Zstandard frame of no content that says it has 4 GiB.
func TestClaimsAreNotBelieved(t *testing.T) {
	d := NewDecompressor(most)
	_, err := d.Decompress([]byte("\x28\xb5\x2f\xfd\xa0\xff\xff\xff\xff\x01\x00\x00"))
	require.Error(t, err)
	require.LessOrEqual(t, cap(d.out), 4*most)
}

// TestOtherWriters has frames with every setting that the formats know.
func TestOtherWriters(t *testing.T) {
	text := lines(900_000)
	var all [][]byte
	for _, size := range []lz4.BlockSize{lz4.Block64Kb, lz4.Block256Kb, lz4.Block1Mb, lz4.Block4Mb} {
		var out bytes.Buffer
		w := lz4.NewWriter(&out)
		require.NoError(t, w.Apply(lz4.BlockSizeOption(size), lz4.BlockChecksumOption(true), lz4.SizeOption(uint64(len(text))), lz4.CompressionLevelOption(lz4.Level5)))
		_, err := w.Write(text)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		all = append(all, out.Bytes())
	}
	var out bytes.Buffer
	streamed := zstd.NewWriterLevel(&out, 9) // says nothing of how long the content is
	_, err := streamed.Write(text)
	require.NoError(t, err)
	require.NoError(t, streamed.Close())
	all = append(all, out.Bytes())
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	w.Name, w.Comment, w.Extra = "events.ndjson", strings.Repeat("x", 100), []byte("extra")
	_, err = w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	all = append(all, zipped.Bytes())

	d := NewDecompressor(most)
	for i, packed := range all {
		got, err := d.Decompress(packed)
		require.NoError(t, err, "%d", i)
		require.True(t, bytes.Equal(text, got), "%d", i)
		if packed[0] == 0x28 {
			continue // without a checksum a flipped bit may give other text
		}
		packed[len(packed)/2] ^= 4
		_, err = d.Decompress(packed)
		require.ErrorContains(t, err, "no whole one", "%d", i)
	}
}

func TestUnknownAlgorithm(t *testing.T) {
	_, err := NewCompressor("brotli")
	require.EqualError(t, err, `there is no compression "brotli"`)
}

// FuzzDecompress feeds any bytes behind each beginning. Nothing may panic, and nothing may be longer than is allowed.
func FuzzDecompress(f *testing.F) {
	for _, algorithm := range Algorithms() {
		c, err := NewCompressor(algorithm)
		require.NoError(f, err)
		for _, n := range []int{0, 10, 5000} {
			packed, err := c.Compress(lines(n))
			require.NoError(f, err)
			f.Add(packed)
		}
	}
	const limit = 64 << 10
	d := NewDecompressor(limit)
	text := lines(1000)
	c, err := NewCompressor("lz4")
	require.NoError(f, err)
	good, err := c.Compress(text)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, magic := range []string{"", "\x04\x22\x4d\x18", "\x28\xb5\x2f\xfd", "\x1f\x8b\x08"} {
			payload := append([]byte(magic), data...)
			got, err := d.Decompress(payload)
			if err != nil {
				require.NotEmpty(t, err.Error())
				require.NotContains(t, err.Error(), "\n")
			} else if Compressed(payload) {
				require.LessOrEqual(t, len(got), limit)
			}
		}
		got, err := d.Decompress(good)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, got), "what came before does no harm")
	})
}
