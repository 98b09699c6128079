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
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/bitutil"
)

// flatRows is how many objects are scanned at a time: their bytes should stay in the processor's cache until the columns
// have taken them.
const flatRows = C.FLAT_ROWS

// flatScan finds the values of objects with certain keys, see flat.h. It knows nothing of columns.
type flatScan struct {
	width int          // how many bytes are looked at together
	names []byte       // the keys as flat_key says, one after the other
	keys  []C.flat_key // where they are in names
	runs  C.flat_runs  // what they and their values looked like
	spans []span       // flatRows for each key, then of whole rows
	odd   []byte       // of each key: 1 if a value was no plain string
}

// flatWidth is how many bytes this processor looks at together at best: 16, 32 or 64.
func flatWidth() int { return int(C.flat_width()) }

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
		f.keys = append(f.keys, C.flat_key{at: C.uint32_t(len(f.names)), size: C.uint32_t(1 + len(l.raw))})
		f.names = append(append(f.names, before), l.raw...)
		before = ','
	}
	f.names = append(f.names, make([]byte, C.FLAT_SLACK)...)
	f.odd = make([]byte, len(keys))
	f.spans = make([]span, (len(keys)+1)*flatRows)
}

// run scans at most so many objects, up to flatRows, from b[p] on, and returns how many it found. With ends, each must end at
// its own.
func (f *flatScan) run(b []byte, p int, ends []int, most int) int {
	end := (*C.int64_t)(nil)
	if len(ends) > 0 {
		most, end = min(most, len(ends)), (*C.int64_t)(unsafe.Pointer(&ends[0])) // an int has 64 bits wherever DuckDB runs
	}
	return int(C.flat_scan(C.int(f.width), (*C.uint8_t)(unsafe.SliceData(b)), C.int64_t(len(b)), C.int64_t(p), end,
		(*C.uint8_t)(unsafe.SliceData(f.names)), unsafe.SliceData(f.keys), C.int64_t(len(f.keys)), &f.runs,
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
