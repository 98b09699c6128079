package keyed

import (
	"encoding/binary"

	"github.com/tidemill/tidemill/internal/spill"
)

const (
	chunkBits  = 13
	chunkRows  = 1 << chunkBits
	chunksMax  = 1<<(32-chunkBits) - 1
	noRow      = 1<<32 - 1
	chunkStart = 64 // rows that the first chunk begins with; small stores stay small
)

// flags are the first byte of a row.
const (
	flagUsed    = 1 << iota // a cell of the hash table refers to the row
	flagLive                // the row is in the store; without, it only remembers that a key was deleted
	flagTouched             // it is in the undo log of the open batch
	flagFree                // it is in the free list of its chunk
	flagSeen                // the running call has taken it already
)

// rows keeps rows of one width in chunks without pointers. A row never moves while it is in use.
type rows struct {
	width  int
	chunks []chunk
	room   int // chunks before this one are full
	bytes  int
	pool   *spill.Pool
	kind   spill.Kind // Rows or Copies
}

type chunk struct {
	mem   []byte
	free  uint32 // the first free row, from 1 on; 0 is none. It holds the number of the next behind its flags
	fresh uint32 // rows from here on were never used
	used  uint32
}

func (t *rows) row(slot uint32) []byte {
	at := int(slot&(chunkRows-1)) * t.width
	return t.chunks[slot>>chunkBits].mem[at : at+t.width : at+t.width]
}

// alloc returns a row that is not in use, if there can be more. Its bytes are as free left them,
// which undoAlloc needs.
func (t *rows) alloc() (uint32, error) {
	for ; t.room < len(t.chunks); t.room++ {
		if c := &t.chunks[t.room]; c.used < chunkRows {
			break
		}
	}
	if t.room == len(t.chunks) {
		if t.room == chunksMax {
			return noRow, ErrFull
		}
		t.chunks = append(t.chunks, chunk{})
	}
	c := &t.chunks[t.room]
	if c.free != 0 {
		c.used++
		slot := uint32(t.room)<<chunkBits | (c.free - 1)
		c.free = binary.LittleEndian.Uint32(t.row(slot)[flagsBytes:])
		return slot, nil
	}
	if int(c.fresh)*t.width == len(c.mem) {
		if err := t.grow(c); err != nil {
			return noRow, err
		}
	}
	c.used++
	c.fresh++
	return uint32(t.room)<<chunkBits | (c.fresh - 1), nil
}

func (t *rows) grow(c *chunk) error {
	n := chunkRows
	if t.room == 0 {
		n = min(max(chunkStart, 2*int(c.fresh)), chunkRows)
	}
	mem, err := t.pool.Alloc(n*t.width, t.kind)
	if err != nil {
		return err //nolint:wrapcheck // it says what it did
	}
	copy(mem, c.mem)
	t.bytes += len(mem) - len(c.mem)
	t.pool.Free(c.mem, t.kind)
	c.mem = mem
	return nil
}

// drop gives the memory of a chunk back.
func (t *rows) drop(c *chunk) {
	t.bytes -= len(c.mem)
	t.pool.Free(c.mem, t.kind)
	*c = chunk{}
}

// release gives all memory back.
func (t *rows) release() {
	for n := range t.chunks {
		t.drop(&t.chunks[n])
	}
	*t = rows{width: t.width, pool: t.pool, kind: t.kind}
}

// free takes a row back.
func (t *rows) free(slot uint32) {
	c := &t.chunks[slot>>chunkBits]
	row := t.row(slot)
	row[0] = flagFree
	binary.LittleEndian.PutUint32(row[flagsBytes:], c.free)
	c.free = slot&(chunkRows-1) + 1
	c.used--
	t.freed(slot >> chunkBits)
}

// undoAlloc takes back the row that was given out last of those not undone. Its bytes are what they were
// then.
func (t *rows) undoAlloc(slot uint32) {
	c := &t.chunks[slot>>chunkBits]
	if t.row(slot)[0]&flagFree != 0 {
		c.free = slot&(chunkRows-1) + 1
	} else {
		c.fresh--
	}
	c.used--
	t.freed(slot >> chunkBits)
}

// freed notes that a chunk has room, and releases its memory if all of it is free.
func (t *rows) freed(number uint32) {
	t.room = min(t.room, int(number))
	if c := &t.chunks[number]; c.used == 0 {
		t.drop(c)
	}
	for n := len(t.chunks); n > 0 && t.chunks[n-1].used == 0; n-- {
		t.drop(&t.chunks[n-1])
		t.chunks = t.chunks[:n-1]
	}
}

// inUse reports whether a row that was in use once still is.
func (t *rows) inUse(slot uint32) bool {
	number := int(slot >> chunkBits)
	return number < len(t.chunks) && slot&(chunkRows-1) < t.chunks[number].fresh && t.row(slot)[0]&flagUsed != 0
}
