package compression

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// linked is an LZ4 frame of blocks that may refer to those before them, as other writers make by default.
func linked(blocks ...string) []byte {
	frame := []byte{0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0}
	for _, b := range blocks {
		frame = append(binary.LittleEndian.AppendUint32(frame, uint32(len(b))), b...)
	}
	return append(frame, 0, 0, 0, 0)
}

// TestNothingOfOtherPayloads has a frame that refers to what lies before its beginning.
func TestNothingOfOtherPayloads(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat("secret.", 20)
	first := linked("\xf0\x7d" + secret)
	back := linked("\x1fx\x8c\x00\x00\x50=====") // x, 19 bytes of 140 before, =====
	d := NewDecompressor(most)
	got, err := d.Decompress(first)
	require.NoError(t, err)
	require.Equal(t, secret, string(got))
	_, err = d.Decompress(back)
	require.ErrorContains(t, err, "no whole one")
	_, err = d.Decompress(append(first, back...))
	require.ErrorContains(t, err, "no whole one", "nor of the frame before")
	one, err := d.Decompress(linked("\x70\x61bcabca", "\x0f\x06\x00\x00\x50=====")) // the block before is meant
	require.NoError(t, err)
	require.Equal(t, strings.Repeat("abc", 9)[:26]+"=====", string(one))
}

// TestFramesToSkip has frames with something else that their format allows beside them.
func TestFramesToSkip(t *testing.T) {
	skipped := "\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
	each(t, func(t *testing.T, compress func([]byte) []byte) {
		packed := compress([]byte("one"))
		if kindOf(packed) == gzipKind {
			return
		}
		got, err := NewDecompressor(most).Decompress(append(append([]byte{}, packed...), skipped...))
		require.NoError(t, err)
		require.Equal(t, "one", string(got))
		got, err = NewDecompressor(most).Decompress(append(append(append([]byte{}, packed...), skipped...), packed...))
		require.NoError(t, err)
		require.Equal(t, "oneone", string(got))
	})
}

// withSettings is what the program lz4 makes of four words under -BX -BD --content-size: checksums of blocks and content, blocks
// that may refer to those before, and the content's size.
const withSettings = "\x04\x22\x4d\x18\x7c\x40\x20\x00\x00\x00\x00\x00\x00\x00\x19\x12\x00\x00\x00\x8fone two \x08\x00\x00\x50 two\n" +
	"\xec\xd3\x67\xd2\x00\x00\x00\x00\xf1\xd2\x64\x2e"

func TestFrameOfTheProgram(t *testing.T) {
	t.Parallel()
	d := NewDecompressor(most)
	got, err := d.Decompress([]byte(withSettings))
	require.NoError(t, err)
	require.Equal(t, "one two one two one two one two\n", string(got))
	for at := 4; at < len(withSettings); at++ {
		damaged := []byte(withSettings)
		damaged[at] ^= 1
		_, err := d.Decompress(damaged)
		require.ErrorContains(t, err, "it begins as an LZ4 frame and is no whole one: ", "byte %d", at)
	}
}

// TestHeaders has frames whose headers are whole and ask for what can not be, or say what is not so.
func TestHeaders(t *testing.T) {
	t.Parallel()
	frame := func(flags, block byte, more ...byte) []byte {
		head := append([]byte{flags, block}, more...)
		return append(append([]byte("\x04\x22\x4d\x18"), head...), byte(xxh32(head)>>8), 1, 0, 0, 0x80, 'x', 0, 0, 0, 0)
	}
	size := []byte{2, 0, 0, 0, 0, 0, 0, 0}
	for says, payload := range map[string][]byte{
		"its header is of no known version":        frame(0x20, 0x40),
		"it was compressed with a dictionary":      frame(0x61, 0x40, 1, 0, 0, 0),
		"it says that it has 2 bytes and has 1":    frame(0x68, 0x40, size...),
		"something else follows":                   append(frame(0x60, 0x40), "\x02\x21\x4d\x18"...),
		"a block is longer than its header allows": append(frame(0x60, 0x40)[:7], 1, 0, 1, 0x80),
	} {
		_, err := NewDecompressor(most).Decompress(payload)
		require.EqualError(t, err, "it begins as an LZ4 frame and is no whole one: "+says)
	}
	got, err := NewDecompressor(most).Decompress(frame(0x60, 0x40))
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

// TestNothingIsFreedWhileInUse compresses and restores by what nobody needs any more, while garbage is collected.
func TestNothingIsFreedWhileInUse(t *testing.T) {
	text := lines(4 << 20)
	done := make(chan struct{})
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	}()
	defer func() { <-collected }()
	defer close(done)
	for range 20 {
		c, err := NewCompressor("zstd")
		require.NoError(t, err)
		packed, err := c.Compress(text)
		require.NoError(t, err)
		got, err := NewDecompressor(len(text)).Decompress(packed)
		require.NoError(t, err)
		require.True(t, bytes.Equal(text, got))
	}
}
