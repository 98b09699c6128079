package parquetenc

import (
	"encoding/binary"
	"math/bits"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/metadata"
)

// limits say how large things get. Tests make them small.
type limits struct {
	// groupRows is DuckDB's own unit: a reader can hand a row group to each thread.
	groupRows int
	// pageBytes is about how long a page is before it is compressed: what fits into a core's cache.
	pageBytes int
	// dictionaryBytes is most that a chunk's dictionary may take, a last step of rows aside.
	dictionaryBytes int
	// dictionaryTry is how many values are looked at before a dictionary may be given up because they hardly repeat.
	dictionaryTry int
}

func usual() limits {
	return limits{groupRows: 122_880, pageBytes: 1 << 20, dictionaryBytes: 1 << 20, dictionaryTry: 2048}
}

// dictionaryPays says whether values, if there are any, repeat often enough for a dictionary.
func dictionaryPays(entries, seen int) bool { return entries > 0 && entries <= seen/2 }

// worth says whether to go on with a dictionary of some entries, which take some bytes, after values.
func (l limits) worth(entries, bytes, values int) bool {
	return bytes <= l.dictionaryBytes && (values < l.dictionaryTry || dictionaryPays(entries, values))
}

// values are those of one chunk. Pages are taken from it one after the other; a chunk begins with begin.
type values interface {
	begin()
	// size is how long the values of s are in plain form.
	size(s *slots) int
	// add appends the values of s.
	add(s *slots)
	// bytes is about how long the open page is.
	bytes() int
	// take appends the open page to dst, and begins the next.
	take(dst []byte) ([]byte, parquet.Encoding)
	// dictionary is what pages of RLE_DICTIONARY refer to, in plain form. It is empty if there was no such page.
	dictionary() (plain []byte, entries int)
	// bounds sets the least and greatest of the chunk.
	bounds(to *metadata.EncodedStatistics)
}

// fixed are values that all have one length, held by their bits.
type fixed[U comparable] struct {
	view   func(s *slots, tmp *[]U) []U // the values of slots, in tmp if they have to be gathered
	hash   func(U) uint64
	append func(dst []byte, v []U) []byte // plain form
	width  int                            // in bytes, of the plain form
	least  func() bounds[U]
	limits limits

	seen    bounds[U]
	all     *numbers[U]
	dict    *numbers[U] // all, or nil when it was given up
	total   int         // values that went through the dictionary
	page    []byte      // plain
	index   []uint32    // or numbers into the dictionary
	tmp     []U
	written bool // a page refers to the dictionary
}

func (f *fixed[U]) begin() {
	if f.all == nil {
		f.all = &numbers[U]{hash: f.hash}
	}
	f.all.reset()
	f.seen, f.dict, f.total = f.least(), f.all, 0
	f.page, f.index, f.written = f.page[:0], f.index[:0], false
}

func (f *fixed[U]) size(s *slots) int { return s.values() * f.width }

func (f *fixed[U]) add(s *slots) {
	v := f.view(s, &f.tmp)
	if f.dict != nil {
		f.index = f.dict.find(f.index, v)
		f.total += len(v)
		if n := len(f.dict.entries); !f.limits.worth(n, n*f.width, f.total) {
			f.giveUp()
		}
		return
	}
	f.seen.see(v)
	f.page = f.append(f.page, v)
}

// giveUp goes on without a dictionary.
func (f *fixed[U]) giveUp() {
	f.seen.see(f.dict.entries)
	for _, i := range f.index {
		f.page = f.append(f.page, f.dict.entries[i:i+1])
	}
	f.dict, f.index = nil, f.index[:0]
}

func (f *fixed[U]) bytes() int { return len(f.page) + 4*len(f.index) }

