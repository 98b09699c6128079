package keyed

import (
	"unsafe"

	"github.com/tidemill/tidemill/internal/spill"
)

const (
	partBits = 8
	partMin  = 8 // cells of the smallest part
)

// part is one of the tables that the first byte of a hash chooses from: open addressing, linear probing. A
// cell is the hash's low half, then the row's number plus one; 0 is empty.
type part struct {
	cells []uint64
	used  int
}

// table maps hashes to rows. It grows and shrinks a part at a time.
type table struct {
	parts [1 << partBits]part
	bytes int
	pool  *spill.Pool
}

func (t *table) part(hash uint64) *part { return &t.parts[hash>>(64-partBits)] }

func cellOf(hash uint64, slot uint32) uint64 { return uint64(uint32(hash))<<32 | uint64(slot+1) }

// cell returns the first cell with the lower half of the hash, 0 if there is none.
func (t *table) cell(hash uint64) uint64 {
	p := t.part(hash)
	if len(p.cells) == 0 {
		return 0
	}
	mask := uint32(len(p.cells) - 1)
	i := uint32(hash) & mask
	for p.cells[i] != 0 && uint32(p.cells[i]>>32) != uint32(hash) {
		i = (i + 1) & mask
	}
	return p.cells[i]
}

// ready makes room for a row of that hash.
func (t *table) ready(hash uint64) error {
	if p := t.part(hash); (p.used+1)*16 > len(p.cells)*13 {
		return t.resize(p, max(partMin, 2*len(p.cells)))
	}
	return nil
}

// insert adds a row whose key is not there, where ready has made room.
func (t *table) insert(hash uint64, slot uint32) {
	p := t.part(hash)
	p.add(cellOf(hash, slot))
	p.used++
}

func (p *part) add(cell uint64) {
	mask := uint32(len(p.cells) - 1)
	i := uint32(cell>>32) & mask
	for p.cells[i] != 0 {
		i = (i + 1) & mask
	}
	p.cells[i] = cell
}

func (t *table) resize(p *part, cells int) error {
	mem, err := t.pool.Alloc(8*cells, spill.Index)
	if err != nil {
		return err //nolint:wrapcheck // it says what it did
	}
	before := p.cells
	p.cells = unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(mem))), cells)
	t.bytes += 8 * (len(p.cells) - len(before))
	defer t.free(before)
	if p.used == 0 {
		return nil // what reserve made before, of which nobody has touched a page
	}
	for _, c := range before {
		if c != 0 {
			p.add(c)
		}
	}
	return nil
}

func (t *table) free(cells []uint64) {
	if len(cells) > 0 {
		t.pool.Free(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(cells))), 8*len(cells)), spill.Index)
	}
}

// release gives all memory back.
func (t *table) release() {
	for i := range t.parts {
		t.free(t.parts[i].cells)
	}
	*t = table{pool: t.pool}
}

// remove takes out the row's cell and closes the gap, so that no mark of it remains.
func (t *table) remove(hash uint64, slot uint32) {
	p := t.part(hash)
	cell := cellOf(hash, slot)
	mask := uint32(len(p.cells) - 1)
	gap := uint32(hash) & mask
	for p.cells[gap] != cell {
		gap = (gap + 1) & mask
	}
	for i := (gap + 1) & mask; p.cells[i] != 0; i = (i + 1) & mask {
		// A cell may move to the gap unless that is before the place where its search begins.
		if home := uint32(p.cells[i]>>32) & mask; (i-home)&mask >= (i-gap)&mask {
			p.cells[gap] = p.cells[i]
			gap = i
		}
	}
	p.cells[gap] = 0
	p.used--
	if len(p.cells) > partMin && p.used*8 < len(p.cells) {
		_ = t.resize(p, len(p.cells)/2) // without room for a smaller one the table stays as large as it is
	}
}
