package keyed

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

// sortable is a row with what mostly decides its place.
type sortable struct {
	time   int64
	prefix uint64 // of the first key column: a greater one never comes first
	slot   uint32
}

// sorted orders rows by time, then by their key columns, NULL last; nested values and BOOLEAN by their bytes.
func (s *Store) sorted(slots []uint32) []uint32 {
	all := make([]sortable, len(slots))
	for i, slot := range slots {
		s.pace(i)
		row := s.rows.row(slot)
		time, _ := s.expiry(row)
		all[i] = sortable{time: time, prefix: s.prefix(row), slot: slot}
	}
	slices.SortFunc(all, func(a, b sortable) int {
		if c := cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.prefix, b.prefix)); c != 0 {
			return c
		}
		return s.compareKeys(s.rows.row(a.slot), s.rows.row(b.slot))
	})
	for i := range all {
		slots[i] = all[i].slot
	}
	return slots
}

// prefix returns 0 for types whose order it can not show.
func (s *Store) prefix(row []byte) uint64 {
	if s.l.keys == 0 {
		return 0
	}
	c := &s.l.columns[0]
	switch {
	case row[c.null/8]&(1<<(c.null%8)) != 0:
		return math.MaxUint64
	case c.shape.form == formText:
		n, w := binary.Uvarint(s.blobKey(row))
		var first [8]byte
		copy(first[:], s.blobKey(row)[w:w+int(min(n, 8))])
		return binary.BigEndian.Uint64(first[:])
	case c.shape.form == formFixed && c.shape.class == classInt:
		return uint64(signed(row[c.at:], c.width)) ^ 1<<63
	case c.shape.form == formFixed && c.shape.class == classUint:
		return unsigned(row[c.at:], c.width)
	}
	return 0
}

func signed(src []byte, width int) int64 {
	shift := 64 - 8*width
	return int64(unsigned(src, width)<<shift) >> shift
}

func unsigned(src []byte, width int) uint64 {
	switch width {
	case 1:
		return uint64(src[0])
	case 2:
		return uint64(binary.LittleEndian.Uint16(src))
	case 4:
		return uint64(binary.LittleEndian.Uint32(src))
	default:
		return binary.LittleEndian.Uint64(src)
	}
}

// compareKeys compares the keys of two rows, column by column.
func (s *Store) compareKeys(a, b []byte) int {
	blobA, blobB := s.blobKey(a), s.blobKey(b)
	for i := range s.l.columns[:s.l.keys] {
		c := &s.l.columns[i]
		nullA, nullB := a[c.null/8]>>(c.null%8)&1, b[c.null/8]>>(c.null%8)&1
		if nullA != nullB {
			return cmp.Compare(nullA, nullB)
		}
		if nullA != 0 {
			continue
		}
		if c.width > 0 {
			if r := compareFixed(a[c.at:c.at+c.width], b[c.at:c.at+c.width], &c.shape); r != 0 {
				return r
			}
			continue
		}
		restA, restB := skipValue(blobA, &c.shape, true), skipValue(blobB, &c.shape, true)
		r := compareBlobs(blobA[:len(blobA)-len(restA)], blobB[:len(blobB)-len(restB)], &c.shape)
		if r != 0 {
			return r
		}
		blobA, blobB = restA, restB
	}
	return 0
}

func compareBlobs(a, b []byte, s *shape) int {
	if s.form == formText {
		_, w := binary.Uvarint(a)
		_, v := binary.Uvarint(b)
		return bytes.Compare(a[w:], b[v:])
	}
	return bytes.Compare(a, b)
}

// compareFixed compares two normalised values.
func compareFixed(a, b []byte, s *shape) int {
	switch s.class {
	case classInt:
		return cmp.Compare(signed(a, s.width), signed(b, s.width))
	case classUint:
		return cmp.Compare(unsigned(a, s.width), unsigned(b, s.width))
	case classFloat:
		return compareFloats(a, b, s.width)
	case classDecimal:
		return cmp.Or(cmp.Compare(signed(a[8:], 8), signed(b[8:], 8)), cmp.Compare(unsigned(a, 8), unsigned(b, 8)))
	case classInterval:
		return cmp.Or(cmp.Compare(signed(a, 8), signed(b, 8)), cmp.Compare(signed(a[8:], 8), signed(b[8:], 8)),
			cmp.Compare(signed(a[16:], 8), signed(b[16:], 8)))
	case classBool:
	}
	return bytes.Compare(a, b)
}

// compareFloats puts NaN last, as DuckDB does.
func compareFloats(a, b []byte, width int) int {
	x, y := math.Float64frombits(unsigned(a, width)), math.Float64frombits(unsigned(b, width))
	if width == 4 {
		x = float64(math.Float32frombits(binary.LittleEndian.Uint32(a)))
		y = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	if nan := cmp.Compare(boolInt(x != x), boolInt(y != y)); nan != 0 { // NaN
		return nan
	}
	return cmp.Compare(x, y)
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
