package duck

import (
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Taken says where a column of rows that are taken together comes from: column Column, which is called Name there.
type Taken struct {
	Name         string
	Side, Column int
}

// Takes reports whether Take can take columns of a DuckDB type: numbers, times, booleans and texts.
func Takes(typ string) bool {
	t, err := parseType(typ)
	return err == nil && len(t.parts) == 0 && (isText(t.arrow()) || width(t.arrow()) > 0)
}

func isText(t arrow.DataType) bool { return t.ID() == arrow.STRING || t.ID() == arrow.BINARY }

// width is how many bits a value has; 0 if they differ.
func width(t arrow.DataType) int {
	if fixed, ok := t.(arrow.FixedWidthDataType); ok {
		return fixed.BitWidth()
	}
	return 0
}

// Take makes rows out of rows of several tables. The first column of each side is a BIGINT, which is there once and never
// NULL. Each row of which, whose columns stand for the sides, holds such numbers: it becomes the columns cols of the rows with
// these. The caller releases the result; which and sides stay the caller's. Rows lie where large results of c's database do.
func (c *Conn) Take(which *Table, sides []*Table, cols []Taken) (*Table, error) {
	t := &taker{cols: cols, overflow: c.db.overflow, out: &Table{}}
	t.overflow.After /= c.share
	fields := make([]arrow.Field, len(cols))
	for i, col := range cols {
		fields[i] = arrow.Field{Name: col.Name, Type: sides[col.Side].Schema.Field(col.Column).Type, Nullable: true}
	}
	t.out.Schema = arrow.NewSchema(fields, nil)
	for i, side := range sides {
		t.sides = append(t.sides, newTakenSide(side, i, cols))
	}
	for _, rec := range which.Records {
		if err := t.record(rec); err != nil {
			t.out.Release()
			return nil, err
		}
	}
	return t.out, nil
}

// taker makes the rows.
type taker struct {
	sides    []*takenSide
	cols     []Taken
	overflow Overflow
	out      *Table
	taken    int64 // bytes of out
}

// place is where a row of a side lies.
type place struct{ record, row uint32 }

// takenSide is a side whose rows can be found.
type takenSide struct {
	table  *Table
	places map[int64]place
	bytes  [][]int64 // of the texts of each row that are taken, by record
	fixed  int64     // of the other columns
}

func newTakenSide(table *Table, side int, cols []Taken) *takenSide {
	s := &takenSide{table: table, places: make(map[int64]place, table.NumRows())}
	for i, rec := range table.Records {
		for row, n := range rec.Column(0).(*array.Int64).Int64Values() {
			s.places[n] = place{uint32(i), uint32(row)}
		}
		s.bytes = append(s.bytes, make([]int64, rec.NumRows()))
	}
	for _, col := range cols {
		if col.Side == side {
			s.measure(col.Column)
		}
	}
	return s
}

// measure adds what a column takes.
func (s *takenSide) measure(column int) {
	t := s.table.Schema.Field(column).Type
	if !isText(t) {
		s.fixed += int64(width(t)+7) / 8
		return
	}
	s.fixed += int64(arrow.Int32SizeBytes)
	for i, rec := range s.table.Records {
		offsets := offsetsOf(rec.Column(column))
		for row := range s.bytes[i] {
			s.bytes[i][row] += int64(offsets[row+1] - offsets[row])
		}
	}
}

// offsetsOf are where the texts of a column begin, and where the last one ends.
func offsetsOf(col arrow.Array) []int32 {
	data := col.Data()
	return arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[data.Offset() : data.Offset()+data.Len()+1]
}

// record takes the rows that a record names, in records of bounded size.
func (t *taker) record(rec arrow.Record) error {
	places := make([][]place, len(t.sides))
	for i, s := range t.sides {
		places[i] = make([]place, rec.NumRows())
		for row, n := range rec.Column(i).(*array.Int64).Int64Values() {
			at, ok := s.places[n]
			if !ok {
				return internalFault("row %d of side %d is not there", n, i)
			}
			places[i][row] = at
		}
	}
	from, size := 0, int64(0)
	for row := range int(rec.NumRows()) {
		more := int64(0)
		for i, s := range t.sides {
			at := places[i][row]
			more += s.fixed + s.bytes[at.record][at.row]
		}
		if row > from && size+more > resultBytesMax {
			t.rows(places, from, row, size)
			from, size = row, 0
		}
		size += more
	}
	t.rows(places, from, int(rec.NumRows()), size)
	return nil
}

// rows makes a record of the rows [from, to), which take size bytes.
func (t *taker) rows(places [][]place, from, to int, size int64) {
	mem := memory.DefaultAllocator
	if t.overflow.Memory != nil && t.taken+size > t.overflow.After {
		mem = t.overflow.Memory
	}
	t.taken += size
	cols := make([]arrow.Array, len(t.cols))
	for i, col := range t.cols {
		cols[i] = takeColumn(t.sides[col.Side].table, col.Column, places[col.Side][from:to], mem)
	}
	t.out.Records = append(t.out.Records, array.NewRecord(t.out.Schema, cols, int64(to-from)))
	for _, col := range cols {
		col.Release()
	}
}

// takeColumn makes a column of the values at places.
func takeColumn(table *Table, column int, places []place, mem memory.Allocator) arrow.Array {
	typ := table.Schema.Field(column).Type
	from := make([]arrow.ArrayData, len(table.Records))
	for i, rec := range table.Records {
		from[i] = rec.Column(column).Data()
	}
	valid, nulls := takeValid(from, places, mem)
	buffers := []*memory.Buffer{valid}
	if isText(typ) {
		buffers = append(buffers, takeTexts(from, places, mem)...)
	} else {
		buffers = append(buffers, takeFixed(from, width(typ), places, mem))
	}
	data := array.NewData(typ, len(places), buffers, nil, nulls, 0)
	defer data.Release()
	for _, b := range buffers {
		if b != nil {
			b.Release()
		}
	}
	return array.MakeFromData(data)
}

func newBuffer(mem memory.Allocator, bytes int) *memory.Buffer {
	b := memory.NewResizableBuffer(mem)
	b.Resize(bytes)
	return b
}

// takeValid is the bitmap of the values that are not NULL; nil if all are.
func takeValid(from []arrow.ArrayData, places []place, mem memory.Allocator) (*memory.Buffer, int) {
	some := false
	for _, data := range from {
		some = some || data.NullN() != 0 // or not known
	}
	if !some {
		return nil, 0
	}
	out, nulls := newBuffer(mem, int(bitutil.BytesForBits(int64(len(places))))), 0
	memory.Set(out.Bytes(), 0xff)
	for i, at := range places {
		data := from[at.record]
		if b := data.Buffers()[0]; b != nil && b.Len() > 0 && !bitutil.BitIsSet(b.Bytes(), data.Offset()+int(at.row)) {
			bitutil.ClearBit(out.Bytes(), i)
			nulls++
		}
	}
	return out, nulls
}

func takeTexts(from []arrow.ArrayData, places []place, mem memory.Allocator) []*memory.Buffer {
	starts, texts := make([][]int32, len(from)), make([][]byte, len(from))
	for i, data := range from {
		starts[i] = arrow.Int32Traits.CastFromBytes(data.Buffers()[1].Bytes())[data.Offset():]
		if b := data.Buffers()[2]; b != nil {
			texts[i] = b.Bytes()
		}
	}
	offsets := newBuffer(mem, arrow.Int32Traits.BytesRequired(len(places)+1))
	out := arrow.Int32Traits.CastFromBytes(offsets.Bytes())
	size := int32(0)
	for i, at := range places {
		out[i] = size
		size += starts[at.record][at.row+1] - starts[at.record][at.row]
	}
	out[len(places)] = size
	values := newBuffer(mem, int(size))
	to := values.Bytes()
	for i, at := range places {
		start := starts[at.record]
		copy(to[out[i]:out[i+1]], texts[at.record][start[at.row]:start[at.row+1]])
	}
	return []*memory.Buffer{offsets, values}
}

func takeFixed(from []arrow.ArrayData, bits int, places []place, mem memory.Allocator) *memory.Buffer {
	out := newBuffer(mem, int(bitutil.BytesForBits(int64(len(places)*bits))))
	switch bits {
	case 1:
		for i, at := range places {
			data := from[at.record]
			bitutil.SetBitTo(out.Bytes(), i, bitutil.BitIsSet(data.Buffers()[1].Bytes(), data.Offset()+int(at.row)))
		}
	case 8:
		takeValues[[1]byte](out, from, places)
	case 16:
		takeValues[[2]byte](out, from, places)
	case 32:
		takeValues[uint32](out, from, places)
	case 64:
		takeValues[uint64](out, from, places)
	case 128:
		takeValues[[2]uint64](out, from, places)
	default:
		panic(fmt.Sprintf("values of %d bits", bits))
	}
	return out
}

func takeValues[T any](out *memory.Buffer, from []arrow.ArrayData, places []place) {
	columns := make([][]T, len(from))
	for i, data := range from {
		columns[i] = valuesOf[T](data.Buffers()[1].Bytes())[data.Offset():]
	}
	to := valuesOf[T](out.Bytes())
	for i, at := range places {
		to[i] = columns[at.record][at.row]
	}
}

func valuesOf[T any](b []byte) []T {
	var one T
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(one)))
}
