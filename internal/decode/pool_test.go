package decode

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"
)

// TestRecycledResults asks that a Result stays as it is until it is released, while others are made, and that those hold
// nothing of what their memory held before.
func TestRecycledResults(t *testing.T) {
	t.Parallel()
	pairs := []string{"id", "BIGINT", "s", "VARCHAR", "b", "BOOLEAN", "l", "BIGINT[]", "m", "MAP(VARCHAR, BIGINT)", "p",
		`STRUCT(a BIGINT, "b c" VARCHAR[])`}
	d, plain := decoder(t, Options{Format: "ndjson", Recycle: true}, pairs...), decoder(t, Options{Format: "ndjson"}, pairs...)
	var all [][2]Result
	reused := 0
	for turn := range 9 {
		var b strings.Builder
		for i := range 700 + 50*(turn%3) {
			switch (i + turn) % 4 {
			case 0:
				fmt.Fprintf(&b, `{"id":%d,"s":"text %d","b":true,"l":[7,%d],"m":{"k":%d},"p":{"a":1,"b c":["y %d",null]}}`, i, turn, i, i, i)
			case 1:
				fmt.Fprintf(&b, `{"id":%d,"s":null,"b":false,"l":[],"m":{},"p":{"a":null,"b c":[]}}`, -i)
			case 2:
				b.WriteString(`{}`)
			default:
				fmt.Fprintf(&b, `{"id":%d,"l":[1,"no"]}`, i)
			}
			b.WriteByte('\n')
		}
		m := messages(b.String())
		before := d.pool.Spare()
		got, err := d.Decode(m)
		require.NoError(t, err)
		reused += before - d.pool.Spare()
		want, err := plain.Decode(m)
		require.NoError(t, err)
		require.Equal(t, want.Message, got.Message)
		require.Equal(t, want.Index, got.Index)
		all = append(all, [2]Result{got, want})
		for _, r := range all {
			require.True(t, array.RecordEqual(r[1].Rows, r[0].Rows))
		}
		if len(all) == 3 {
			d.Recycle(all[0][0].Message, all[0][0].Index)
			all[0][0].Release()
			all = all[1:]
		}
	}
	require.Greater(t, reused, 20)
	d.Idle()
	require.Zero(t, d.pool.Spare())
}
