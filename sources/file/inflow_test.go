package file

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sources/sourcetest"
	"github.com/tidemill/tidemill/stream"
)

// cutLines is what chunks and lines of a file are by their definition.
func cutLines(format, text string) (list []string) {
	switch {
	case format == "json", format == "csv" && text != "":
		return []string{text}
	case format == "text":
		for line := range strings.Lines(text) {
			list = append(list, strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"))
		}
	case format == "ndjson":
		for text != "" {
			end := len(text)
			if end > chunkBytes {
				if i := strings.IndexByte(text[chunkBytes:], '\n'); i >= 0 {
					end = chunkBytes + i + 1
				}
			}
			list, text = append(list, text[:end]), text[end:]
		}
	}
	return list
}

// TestFilesBecomeMessages asks that messages are cut where they should be, that the checksum is what stream.Input says, and
// that memory which is filled again holds what new memory does, whether files are packed, large or empty.
func TestFilesBecomeMessages(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", chunkBytes-1)
	files := []string{"a\n", "", strings.Repeat("some line\r\n", 120_000), long + "\n" + long, long + "\n\n" + long + long + "y\nz\n",
		strings.Repeat(long, 3) + "y\n", "no end", long + "\n", long + "x\n", strings.Repeat("\n"+long[:99], 30_000)}
	for _, format := range []string{"ndjson", "text", "csv", "json"} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, format)
			var want []string
			for i, text := range files {
				if i%3 == 2 {
					f.put(t, string(rune('a'+i))+".gz", gzipped(t, text))
				} else {
					f.put(t, string(rune('a'+i)), text)
				}
				want = append(want, cutLines(format, text)...)
			}
			s := f.open(t).(*source) //nolint:forcetypeassert // it is
			defer s.Close()
			in, r := all(t, s)
			for range 2 {
				require.True(t, want != nil && equal(want, payloads(in)))
				require.Equal(t, definedSum(in.Messages), in.CRC)
				require.Len(t, in.Messages.File, len(want))
				require.Len(t, in.Messages.Published, len(want))
				var p sourcetest.Pieces
				pieces, err := s.ReadPieces(t.Context(), r, &p)
				require.NoError(t, err)
				require.Nil(t, pieces.Messages)
				require.Equal(t, in.CRC, pieces.CRC)
				require.True(t, equal(want, payloads(&stream.Input{Messages: &p.Messages})))
				require.Equal(t, in.Messages.Sequence, p.Sequence)
				require.Equal(t, in.Messages.File, p.File)
				require.Equal(t, in.Messages.Published, p.Published)
				require.GreaterOrEqual(t, p.Takes, 6)
				clear(in.Messages.Data)
				s.Recycle(in.Messages)
				in, err = s.Read(t.Context(), r)
				require.NoError(t, err)
			}
		})
	}
}

// equal is require.Equal without printing megabytes.
func equal(a, b []string) bool {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}

func definedSum(m *stream.Messages) uint32 {
	var all bytes.Buffer
	for i, n := range m.Sequence {
		_ = binary.Write(&all, binary.LittleEndian, n)
		all.Write(m.Payload(i))
	}
	return crc32.Checksum(all.Bytes(), castagnoli())
}

// TestArenaIsFilledAgain asks that the memory of a batch that was given back is that of the next, and that none is held
// while nothing comes.
func TestArenaIsFilledAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, "ndjson")
	f.put(t, "a", "{}\n{}\n")
	s := f.open(t).(*source) //nolint:forcetypeassert // it is
	defer s.Close()
	in, r := all(t, s)
	first := &in.Messages.Data[0]
	s.Recycle(in.Messages)
	in, err := s.Read(t.Context(), r)
	require.NoError(t, err)
	require.Same(t, first, &in.Messages.Data[0])
	s.Recycle(in.Messages)
	_, err = s.Available(t.Context(), r.To, r.Identity, stream.Limit{})
	require.NoError(t, err)
	in, err = s.Read(t.Context(), r)
	require.NoError(t, err)
	require.NotSame(t, first, &in.Messages.Data[0])
}

// BenchmarkRead reads a file of 50 MiB again and again, as batches are.
func BenchmarkRead(b *testing.B) {
	f := newFixture(b, "ndjson")
	text := strings.Repeat(strings.Repeat("x", 249)+"\n", 200_000)
	f.put(b, "a", text)
	s, err := open(stream.SourceConfig{Name: "f", Options: f.options, FS: vfs.OS{}, Dir: f.data, Clock: clock.System{}})
	require.NoError(b, err)
	defer s.Close()
	a, err := s.Available(b.Context(), "0", "", stream.Limit{})
	require.NoError(b, err)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		in, err := s.Read(b.Context(), stream.Range{From: "0", To: a.To, Identity: a.Identity})
		require.NoError(b, err)
		s.Recycle(in.Messages)
	}
}
