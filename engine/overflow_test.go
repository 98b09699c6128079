package engine

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/spill"
)

// TestOverflowKeepsToItsWindow fills more than may be mapped: pages are let go while nobody asks for it, what they held
// is there all the same, and nothing is left to trim when all has been given back.
func TestOverflowKeepsToItsWindow(t *testing.T) {
	w := spill.NewWindow()
	o := &overflow{pool: spill.New(spill.Options{Dir: t.TempDir(), Window: w, Room: -1})}
	defer o.close()
	var blocks [][]byte
	for n := range 8 {
		mem := o.Allocate(4 << 20)
		for i := range mem {
			mem[i] = byte(n + 1)
		}
		blocks = append(blocks, mem)
	}
	require.EqualValues(t, 32<<20, o.pool.Spilled())
	require.Eventually(t, func() bool { return w.Trimmed() > 0 }, time.Minute, trimEvery)
	blocks[0] = o.Reallocate(6<<20, blocks[0])
	require.Len(t, blocks[0], 6<<20)
	for n, mem := range blocks {
		require.Equal(t, 4<<20, bytes.Count(mem, []byte{byte(n + 1)}))
		o.Free(mem)
	}
	require.Zero(t, o.pool.Spilled())
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return !o.trimming
	}, time.Minute, trimEvery)
}
