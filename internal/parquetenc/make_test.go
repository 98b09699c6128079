package parquetenc

import (
	"bytes"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// scalars are the types of results that have no parts.
func scalars() []arrow.DataType {
	return []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32,
		arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32,
		arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64, arrow.BinaryTypes.String,
		arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time64us,
		&arrow.TimestampType{Unit: arrow.Microsecond}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
		&arrow.TimestampType{Unit: arrow.Millisecond}, &arrow.TimestampType{Unit: arrow.Nanosecond},
		&arrow.Decimal128Type{Precision: 4, Scale: 1}, &arrow.Decimal128Type{Precision: 9, Scale: 2},
		&arrow.Decimal128Type{Precision: 18, Scale: 3}, &arrow.Decimal128Type{Precision: 38, Scale: 10},
	}
}

// drawType draws a type, which has parts down to some depth. Arrays of fixed length are left out: Arrow's reader can not
// read such that are NULL.
func drawType(t *rapid.T, depth int) arrow.DataType {
	if depth == 0 || rapid.IntRange(0, 2).Draw(t, "nest") > 0 {
		return rapid.SampledFrom(scalars()).Draw(t, "scalar")
	}
	switch rapid.IntRange(0, 2).Draw(t, "nested") {
	case 0:
		return arrow.ListOfField(arrow.Field{Name: "l", Type: drawType(t, depth-1), Nullable: true})
	case 1:
		return arrow.MapOf(rapid.SampledFrom(scalars()).Draw(t, "key"), drawType(t, depth-1))
	default:
		return arrow.StructOf(arrow.Field{Name: "x", Type: drawType(t, depth-1), Nullable: true},
			arrow.Field{Name: "y.z", Type: drawType(t, depth-1), Nullable: true})
	}
}

// filler says what the values of a column are like.
type filler struct {
	nulls    int // of ten values
	distinct int64
	long     int // of texts
}

func drawFiller(t *rapid.T) filler {
	return filler{
		nulls:    rapid.SampledFrom([]int{0, 0, 1, 5, 10}).Draw(t, "nulls"),
		distinct: rapid.SampledFrom([]int64{1, 2, 20, 1 << 40}).Draw(t, "distinct"),
		long:     rapid.SampledFrom([]int{0, 3, 40, 400}).Draw(t, "long"),
	}
}

// source is a quick source of numbers: rapid's own would take too long for so many.
type source uint64

func (s *source) next() int64 {
	*s = *s*6364136223846793005 + 1442695040888963407
	return int64(*s >> 1)
}

// drawRecord makes a record of some rows.
func drawRecord(t *rapid.T, s *arrow.Schema, fill []filler, rows int) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	from := source(rapid.Uint64().Draw(t, "seed"))
	for i, f := range b.Fields() {
		for range rows {
			fill[i].value(f, &from, true)
		}
	}
	return b.NewRecord()
}

// value appends one value, or NULL.
func (f filler) value(b array.Builder, from *source, nullable bool) {
	n := from.next()
	if nullable && n>>20%10 < int64(f.nulls) {
		b.AppendNull()
		return
	}
	n = from.next() % f.distinct
	if n%7 == 3 {
		n = -n
	}
	switch b := b.(type) {
	case *array.ListBuilder:
		b.Append(true)
		for range from.next() % 4 {
			f.value(b.ValueBuilder(), from, true)
		}
	case *array.MapBuilder:
		b.Append(true)
		for range from.next() % 3 {
			f.value(b.KeyBuilder(), from, false)
			f.value(b.ItemBuilder(), from, true)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i := range b.NumField() {
			f.value(b.FieldBuilder(i), from, true)
		}
	default:
		f.scalar(b, n)
	}
}

func (f filler) scalar(b array.Builder, n int64) {
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(n%2 == 0)
	case *array.Int8Builder:
		b.Append(int8(n))
	case *array.Int16Builder:
		b.Append(int16(n))
	case *array.Int32Builder:
		b.Append(int32(n))
	case *array.Int64Builder:
		b.Append(n << 20)
	case *array.Uint8Builder:
		b.Append(uint8(n))
	case *array.Uint16Builder:
		b.Append(uint16(n))
	case *array.Uint32Builder:
		b.Append(uint32(n))
	case *array.Uint64Builder:
		b.Append(uint64(n))
	case *array.Float32Builder:
		b.Append([]float32{float32(n), float32(n) / 3, float32(math.Inf(1)), 0}[n&3])
	case *array.Float64Builder:
		b.Append([]float64{float64(n), float64(n) / 3, math.Inf(-1), math.Copysign(0, -1)}[n&3])
	case *array.StringBuilder:
		b.Append(string(f.text(n)))
	case *array.BinaryBuilder:
		b.Append(f.text(n))
	case *array.Date32Builder:
		b.Append(arrow.Date32(n % 100_000))
	case *array.Time64Builder:
		b.Append(arrow.Time64((n & math.MaxInt64) % 86_400_000_000))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(n))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(n % 9_999))
	}
}

func (f filler) text(n int64) []byte {
	text := append([]byte{byte(n), byte(n >> 8), byte(n >> 16)}, bytes.Repeat([]byte("text"), f.long/4)...)
	return text[:min(len(text), int(n&63)+f.long)]
}

// written is the file of some records.
func written(t require.TestingT, w *Writer, records ...arrow.Record) []byte {
	var out bytes.Buffer
	require.NoError(t, w.Begin(&out))
	for _, r := range records {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// byLibrary is the file that Arrow's own writer makes.
func byLibrary(t require.TestingT, s *arrow.Schema, records ...arrow.Record) []byte {
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithVersion(parquet.V2_LATEST), parquet.WithCompression(compress.Codecs.Snappy))
	w, err := pqarrow.NewFileWriter(s, &out, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	require.NoError(t, err)
	for _, r := range records {
		require.NoError(t, w.WriteBuffered(r))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// table reads a file by Arrow's library.
func table(t require.TestingT, data []byte) (*file.Reader, arrow.Table) {
	f, err := file.NewParquetReader(bytes.NewReader(data))
	require.NoError(t, err)
	r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	require.NoError(t, err)
	got, err := r.ReadTable(context())
	require.NoError(t, err)
	return f, got
}

// small makes everything happen in few rows.
func small() limits {
	return limits{groupRows: 700, pageBytes: 2000, dictionaryBytes: 1000, dictionaryTry: 50}
}