func (f *fixed[U]) take(dst []byte) ([]byte, parquet.Encoding) {
	if f.dict != nil && !f.written && !dictionaryPays(len(f.dict.entries), f.total) {
		f.giveUp()
	}
	if f.dict != nil {
		f.written = true
		dst = appendIndex(dst, f.index, len(f.dict.entries))
		f.index = f.index[:0]
		return dst, parquet.Encodings.RLEDict
	}
	dst = append(dst, f.page...)
	f.page = f.page[:0]
	return dst, parquet.Encodings.Plain
}

func (f *fixed[U]) dictionary() (plain []byte, entries int) {
	if !f.written {
		return nil, 0
	}
	return f.append(nil, f.all.entries), len(f.all.entries)
}

func (f *fixed[U]) bounds(to *metadata.EncodedStatistics) {
	if f.dict != nil {
		f.seen.see(f.dict.entries)
	}
	if least, most, ok := f.seen.get(); ok {
		to.SetMin(least).SetMax(most)
	}
}

// appendIndex appends a page of numbers into a dictionary.
func appendIndex(dst []byte, index []uint32, entries int) []byte {
	width := max(1, widthOf(uint32(max(entries-1, 0)))) //nolint:gosec // a dictionary is small
	return appendHybrid(append(dst, byte(width)), index, width)
}

// numbers finds the entry of a value that has come before.
type numbers[U comparable] struct {
	hash    func(U) uint64
	entries []U
	table   []uint32 // the number of an entry and one, or 0
	shift   int
}

// reset forgets the entries, but not how many there were.
func (d *numbers[U]) reset() {
	d.table = emptyTable(d.table, len(d.entries))
	d.shift = 64 - bits.TrailingZeros(uint(len(d.table)))
	d.entries = d.entries[:0]
}

// emptyTable returns a table without entries, in old's memory, for about as many as old had.
func emptyTable(old []uint32, entries int) []uint32 {
	size := max(256, 1<<bits.Len(uint(2*entries))) //nolint:gosec // a count
	if size > cap(old) {
		return make([]uint32, size)
	}
	clear(old[:size])
	return old[:size]
}

// find appends the entries' numbers of values.
func (d *numbers[U]) find(index []uint32, values []U) []uint32 {
	for _, v := range values {
		mask := uint64(len(d.table) - 1)
		at := d.hash(v) >> d.shift
		for {
			e := d.table[at]
			if e == 0 {
				index = append(index, d.insert(at, v))
				break
			}
			if d.entries[e-1] == v {
				index = append(index, e-1)
				break
			}
			at = (at + 1) & mask
		}
	}
	return index
}

// insert makes v an entry, whose place is free.
func (d *numbers[U]) insert(at uint64, v U) uint32 {
	d.entries = append(d.entries, v)
	n := uint32(len(d.entries)) //nolint:gosec // a dictionary is small
	d.table[at] = n
	if 2*len(d.entries) > len(d.table) {
		d.shift--
		d.table = make([]uint32, 2*len(d.table))
		mask := uint64(len(d.table) - 1)
		for i, e := range d.entries {
			at := d.hash(e) >> d.shift
			for d.table[at] != 0 {
				at = (at + 1) & mask
			}
			d.table[at] = uint32(i) + 1 //nolint:gosec // a dictionary is small
		}
	}
	return n - 1
}

// spread is a multiplicative hash: its high bits depend on all of v.
func spread(v uint64) uint64 { return v * 0x9E3779B97F4A7C15 }

func hash32(v uint32) uint64 { return spread(uint64(v)) }
func hash64(v uint64) uint64 { return spread(v ^ v>>32) }

func hashDecimal(v decimal128.Num) uint64 {
	return spread(v.LowBits() ^ spread(uint64(v.HighBits()))) //nolint:gosec // bits
}

// appendDecimal appends the low bytes of v, the highest first.
func appendDecimal(dst []byte, v decimal128.Num, width int) []byte {
	var all [16]byte
	binary.BigEndian.PutUint64(all[:], uint64(v.HighBits())) //nolint:gosec // bits
	binary.BigEndian.PutUint64(all[8:], v.LowBits())
	return append(dst, all[16-width:]...)
}
