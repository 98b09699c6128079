package decode

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode feeds any bytes to every format. Nothing may panic, every fault must lie within its message and
// say why, and rows and faults must be numbered without a hole: each row of a payload is one or the other.
func FuzzDecode(f *testing.F) {
	formats := []string{"json", "ndjson", "csv", "text", "arrow"}
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
		d := decoder(t, Options{Format: format, CSVHeader: which >= 128, TimestampFormat: []string{"iso", "ms"}[which>>6&1]}, pairs...)
		m := messages("{}", string(payload), "{}")
		for range 2 { // the second time with what was learned
			r, err := d.Decode(m)
			require.NoError(t, err)
			checkAccounted(t, r, m.Len(), len(payload))
			_, err = r.Rows.MarshalJSON() // walks over every value
			require.NoError(t, err)
			r.Release()
		}
	})
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
