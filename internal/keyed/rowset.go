package keyed

// rowSet is a set of rows by their number.
type rowSet []uint64

func (b rowSet) has(slot uint32) bool {
	return int(slot>>6) < len(b) && b[slot>>6]&(1<<(slot&63)) != 0
}

// add puts a row in and reports whether it was not there.
func (b *rowSet) add(slot uint32) bool {
	if at := int(slot >> 6); at >= len(*b) {
		*b = append(*b, make([]uint64, max(at+1, len(*b)*5/4)-len(*b))...)
	}
	word, bit := &(*b)[slot>>6], uint64(1)<<(slot&63)
	fresh := *word&bit == 0
	*word |= bit
	return fresh
}

// drop takes a row out and reports whether it was there.
func (b rowSet) drop(slot uint32) bool {
	if !b.has(slot) {
		return false
	}
	b[slot>>6] &^= 1 << (slot & 63)
	return true
}

// rowsUpTo is the set of all rows before one.
func rowsUpTo(end uint32) rowSet {
	b := make(rowSet, (end+63)>>6)
	for i := range b {
		b[i] = ^uint64(0)
	}
	if rest := end & 63; rest != 0 {
		b[end>>6] = 1<<rest - 1
	}
	return b
}
