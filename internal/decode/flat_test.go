package decode

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFewAreScannedAmongFaults asks that a fault in every tenth row does not make each row be looked for dozens of times.
func TestFewAreScannedAmongFaults(t *testing.T) {
	t.Parallel()
	good, bad := `{"s":"x","ts":"2024-01-02T03:04:05"}`+"\n", `{"s":"x","ts":"2024-13-02T03:04:05"}`+"\n"
	d := decoder(t, Options{Format: "ndjson"}, "s", "VARCHAR", "ts", "TIMESTAMP")
	for _, c := range []struct {
		text      string
		bad, most int
	}{
		{strings.Repeat(good, 1000), 0, flatRows},
		{strings.Repeat(strings.Repeat(good, 9)+bad, 100), 100, 20},
		{strings.Repeat(good, 1000), 0, flatRows},
	} {
		r, err := d.Decode(messages(c.text))
		require.NoError(t, err)
		require.Equal(t, int64(1000-c.bad), r.Rows.NumRows())
		require.Len(t, r.Bad, c.bad)
		require.LessOrEqual(t, d.flat.most, c.most)
		require.GreaterOrEqual(t, d.flat.most, c.most/2)
		r.Release()
	}
}
