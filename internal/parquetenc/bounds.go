package parquetenc

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// boundBytesMax is how long a text may be to be the least or the greatest of a chunk in the footer.
const boundBytesMax = 4096

// bounds keeps the least and the greatest of the values it has seen, which are given by their bits.
type bounds[U any] interface {
	see(values []U)
	// get returns both in plain form, not ok if there is no least and greatest: no values, or one that is no number.
	get() (least, most []byte, ok bool)
}

// ordered is the bounds of numbers T, whose bits are U.
type ordered[T cmp.Ordered, U any] struct {
	least, most T
	any, nan    bool
	plain       func(least, most T) ([]byte, []byte)
}

func (o *ordered[T, U]) see(values []U) {
	if len(values) == 0 {
		return
	}
	numbers := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(values))), len(values)) // U is the bits of T
	if !o.any {
		o.least, o.most, o.any = numbers[0], numbers[0], true
	}
	least, most, nan := o.least, o.most, o.nan
	for _, v := range numbers {
		if v < least {
			least = v
		}
		if v > most {
			most = v
		}
		if v != v { //nolint:gocritic // only NaN is not itself
			nan = true
		}
	}
	o.least, o.most, o.nan = least, most, nan
}

func (o *ordered[T, U]) get() (least, most []byte, ok bool) {
	if !o.any || o.nan {
		return nil, nil, false
	}
	least, most = o.plain(o.least, o.most)
	return least, most, true
}

func bounds32[T int32 | uint32]() bounds[uint32] {
	return &ordered[T, uint32]{plain: func(least, most T) ([]byte, []byte) {
		return binary.LittleEndian.AppendUint32(nil, uint32(least)), binary.LittleEndian.AppendUint32(nil, uint32(most))
	}}
}

func bounds64[T int64 | uint64]() bounds[uint64] {
	return &ordered[T, uint64]{plain: func(least, most T) ([]byte, []byte) {
		return binary.LittleEndian.AppendUint64(nil, uint64(least)), binary.LittleEndian.AppendUint64(nil, uint64(most))
	}}
}

func boundsFloat() bounds[uint32] {
	return &ordered[float32, uint32]{plain: func(least, most float32) ([]byte, []byte) {
		low, high := zeros(float64(least), float64(most))
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(low))),
			binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(high)))
	}}
}

func boundsDouble() bounds[uint64] {
	return &ordered[float64, uint64]{plain: func(least, most float64) ([]byte, []byte) {
		low, high := zeros(least, most)
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(low)),
			binary.LittleEndian.AppendUint64(nil, math.Float64bits(high))
	}}
}

// zeros makes a bound of zero hold both zeros, as the format wants.
func zeros(least, most float64) (float64, float64) {
	if least == 0 {
		least = math.Copysign(0, -1)
	}
	if most == 0 {
		most = 0
	}
	return least, most
}

// decimals is the bounds of decimals that are written in width bytes.
type decimals struct {
	least, most decimal128.Num
	any         bool
	width       int
}

func (d *decimals) see(values []decimal128.Num) {
	for _, v := range values {
		if !d.any {
			d.least, d.most, d.any = v, v, true
		}
		if v.Cmp(d.least) < 0 {
			d.least = v
		}
		if v.Cmp(d.most) > 0 {
			d.most = v
		}
	}
}

func (d *decimals) get() (least, most []byte, ok bool) {
	if !d.any {
		return nil, nil, false
	}
	return appendDecimal(nil, d.least, d.width), appendDecimal(nil, d.most, d.width), true
}

// textBounds is the bounds of texts.
type textBounds struct {
	least, most         []byte
	leastHead, mostHead uint64
	any                 bool
}

func (b *textBounds) see(v []byte) {
	h := head(v)
	if b.any && b.leastHead < h && h < b.mostHead {
		return
	}
	if !b.any || bytes.Compare(v, b.least) < 0 {
		b.least, b.leastHead = append(b.least[:0], v...), h
	}
	if !b.any || bytes.Compare(v, b.most) > 0 {
		b.most, b.mostHead = append(b.most[:0], v...), h
	}
	b.any = true
}

// head is the first bytes of a text as a number: if it is less than another's, the text is.
func head(v []byte) uint64 {
	if len(v) >= 8 {
		return binary.BigEndian.Uint64(v)
	}
	var first [8]byte
	copy(first[:], v)
	return binary.BigEndian.Uint64(first[:])
}
