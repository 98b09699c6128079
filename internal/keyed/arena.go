package keyed

import (
	"encoding/binary"
	"errors"

	"github.com/tidemill/tidemill/internal/spill"
)

// ErrFull says that a store has reached its limit of 32 GiB of texts and nested values, or 4 billion rows.
var ErrFull = errors.New("keyed store is full")

const (
	pageBits  = 20
	pageBytes = 1 << pageBits
	pageStart = 1 << 10 // bytes that a page begins with
	pagesMax  = 1 << (32 - pageBits + 3)
	unitBits  = 3 // blobs begin at multiples of 8
	offBits   = pageBits - unitBits
	bigBlob   = pageBytes / 4 // from here on a blob has a page of its own
)

// arena keeps blobs in pages without pointers. A reference is the number of the page and of the unit in it. A
// blob begins with the number of its row and its length, so that a page can be emptied: a blob is alive if
// its row refers to it.
type arena struct {
	pages []page
	limit int // bytes of a page
	tail  int // the page that grows; -1 is none
	spare []uint32
	used  int // bytes of all blobs
	dead  int // of these, bytes of freed ones
	bytes int // memory of pages
	pool  *spill.Pool
	kind  spill.Kind // Rows or Copies
}

type page struct {
	mem  []byte
	dead int
}

func newArena(limit int, pool *spill.Pool, kind spill.Kind) arena {
	return arena{limit: limit, tail: -1, pool: pool, kind: kind}
}

func blobSize(payload int) int { return (payload + 1<<unitBits - 1) &^ (1<<unitBits - 1) }

// write copies a blob behind a header of 8 bytes, or 12 that say also where its key ends.
func (a *arena) write(slot uint32, header, keyEnd int, payload []byte) (uint32, error) {
	size := blobSize(header + len(payload))
	n, err := a.reserve(size)
	if err != nil {
		return 0, err
	}
	p := &a.pages[n]
	at := len(p.mem)
	p.mem = p.mem[:at+size]
	b := p.mem[at:]
	binary.LittleEndian.PutUint32(b, slot)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(payload)))
	if header > 8 {
		binary.LittleEndian.PutUint32(b[8:], uint32(keyEnd))
	}
	copy(b[header:], payload)
	a.used += size
	return uint32(n)<<offBits | uint32(at>>unitBits), nil
}

// reserve returns a page that has room for size bytes.
func (a *arena) reserve(size int) (int, error) {
	if size >= a.limit/4 {
		return a.addPage(size)
	}
	if a.tail < 0 || len(a.pages[a.tail].mem)+size > a.limit {
		first := a.limit
		if a.used == 0 {
			first = max(min(pageStart, a.limit), size) // small stores stay small
		}
		n, err := a.addPage(first)
		if err != nil {
			return 0, err
		}
		a.tail = n
	}
	p := &a.pages[a.tail]
	if need := len(p.mem) + size; need > cap(p.mem) {
		mem, err := a.pool.Alloc(min(max(need, 2*cap(p.mem)), a.limit), a.kind)
		if err != nil {
			return 0, err //nolint:wrapcheck // it says what it did
		}
		a.bytes += cap(mem) - cap(p.mem)
		mem = mem[:copy(mem, p.mem)]
		a.pool.Free(p.mem, a.kind)
		p.mem = mem
	}
	return a.tail, nil
}

func (a *arena) addPage(size int) (int, error) {
	mem, err := a.pool.Alloc(size, a.kind)
	if err != nil {
		return 0, err //nolint:wrapcheck // it says what it did
	}
	n := len(a.pages)
	if last := len(a.spare) - 1; last >= 0 {
		n = int(a.spare[last])
		a.spare = a.spare[:last]
	} else if n == pagesMax {
		a.pool.Free(mem, a.kind)
		return 0, ErrFull
	} else {
		a.pages = append(a.pages, page{})
	}
	a.pages[n] = page{mem: mem[:0]}
	a.bytes += size
	return n, nil
}

// blob returns what follows from the header on.
func (a *arena) blob(ref uint32) []byte {
	return a.pages[ref>>offBits].mem[(ref&(1<<offBits-1))<<unitBits:]
}

// payload returns the bytes of a blob.
func (a *arena) payload(ref uint32, header int) []byte {
	b := a.blob(ref)
	return b[header : header+int(binary.LittleEndian.Uint32(b[4:]))]
}

// free counts a blob as dead. A page that has no other goes at once.
func (a *arena) free(ref uint32, header int) {
	size := blobSize(header + len(a.payload(ref, header)))
	n := int(ref >> offBits)
	p := &a.pages[n]
	p.dead += size
	a.dead += size
	if p.dead == len(p.mem) {
		a.drop(n)
	}
}

func (a *arena) drop(n int) {
	p := &a.pages[n]
	a.used -= len(p.mem)
	a.dead -= p.dead
	a.bytes -= cap(p.mem)
	a.pool.Free(p.mem, a.kind)
	*p = page{}
	a.spare = append(a.spare, uint32(n))
	if n == a.tail {
		a.tail = -1
	}
	if a.used == 0 {
		*a = newArena(a.limit, a.pool, a.kind)
	}
}

// release gives all memory back.
func (a *arena) release() {
	for _, p := range a.pages {
		a.pool.Free(p.mem, a.kind)
	}
	*a = newArena(a.limit, a.pool, a.kind)
}

// victim returns the page that has most dead bytes if it is time to empty one, or -1.
func (a *arena) victim() int {
	if a.dead <= a.used/2 {
		return -1
	}
	best, most := -1, 0
	for n := range a.pages {
		if p := &a.pages[n]; n != a.tail && p.dead > most && 2*p.dead >= len(p.mem) {
			best, most = n, p.dead
		}
	}
	return best
}

// compact empties pages until no more than half of the arena is dead. A page moves no more than half of its
// bytes, so the work is bounded by what was freed.
func (s *Store) compact() {
	a := &s.arena
	for n := a.victim(); n >= 0; n = a.victim() {
		for at := 0; at < len(a.pages[n].mem); { // it goes with its last blob
			ref := uint32(n)<<offBits | uint32(at>>unitBits)
			size, ok := s.move(ref)
			if !ok {
				return // there is no page to move to: the next batch tries again
			}
			at += size
			s.pace(at >> unitBits)
		}
	}
}

// move copies a blob to the tail if it is alive, and returns its size.
func (s *Store) move(ref uint32) (size int, ok bool) {
	a, header := &s.arena, s.l.header
	b := a.blob(ref)
	slot, payload := binary.LittleEndian.Uint32(b), a.payload(ref, header)
	size = blobSize(header + len(payload))
	if !s.refersTo(slot, ref) {
		return size, true
	}
	keyEnd := 0
	if header > 8 {
		keyEnd = int(binary.LittleEndian.Uint32(b[8:]))
	}
	moved, err := a.write(slot, header, keyEnd, payload)
	if err != nil {
		return 0, false
	}
	s.setRef(s.rows.row(slot), moved)
	a.free(ref, header)
	return size, true
}

// refersTo reports whether the blob at ref belongs to the row.
func (s *Store) refersTo(slot, ref uint32) bool {
	return s.rows.inUse(slot) && s.ref(s.rows.row(slot)) == ref
}
