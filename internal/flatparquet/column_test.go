package flatparquet

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/pool"
)

// types are those of columns, and whether they are for this reader.
var types = []struct {
	arrow.DataType
	fits bool
}{
	{arrow.PrimitiveTypes.Int32, true},
	{arrow.PrimitiveTypes.Uint32, true},
	{arrow.FixedWidthTypes.Date32, true},
	{arrow.FixedWidthTypes.Time32ms, true},
	{arrow.PrimitiveTypes.Int64, true},
	{arrow.PrimitiveTypes.Uint64, true},
	{&arrow.TimestampType{Unit: arrow.Microsecond}, true},
	{&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, true},
	{arrow.FixedWidthTypes.Time64us, true},
	{arrow.PrimitiveTypes.Float32, true},
	{arrow.PrimitiveTypes.Float64, true},
	{arrow.FixedWidthTypes.Boolean, true},
	{arrow.BinaryTypes.String, true},
	{arrow.BinaryTypes.Binary, true},
	{&arrow.Decimal128Type{Precision: 8, Scale: 2}, true},
	{&arrow.Decimal128Type{Precision: 16, Scale: 3}, true},
	{&arrow.Decimal128Type{Precision: 30, Scale: 2}, false},
	{arrow.PrimitiveTypes.Int8, false},
	{&arrow.FixedSizeBinaryType{ByteWidth: 5}, false},
}

// appendValue appends value number x of a type.
func appendValue(b array.Builder, x int64) {
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(x))
	case *array.Int32Builder:
		b.Append(int32(x))
	case *array.Uint32Builder:
		b.Append(uint32(x * 2654435761))
	case *array.Date32Builder:
		b.Append(arrow.Date32(x))
	case *array.Time32Builder:
		b.Append(arrow.Time32(x % 86_400_000))
	case *array.Int64Builder:
		b.Append(x - 7)
	case *array.Uint64Builder:
		b.Append(uint64(x) * 0x9e3779b97f4a7c15)
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(x))
	case *array.Time64Builder:
		b.Append(arrow.Time64(x % 86_400_000_000))
	case *array.Float32Builder:
		b.Append(float32(x) / 3)
	case *array.Float64Builder:
		b.Append(float64(x) / 3)
	case *array.BooleanBuilder:
		b.Append(x%3 == 0)
	case *array.StringBuilder:
		b.Append(fmt.Sprintf("%.*s%d", int(x%7), "längere", x))
	case *array.BinaryBuilder:
		b.Append(bytes.Repeat([]byte{byte(x), 0, 0xff}, int(x%5)))
	case *array.Decimal128Builder:
		b.Append(decimal128.FromI64(x % 10_000_000))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(fmt.Sprintf("%05d", x%100_000)))
	default:
		panic(fmt.Sprintf("%T", b))
	}
}

// randomColumn are rows of which some are NULL, single or many in a row, with values that repeat or do not.
func randomColumn(rng *rand.Rand, dt arrow.DataType, rows int, nullable bool) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, dt)
	defer b.Release()
	nulls := []float64{0, 0, 0.02, 0.5, 1}[rng.IntN(5)]
	values := []int64{1, 3, 200, 70_000, 1 << 40}[rng.IntN(5)]
	for i := 0; i < rows; {
		again, null, x := 1, nullable && rng.Float64() < nulls, rng.Int64N(values)
		if rng.IntN(20) == 0 {
			again = 1 + rng.IntN(300)
		}
		for ; again > 0 && i < rows; again, i = again-1, i+1 {
			if null {
				b.AppendNull()
			} else {
				appendValue(b, x)
			}
		}
	}
	return b.NewArray()
}

