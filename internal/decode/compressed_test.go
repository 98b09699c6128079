package decode

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/compression"
)

func compressed(t testing.TB, algorithm, text string) string {
	t.Helper()
	c, err := compression.NewCompressor(algorithm)
	require.NoError(t, err)
	packed, err := c.Compress([]byte(text))
	require.NoError(t, err)
	return string(packed)
}

// TestCompressedMessagesDecodeAsPlainOnes has the same messages plain, compressed and mixed, in every format.
func TestCompressedMessagesDecodeAsPlainOnes(t *testing.T) {
	line := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "{\"a\":%d,\"b\":\"text %d\"}\n", i, i%7)
		}
		return b.String()
	}
	arrowStream, _ := everyStream(t)
	for name, tt := range map[string]struct {
		o        Options
		pairs    []string
		payloads []string
	}{
		"ndjson": {Options{Format: "ndjson"}, []string{"a", "BIGINT", "b", "VARCHAR"},
			[]string{line(0, 500), line(500, 501), "", line(501, 2000), "{\"a\":1,\"b\":\"x\"}\n{\"a\":\"wrong\"}\n{\"a\":2}"}},
		"json": {Options{Format: "json"}, []string{"a", "BIGINT", "b", "VARCHAR"},
			[]string{line(0, 1), line(1, 2), `[{"a":1},{"a":2.5},{"b":"y"}]`, line(2, 3), "{", line(3, 4)}},
		"csv":   {Options{Format: "csv", CSVHeader: true}, []string{"a", "BIGINT", "b", "VARCHAR"}, []string{"b,a\nx,1\ny,2\n", "a,b\n3,z\nno,z\n"}},
		"text":  {Options{Format: "text"}, []string{"v", "VARCHAR"}, []string{"one", "two", "", "\xff"}},
		"arrow": {Options{Format: "arrow"}, everyType(), []string{string(arrowStream), string(arrowStream), "no stream"}},
	} {
		t.Run(name, func(t *testing.T) {
			want, plain := decodeAll(t, tt.o, messages(tt.payloads...), tt.pairs...)
			tt.o.Compression = "auto"
			for _, algorithm := range compression.Algorithms() {
				for _, every := range []int{1, 2} {
					packed := append([]string{}, tt.payloads...)
					for i := 0; i < len(packed); i += every {
						packed[i] = compressed(t, algorithm, packed[i])
					}
					got, r := decodeAll(t, tt.o, messages(packed...), tt.pairs...)
					require.Equal(t, want, got)
					require.Equal(t, plain.Message, r.Message)
					require.Equal(t, plain.Index, r.Index)
					require.Len(t, r.Bad, len(plain.Bad))
					for i, f := range r.Bad {
						require.Equal(t, plain.Bad[i].Reason, f.Reason)
						require.Equal(t, plain.Bad[i].Index, f.Index)
						of, was := f.Of([]byte(packed[f.Message])), plain.Bad[i].Of([]byte(tt.payloads[f.Message]))
						if whole := string(of) == packed[f.Message]; !whole {
							require.Equal(t, string(was), string(of))
						}
					}
				}
			}
		})
	}
}

// TestFaultsOfCompressedMessages says what a letter of each kind has: the line of a row, the message as it came else.
func TestFaultsOfCompressedMessages(t *testing.T) {
	good := compressed(t, "lz4", "{\"a\":1}\n{\"a\":\"x\"}\n")
	cut := good[:len(good)-1]
	bomb := compressed(t, "zstd", strings.Repeat(" ", compressedMax+1))
	m := messages(good, cut, bomb, `{"a":2}`)
	rows, r := decodeAll(t, Options{Format: "ndjson", Compression: "auto"}, m, "a", "BIGINT")
	require.JSONEq(t, `[{"a":1},{"a":2}]`, rows)
	require.Len(t, r.Bad, 3)
	require.Equal(t, `{"a":"x"}`, string(r.Bad[0].Of([]byte(good))))
	require.Equal(t, []int{0, 1}, []int{r.Bad[0].Message, r.Bad[0].Index})
	require.Equal(t, "the message can not be decompressed: it begins as an LZ4 frame and is no whole one: unexpected EOF", r.Bad[1].Reason)
	require.Equal(t, cut, string(r.Bad[1].Of([]byte(cut))))
	require.Equal(t, "the message can not be decompressed: it has more than 67108864 bytes when decompressed", r.Bad[2].Reason)
	require.Equal(t, bomb, string(r.Bad[2].Of([]byte(bomb))))

	_, r = decodeAll(t, Options{Format: "ndjson"}, messages(good), "a", "BIGINT")
	require.Contains(t, r.Bad[0].Reason, "expected an object", "without the option a compressed message is what its bytes say")
}

