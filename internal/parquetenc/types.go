package parquetenc

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// newValues makes the values of a leaf's type.
func newValues(t arrow.DataType, l limits) (values, error) {
	switch t := t.(type) {
	case *arrow.BooleanType:
		return &bools{}, nil
	case *arrow.StringType, *arrow.BinaryType:
		return &texts{limits: l}, nil
	case *arrow.Int8Type:
		return values32(l, widened[int8], bounds32[int32]), nil
	case *arrow.Int16Type:
		return values32(l, widened[int16], bounds32[int32]), nil
	case *arrow.Int32Type, *arrow.Date32Type, *arrow.Time32Type:
		return values32(l, asIs[uint32], bounds32[int32]), nil
	case *arrow.Uint8Type:
		return values32(l, widened[uint8], bounds32[uint32]), nil
	case *arrow.Uint16Type:
		return values32(l, widened[uint16], bounds32[uint32]), nil
	case *arrow.Uint32Type:
		return values32(l, asIs[uint32], bounds32[uint32]), nil
	case *arrow.Float32Type:
		return values32(l, asIs[uint32], boundsFloat), nil
	case *arrow.Int64Type, *arrow.Time64Type:
		return values64(l, bounds64[int64]), nil
	case *arrow.TimestampType:
		if t.Unit != arrow.Second { // the format has none
			return values64(l, bounds64[int64]), nil
		}
	case *arrow.Uint64Type:
		return values64(l, bounds64[uint64]), nil
	case *arrow.Float64Type:
		return values64(l, boundsDouble), nil
	case *arrow.Decimal128Type:
		return valuesDecimal(l, int(pqarrow.DecimalSize(t.Precision))), nil
	}
	return nil, fmt.Errorf("no parquet form of %s", t)
}

func values32(l limits, view func(*slots, *[]uint32) []uint32, least func() bounds[uint32]) values {
	return &fixed[uint32]{view: view, hash: hash32, width: 4, least: least, limits: l, append: appendBits[uint32]}
}

func values64(l limits, least func() bounds[uint64]) values {
	return &fixed[uint64]{view: asIs[uint64], hash: hash64, width: 8, least: least, limits: l, append: appendBits[uint64]}
}

func valuesDecimal(l limits, width int) values {
	return &fixed[decimal128.Num]{
		view: asIs[decimal128.Num], hash: hashDecimal, width: width, limits: l,
		least: func() bounds[decimal128.Num] { return &decimals{width: width} },
		append: func(dst []byte, values []decimal128.Num) []byte {
			for _, v := range values {
				dst = appendDecimal(dst, v, width)
			}
			return dst
		},
	}
}

// data is the values of a leaf's array, of which each takes as much as a T.
func data[T any](s *slots) []T {
	d := s.leaf.Data()
	raw := d.Buffers()[1].Bytes()
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(raw))), d.Offset()+d.Len())[d.Offset():]
}

// asIs is a view of values that already are what they are written as.
func asIs[U uint32 | uint64 | decimal128.Num](s *slots, tmp *[]U) []U {
	if s.values() == 0 {
		return nil
	}
	all := data[U](s)
	if !s.some {
		return all[s.from:s.to]
	}
	*tmp = (*tmp)[:0]
	for _, i := range s.at {
		*tmp = append(*tmp, all[i])
	}
	return *tmp
}

// widened is a view of values that are written as 32 bits.
func widened[T int8 | int16 | uint8 | uint16](s *slots, tmp *[]uint32) []uint32 {
	if s.values() == 0 {
		return nil
	}
	all := data[T](s)
	*tmp = (*tmp)[:0]
	if s.some {
		for _, i := range s.at {
			*tmp = append(*tmp, uint32(int32(all[i]))) //nolint:gosec // bits
		}
		return *tmp
	}
	for _, v := range all[s.from:s.to] {
		*tmp = append(*tmp, uint32(int32(v))) //nolint:gosec // bits
	}
	return *tmp
}

// appendBits appends the plain form of numbers, the lowest byte first.
func appendBits[U uint32 | uint64](dst []byte, values []U) []byte {
	if len(values) == 0 {
		return dst
	}
	size := int(unsafe.Sizeof(values[0]))
	if littleEndian() {
		return append(dst, unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), size*len(values))...)
	}
	for _, v := range values {
		for b := range size {
			dst = append(dst, byte(v>>(8*b)))
		}
	}
	return dst
}

func littleEndian() bool { return binary.NativeEndian.Uint16([]byte{1, 0}) == 1 }