// randomFile is a Parquet file of all types.
func randomFile(t testing.TB, rng *rand.Rand) []byte {
	t.Helper()
	nullable := rng.IntN(4) > 0
	var fields []arrow.Field
	for i, dt := range types {
		fields = append(fields, arrow.Field{Name: fmt.Sprint("c", i), Type: dt.DataType, Nullable: nullable})
	}
	codecs := []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Gzip}
	props := parquet.NewWriterProperties(parquet.WithCompression(codecs[rng.IntN(4)]), parquet.WithDictionaryDefault(rng.IntN(3) > 0),
		parquet.WithDictionaryPageSizeLimit(int64(1)<<(8+rng.IntN(14))), parquet.WithDataPageSize(int64(1)<<(8+rng.IntN(14))),
		parquet.WithDataPageVersion(parquet.DataPageVersion(rng.IntN(2))), parquet.WithBatchSize(int64(1+rng.IntN(500))),
		parquet.WithStoreDecimalAsInteger(true), parquet.WithVersion(parquet.V2_LATEST))
	schema := arrow.NewSchema(fields, nil)
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, props, pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	for range rng.IntN(4) {
		rows := rng.IntN(2000)
		cols := make([]arrow.Array, len(fields))
		for i, f := range fields {
			cols[i] = randomColumn(rng, f.Type, rows, nullable)
		}
		require.NoError(t, w.Write(array.NewRecord(schema, cols, int64(rows))))
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// sameAsArrow asks that each column is what Arrow's reader makes of it, and returns the types that are for this reader.
func sameAsArrow(t *testing.T, data []byte, mem memory.Allocator) (fit []arrow.DataType) {
	t.Helper()
	pr, err := file.NewParquetReader(bytes.NewReader(data))
	require.NoError(t, err)
	fr, err := pqarrow.NewFileReader(pr, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	require.NoError(t, err)
	table, err := fr.ReadTable(t.Context())
	require.NoError(t, err)
	defer table.Release()
	for i, f := range fr.Manifest.Fields {
		got, err := Column(File{pr, data}, f.ColIndex, f.Field.Type, mem)
		if errors.Is(err, ErrUnfit) {
			continue
		}
		require.NoError(t, err, f.Field)
		fit = append(fit, f.Field.Type)
		want := array.MakeArrayOfNull(memory.DefaultAllocator, f.Field.Type, 0)
		if chunks := table.Column(i).Data().Chunks(); len(chunks) > 0 {
			want, err = array.Concatenate(chunks, memory.DefaultAllocator)
			require.NoError(t, err)
		}
		require.True(t, array.Equal(want, got), "%v", f.Field)
		require.Equal(t, want.NullN(), got.NullN())
		got.Release()
	}
	return fit
}

// TestSameAsArrow compares the columns of random files with what Arrow's reader makes of them.
func TestSameAsArrow(t *testing.T) {
	t.Parallel()
	var mem pool.Memory
	for seed := range uint64(30) {
		data := randomFile(t, rand.New(rand.NewPCG(seed, 1)))
		var want []arrow.DataType
		for _, dt := range types {
			if dt.fits {
				want = append(want, dt.DataType)
			}
		}
		mem.Turn()
		require.Equal(t, want, sameAsArrow(t, data, &mem), "seed %d", seed)
	}
	require.Positive(t, mem.Spare())
}

// TestFilesOfDuckDB does so for files that DuckDB wrote.
func TestFilesOfDuckDB(t *testing.T) {
	t.Parallel()
	conn := ducktest.Conn(t, duck.Options{})
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	for i, codec := range []string{"uncompressed", "snappy", "zstd"} {
		path := filepath.Join(t.TempDir(), "a.parquet")
		_, err := conn.Exec(t.Context(), fmt.Sprintf(`COPY (SELECT i, i::INTEGER AS i4, i %% 5 AS few, CASE WHEN i %% 3 > 0 THEN i END AS n,
			CASE WHEN i > 9000 THEN 'x' || i END AS late, 'k' || i %% 7 AS k, md5(i::VARCHAR) AS h, i / 7 AS f, i %% 2 = 0 AS b,
			make_timestamp(i * 1000000) AS ts, DATE '2020-01-01' + i::INTEGER AS d, (i / 4)::DECIMAL(9, 2) AS dec, NULL::BIGINT AS none,
			(i / 4)::DECIMAL(15, 2) AS dec8, (i::VARCHAR)::BLOB AS blob, i::FLOAT AS f4, i::UINTEGER AS u4, i::UBIGINT AS u8
			FROM range(%d) t(i)) TO '%s' (FORMAT parquet, CODEC '%s', ROW_GROUP_SIZE 5000)`, 20_000*i, path, codec))
		require.NoError(t, err)
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Len(t, sameAsArrow(t, data, mem), 18)
	}
}

// TestOtherEncodingsAreUnfit asks that a column whose values are of a kind that is not read here is left to Arrow's reader, and
// that nothing is kept of it.
func TestOtherEncodingsAreUnfit(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String}}, nil)
	for column, encoding := range map[string]parquet.Encoding{
		"n": parquet.Encodings.DeltaBinaryPacked, "s": parquet.Encodings.DeltaByteArray,
	} {
		var buf bytes.Buffer
		props := parquet.NewWriterProperties(parquet.WithDictionaryDefault(false), parquet.WithEncodingFor(column, encoding))
		w, err := pqarrow.NewFileWriter(schema, &buf, props, pqarrow.DefaultWriterProps())
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(1, 1))
		for range 2 {
			cols := []arrow.Array{randomColumn(rng, schema.Field(0).Type, 100, true), randomColumn(rng, schema.Field(1).Type, 100, false)}
			require.NoError(t, w.Write(array.NewRecord(schema, cols, 100)))
		}
		require.NoError(t, w.Close())
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		require.Len(t, sameAsArrow(t, buf.Bytes(), mem), 1, column)
		mem.AssertSize(t, 0)
	}
}

