package decode

// #cgo noescape flat_scan
// #cgo nocallback flat_scan
// #cgo noescape flat_texts
// #cgo nocallback flat_texts
// #cgo noescape flat_times
// #cgo nocallback flat_times
// #include "flat.h"
import "C"

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/bitutil"
)

// flatRows is how many objects are scanned at a time: their bytes should stay in the processor's cache until the columns
// have taken them.
const flatRows = C.FLAT_ROWS

// flatScan finds the values of objects with certain keys, see flat.h. It knows nothing of columns.
type flatScan struct {
	names []byte       // the keys as flat_key says, one after the other
	keys  []C.flat_key // where they are in names
	spans []span       // flatRows for each key, then of whole rows
	odd   []byte       // of each key: 1 if a value was no plain string
}

// span is a value as C.flat_span tells it.
type span struct{ start, last uint32 }

func (s span) plain() bool { return s.last&C.FLAT_PLAIN != 0 }
func (s span) end() int    { return int(s.last &^ C.FLAT_PLAIN) }

// text is what stands between the quotes of a plain string.
func (s span) text(b []byte) []byte { return b[s.start+1 : s.end()-1] }

// values returns the values of a key.
func (f *flatScan) values(k int) []span { return f.spans[k*flatRows:][:flatRows] }

// row returns a whole object, with its line break.
func (f *flatScan) row(i int) span { return f.spans[len(f.keys)*flatRows+i] }

// expects reports that these keys are the ones that are looked for.
func (f *flatScan) expects(keys []learned) bool {
	same := len(f.keys) == len(keys)
	for k := 0; same && k < len(keys); k++ {
		same = bytes.Equal(f.names[f.keys[k].at+1:][:f.keys[k].size-1], keys[k].raw)
	}
	return same
}

// expect makes these the keys that are looked for.
func (f *flatScan) expect(keys []learned) {
	f.names, f.keys = f.names[:0], f.keys[:0]
	before := byte('{')
	for _, l := range keys {
		f.keys = append(f.keys, flatKey(len(f.names), before, l.raw))
		f.names = append(append(f.names, before), l.raw...)
		before = ','
	}
	f.odd = make([]byte, len(keys))
	f.spans = make([]span, (len(keys)+1)*flatRows)
}

// flatKey describes a key that will stand at a place of names.
func flatKey(at int, before byte, raw []byte) C.flat_key {
	var own, mask [16]byte
	own[0], mask[0] = before, 0xff
	for i := range copy(own[1:], raw) {
		mask[1+i] = 0xff
	}
	half := func(b [16]byte, from int) C.uint64_t { return C.uint64_t(binary.LittleEndian.Uint64(b[from:])) }
	return C.flat_key{low: half(own, 0), high: half(own, 8), low_mask: half(mask, 0), high_mask: half(mask, 8),
		at: C.uint32_t(at), size: C.uint32_t(1 + len(raw))}
}

// run scans at most so many objects, up to flatRows, from b[p] on, and returns how many it found. With ends, each must end at
// its own.
func (f *flatScan) run(b []byte, p int, ends []int, most int) int {
	end := (*C.int64_t)(nil)
	if len(ends) > 0 {
		most, end = min(most, len(ends)), (*C.int64_t)(unsafe.Pointer(&ends[0])) // an int has 64 bits wherever DuckDB runs
	}
	return int(C.flat_scan((*C.uint8_t)(unsafe.SliceData(b)), C.int64_t(len(b)), C.int64_t(p), end,
		(*C.uint8_t)(unsafe.SliceData(f.names)), unsafe.SliceData(f.keys), C.int64_t(len(f.keys)),
		(*C.flat_span)(unsafe.Pointer(unsafe.SliceData(f.spans))), (*C.uint8_t)(unsafe.SliceData(f.odd)), C.int64_t(most)))
}

// texts stores plain strings of b as values of a column of text, from value i on, as many as there is room for, and returns
// how many.
func (n *node) texts(b []byte, spans []span, i int) int {
	count := int(C.flat_texts((*C.uint8_t)(unsafe.SliceData(b)), C.int64_t(len(b)), (*C.flat_span)(unsafe.Pointer(&spans[0])),
		C.int64_t(len(spans)), (*C.uint8_t)(unsafe.SliceData(n.data)), C.int64_t(len(n.data)),
		(*C.uint32_t)(unsafe.Pointer(&n.fixed[4*i]))))
	bitutil.SetBitsTo(n.valid, int64(i), int64(count), true)
	return count
}

// flatDay is a date that was read, see flat.h.
type flatDay = C.flat_day

// times stores plain strings of b that are times of a common form as values of a column that is read, from value i on, up to
// the first that is not, and returns how many.
func (n *node) times(b []byte, spans []span, i int, day *flatDay) int {
	count := int(C.flat_times((*C.uint8_t)(unsafe.SliceData(b)), C.int64_t(len(b)), (*C.flat_span)(unsafe.Pointer(&spans[0])),
		C.int64_t(len(spans)), day, (*C.int64_t)(unsafe.Pointer(&n.fixed[8*i]))))
	bitutil.SetBitsTo(n.valid, int64(i), int64(count), true)
	return count
}
