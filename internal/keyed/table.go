package keyed

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
}

func (t *table) part(hash uint64) *part { return &t.parts[hash>>(64-partBits)] }

func cellOf(hash uint64, slot uint32) uint64 { return uint64(uint32(hash))<<32 | uint64(slot+1) }

// insert adds a row whose key is not there.
func (t *table) insert(hash uint64, slot uint32) {
	p := t.part(hash)
	if (p.used+1)*16 > len(p.cells)*13 {
		t.resize(p, max(partMin, 2*len(p.cells)))
	}
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

func (t *table) resize(p *part, cells int) {
	before := p.cells
	p.cells = make([]uint64, cells)
	t.bytes += 8 * (len(p.cells) - len(before))
	for _, c := range before {
		if c != 0 {
			p.add(c)
		}
	}
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
		t.resize(p, len(p.cells)/2)
	}
}
