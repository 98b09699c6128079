package keyed

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

const (
	recordRows  = 1 << 16
	recordBytes = 256 << 20 // of texts and nested values; a larger row has a record of its own
)

// records makes records of the first columns of rows.
func (s *Store) records(slots []uint32, schema *arrow.Schema) []arrow.Record {
	var out []arrow.Record
	for len(slots) > 0 {
		n := min(len(slots), recordRows)
		if s.l.blobAt >= 0 {
			size := 0
			for i, slot := range slots[:n] {
				s.pace(i)
				size += len(s.arena.payload(s.ref(s.rows.row(slot)), s.l.header))
				if size > recordBytes {
					n = max(i, 1)
					break
				}
			}
		}
		out = append(out, s.record(slots[:n], schema))
		slots = slots[n:]
	}
	return out
}

// gatherRows is how many rows all columns of fixed width are gathered of before the next ones: a row is in the nearest
// cache then for all columns but the first.
const gatherRows = 128

func (s *Store) record(slots []uint32, schema *arrow.Schema) arrow.Record {
	fields := make([]arrow.Array, schema.NumFields())
	wanted := make(map[int]int, len(fields)) // by column of the layout
	fixed := make([]gathered, 0, len(fields))
	for i := range fields {
		c := &s.l.columns[s.l.shown[i]]
		if c.width == 0 {
			wanted[s.l.shown[i]] = i
			continue
		}
		fixed = append(fixed, gathered{column: c, field: i, values: make([]byte, len(slots)*c.width),
			valid: make([]byte, (len(slots)+7)/8)})
	}
	for from := 0; from < len(slots); from += gatherRows {
		for i := range fixed {
			s.gather(&fixed[i], slots, from)
		}
	}
	for i := range fixed {
		fields[fixed[i].field] = fixed[i].array(schema.Field(fixed[i].field).Type, len(slots))
	}
	if len(wanted) > 0 {
		s.blobArrays(slots, schema, wanted, fields)
	}
	rec := array.NewRecord(schema, fields, int64(len(slots)))
	for _, a := range fields {
		a.Release()
	}
	return rec
}

// gathered is a column of fixed width on its way out of the rows.
type gathered struct {
	*column
	field         int // of the record
	values, valid []byte
	nulls         int
}

// gather copies the values of the next rows.
func (s *Store) gather(g *gathered, slots []uint32, from int) {
	width, at, null, bit := g.width, g.at, g.null/8, byte(1)<<(g.null%8)
	for r := from; r < min(from+gatherRows, len(slots)); r++ {
		s.pace(r)
		row := s.rows.row(slots[r])
		if width == 8 {
			*(*[8]byte)(g.values[r*8:]) = *(*[8]byte)(row[at:])
		} else {
			copy(g.values[r*width:(r+1)*width], row[at:])
		}
		if row[null]&bit == 0 {
			g.valid[r/8] |= 1 << (r % 8)
		} else {
			g.nulls++
		}
	}
}

func (g *gathered) array(t arrow.DataType, n int) arrow.Array {
	values := g.values
	if g.shape.class == classBool {
		values = make([]byte, (n+7)/8)
		for r, v := range g.values {
			values[r/8] |= v << (r % 8)
		}
	}
	var bitmap *memory.Buffer
	if g.nulls > 0 {
		bitmap = memory.NewBufferBytes(g.valid)
	}
	d := array.NewData(t, n, []*memory.Buffer{bitmap, memory.NewBufferBytes(values)}, nil, g.nulls, 0)
	defer d.Release()
	return array.MakeFromData(d)
}

// blobArrays makes the columns that are in the arena, in the order in which they lie there.
func (s *Store) blobArrays(slots []uint32, schema *arrow.Schema, wanted map[int]int, fields []arrow.Array) {
	rest := make([][]byte, len(slots))
	for r, slot := range slots {
		s.pace(r)
		rest[r] = s.arena.payload(s.ref(s.rows.row(slot)), s.l.header)
	}
	for _, part := range [][]int{s.l.varKeys, s.l.varValues} {
		for _, i := range part {
			c := &s.l.columns[i]
			field, ok := wanted[i]
			if !ok {
				s.skipColumn(slots, rest, c)
				continue
			}
			b := array.NewBuilder(memory.DefaultAllocator, schema.Field(field).Type)
			b.Reserve(len(slots))
			for r, slot := range slots {
				s.pace(r)
				if s.rows.row(slot)[c.null/8]&(1<<(c.null%8)) != 0 {
					b.AppendNull()
					continue
				}
				rest[r] = decodeValue(b, rest[r], &c.shape)
			}
			fields[field] = b.NewArray()
			b.Release()
		}
	}
}

