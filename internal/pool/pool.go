// Package pool has memory for Arrow columns that is filled again and again. It promises nothing about what lies in memory
// that it gives; builds with the race detector overwrite what is given back, of small batches too, so that tests find who still
// looks at it.
package pool

import (
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Memory is an Arrow allocator that fills the memory of columns again, once nobody holds the record that they were part of:
// the system clears new memory, page by page, when it is first written to. It keeps what the last few batches had, and no
// more. It may be used by several goroutines at once.
type Memory struct {
	memory.GoAllocator // of what is not there

	mu    sync.Mutex
	turn  int     // guarded by mu, as all below
	spare []spare // in the order in which they were given back
}

// spare is memory that nobody uses.
type spare struct {
	b    []byte
	turn int // in which it was given back
}

// keptTurns is for how many batches memory is kept that none of them needs: one may be small.
const keptTurns = 4

// Turn begins the turn of a batch.
func (p *Memory) Turn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	p.spare = slices.DeleteFunc(p.spare, func(s spare) bool { return p.turn-s.turn > keptTurns })
}

// Drop gives up what is kept.
func (p *Memory) Drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = nil
}

// Allocate implements memory.Allocator. What it returns is not cleared.
func (p *Memory) Allocate(size int) []byte {
	if size < keptBytesMin {
		return p.GoAllocator.Allocate(size)
	}
	if b := p.take(size); b != nil {
		return b
	}
	step := 1 << (bits.Len(uint(size)) - 4)
	return p.GoAllocator.Allocate((size + step - 1) / step * step)[:size] // for a batch that is a little larger too
}

// take returns the least memory that fits and is not more than twice what is wanted, or nil.
func (p *Memory) take(size int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	best := -1
	for i, s := range p.spare {
		if n := cap(s.b); n >= size && n <= 2*size && (best < 0 || n < cap(p.spare[best].b)) {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	b := p.spare[best].b
	p.spare = slices.Delete(p.spare, best, best+1)
	return b[:size]
}

// Reallocate implements memory.Allocator.
func (p *Memory) Reallocate(size int, b []byte) []byte {
	if cap(b) >= size {
		return b[:size]
	}
	grown := p.Allocate(size)
	copy(grown, b)
	p.Free(b)
	return grown
}

// Free implements memory.Allocator.
func (p *Memory) Free(b []byte) {
	b = b[:cap(b)]
	if len(b) < keptBytesMin || uintptr(unsafe.Pointer(unsafe.SliceData(b)))%64 != 0 {
		return
	}
	spoil(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = append(p.spare, spare{b[:0], p.turn})
}

// Spare returns how many pieces of memory are kept for the next batches.
func (p *Memory) Spare() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.spare)
}
