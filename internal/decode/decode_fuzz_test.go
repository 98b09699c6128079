package decode

import (
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// FuzzDecode feeds any bytes to every format. Nothing may panic, every fault must lie within its message and
// say why, and rows and faults must be numbered without a hole: each row of a payload is one or the other.
func FuzzDecode(f *testing.F) {
	formats := []string{"json", "ndjson", "csv", "text", "arrow"}
	f.Add(byte(0), []byte{})
	for i, seed := range []string{everyJSON, `{"a":1}` + "\n" + `{"a":"x"}`, "a,b\n1,\"x\"\"y\"\n", "text", `[{"a":1},2,{"a":"\ud83d\ude00"}]`,
		`{"c_BIGINT":1e5,"c_DOUBLE":-1.5e-7,"c_DECIMAL(38,9)":123456789012345678901234567.5,"c_TIMESTAMP":"2024-01-01T00:00:00+01:00"}`} {
		f.Add(byte(i), []byte(seed))
		f.Add(byte(i+5), []byte(seed))
	}
	data, _ := everyStream(f)
	f.Add(byte(4), data)
	f.Fuzz(func(t *testing.T, which byte, payload []byte) {
		format := formats[int(which)%len(formats)]
		pairs := everyType()
		if format == "text" {
			pairs = []string{"v", "VARCHAR"}
		}
		o := Options{Format: format, CSVHeader: which >= 128, TimestampFormat: []string{"iso", "ms"}[which>>6&1]}
		d := decoder(t, o, pairs...)
		m := messages("{}", string(payload), "{}")
		for range 2 { // the second time with what was learned
			r, err := d.Decode(m)
			require.NoError(t, err)
			checkAccounted(t, r, m.Len(), len(payload))
			checkSame(t, r, o, pairs, m)
			_, err = r.Rows.MarshalJSON() // walks over every value
			require.NoError(t, err)
			r.Release()
		}
	})
}

// checkSame asks that decoders that take another way come to the same: one that has learned no order of keys from the
// messages, and one that only checks every second column.
func checkSame(t *testing.T, r Result, o Options, pairs []string, m *stream.Messages) {
	t.Helper()
	general := decoder(t, o, pairs...)
	general.flat.rest = math.MaxInt
	pieces := decoder(t, o, pairs...)
	for i := 0; i+2 < len(pairs); i += 4 {
		o.Unread = append(o.Unread, pairs[i])
	}
	narrow := decoder(t, o, pairs...)
	for _, other := range []*Decoder{general, narrow} {
		for range 2 { // the second time with what was learned
			got, err := other.Decode(m)
			require.NoError(t, err)
			require.Equal(t, r.Bad, got.Bad)
			require.Equal(t, r.Index, got.Index)
			require.Equal(t, r.Message, got.Message)
			for i, f := range other.schema.Fields() {
				require.True(t, array.Equal(r.Rows.Column(r.Rows.Schema().FieldIndices(f.Name)[0]), got.Rows.Column(i)), f.Name)
			}
			got.Release()
		}
	}
	for range 2 {
		checkPieces(t, r, pieces, m)
	}
}

// checkPieces asks that messages one by one give what all of them do, and that what is cut leaves nothing behind.
func checkPieces(t *testing.T, r Result, d *Decoder, m *stream.Messages) {
	t.Helper()
	d.Begin(int64(len(m.Data)))
	for i := range m.Len() {
		for _, kept := range []bool{false, true} { // first, this message and the one after it, to be cut again
			for k := i; k < min(i+2, m.Len()) && (k == i || !kept); k++ {
				piece := messages(string(m.Payload(k)))
				d.Add(piece)
				clear(piece.Data)
			}
			if !kept {
				d.Cut(i)
			}
		}
	}
	got, err := d.Finish(&stream.Messages{Sequence: m.Sequence, Published: m.Published, Subject: m.Subject, Headers: m.Headers,
		File: m.File})
	require.NoError(t, err)
	require.Len(t, got.Bad, len(r.Bad))
	for i, f := range got.Bad {
		require.Equal(t, r.Bad[i].Of(m.Payload(f.Message)), f.Of(nil))
		f.Bytes = nil
		require.Equal(t, r.Bad[i], f)
	}
	require.Equal(t, r.Index, got.Index)
	require.Equal(t, r.Message, got.Message)
	require.True(t, array.RecordEqual(r.Rows, got.Rows))
	got.Release()
}

func checkAccounted(t *testing.T, r Result, messages, size int) {
	t.Helper()
	seen := make([]map[int]bool, messages)
	for i := range seen {
		seen[i] = map[int]bool{}
	}
	whole := make([]bool, messages)
	for _, b := range r.Bad {
		require.NotEmpty(t, b.Reason)
		require.Less(t, len(b.Reason), 1000)
		require.True(t, 0 <= b.Start && b.Start <= b.End && b.End <= max(size, 2), "%+v", b)
		if b.Index == wholePayload {
			whole[b.Message] = true
			continue
		}
		require.False(t, seen[b.Message][b.Index])
		seen[b.Message][b.Index] = true
	}
	for i, msg := range r.Message {
		require.False(t, seen[msg][int(r.Index[i])])
		seen[msg][int(r.Index[i])] = true
	}
	for i := range seen {
		require.False(t, whole[i] && len(seen[i]) > 0, "a payload that is a fault has no rows")
		for k := range len(seen[i]) {
			require.True(t, seen[i][k], "row %d of message %d is lost", k, i)
		}
	}
}

// fuzzRows is a few more than the scan wants to see before it foretells how long values are.
const fuzzRows = 20

// FuzzFlat changes one place of one row among many that have one order of keys: the flat decoder and the general one must
// come to the same, whatever the change does.
func FuzzFlat(f *testing.F) {
	for _, change := range []string{"\n", " ", "\r\n", "\\u0041", "\x00", "\xff", "\"", "}", ",", "null", "1e3", "é", "\t", "{}"} {
		f.Add(uint16(3), uint16(9), uint8(1), change)
		f.Add(uint16(1), uint16(40), uint8(0), change)
		f.Add(uint16(fuzzRows-1), uint16(16), uint8(0), change)
	}
	pairs := []string{"id", "BIGINT", "s", "VARCHAR", "ts", "TIMESTAMP", "n", "VARCHAR", "tags", "BIGINT[]", "absent", "DOUBLE",
		"a name of more than sixteen bytes", "VARCHAR"}
	rows := []string{
		`{"id":12,"s":"some text","ts":"2024-01-02T03:04:05.123","other":[1,{"a":2}],"n":null,"tags":[1, 2]}`,
		`{"id": -7, "other": "skipped", "a name of more than sixteen bytes": "more than sixteen", "s": "é \n", "n": "x", "tags": []}`,
		`{"s":"some text that is longer than what is looked at together, even where that is a good deal", "n": "y","ts":"2024-01-02T03:04:05"}`,
		`{"other":"` + strings.Repeat("more than the scan remembers of a row ", 20) + `","s":"` + strings.Repeat("x", 300) + `","n":"y","id":"1"}`,
	}
	var widths []int
	for width := 16; width <= flatWidth(); width *= 2 {
		widths = append(widths, width)
	}
	f.Fuzz(func(t *testing.T, which, at uint16, cut uint8, change string) {
		for i := range 2 * len(rows) {
			format, row := []string{"ndjson", "json"}[i%2], rows[i/2]
			lines := strings.Split(strings.Repeat(row+"\n", fuzzRows-1)+row, "\n")
			good := ofFormat(format, lines)
			changed := lines[int(which)%len(lines)]
			from := int(at) % len(changed)
			to := min(from+int(cut), len(changed))
			lines[int(which)%len(lines)] = changed[:from] + change + changed[to:]
			m := ofFormat(format, lines)
			for _, width := range widths {
				d := decoder(t, Options{Format: format}, pairs...)
				d.flat.scan.width = width
				for _, m := range []*stream.Messages{m, good, m, m} { // with what was learned of either
					r, err := d.Decode(m)
					require.NoError(t, err)
					checkSame(t, r, Options{Format: format}, pairs, m)
					r.Release()
				}
			}
		}
	})
}

// ofFormat returns lines as messages of a format: each one, or all of them one.
func ofFormat(format string, lines []string) *stream.Messages {
	if format == "ndjson" {
		return messages(strings.Join(lines, "\n"))
	}
	return messages(lines...)
}