// TestCompressedMessagesOfOneBatchAreBounded has messages that each may be, and together hold more than a Result may have: those
// beyond are faults, and the others are decoded.
func TestCompressedMessagesOfOneBatchAreBounded(t *testing.T) {
	d := decoder(t, Options{Format: "ndjson", Compression: "auto"}, "a", "BIGINT")
	d.packed.most = 100
	half, little := compressed(t, "zstd", `{"a":1}`+strings.Repeat(" ", 43)), compressed(t, "zstd", `{"a":2}`)
	for range 2 { // the second time nothing is left of the first
		r, err := d.Decode(messages(half, little, half, `{"a":3}`, little))
		require.NoError(t, err)
		require.Equal(t, []int32{0, 1, 3, 4}, r.Message)
		require.Len(t, r.Bad, 1)
		require.Equal(t, []int{2, wholePayload}, []int{r.Bad[0].Message, r.Bad[0].Index})
		require.Contains(t, r.Bad[0].Reason, "the messages of its batch have more than 100 bytes when decompressed")
		require.Equal(t, half, string(r.Bad[0].Of([]byte(half))))
		r.Release()
	}
}

func TestPlain(t *testing.T) {
	packed := []byte(compressed(t, "zstd", "text"))
	require.Equal(t, "text", string(Plain("auto", packed)))
	require.Equal(t, packed, Plain("none", packed))
	require.Equal(t, packed, Plain("", packed))
	require.Nil(t, Plain("auto", packed[:len(packed)-1]))
	plain := []byte("plain")
	require.Same(t, &plain[0], &Plain("auto", plain)[0])
}

func TestUnknownCompression(t *testing.T) {
	_, err := New(Options{Columns: nil, Compression: "lz4"})
	require.ErrorContains(t, err, `compression "lz4" is not known`)
}

// FuzzCompressed feeds bytes that decompress to anything, and that are cut.
func FuzzCompressed(f *testing.F) {
	f.Add([]byte("{\"a\":1,\"b\":\"x\"}\n{\"a\":\"x\"}\n"), uint16(0))
	f.Add([]byte("{\"a\":1}\n{"), uint16(9))
	f.Fuzz(func(t *testing.T, text []byte, cut uint16) {
		for _, algorithm := range compression.Algorithms() {
			payload := []byte(compressed(t, algorithm, string(text)))
			payload = payload[:len(payload)-int(cut)%len(payload)]
			for _, format := range []string{"json", "ndjson"} {
				o := Options{Format: format, Compression: "auto"}
				pairs := []string{"a", "BIGINT", "b", "VARCHAR"}
				m := messages(string(payload), `{"a":1}`)
				d := decoder(t, o, pairs...)
				r, err := d.Decode(m)
				require.NoError(t, err)
				for _, f := range r.Bad {
					require.NotEmpty(t, f.Reason)
					of := f.Of(m.Payload(f.Message))
					require.True(t, bytes.Contains(text, of) || bytes.Equal(of, m.Payload(f.Message)))
				}
				r.Release()
			}
		}
	})
}

// TestOneCompressedMessageForetellsLittle has a message that decompresses to a thousand times as much, with many rows or a long text,
// and then others of more bytes that have few: what is set up for these is not what the first would have had of so many bytes.
func TestOneCompressedMessageForetellsLittle(t *testing.T) {
	for name, first := range map[string]string{
		"rows": strings.Repeat("{}\n", 200_000), "text": `{"b":"` + strings.Repeat("x", 1<<20) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			d := decoder(t, Options{Format: "ndjson", Compression: "auto"}, "a", "BIGINT", "b", "VARCHAR")
			r, err := d.Decode(messages(compressed(t, "zstd", first)))
			require.NoError(t, err)
			r.Release()
			d.begin(d.foretell(messages(strings.Repeat(`{"b":"y"}`+strings.Repeat(" ", 1000)+"\n", 1000))))
			require.LessOrEqual(t, d.rowCap, 250_000)
			require.LessOrEqual(t, len(d.columns[1].data), 2<<20)
		})
	}
}
