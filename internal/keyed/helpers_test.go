package keyed

import (
	"fmt"
	"iter"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/spill"
)

// choose returns a number from 0 up to n.
type choose func(n int) int

func nullable(t arrow.DataType) arrow.Field { return arrow.Field{Name: "l", Type: t, Nullable: true} }

// allTypes are one of every kind that the engine exchanges with DuckDB.
func allTypes() []arrow.DataType {
	structOf := arrow.StructOf(
		arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true},
		arrow.Field{Name: "c", Type: arrow.FixedWidthTypes.Boolean, Nullable: true})
	return []arrow.DataType{
		arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32,
		arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeString, arrow.BinaryTypes.LargeBinary,
		arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time64us, &arrow.TimestampType{Unit: arrow.Microsecond},
		&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, arrow.FixedWidthTypes.MonthDayNanoInterval,
		&arrow.Decimal128Type{Precision: 38}, &arrow.Decimal128Type{Precision: 9, Scale: 2},
		arrow.ListOfField(nullable(arrow.PrimitiveTypes.Int64)),
		arrow.ListOfField(nullable(arrow.FixedWidthTypes.MonthDayNanoInterval)),
		arrow.ListOfField(nullable(arrow.ListOfField(nullable(arrow.PrimitiveTypes.Float32)))),
		arrow.FixedSizeListOfField(2, nullable(arrow.PrimitiveTypes.Float64)), structOf,
		arrow.ListOfField(nullable(structOf)), arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Float64),
	}
}

func pick[T any](c choose, of ...T) T { return of[c(len(of))] }

// appendRandom appends a value of a small domain with what is special in it; NULL one time in six.
func appendRandom(b array.Builder, c choose) { //nolint:funlen // one case per type
	if c(6) == 0 {
		b.AppendNull()
		return
	}
	texts := []string{"", "a", "b", "é", "\x00", "a\x00", strings.Repeat("long ", 30)}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(c(2) == 0)
	case *array.Int8Builder:
		b.Append(pick[int8](c, -128, -1, 0, 1, 127))
	case *array.Int16Builder:
		b.Append(pick[int16](c, math.MinInt16, -1, 0, 1, 256))
	case *array.Int32Builder:
		b.Append(pick[int32](c, math.MinInt32, -1, 0, 1, 65536))
	case *array.Int64Builder:
		b.Append(pick[int64](c, math.MinInt64, -1, 0, 1, 2, 256, math.MaxInt64))
	case *array.Uint8Builder:
		b.Append(uint8(c(3)))
	case *array.Uint16Builder:
		b.Append(pick[uint16](c, 0, 1, math.MaxUint16))
	case *array.Uint32Builder:
		b.Append(pick[uint32](c, 0, 1, math.MaxUint32))
	case *array.Uint64Builder:
		b.Append(pick[uint64](c, 0, 1, math.MaxUint64))
	case *array.Float32Builder:
		b.Append(pick(c, 0, float32(math.Copysign(0, -1)), 1.5, -1.5, float32(math.NaN()),
			math.Float32frombits(0xffc00001), float32(math.Inf(1))))
	case *array.Float64Builder:
		b.Append(pick(c, 0, math.Copysign(0, -1), 1.5, -1.5, math.NaN(), math.Float64frombits(0xfff8000000000001),
			math.Inf(-1)))
	case *array.StringBuilder:
		b.Append(pick(c, texts...))
	case *array.LargeStringBuilder:
		b.Append(pick(c, texts...))
	case *array.BinaryBuilder:
		b.Append([]byte(pick(c, texts...)))
	case *array.Date32Builder:
		b.Append(pick[arrow.Date32](c, 0, -1, 20000, math.MaxInt32, -math.MaxInt32))
	case *array.Time64Builder:
		b.Append(pick[arrow.Time64](c, 0, 1, 86_400_000_000))
	case *array.TimestampBuilder:
		b.Append(pick[arrow.Timestamp](c, 0, -1, 1, 2_000_000, math.MaxInt64, -math.MaxInt64))
	case *array.Decimal128Builder:
		b.Append(pick(c, decimal128.FromI64(0), decimal128.FromI64(-1), decimal128.FromI64(100),
			decimal128.FromI64(99_999_999)))
	case *array.MonthDayNanoIntervalBuilder:
		const day = 86_400_000_000_000
		b.Append(arrow.MonthDayNanoInterval{Months: pick[int32](c, 0, 1, 2, -1, 12, math.MaxInt32),
			Days:        pick[int32](c, 0, 30, 60, -30, 1, -1, 29, math.MaxInt32),
			Nanoseconds: pick[int64](c, 0, day, 30*day, -day, 1000, -1000, day-1000, 500, 999, -999)})
	default:
		appendNested(b, c)
	}
}

