package flatparquet

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// values is the memory of a column's values, without which of them are NULL.
type values interface {
	// dictionary takes n PLAIN values, which indexed ones are numbers of from now on.
	dictionary(data []byte, n int) error
	// page begins a page of PLAIN values.
	page(data []byte)
	// plain appends the next n values of the page.
	plain(n int) error
	// indexed appends the values with these numbers in the dictionary.
	indexed(numbers []uint32) error
	// null appends n values that nobody looks at.
	null(n int)
	// buffers hands over the memory of all values; release gives it up.
	buffers() []*memory.Buffer
	release()
}

// firstRows is how many values room is made for before any has come, at most: a footer may promise more than there are.
const firstRows = 1 << 20

// room makes a buffer longer by size bytes, whose contents are not cleared, and returns where they begin.
func room(b *memory.Buffer, size int) int {
	at := b.Len()
	if at+size > b.Cap() {
		b.Reserve(max(at+size, 2*b.Cap()))
	}
	b.ResizeNoShrink(at + size)
	return at
}

// reserved is a new buffer of mem with room for some bytes.
func reserved(mem memory.Allocator, size int) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Reserve(size)
	return b
}

// fixed are numbers, each as its bits.
type fixed[T int32 | int64] struct {
	out   *memory.Buffer
	known []T    // the dictionary
	rest  []byte // of the page
}

func newFixed[T int32 | int64](mem memory.Allocator, rows int) *fixed[T] {
	return &fixed[T]{out: reserved(mem, min(rows, firstRows)*int(unsafe.Sizeof(T(0))))}
}

// more returns room for n more values.
func (f *fixed[T]) more(n int) []T {
	size := n * int(unsafe.Sizeof(T(0)))
	at := room(f.out, size)
	return cast[T](f.out.Bytes()[at : at+size])
}

// cast looks at bytes as numbers, which lie at a multiple of their size.
func cast[T int32 | int64 | decimal128.Num](b []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(*new(T))))
}

func (f *fixed[T]) dictionary(data []byte, n int) error {
	size := n * int(unsafe.Sizeof(T(0)))
	if size > len(data) {
		return errDamaged
	}
	f.known = make([]T, n)
	if n > 0 {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&f.known[0])), size), data)
	}
	return nil
}

func (f *fixed[T]) page(data []byte) { f.rest = data }

func (f *fixed[T]) plain(n int) error {
	size := n * int(unsafe.Sizeof(T(0)))
	if size > len(f.rest) {
		return errDamaged
	}
	at := room(f.out, size)
	copy(f.out.Bytes()[at:], f.rest[:size])
	f.rest = f.rest[size:]
	return nil
}

func (f *fixed[T]) indexed(numbers []uint32) error {
	out, known := f.more(len(numbers)), f.known
	for i, x := range numbers {
		if uint64(x) >= uint64(len(known)) {
			return errDamaged
		}
		out[i] = known[x]
	}
	return nil
}

func (f *fixed[T]) null(n int) { clear(f.more(n)) }

func (f *fixed[T]) buffers() []*memory.Buffer { return []*memory.Buffer{f.out} }

func (f *fixed[T]) release() { f.out.Release() }

// decimals are fixed ones that Arrow has in 16 bytes.
type decimals[T int32 | int64] struct {
	*fixed[T]
	mem memory.Allocator
}

func (d decimals[T]) buffers() []*memory.Buffer {
	from := cast[T](d.out.Bytes())
	wide := memory.NewResizableBuffer(d.mem)
	wide.ResizeNoShrink(len(from) * int(unsafe.Sizeof(decimal128.Num{})))
	to := cast[decimal128.Num](wide.Bytes())
	for i, v := range from {
		to[i] = decimal128.FromI64(int64(v))
	}
	d.out.Release()
	return []*memory.Buffer{wide}
}

// booleans are bits.
type booleans struct {
	out *memory.Buffer
	n   int
	in  []byte // the page
	at  int    // the next bit of it
}

func newBooleans(mem memory.Allocator, rows int) *booleans {
	return &booleans{out: reserved(mem, min(rows, firstRows)/8+1)}
}

func (b *booleans) dictionary([]byte, int) error { return errDamaged } // there is none of booleans

func (b *booleans) page(data []byte) { b.in, b.at = data, 0 }