// read reads all columns of what may be no Parquet file.
func read(t testing.TB, data []byte) (columns int) {
	t.Helper()
	defer func() { _ = recover() }() // the library's, as callers do
	pr, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil || pr.NumRows() < 0 || pr.NumRows() > 1<<20 {
		return 0
	}
	fr, err := pqarrow.NewFileReader(pr, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return 0
	}
	for _, f := range fr.Manifest.Fields {
		mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
		arr, err := Column(File{pr, data}, f.ColIndex, f.Field.Type, mem)
		if err == nil {
			columns++
			if s, ok := arr.(*array.String); ok {
				for i := range s.Len() {
					_ = s.Value(i)
				}
			}
			arr.Release()
		}
		mem.AssertSize(t, 0)
	}
	return columns
}

// TestDamaged asks that damage of any kind is an error or other values.
func TestDamaged(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	all, some := 0, 0
	for seed := range uint64(20) {
		whole := randomFile(t, rand.New(rand.NewPCG(seed, 2)))
		for range 60 {
			data := bytes.Clone(whole)
			for range 1 + rng.IntN(4) {
				data[rng.IntN(len(data))] ^= byte(1 << rng.IntN(8))
			}
			if n := read(t, data[:len(data)-rng.IntN(2)*rng.IntN(20)]); n == 16 {
				all++
			} else {
				some++
			}
		}
	}
	require.Greater(t, all, 10)
	require.Greater(t, some, 100)
}

// TestGroupsOfOtherLengths asks that a column whose groups of rows have other numbers of values than rows is an error, though
// there are as many in all: its values would be in other rows than those of other columns.
func TestGroupsOfOtherLengths(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	for _, rows := range []int{3, 5} {
		n := randomColumn(rand.New(rand.NewPCG(1, 1)), schema.Field(0).Type, rows, true)
		require.NoError(t, w.Write(array.NewRecord(schema, []arrow.Array{n}, int64(rows))))
	}
	require.NoError(t, w.Close())
	pr, err := file.NewParquetReader(bytes.NewReader(buf.Bytes()))
	require.NoError(t, err)
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	for _, c := range []struct {
		first, second int64
		fault         string
	}{{3, 5, ""}, {5, 3, "row group 1 ends after 3 values, not 5"}, {2, 6, "row group 1 ends after 3 values, not 2"}} {
		pr.MetaData().RowGroups[0].NumRows, pr.MetaData().RowGroups[1].NumRows = c.first, c.second
		arr, err := Column(File{pr, buf.Bytes()}, 0, schema.Field(0).Type, mem)
		if c.fault == "" {
			require.NoError(t, err)
			arr.Release()
			continue
		}
		require.EqualError(t, err, c.fault)
	}
}

func FuzzColumn(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomFile(f, rand.New(rand.NewPCG(seed, 1))))
	}
	f.Fuzz(func(t *testing.T, data []byte) { read(t, data) })
}
