package spill

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// block is one that a test holds, filled with its mark.
type block struct {
	mem  []byte
	kind Kind
	mark byte
}

// TestBlocksDoNotOverlap allocates and frees at random, some of it in memory alone, and looks at every byte.
func TestBlocksDoNotOverlap(t *testing.T) {
	t.Parallel()
	p := New(Options{Dir: t.TempDir(), Resident: 1 << 20, Least: -1, Room: -1})
	rng := rand.New(rand.NewPCG(1, 2))
	var held []block
	free := func(i int) {
		b := held[i]
		require.Equal(t, len(b.mem), bytes.Count(b.mem, []byte{b.mark}))
		p.Free(b.mem, b.kind)
		held[i] = held[len(held)-1]
		held = held[:len(held)-1]
	}
	spilled := int64(0)
	for round := range 3000 {
		if len(held) > 0 && rng.IntN(len(held)+40) > 40 {
			free(rng.IntN(len(held)))
			p.Trim()
			continue
		}
		b := block{kind: Kind(rng.IntN(int(kinds))), mark: byte(round%255 + 1)}
		var err error
		b.mem, err = p.Alloc(1+rng.IntN(200_000), b.kind)
		require.NoError(t, err)
		require.Equal(t, len(b.mem), bytes.Count(b.mem, []byte{0}))
		for i := range b.mem {
			b.mem[i] = b.mark
		}
		held = append(held, b)
		spilled = max(spilled, p.Spilled())
		require.LessOrEqual(t, p.Resident(), int64(1<<20))
	}
	require.Greater(t, spilled, int64(1<<20), "the test is about both")
	for len(held) > 0 {
		free(0)
	}
	require.Zero(t, p.Spilled()+p.Resident())
	require.Empty(t, p.file.segments)
	require.Empty(t, p.anon.segments)
	require.Zero(t, p.file.bytes+p.anon.bytes)
}

func TestFilesHaveNoName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := New(Options{Dir: dir, Least: -1})
	mem, err := p.Alloc(10_000, Rows)
	require.NoError(t, err)
	mem[9_999] = 7
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, names)
	require.EqualValues(t, 12_288, p.Spilled())
	p.Free(mem, Rows)
}

func TestIndexesAreSpilledLast(t *testing.T) {
	t.Parallel()
	p := New(Options{Dir: t.TempDir(), Resident: 3 << 20})
	for range 4 {
		_, err := p.Alloc(1<<20, Rows)
		require.NoError(t, err)
	}
	require.Equal(t, []int64{2 << 20, 2 << 20}, []int64{p.Resident(), p.Spilled()})
	for range 2 {
		_, err := p.Alloc(1<<20, Index)
		require.NoError(t, err)
	}
	require.Equal(t, []int64{3 << 20, 3 << 20}, []int64{p.Resident(), p.Spilled()})
}

// TestFullDisk runs out of disk: an error says so, copies come from Go, and what there was is as it was.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	left := int64(1 << 20)
	p := New(Options{Dir: t.TempDir(), Least: -1, Reserve: func(_ *os.File, size int64) error {
		if left -= size; left < 0 {
			return syscall.ENOSPC
		}
		return nil
	}})
	mem, err := p.Alloc(900_000, Rows)
	require.NoError(t, err)
	_, err = p.Alloc(200_000, Rows)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "spill 200000 bytes of state: reserve 1 MiB in ")
	copies, err := p.Alloc(200_000, Copies)
	require.NoError(t, err)
	require.Len(t, copies, 200_000)
	require.EqualValues(t, 901_120, p.Spilled())
	p.Free(copies, Copies)
	p.Free(mem, Rows)
	require.Zero(t, p.Spilled())
}

func TestNilIsGoMemory(t *testing.T) {
	t.Parallel()
	var p *Pool
	mem, err := p.Alloc(100_000, Index)
	require.NoError(t, err)
	require.Len(t, mem, 100_000)
	p.Free(mem, Index)
	p.Trim()
	require.Zero(t, p.Spilled()+p.Resident())
}

// TestWindow reads what the kernel counts: pages of the file go when they are more than the window, and come back.
func TestWindow(t *testing.T) {
	t.Parallel()
	w := NewWindow()
	if w.resident() < 0 {
		t.Skip("the kernel does not say what is resident")
	}
	p := New(Options{Dir: t.TempDir(), Window: w})
	var blocks [][]byte
	for n := range 64 {
		mem, err := p.Alloc(1<<20, Rows)
		require.NoError(t, err)
		for i := range mem {
			mem[i] = byte(n)
		}
		p.Trim()
		blocks = append(blocks, mem)
	}
	require.GreaterOrEqual(t, w.Trimmed(), int64(3), "64 MiB went through a window of 16")
	for n, mem := range blocks {
		for _, i := range []int{0, 4_096, len(mem) - 1} {
			require.EqualValues(t, n, mem[i])
		}
		p.Free(mem, Rows)
	}
	require.Empty(t, w.mapped)
}

// TestNoMemory is given no memory by the kernel, as one that does not overcommit may do: blocks go to files.
func TestNoMemory(t *testing.T) {
	t.Parallel()
	refusal := fmt.Errorf("map memory: %w", syscall.ENOMEM)
	p := New(Options{Dir: t.TempDir(), Resident: 64 << 20, Room: -1, Map: func(int) ([]byte, error) { return nil, refusal }})
	mem, err := p.Alloc(1<<20, Rows)
	require.NoError(t, err)
	require.EqualValues(t, 1<<20, p.Spilled())
	require.Zero(t, p.Resident())
	p.Free(mem, Rows)
	require.Zero(t, p.Spilled())

	refusal = syscall.EINVAL // a fault of ours is not hidden
	_, err = p.Alloc(1<<20, Rows)
	require.ErrorIs(t, err, syscall.EINVAL)
	p.Close()
}