func (b *booleans) plain(n int) error {
	if b.at+n > 8*len(b.in) {
		return errDamaged
	}
	growBits(b.out, b.n+n)
	bitutil.CopyBitmap(b.in, b.at, n, b.out.Bytes(), b.n)
	b.n, b.at = b.n+n, b.at+n
	return nil
}

func (b *booleans) indexed([]uint32) error { return errDamaged }

func (b *booleans) null(n int) {
	growBits(b.out, b.n+n)
	b.n += n
}

func (b *booleans) buffers() []*memory.Buffer { return []*memory.Buffer{b.out} }

func (b *booleans) release() { b.out.Release() }

// growBits makes room for n bits in all; those that are new are zero.
func growBits(b *memory.Buffer, n int) {
	if size := (n + 7) / 8; size > b.Len() {
		at := room(b, size-b.Len())
		clear(b.Bytes()[at:])
	}
}

// texts are strings of bytes, one behind the other, and where each ends.
type texts struct {
	ends  *memory.Buffer // int32, from 0 on
	out   *memory.Buffer
	known []span // the dictionary
	of    []byte // what it points to
	rest  []byte // of the page
}

// span is a text of a dictionary.
type span struct{ at, end uint32 }

func newTexts(mem memory.Allocator, rows int, bytes int64) *texts {
	t := &texts{ends: reserved(mem, 4*(min(rows, firstRows)+1)), out: reserved(mem, int(bytes))}
	t.more(1)[0] = 0
	return t
}

// more returns room for n more ends.
func (t *texts) more(n int) []int32 {
	at := room(t.ends, 4*n)
	return cast[int32](t.ends.Bytes()[at : at+4*n])
}

// text returns where the text begins whose length stands at a place, and where it ends.
func text(data []byte, at int) (begin, end int, ok bool) {
	if at+4 > len(data) {
		return 0, 0, false
	}
	begin = at + 4
	end = begin + int(binary.LittleEndian.Uint32(data[at:]))
	return begin, end, end <= len(data)
}

func (t *texts) dictionary(data []byte, n int) error {
	if n > len(data)/4 || len(data) > math.MaxInt32 {
		return errDamaged
	}
	t.of, t.known = data, make([]span, n)
	at := 0
	for i := range t.known {
		begin, end, ok := text(data, at)
		if !ok {
			return errDamaged
		}
		t.known[i] = span{uint32(begin), uint32(end)} //nolint:gosec // within data
		at = end
	}
	return nil
}

func (t *texts) page(data []byte) { t.rest = data }

func (t *texts) plain(n int) error {
	if n > len(t.rest)/4 {
		return errDamaged
	}
	ends := t.more(n)
	at, have := 0, t.out.Len()
	room(t.out, len(t.rest)-4*n) // these texts have no more
	out := t.out.Bytes()
	for i := range ends {
		begin, end, ok := text(t.rest, at)
		if !ok {
			return errDamaged
		}
		have += copy(out[have:], t.rest[begin:end])
		ends[i], at = int32(have), end //nolint:gosec // checked below
	}
	if have > math.MaxInt32 {
		return errTooLong
	}
	t.out.ResizeNoShrink(have)
	t.rest = t.rest[at:]
	return nil
}

func (t *texts) indexed(numbers []uint32) error {
	ends, known, have := t.more(len(numbers)), t.known, t.out.Len()
	end := have
	for i, x := range numbers {
		if uint64(x) >= uint64(len(known)) {
			return errDamaged
		}
		if end += int(known[x].end - known[x].at); end > math.MaxInt32 {
			return errTooLong
		}
		ends[i] = int32(end)
	}
	room(t.out, end-have)
	out := t.out.Bytes()
	for i, x := range numbers {
		copy(out[have:], t.of[known[x].at:known[x].end])
		have = int(ends[i])
	}
	return nil
}

func (t *texts) null(n int) {
	end := int32(t.out.Len()) //nolint:gosec // bounded by plain and indexed
	ends := t.more(n)
	for i := range ends {
		ends[i] = end
	}
}

func (t *texts) buffers() []*memory.Buffer { return []*memory.Buffer{t.ends, t.out} }

func (t *texts) release() {
	t.ends.Release()
	t.out.Release()
}
