package parquetenc

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// slots are the places of one leaf below some rows: values, and where there is none for a NULL or an empty list above it.
type slots struct {
	leaf arrow.Array
	def  []uint8 // how many of the optional and repeated steps are there; nil if all are, in each slot
	rep  []uint8 // the innermost list that goes on with this slot, 0 for a new row; nil if there is no list
	// Where the values are: rows [from, to) of leaf, or, if some of these are NULL, at.
	from, to int
	some     bool
	at       []int32
}

// rows is how many slots there are.
func (s *slots) count() int {
	if s.def == nil {
		return s.to - s.from
	}
	return len(s.def)
}

// values is how many of the slots have a value.
func (s *slots) values() int {
	if s.some {
		return len(s.at)
	}
	return s.to - s.from
}

// find fills s with the slots of a leaf below the rows [from, to) of a column. It keeps the memory that s has.
func (s *slots) find(way []step, column arrow.Array, from, to int) error {
	def, at := s.def[:0], s.at[:0]
	*s = slots{from: from, to: to, rep: s.rep[:0], at: at}
	if len(way) == 1 {
		s.flat(way[0], column, def)
		return nil
	}
	s.some, s.def = true, def
	for i := from; i < to; i++ {
		s.def, s.rep, s.at = append(s.def, 0), append(s.rep, 0), append(s.at, int32(i)) //nolint:gosec // a record has fewer rows
	}
	var lists uint8
	a := column
	for _, st := range way {
		if st.nullable {
			s.present(a)
		}
		switch st.kind {
		case groupStep:
			a = a.(*array.Struct).Field(st.child) //nolint:forcetypeassert // the way was made of the types
		case listStep:
			lists++
			list, ok := a.(array.ListLike)
			if !ok {
				return fmt.Errorf("find elements in %s", a.DataType())
			}
			s.elements(list, lists)
			a = list.ListValues()
		case leafStep:
		}
	}
	s.leaf = a
	s.dropAbsent()
	if lists == 0 {
		s.rep = nil
	}
	return nil
}

// flat is find for a column that is itself the leaf.
func (s *slots) flat(st step, column arrow.Array, def []uint8) {
	s.leaf, s.rep = column, nil
	if !st.nullable || column.NullN() == 0 {
		return
	}
	s.some, s.def = true, def
	for i := s.from; i < s.to; i++ {
		if column.IsNull(i) {
			s.def = append(s.def, 0)
			continue
		}
		s.def, s.at = append(s.def, 1), append(s.at, int32(i)) //nolint:gosec // a record has fewer rows
	}
}

// present goes on, in each slot that goes on, with values of a that are not NULL.
func (s *slots) present(a arrow.Array) {
	for i, at := range s.at {
		switch {
		case at < 0:
		case a.IsNull(int(at)):
			s.at[i] = -1
		default:
			s.def[i]++
		}
	}
}

// elements makes of each slot that goes on one for each element of its list, or one without if there are none.
func (s *slots) elements(list array.ListLike, depth uint8) {
	def, rep, at := make([]uint8, 0, len(s.def)), make([]uint8, 0, len(s.def)), make([]int32, 0, len(s.def))
	for i, x := range s.at {
		start, end := int64(0), int64(0)
		if x >= 0 {
			start, end = list.ValueOffsets(int(x))
		}
		if start == end {
			def, rep, at = append(def, s.def[i]), append(rep, s.rep[i]), append(at, -1)
			continue
		}
		for e := start; e < end; e++ {
			again := depth
			if e == start {
				again = s.rep[i]
			}
			def, rep, at = append(def, s.def[i]+1), append(rep, again), append(at, int32(e)) //nolint:gosec // Arrow's own offsets are 32 bits
		}
	}
	s.def, s.rep, s.at = def, rep, at
}

func (s *slots) dropAbsent() {
	kept := s.at[:0]
	for _, at := range s.at {
		if at >= 0 {
			kept = append(kept, at)
		}
	}
	s.at = kept
}

// appendHybrid appends values of the given width in Parquet's mixture of runs and packed groups of eight.
func appendHybrid[T uint8 | uint32](dst []byte, values []T, width int) []byte {
	for i := 0; i < len(values); {
		if run := equal(values[i:]); run >= 8 {
			dst = appendRun(dst, values[i], run, width)
			i += run
			continue
		}
		start := i
		for i += 8; i < len(values) && equal(values[i:min(i+8, len(values))]) < 8; {
			i += 8
		}
		groups := (i - start) / 8
		dst = binary.AppendUvarint(dst, uint64(groups)<<1|1) //nolint:gosec // a count
		dst = appendPacked(dst, values[start:min(i, len(values))], width)
	}
	return dst
}

// appendRun appends one value that comes n times.
func appendRun[T uint8 | uint32](dst []byte, value T, n, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1) //nolint:gosec // a count
	for b := 0; b < width; b += 8 {
		dst = append(dst, byte(value>>b))
	}
	return dst
}

// equal is how many values at the start of a list, which is not empty, are the same.
func equal[T uint8 | uint32](values []T) int {
	for i, v := range values {
		if v != values[0] {
			return i
		}
	}
	return len(values)
}

// appendPacked appends values bit by bit, and zeros up to a group of eight.
func appendPacked[T uint8 | uint32](dst []byte, values []T, width int) []byte {
	var held uint64
	var n int
	end := len(dst) + (len(values)+7)/8*width
	for _, v := range values {
		held |= uint64(v) << n
		for n += width; n >= 8; n -= 8 {
			dst = append(dst, byte(held))
			held >>= 8
		}
	}
	if n > 0 {
		dst = append(dst, byte(held))
	}
	for len(dst) < end {
		dst = append(dst, 0)
	}
	return dst
}

// widthOf is how many bits the values 0 to most need.
func widthOf(most uint32) int { return bits.Len32(most) }