func (s *Store) skipColumn(slots []uint32, rest [][]byte, c *column) {
	for r, slot := range slots {
		s.pace(r)
		if s.rows.row(slot)[c.null/8]&(1<<(c.null%8)) == 0 {
			rest[r] = skipValue(rest[r], &c.shape, c.key)
		}
	}
}

// decodeValue appends a value that is not NULL and returns what follows it.
func decodeValue(b array.Builder, src []byte, s *shape) []byte {
	switch s.form {
	case formFixed:
		decodeFixed(b, src)
		return src[s.width:]
	case formText:
		n, w := binary.Uvarint(src)
		end := w + int(n)
		decodeText(b, src[w:end])
		return src[end:]
	case formStruct, formList, formArray, formMap:
	}
	return decodeNested(b, src, s)
}

func decodeText(b array.Builder, v []byte) {
	switch b := b.(type) {
	case *array.StringBuilder:
		b.BinaryBuilder.Append(v)
	case *array.LargeStringBuilder:
		b.BinaryBuilder.Append(v)
	case *array.BinaryBuilder:
		b.Append(v)
	default:
		panic(fmt.Sprintf("text for a %s", b.Type()))
	}
}

func decodeNested(b array.Builder, src []byte, s *shape) []byte {
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i := range s.parts {
			src = decodeItem(b.FieldBuilder(i), src, &s.parts[i])
		}
	case *array.MapBuilder:
		n, w := binary.Uvarint(src)
		src = src[w:]
		b.Append(true)
		for range n {
			src = decodeItem(b.KeyBuilder(), src, &s.parts[0])
			src = decodeItem(b.ItemBuilder(), src, &s.parts[1])
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		for range s.size {
			src = decodeItem(b.ValueBuilder(), src, &s.parts[0])
		}
	case *array.ListBuilder:
		n, w := binary.Uvarint(src)
		src = src[w:]
		b.Append(true)
		for range n {
			src = decodeItem(b.ValueBuilder(), src, &s.parts[0])
		}
	default:
		panic(fmt.Sprintf("nested value for a %s", b.Type()))
	}
	return src
}

func decodeItem(b array.Builder, src []byte, s *shape) []byte {
	if src[0] == 0 {
		b.AppendNull()
		return src[1:]
	}
	return decodeValue(b, src[1:], s)
}

func decodeFixed(b array.Builder, src []byte) { //nolint:funlen // one case per type
	le := binary.LittleEndian
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(src[0] != 0)
	case *array.Int8Builder:
		b.Append(int8(src[0]))
	case *array.Int16Builder:
		b.Append(int16(le.Uint16(src)))
	case *array.Int32Builder:
		b.Append(int32(le.Uint32(src)))
	case *array.Int64Builder:
		b.Append(int64(le.Uint64(src)))
	case *array.Uint8Builder:
		b.Append(src[0])
	case *array.Uint16Builder:
		b.Append(le.Uint16(src))
	case *array.Uint32Builder:
		b.Append(le.Uint32(src))
	case *array.Uint64Builder:
		b.Append(le.Uint64(src))
	case *array.Float32Builder:
		b.Append(math.Float32frombits(le.Uint32(src)))
	case *array.Float64Builder:
		b.Append(math.Float64frombits(le.Uint64(src)))
	case *array.Date32Builder:
		b.Append(arrow.Date32(le.Uint32(src)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(le.Uint64(src)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(le.Uint64(src)))
	case *array.Decimal128Builder:
		b.Append(decimal128.New(int64(le.Uint64(src[8:])), le.Uint64(src)))
	case *array.MonthDayNanoIntervalBuilder:
		b.Append(arrow.MonthDayNanoInterval{Months: int32(le.Uint32(src)), Days: int32(le.Uint32(src[4:])),
			Nanoseconds: int64(le.Uint64(src[8:]))})
	default:
		panic(fmt.Sprintf("fixed value for a %s", b.Type()))
	}
}
