package spill

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// space is the segments of one kind.
type space struct {
	segments []*segment
	bytes    int  // of them
	zero     bool // of the segments
}

// segment is a run of memory that blocks are taken from.
type segment struct {
	mem   []byte
	free  []extent // in order, no two of them adjacent
	used  int
	fresh int  // bytes from here on have never been given out, so they are zero
	zero  bool // so are those that were given back: of memory that is in no file
}

type extent struct{ at, size int }

// take returns a block of zero bytes, from a new segment if no other has room.
func (s *space) take(size int, more func(int) ([]byte, error)) ([]byte, error) {
	for _, seg := range s.segments {
		if mem := seg.take(size); mem != nil {
			return mem, nil
		}
	}
	mem, err := more(max(size, min(max(s.bytes, segmentLeast), segmentMost)))
	if err != nil {
		return nil, err
	}
	seg := &segment{mem: mem, zero: s.zero, free: []extent{{0, len(mem)}}}
	s.segments = append(s.segments, seg)
	s.bytes += len(mem)
	return seg.take(size), nil
}

func (g *segment) take(size int) []byte {
	for i := range g.free {
		e := &g.free[i]
		if e.size < size {
			continue
		}
		at := e.at
		e.at, e.size = e.at+size, e.size-size
		if e.size == 0 {
			g.free = slices.Delete(g.free, i, i+1)
		}
		g.used += size
		mem := g.mem[at : at+size : at+size]
		if at < g.fresh && !g.zero {
			clear(mem[:min(size, g.fresh-at)])
		}
		g.fresh = max(g.fresh, at+size)
		return mem
	}
	return nil
}

// segment returns the one that a block is from; nil if it is from another space.
func (s *space) segment(mem []byte) *segment {
	for _, seg := range s.segments {
		if seg.offset(mem) >= 0 {
			return seg
		}
	}
	return nil
}

// offset returns where a block begins, or -1 if it is not of this segment.
func (g *segment) offset(mem []byte) int {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(mem))) - uintptr(unsafe.Pointer(unsafe.SliceData(g.mem)))
	if at >= uintptr(len(g.mem)) {
		return -1
	}
	return int(at)
}

// give takes a block back, and unmaps its segment, which it tells before, if that was the last one.
func (s *space) give(g *segment, mem []byte, size int, before func([]byte)) {
	at := g.offset(mem)
	if g.zero {
		dropZero(g.mem[at : at+size])
	}
	i, _ := slices.BinarySearchFunc(g.free, at, func(e extent, at int) int { return e.at - at })
	g.free = slices.Insert(g.free, i, extent{at, size})
	if i+1 < len(g.free) && at+size == g.free[i+1].at {
		g.free[i].size += g.free[i+1].size
		g.free = slices.Delete(g.free, i+1, i+2)
	}
	if i > 0 && g.free[i-1].at+g.free[i-1].size == at {
		g.free[i-1].size += g.free[i].size
		g.free = slices.Delete(g.free, i, i+1)
	}
	if g.used -= size; g.used > 0 {
		return
	}
	before(g.mem)
	if err := unix.Munmap(g.mem); err != nil {
		panic(fmt.Sprintf("unmap %d bytes of state: %v", len(g.mem), err)) // it is no mapping of ours
	}
	s.bytes -= len(g.mem)
	s.segments = slices.DeleteFunc(s.segments, func(seg *segment) bool { return seg == g })
}

// dropZero gives memory that is in no file back. It reads as zero from now on.
func dropZero(mem []byte) {
	if err := unix.Madvise(mem, unix.MADV_DONTNEED); err != nil {
		clear(mem)
	}
}

// mapMemory returns zero bytes of no file.
func mapMemory(n int) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("map memory: %w", err)
	}
	return mem, nil
}
