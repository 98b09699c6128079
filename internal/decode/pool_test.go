package decode

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/stretchr/testify/require"
)

func TestPoolFillsMemoryAgain(t *testing.T) {
	t.Parallel()
	var p pool
	b := p.Allocate(100_000)
	require.Len(t, b, 100_000)
	p.Free(b)
	same := p.Allocate(90_000)
	require.Len(t, same, 90_000)
	require.Same(t, unsafe.SliceData(b), unsafe.SliceData(same))
	other := p.Allocate(90_000)
	require.NotSame(t, unsafe.SliceData(same), unsafe.SliceData(other))
	same[0], same[89_999] = 1, 2
	grown := p.Reallocate(300_000, same)
	require.Len(t, grown, 300_000)
	require.Equal(t, []byte{1, 2}, []byte{grown[0], grown[89_999]})
	require.Same(t, unsafe.SliceData(same), unsafe.SliceData(p.Allocate(90_000)), "what was grown out of is free")
	p.Free(grown)
	require.NotSame(t, unsafe.SliceData(grown), unsafe.SliceData(p.Allocate(100_000)), "far too large")
	for range poolTurns {
		p.next()
	}
	require.Len(t, p.spare, 1)
	p.next()
	require.Empty(t, p.spare, "nothing needs it")
	p.Free(grown)
	p.Free(make([]byte, 100))
	require.Len(t, p.spare, 1)
	p.drop()
	require.Empty(t, p.spare)
}

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
		before := len(spares(d))
		got, err := d.Decode(m)
		require.NoError(t, err)
		reused += before - len(spares(d))
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
	require.Empty(t, spares(d))
}

func spares(d *Decoder) []spare {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.pool.spare
}
