package keyed

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

const (
	normalInterval = 24 // bytes of a normalised interval: months, days and microseconds
	microsPerDay   = 24 * 60 * 60 * 1e6
	daysPerMonth   = 30
)

// encoded is a record in the form of rows. Its memory is used again.
type encoded struct {
	rows    int
	from    []int32 // of the record, by row; nil: all of its rows
	stride  int     // bytes of a row in fixed
	fixed   []byte  // rows from behind the flags up to the end of the key or of all columns
	blobs   []byte  // what goes to the arena, row after row, keys before values
	keyEnds []int   // in blobs; empty if nothing goes there
	ends    []int
}

// source is the row of the record that row r is.
func (e *encoded) source(r int) int {
	if e.from == nil {
		return r
	}
	return int(e.from[r])
}

// encode turns the rows of rec into bytes; only their keys, unless all is set.
func (l *layout) encode(e *encoded, rec arrow.Record, all bool) error {
	if err := l.encodeFixed(e, rec, all); err != nil {
		return err
	}
	l.encodeBlobs(e, rec, all)
	return nil
}

// encodeFixed writes what lies in the rows themselves.
func (l *layout) encodeFixed(e *encoded, rec arrow.Record, all bool) error {
	columns, end := l.columns[:l.keys], l.keyEnd
	if all {
		columns, end = l.columns, l.bodyEnd
	}
	if err := l.check(rec, all); err != nil {
		return err
	}
	e.rows, e.from, e.stride = int(rec.NumRows()), nil, end-flagsBytes
	if size := e.rows * e.stride; cap(e.fixed) >= size {
		e.fixed = e.fixed[:size]
		clear(e.fixed)
	} else {
		e.fixed = make([]byte, size)
	}
	for i := range columns {
		if e.rows == 0 {
			break
		}
		c := &columns[i]
		a := rec.Column(c.source)
		if c.width > 0 {
			c.encodeFixed(e.fixed[c.at-flagsBytes:], e.stride, a)
		}
		if a.NullN() > 0 {
			c.encodeNulls(e, a)
		}
	}
	return nil
}

// check compares the types of rec with the schema. Names, and what may be NULL, do not matter.
func (l *layout) check(rec arrow.Record, all bool) error {
	n := l.keys
	if all {
		n = l.schema.NumFields()
	}
	if int(rec.NumCols()) < n {
		return fmt.Errorf("keyed rows have %d columns, the record has %d", n, rec.NumCols())
	}
	for i := range n {
		f := l.schema.Field(i)
		got := rec.Column(i).DataType()
		if arrow.TypeEqual(f.Type, got) {
			continue
		}
		if s, err := shapeOf(got); err != nil || !s.equal(&l.columns[i].shape) {
			return fmt.Errorf("column %q of keyed rows is %s, the record has %s", f.Name, f.Type, got)
		}
	}
	return nil
}

// encodeFixed writes the values of a at a distance of stride.
func (c *column) encodeFixed(dst []byte, stride int, a arrow.Array) {
	n := a.Len()
	if b, ok := a.(*array.Boolean); ok {
		for r := range n {
			if b.Value(r) {
				dst[r*stride] = 1
			}
		}
		return
	}
	src := valueBytes(a, c.shape.width)
	if src == nil {
		return // no row, or nothing but NULL
	}
	switch {
	case c.key && c.shape.lossy():
		for r := range n {
			putNormal(dst[r*stride:], src[r*c.shape.width:], &c.shape)
		}
	case c.width == 8:
		for r := range n {
			binary.LittleEndian.PutUint64(dst[r*stride:], binary.LittleEndian.Uint64(src[r*8:]))
		}
	case c.width == 16:
		for r := range n {
			*(*[16]byte)(dst[r*stride:]) = *(*[16]byte)(src[r*16:])
		}
	default:
		for r := range n {
			copy(dst[r*stride:r*stride+c.width], src[r*c.width:])
		}
	}
}

// valueBytes returns the bytes of an array of fixed width from its first value on.
func valueBytes(a arrow.Array, width int) []byte {
	buffers := a.Data().Buffers()
	if len(buffers) < 2 || buffers[1] == nil || buffers[1].Len() == 0 {
		return nil
	}
	from := a.Data().Offset() * width
	return buffers[1].Bytes()[from : from+a.Len()*width]
}

// encodeNulls marks NULL and clears the bytes that Arrow has in its place.
func (c *column) encodeNulls(e *encoded, a arrow.Array) {
	for r := range e.rows {
		if !a.IsNull(r) {
			continue
		}
		row := e.fixed[r*e.stride:]
		row[c.null/8-flagsBytes] |= 1 << (c.null % 8)
		clear(row[c.at-flagsBytes : c.at-flagsBytes+c.width])
	}
}

// putNormal writes the value at src such that equal values have equal bytes.
func putNormal(dst, src []byte, s *shape) {
	switch {
	case s.class == classInterval:
		putInterval(dst, src)
	case s.width == 8:
		v := math.Float64frombits(binary.LittleEndian.Uint64(src))
		if v != v { // NaN
			v = math.NaN()
		}
		binary.LittleEndian.PutUint64(dst, math.Float64bits(v+0)) // -0.0 + 0 is 0.0
	default:
		v := math.Float32frombits(binary.LittleEndian.Uint32(src))
		if v != v { // NaN
			v = float32(math.NaN())
		}
		binary.LittleEndian.PutUint32(dst, math.Float32bits(v+0))
	}
}