func appendNested(b array.Builder, c choose) {
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			appendRandom(b.FieldBuilder(i), c)
		}
	case *array.MapBuilder:
		b.Append(true)
		for _, k := range []string{"", "k", "x"}[:c(4)] {
			b.KeyBuilder().(*array.StringBuilder).Append(k)
			appendRandom(b.ItemBuilder(), c)
		}
	case *array.FixedSizeListBuilder:
		b.Append(true)
		appendRandom(b.ValueBuilder(), c)
		appendRandom(b.ValueBuilder(), c)
	case *array.ListBuilder:
		b.Append(true)
		for range c(3) {
			appendRandom(b.ValueBuilder(), c)
		}
	default:
		panic(b.Type().String())
	}
}

// randomRecord is a slice of a longer record, so that its arrays have offsets.
func randomRecord(schema *arrow.Schema, rows int, c choose) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	before := c(3)
	for range before + rows + 1 {
		for _, f := range b.Fields() {
			appendRandom(f, c)
		}
	}
	return b.NewRecord().NewSlice(int64(before), int64(before+rows))
}

// text shows a value exactly; equal makes equal keys look the same. It shares no code with the store.
func text(a arrow.Array, i int, equal bool) string {
	if a.IsNull(i) {
		return "NULL"
	}
	switch a := a.(type) {
	case *array.Float32:
		return floatText(float64(a.Value(i)), uint64(math.Float32bits(a.Value(i))), equal)
	case *array.Float64:
		return floatText(a.Value(i), math.Float64bits(a.Value(i)), equal)
	case *array.MonthDayNanoInterval:
		v := a.Value(i)
		if !equal {
			return fmt.Sprint(v)
		}
		micros := v.Nanoseconds / 1000
		const day, month = 86_400_000_000, 30 * 86_400_000_000
		months, days := int64(v.Months)+int64(v.Days)/30+micros/month, int64(v.Days)%30+micros%month/day
		return fmt.Sprint(months, days, micros%day)
	case *array.Time64:
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Timestamp:
		return fmt.Sprint(int64(a.Value(i)))
	case *array.Date32:
		return fmt.Sprint(int32(a.Value(i)))
	case *array.String:
		return fmt.Sprintf("%q", a.Value(i))
	case *array.Struct:
		parts := make([]string, a.NumField())
		for j := range parts {
			parts[j] = text(a.Field(j), i, equal)
		}
		return "(" + strings.Join(parts, ",") + ")"
	case *array.Map:
		var parts []string
		for from, to := a.ValueOffsets(i); from < to; from++ {
			parts = append(parts, text(a.Keys(), int(from), equal)+":"+text(a.Items(), int(from), equal))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case array.ListLike:
		var parts []string
		for from, to := a.ValueOffsets(i); from < to; from++ {
			parts = append(parts, text(a.ListValues(), int(from), equal))
		}
		return "[" + strings.Join(parts, ",") + "]"
	}
	return a.ValueStr(i)
}

func floatText(v float64, bits uint64, equal bool) string {
	switch {
	case !equal:
		return fmt.Sprintf("%x", bits)
	case v == 0:
		return "0"
	default:
		return fmt.Sprint(v)
	}
}

// rowText shows columns of a row.
func rowText(rec arrow.Record, row, columns int, equal bool) string {
	parts := make([]string, columns)
	for i := range parts {
		parts[i] = text(rec.Column(i), row, equal)
	}
	return strings.Join(parts, "|")
}

// texts shows all rows of records and checks that these are well made.
func texts(t require.TestingT, recs []arrow.Record) []string {
	var out []string
	for _, rec := range recs {
		require.LessOrEqual(t, rec.NumRows(), int64(recordRows))
		for r := range int(rec.NumRows()) {
			out = append(out, rowText(rec, r, int(rec.NumCols()), false))
		}
	}
	return out
}

// keyTexts shows all columns of records such that equal keys look the same.
func keyTexts(recs []arrow.Record) []string {
	var out []string
	for _, rec := range recs {
		for r := range int(rec.NumRows()) {
			out = append(out, rowText(rec, r, int(rec.NumCols()), true))
		}
	}
	return out
}

func all(s *Store) []arrow.Record {
	var out []arrow.Record
	for rec := range s.All() {
		out = append(out, rec)
	}
	return out
}

// record makes a record of int64 and string columns; nil is NULL.
func record(t testing.TB, schema *arrow.Schema, rows ...[]any) arrow.Record {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, row := range rows {
		for i, v := range row {
			switch v := v.(type) {
			case nil:
				b.Field(i).AppendNull()
			case int:
				switch f := b.Field(i).(type) {
				case *array.Int64Builder:
					f.Append(int64(v))
				case *array.TimestampBuilder:
					f.Append(arrow.Timestamp(v))
				}
			case float64:
				b.Field(i).(*array.Float64Builder).Append(v)
			case string:
				b.Field(i).(*array.StringBuilder).Append(v)
			}
		}
	}
	return b.NewRecord()
}

func schemaOf(types ...arrow.DataType) *arrow.Schema {
	fields := make([]arrow.Field, len(types))
	for i, t := range types {
		fields[i] = arrow.Field{Name: fmt.Sprintf("c%d", i), Type: t, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// open makes a store that a test closes at its end, which gives back all memory. All of it is spilled from its first byte on; that of a benchmark lies
// in memory.
func open(t testing.TB, o Options) *Store {
	t.Helper()
	if _, test := t.(*testing.T); test && o.Memory == nil {
		o.Memory = spilling(t)
	}
	s, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() {
		closeStore(s)
		require.Zero(t, o.Memory.Spilled()+o.Memory.Resident(), "blocks that nobody has freed")
	})
	return s
}

// spilling is memory of which there is none: every block is in a file, of which nothing stays mapped.
func spilling(t testing.TB) *spill.Pool {
	t.Helper()
	return spill.New(spill.Options{Dir: t.TempDir(), Least: -1, Room: -1})
}

// closeStore also ends what still reads it.
func closeStore(s *Store) {
	if s.frozen != nil {
		s.frozen.Close()
	}
	s.Close()
}

// commit runs work as one batch.
func commit(s *Store, work func()) {
	s.Begin()
	work()
	s.Commit()
}

// frozen is what a Frozen has, read at once.
func frozen(f *Frozen) (changed, deleted []arrow.Record, delta bool) {
	defer f.Close()
	for rec := range f.Rows() {
		changed = append(changed, rec)
	}
	for rec := range f.Gone() {
		deleted = append(deleted, rec)
	}
	return changed, deleted, !f.Base()
}

// All returns every row, a record at a time; each is the caller's to release. The order depends on what was
// put and deleted, and on nothing else. The store must not change meanwhile.
func (s *Store) All() iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		slots := make([]uint32, 0, min(recordRows, s.live))
		more := true
		emit := func() {
			recs := s.records(slots, s.l.schema)
			slots = slots[:0]
			for _, rec := range recs {
				if more {
					more = yield(rec)
				} else {
					rec.Release()
				}
			}
		}
		s.rows.each(func(slot uint32, flags byte) bool {
			if flags&flagLive != 0 {
				slots = append(slots, slot)
			}
			if len(slots) == recordRows {
				emit()
			}
			return more
		})
		if more {
			emit()
		}
	}
}

// each calls visit for the rows in use, in their order, until it returns false.
func (t *rows) each(visit func(slot uint32, flags byte) bool) {
	for n := range t.chunks {
		c := &t.chunks[n]
		for i := range c.fresh {
			if f := c.mem[int(i)*t.width]; f&flagUsed != 0 && !visit(uint32(n)<<chunkBits|i, f) {
				return
			}
		}
	}
}
