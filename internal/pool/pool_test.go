package pool

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestMemoryIsFilledAgain(t *testing.T) {
	t.Parallel()
	var p Memory
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
	for range keptTurns {
		p.Turn()
	}
	require.Len(t, p.spare, 1)
	p.Turn()
	require.Empty(t, p.spare, "nothing needs it")
	p.Free(grown)
	p.Free(make([]byte, keptBytesMin-1))
	require.Len(t, p.spare, 1)
	p.Drop()
	require.Empty(t, p.spare)
}
