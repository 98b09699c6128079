package decode

import (
	"encoding/binary"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// kind says how a value is read and stored.
type kind uint8

const (
	kindBool    kind = iota
	kindInt          // signed, width 1 to 8 bytes
	kindUint         // unsigned, width 1 to 8 bytes
	kindDecimal      // decimal128; HUGEINT is DECIMAL(38,0)
	kindFloat
	kindDouble
	kindDate
	kindTime
	kindTimestamp
	kindText
	kindUUID
	kindJSON
	kindEnum
	kindBlob
	kindList
	kindMap
	kindStruct
)

// node is one column or a part of a nested one: the rules for its values and the buffers they go to. Value i
// is written by set methods in ascending order; writing i again replaces it, and everything after it is void.
type node struct {
	kind   kind
	width  int    // bytes of a fixed-width value, 0 else
	path   string // as it is called in messages
	name   string // of a struct's field or a column
	sql    string // the declared type, for messages
	dtype  arrow.DataType
	scale  int
	prec   int
	values map[string]struct{} // of an ENUM
	kids   []*node             // list: element; map: key, value; struct: its fields
	object *object             // struct: its fields by name
	keys   map[string]struct{} // map: scratch to find duplicate keys
	unread bool                // a column whose values are checked only

	validBuf, fixedBuf, dataBuf *memory.Buffer

	cap   int    // values that valid and fixed have room for
	valid []byte // bitmap
	fixed []byte // fixed-width values, the bitmap of a BOOLEAN, or int32 offsets
	data  []byte // bytes of strings

	rowBytes float64 // bytes of data that a value took in the last batch
}

// at returns the place of a column's value in row i. What nobody reads is decoded into one place, over and over: so it is
// checked as if it were read.
func (n *node) at(i int) int {
	if n.unread {
		return 0
	}
	return i
}

func (n *node) hasOffsets() bool { return n.kind >= kindText && n.kind != kindStruct }

// grow makes room for rows values.
func (n *node) grow(alloc memory.Allocator, rows int) {
	if rows <= n.cap && n.validBuf != nil {
		return
	}
	n.valid = resize(alloc, &n.validBuf, int(bitutil.BytesForBits(int64(rows))))
	switch {
	case n.kind == kindBool:
		n.fixed = resize(alloc, &n.fixedBuf, int(bitutil.BytesForBits(int64(rows))))
	case n.hasOffsets():
		first := n.fixedBuf == nil
		n.fixed = resize(alloc, &n.fixedBuf, 4*(rows+1))
		if first {
			binary.LittleEndian.PutUint32(n.fixed, 0)
		}
	case n.width > 0:
		n.fixed = resize(alloc, &n.fixedBuf, n.width*rows)
	}
	if n.kind == kindStruct {
		for _, k := range n.kids {
			k.grow(alloc, rows)
		}
	}
	if (n.kind == kindList || n.kind == kindMap) && n.cap == 0 {
		for _, k := range n.kids {
			k.grow(alloc, max(16, rows))
		}
	}
	if n.kind >= kindText && n.kind <= kindBlob && n.dataBuf == nil {
		n.data = resize(alloc, &n.dataBuf, max(64, 8*rows))
	}
	n.cap = rows
}

func resize(alloc memory.Allocator, buf **memory.Buffer, size int) []byte {
	if *buf == nil {
		*buf = memory.NewResizableBuffer(alloc)
	}
	(*buf).Resize(size)
	return (*buf).Buf()[:size]
}

func (n *node) setValid(i int) { n.valid[i>>3] |= 1 << (i & 7) }

// setNull makes value i NULL.
func (n *node) setNull(i int) {
	n.valid[i>>3] &^= 1 << (i & 7)
	switch {
	case n.kind == kindBool:
		n.fixed[i>>3] &^= 1 << (i & 7)
	case n.hasOffsets():
		n.setEnd(i, n.start(i))
	case n.width == 8:
		binary.LittleEndian.PutUint64(n.fixed[8*i:], 0)
	case n.kind == kindStruct:
		for _, k := range n.kids {
			k.setNull(i)
		}
	default:
		clear(n.fixed[n.width*i : n.width*(i+1)])
	}
}

// start returns where value i begins in data or in the children.
func (n *node) start(i int) int { return int(binary.LittleEndian.Uint32(n.fixed[4*i:])) }

func (n *node) setEnd(i, end int) { binary.LittleEndian.PutUint32(n.fixed[4*i+4:], uint32(end)) }

func (n *node) setBool(i int, v bool) {
	n.setValid(i)
	if v {
		n.fixed[i>>3] |= 1 << (i & 7)
	} else {
		n.fixed[i>>3] &^= 1 << (i & 7)
	}
}

// setInt stores the low bytes of v, as many as the type has.
func (n *node) setInt(i int, v uint64) {
	n.setValid(i)
	switch n.width {
	case 8:
		binary.LittleEndian.PutUint64(n.fixed[8*i:], v)
	case 4:
		binary.LittleEndian.PutUint32(n.fixed[4*i:], uint32(v))
	case 2:
		binary.LittleEndian.PutUint16(n.fixed[2*i:], uint16(v))
	default:
		n.fixed[i] = byte(v)
	}
}

func (n *node) setInt128(i int, hi, lo uint64) {
	n.setValid(i)
	binary.LittleEndian.PutUint64(n.fixed[16*i:], lo)
	binary.LittleEndian.PutUint64(n.fixed[16*i+8:], hi)
}

// setBytes stores s as value i.
func (d *Decoder) setBytes(n *node, i int, s []byte) {
	start := n.start(i)
	end := start + len(s)
	if !d.roomForBytes(n, end) {
		d.tooBig = true
		n.setNull(i)
		return
	}
	copy(n.data[start:end], s)
	n.setEnd(i, end)
	n.setValid(i)
}

// roomForBytes makes room for the bytes of texts up to end, and reports whether offsets can count them.
func (d *Decoder) roomForBytes(n *node, end int) bool {
	if end > offsetMax {
		return false
	}
	if end > len(n.data) {
		n.data = resize(d.alloc, &n.dataBuf, min(max(2*len(n.data), end), offsetMax))
	}
	return true
}

// roomFor makes room for value j of a list's or map's children, whose number only their list knows.
func (d *Decoder) roomFor(n *node, j int) {
	for _, k := range n.kids {
		if j >= k.cap {
			k.grow(d.alloc, max(2*k.cap, j+1))
		}
	}
}

// finish hands the first rows values over as Arrow data and forgets the buffers.
func (n *node) finish(rows int) *array.Data {
	nulls := rows - bitutil.CountSetBits(n.valid, 0, rows)
	n.validBuf.ResizeNoShrink(int(bitutil.BytesForBits(int64(rows))))
	buffers := []*memory.Buffer{n.validBuf}
	if nulls == 0 {
		buffers[0] = nil
	}
	var kids []arrow.ArrayData
	switch n.kind {
	case kindStruct:
		for _, k := range n.kids {
			kids = append(kids, k.finish(rows))
		}
	case kindList:
		kids = []arrow.ArrayData{n.kids[0].finish(n.start(rows))}
	case kindMap:
		kids = []arrow.ArrayData{n.finishEntries(n.start(rows))}
	}
	if n.fixedBuf != nil {
		n.fixedBuf.ResizeNoShrink(n.fixedSize(rows))
		buffers = append(buffers, n.fixedBuf)
	}
	if n.dataBuf != nil {
		n.rowBytes = float64(n.start(rows)) / float64(max(1, rows))
		n.dataBuf.ResizeNoShrink(n.start(rows))
		buffers = append(buffers, n.dataBuf)
	}
	data := array.NewData(n.dtype, rows, buffers, kids, nulls, 0)
	for _, k := range kids {
		k.Release()
	}
	n.release()
	return data
}

func (n *node) finishEntries(rows int) arrow.ArrayData {
	mt := n.dtype.(*arrow.MapType) //nolint:forcetypeassert // checked when the node was made
	key, value := n.kids[0].finish(rows), n.kids[1].finish(rows)
	defer key.Release()
	defer value.Release()
	return array.NewData(mt.Elem(), rows, []*memory.Buffer{nil}, []arrow.ArrayData{key, value}, 0, 0)
}

func (n *node) fixedSize(rows int) int {
	switch {
	case n.kind == kindBool:
		return int(bitutil.BytesForBits(int64(rows)))
	case n.hasOffsets():
		return 4 * (rows + 1)
	}
	return n.width * rows
}

// release gives up this node's own buffers; free also those of its children.
func (n *node) release() {
	for _, b := range []*memory.Buffer{n.validBuf, n.fixedBuf, n.dataBuf} {
		if b != nil {
			b.Release()
		}
	}
	n.validBuf, n.fixedBuf, n.dataBuf = nil, nil, nil
	n.valid, n.fixed, n.data, n.cap = nil, nil, nil, 0
}

func (n *node) free() {
	n.release()
	for _, k := range n.kids {
		k.free()
	}
}

// object finds fields by their names, and remembers in which order the last object had its keys.
type object struct {
	fields []*node
	index  map[string]int
	seen   []uint64 // for each field, the stamp of the last object that had it
	stamp  uint64   // one more for each object
	order  []learned
}

// learned is a key as it stood in an earlier object, from its quote to behind its colon.
type learned struct {
	raw   []byte
	field int // -1 for a key that is skipped
}

const (
	learnedKeys  = 256 // keys whose order is remembered
	learnedBytes = 256 // longest key that is remembered
)

func newObject(fields []*node) *object {
	o := &object{fields: fields, index: make(map[string]int, len(fields)), seen: make([]uint64, len(fields))}
	for i, f := range fields {
		o.index[f.name] = i
	}
	return o
}

// learn remembers raw as the key at place k. Where it can not, the order ends there, so that it is none of an object that
// has this many keys.
func (o *object) learn(k int, raw []byte, field int) {
	if k >= learnedKeys || len(raw) > learnedBytes {
		o.order = o.order[:min(k, len(o.order))]
		return
	}
	if k >= len(o.order) {
		o.order = append(o.order, learned{})
		k = len(o.order) - 1
	}
	o.order[k].raw = append(o.order[k].raw[:0], raw...)
	o.order[k].field = field
}