// putInterval carries days to months of 30, and microseconds to months and days, as DuckDB does before it
// compares. Days that come from microseconds do not carry again, and quotients are cut towards zero: 29 days
// differ from 30 days less 24 hours.
func putInterval(dst, src []byte) {
	months := int64(int32(binary.LittleEndian.Uint32(src)))
	days := int64(int32(binary.LittleEndian.Uint32(src[4:])))
	micros := int64(binary.LittleEndian.Uint64(src[8:])) / 1000
	months += days/daysPerMonth + micros/(daysPerMonth*microsPerDay)
	micros %= daysPerMonth * microsPerDay
	days = days%daysPerMonth + micros/microsPerDay
	micros %= microsPerDay
	binary.LittleEndian.PutUint64(dst, uint64(months))
	binary.LittleEndian.PutUint64(dst[8:], uint64(days))
	binary.LittleEndian.PutUint64(dst[16:], uint64(micros))
}

// encodeBlobs writes what has no fixed width.
func (l *layout) encodeBlobs(e *encoded, rec arrow.Record, all bool) {
	e.blobs, e.keyEnds, e.ends = e.blobs[:0], e.keyEnds[:0], e.ends[:0]
	if l.blobAt < 0 {
		return
	}
	values := l.varValues
	if !all {
		values = nil
	}
	for r := range e.rows {
		at := e.source(r)
		for _, i := range l.varKeys {
			c := &l.columns[i]
			e.blobs = appendCell(e.blobs, rec.Column(c.source), at, &c.shape, true)
		}
		e.keyEnds = append(e.keyEnds, len(e.blobs))
		for _, i := range values {
			c := &l.columns[i]
			e.blobs = appendCell(e.blobs, rec.Column(c.source), at, &c.shape, false)
		}
		e.ends = append(e.ends, len(e.blobs))
	}
}

// appendCell writes a value of a column; NULL needs no bytes, the row says it.
func appendCell(dst []byte, a arrow.Array, i int, s *shape, normal bool) []byte {
	if a.IsNull(i) {
		return dst
	}
	return appendValue(dst, a, i, s, normal)
}

// appendValue writes a value that is not NULL. No encoding begins with another one of the same shape.
func appendValue(dst []byte, a arrow.Array, i int, s *shape, normal bool) []byte {
	switch a := a.(type) {
	case *array.String:
		v := a.Value(i)
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case *array.Binary:
		v := a.Value(i)
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case *array.LargeString:
		v := a.Value(i)
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case *array.LargeBinary:
		v := a.Value(i)
		return append(binary.AppendUvarint(dst, uint64(len(v))), v...)
	case *array.Boolean:
		if a.Value(i) {
			return append(dst, 1)
		}
		return append(dst, 0)
	case *array.Struct:
		for j := range s.parts {
			dst = appendItem(dst, a.Field(j), i, &s.parts[j], normal)
		}
		return dst
	case *array.Map:
		from, to := a.ValueOffsets(i)
		dst = binary.AppendUvarint(dst, uint64(to-from))
		for j := int(from); j < int(to); j++ {
			dst = appendItem(dst, a.Keys(), j, &s.parts[0], normal)
			dst = appendItem(dst, a.Items(), j, &s.parts[1], normal)
		}
		return dst
	case array.ListLike:
		from, to := a.ValueOffsets(i)
		if s.form == formList {
			dst = binary.AppendUvarint(dst, uint64(to-from))
		}
		for j := int(from); j < int(to); j++ {
			dst = appendItem(dst, a.ListValues(), j, &s.parts[0], normal)
		}
		return dst
	}
	return appendFixed(dst, a, i, s, normal)
}

// appendItem writes a part of a nested value, NULL included.
func appendItem(dst []byte, a arrow.Array, i int, s *shape, normal bool) []byte {
	if a.IsNull(i) {
		return append(dst, 0)
	}
	return appendValue(append(dst, 1), a, i, s, normal)
}

func appendFixed(dst []byte, a arrow.Array, i int, s *shape, normal bool) []byte {
	src := valueBytes(a, s.width)[i*s.width : (i+1)*s.width]
	if !normal || !s.lossy() {
		return append(dst, src...)
	}
	width := s.width
	if s.class == classInterval {
		width = normalInterval
	}
	var buf [normalInterval]byte
	putNormal(buf[:], src, s)
	return append(dst, buf[:width]...)
}

// skipValue returns what follows a value that is not NULL.
func skipValue(src []byte, s *shape, normal bool) []byte {
	n := uint64(1)
	switch s.form {
	case formFixed:
		if normal && s.class == classInterval {
			return src[normalInterval:]
		}
		return src[s.width:]
	case formText:
		n, w := binary.Uvarint(src)
		return src[uint64(w)+n:]
	case formStruct:
	case formArray:
		n = uint64(s.size)
	case formList, formMap:
		var w int
		n, w = binary.Uvarint(src)
		src = src[w:]
	}
	for range n {
		for i := range s.parts {
			if valid := src[0] == 1; valid {
				src = skipValue(src[1:], &s.parts[i], normal)
			} else {
				src = src[1:]
			}
		}
	}
	return src
}
