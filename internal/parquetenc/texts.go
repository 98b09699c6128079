package parquetenc

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/metadata"
)

// texts are values of any length: VARCHAR and BLOB.
type texts struct {
	limits limits

	seen    textBounds
	all     *words
	dict    *words // all, or nil when it was given up
	total   int    // values that went through the dictionary
	page    []byte // plain
	index   []uint32
	written bool // a page refers to the dictionary
}

func (t *texts) begin() {
	if t.all == nil {
		t.all = &words{seed: maphash.MakeSeed()}
	}
	t.all.reset()
	t.seen, t.dict, t.total = textBounds{}, t.all, 0
	t.page, t.index, t.written = t.page[:0], t.index[:0], false
}

func (*texts) size(s *slots) int {
	n := 4 * s.values()
	if n == 0 {
		return 0
	}
	ends, _ := textData(s)
	if !s.some {
		return n + int(ends[s.to]-ends[s.from])
	}
	for _, i := range s.at {
		n += int(ends[i+1] - ends[i])
	}
	return n
}

func (t *texts) add(s *slots) {
	if s.values() == 0 {
		return
	}
	ends, data := textData(s)
	if !s.some {
		for i := s.from; i < s.to; i++ {
			t.one(data[ends[i]:ends[i+1]])
		}
	} else {
		for _, i := range s.at {
			t.one(data[ends[i]:ends[i+1]])
		}
	}
	if t.dict != nil && !t.limits.worth(t.dict.entries(), len(t.dict.plain), t.total) {
		t.giveUp()
	}
}

// textData is where each value of a leaf's array ends in the bytes of all: the first begins at ends[0].
func textData(s *slots) (ends []int32, data []byte) {
	buffers, offset := s.leaf.Data().Buffers(), s.leaf.Data().Offset()
	if buffers[2] != nil {
		data = buffers[2].Bytes()
	}
	return arrow.GetData[int32](buffers[1].Bytes())[offset:], data
}

func (t *texts) one(v []byte) {
	if t.dict != nil {
		t.index = append(t.index, t.dict.find(v))
		t.total++
		return
	}
	t.seen.see(v)
	t.page = appendText(t.page, v)
}

// giveUp goes on without a dictionary.
func (t *texts) giveUp() {
	t.seeEntries()
	for _, i := range t.index {
		t.page = appendText(t.page, t.dict.entry(i))
	}
	t.dict, t.index = nil, t.index[:0]
}

func (t *texts) seeEntries() {
	for i := range t.dict.entries() {
		t.seen.see(t.dict.entry(uint32(i))) //nolint:gosec // a dictionary is small
	}
}

func (t *texts) bytes() int { return len(t.page) + 4*len(t.index) }

func (t *texts) take(dst []byte) ([]byte, parquet.Encoding) {
	if t.dict != nil && !t.written && !dictionaryPays(t.dict.entries(), t.total) {
		t.giveUp()
	}
	if t.dict != nil {
		t.written = true
		dst = appendIndex(dst, t.index, t.dict.entries())
		t.index = t.index[:0]
		return dst, parquet.Encodings.RLEDict
	}
	dst = append(dst, t.page...)
	t.page = t.page[:0]
	return dst, parquet.Encodings.Plain
}

func (t *texts) dictionary() (plain []byte, entries int) {
	if !t.written {
		return nil, 0
	}
	return t.all.plain, t.all.entries()
}

func (t *texts) bounds(to *metadata.EncodedStatistics) {
	if t.dict != nil {
		t.seeEntries()
	}
	// One that is cut would be no value of the chunk, which some readers take it for.
	if t.seen.any && len(t.seen.least) <= boundBytesMax {
		to.SetMin(t.seen.least)
	}
	if t.seen.any && len(t.seen.most) <= boundBytesMax {
		to.SetMax(t.seen.most)
	}
}

// appendText appends the plain form of a text: its length and its bytes.
func appendText(dst, v []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v))) //nolint:gosec // Arrow's own lengths are 31 bits
	return append(dst, v...)
}

// words finds the entry of a text that has come before.
type words struct {
	seed   maphash.Seed // the order of entries does not depend on it
	plain  []byte       // entries, one after the other
	starts []uint32     // where each begins in plain
	hashes []uint64
	table  []uint32 // the number of an entry and one, or 0
}

// reset forgets the entries, but not how many there were.
func (d *words) reset() {
	d.table = emptyTable(d.table, len(d.starts))
	d.plain, d.starts, d.hashes = d.plain[:0], d.starts[:0], d.hashes[:0]
}

func (d *words) entries() int { return len(d.starts) }

func (d *words) entry(i uint32) []byte {
	at := d.starts[i]
	n := binary.LittleEndian.Uint32(d.plain[at:])
	return d.plain[at+4 : at+4+n]
}

// find returns the number of v's entry.
func (d *words) find(v []byte) uint32 {
	h := maphash.Bytes(d.seed, v)
	mask := uint64(len(d.table) - 1)
	at := h & mask
	for {
		e := d.table[at]
		if e == 0 {
			return d.insert(at, h, v)
		}
		if d.hashes[e-1] == h && string(d.entry(e-1)) == string(v) {
			return e - 1
		}
		at = (at + 1) & mask
	}
}

// insert makes v an entry, whose place is free.
func (d *words) insert(at, h uint64, v []byte) uint32 {
	d.starts = append(d.starts, uint32(len(d.plain))) //nolint:gosec // a dictionary is small
	d.hashes = append(d.hashes, h)
	d.plain = appendText(d.plain, v)
	n := uint32(len(d.starts)) //nolint:gosec // a dictionary is small
	d.table[at] = n
	if 2*len(d.starts) > len(d.table) {
		d.table = make([]uint32, 2*len(d.table))
		mask := uint64(len(d.table) - 1)
		for i, h := range d.hashes {
			at := h & mask
			for d.table[at] != 0 {
				at = (at + 1) & mask
			}
			d.table[at] = uint32(i) + 1 //nolint:gosec // a dictionary is small
		}
	}
	return n - 1
}
