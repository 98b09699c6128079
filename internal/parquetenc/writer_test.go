package parquetenc

import (
	ctx "context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/metadata"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func context() ctx.Context { return ctx.Background() }

// TestSameAsLibrary writes random columns of all types, cut into records anywhere, and reads the rows that Arrow's own
// writer writes: with the same nulls, nested as they are, over bounds of pages and row groups, and one file after the other.
func TestSameAsLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fields := make([]arrow.Field, rapid.IntRange(1, 4).Draw(t, "columns"))
		fill := make([]filler, len(fields))
		for i := range fields {
			fields[i] = arrow.Field{Name: fmt.Sprintf("c%d", i), Type: drawType(t, 2), Nullable: true}
			fill[i] = drawFiller(t)
		}
		s := arrow.NewSchema(fields, nil)
		size := rapid.SampledFrom([]limits{small(), usual()}).Draw(t, "limits")
		compression := rapid.SampledFrom([]compress.Compression{compress.Codecs.Zstd, compress.Codecs.Snappy, compress.Codecs.Uncompressed}).Draw(t, "compression")
		w, err := sized(s, compression, size)
		require.NoError(t, err)
		for range 2 {
			var cut []arrow.Record
			for range rapid.IntRange(0, 3).Draw(t, "records") {
				r := drawRecord(t, s, fill, rapid.SampledFrom([]int{1, 7, 100, 900, 2000}).Draw(t, "rows"))
				from := rapid.Int64Range(0, r.NumRows()).Draw(t, "from")
				cut = append(cut, r.NewSlice(from, rapid.Int64Range(from, r.NumRows()).Draw(t, "to")))
			}
			data := written(t, w, cut...)
			f, got := table(t, data)
			_, want := table(t, byLibrary(t, s, cut...))
			require.True(t, want.Schema().Equal(got.Schema()), "%s\n%s", want.Schema(), got.Schema())
			requireSame(t, want, got)
			requireGroups(t, f, size.groupRows)
		}
	})
}

// requireSame compares two tables by their text, since chunks differ.
func requireSame(t *rapid.T, want, got arrow.Table) {
	require.Equal(t, want.NumRows(), got.NumRows())
	for i := range int(want.NumCols()) {
		a, err := array.Concatenate(chunks(want, i), memory.DefaultAllocator)
		require.NoError(t, err)
		b, err := array.Concatenate(chunks(got, i), memory.DefaultAllocator)
		require.NoError(t, err)
		require.True(t, array.Equal(a, b) || a.String() == b.String(), "column %d\n%s\n%s", i, a, b)
	}
}

func chunks(t arrow.Table, column int) []arrow.Array {
	all := t.Column(column).Data().Chunks()
	if len(all) == 0 {
		all = []arrow.Array{array.MakeArrayOfNull(memory.DefaultAllocator, t.Schema().Field(column).Type, 0)}
	}
	return all
}

// requireGroups looks at the length of row groups, and that each page says how many values there are.
func requireGroups(t *rapid.T, f *file.Reader, rows int) {
	for i := range f.NumRowGroups() {
		group := f.MetaData().RowGroup(i)
		if i < f.NumRowGroups()-1 {
			require.EqualValues(t, rows, group.NumRows())
		}
		require.NotZero(t, group.NumRows())
		require.LessOrEqual(t, group.NumRows(), int64(rows))
	}
}

// TestSchemaOfLibrary compares the columns of a file with those of Arrow's writer: the same, but that a TIME is local.
func TestSchemaOfLibrary(t *testing.T) {
	t.Parallel()
	var fields []arrow.Field
	for i, typ := range scalars() {
		if typ.ID() == arrow.TIME64 {
			continue
		}
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: typ, Nullable: true},
			arrow.Field{Name: fmt.Sprintf("l%d", i), Type: arrow.ListOf(typ), Nullable: true},
			arrow.Field{Name: fmt.Sprintf("m%d", i), Type: arrow.MapOf(arrow.BinaryTypes.String, typ), Nullable: true},
			arrow.Field{Name: fmt.Sprintf("s%d", i), Type: arrow.StructOf(arrow.Field{Name: "p", Type: typ, Nullable: true}), Nullable: true})
	}
	s := arrow.NewSchema(fields, nil)
	w, err := New(s, compress.Codecs.Snappy)
	require.NoError(t, err)
	got, _ := table(t, written(t, w))
	want, _ := table(t, byLibrary(t, s))
	require.Equal(t, want.MetaData().Schema.String(), got.MetaData().Schema.String())
	require.Equal(t, want.MetaData().KeyValueMetadata().Keys(), got.MetaData().KeyValueMetadata().Keys())
	require.Equal(t, want.MetaData().KeyValueMetadata().Values(), got.MetaData().KeyValueMetadata().Values())
}

// TestUnknownTypes are refused when the writer is made, not at the first row.
func TestUnknownTypes(t *testing.T) {
	t.Parallel()
	for _, typ := range []arrow.DataType{
		arrow.FixedWidthTypes.MonthDayNanoInterval, &arrow.TimestampType{Unit: arrow.Second}, arrow.StructOf(), arrow.Null,
		arrow.ListOf(arrow.FixedWidthTypes.MonthDayNanoInterval),
	} {
		_, err := New(arrow.NewSchema([]arrow.Field{{Name: "c", Type: typ, Nullable: true}}, nil), compress.Codecs.Zstd)
		require.Error(t, err, "%s", typ)
	}
}

// broken takes some bytes and no more.
type broken struct{ left int }

var errFull = errors.New("disk full")

func (b *broken) Write(p []byte) (int, error) {
	if len(p) > b.left {
		n := b.left
		b.left = 0
		return n, errFull
	}
	b.left -= len(p)
	return len(p), nil
}

// TestEveryFaultIsSaid breaks the disk after each byte of a file: Begin, Write or Close says so.
func TestEveryFaultIsSaid(t *testing.T) {
	t.Parallel()
	r := repeating(t, 1500)
	w, err := sized(r.Schema(), compress.Codecs.Snappy, small())
	require.NoError(t, err)
	whole := len(written(t, w, r))
	attempt := func(n int) error {
		w, err := sized(r.Schema(), compress.Codecs.Snappy, small())
		require.NoError(t, err)
		if err := w.Begin(&broken{left: n}); err != nil {
			return err
		}
		if err := w.Write(r); err != nil {
			return err
		}
		return w.Close()
	}
	for n := 0; n < whole; n += 7 {
		require.ErrorIs(t, attempt(n), errFull, "%d of %d bytes", n, whole)
	}
	require.ErrorIs(t, attempt(whole-1), errFull)
	require.NoError(t, attempt(whole))
}

// repeating has numbers and texts of many different values and of few, with NULLs, and a list.
func repeating(t *testing.T, rows int) arrow.Record {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "many", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "few", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "many text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "few.text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "decimal", Type: &arrow.Decimal128Type{Precision: 9}, Nullable: true},
		{Name: "flag", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
	}, nil))
	defer b.Release()
	from := source(1)
	for i := range rows {
		if i%10 == 0 {
			for _, f := range b.Fields() {
				f.AppendNull()
			}
			continue
		}
		many, few := filler{distinct: 1 << 40, long: 8}, filler{distinct: 7, long: 8}
		for c, f := range []filler{many, few, many, few, many, few, few} {
			f.value(b.Field(c), &from, false)
		}
	}
	return b.NewRecord()
}

// encodings lists those of each column's data pages in the first row group.
func encodings(t *testing.T, data []byte) [][]parquet.Encoding {
	t.Helper()
	f, _ := table(t, data)
	var all [][]parquet.Encoding
	for i := range f.MetaData().Schema.NumColumns() {
		pages, err := f.RowGroup(0).GetColumnPageReader(i)
		require.NoError(t, err)
		var of []parquet.Encoding
		for pages.Next() {
			if p, ok := pages.Page().(file.DataPage); ok {
				of = append(of, parquet.Encoding(p.Encoding()))
			}
		}
		require.NoError(t, pages.Err())
		all = append(all, of)
	}
	return all
}

// TestDictionaries looks which columns have a dictionary: those whose values repeat, however many rows there are.
func TestDictionaries(t *testing.T) {
	t.Parallel()
	for _, rows := range []int{20, 2000, 100_000} {
		r := repeating(t, rows)
		w, err := New(r.Schema(), compress.Codecs.Zstd)
		require.NoError(t, err)
		for i, of := range encodings(t, written(t, w, r)) {
			want := parquet.Encodings.Plain
			if i == 1 || i == 3 || i == 5 {
				want = parquet.Encodings.RLEDict
			}
			for _, e := range of {
				require.Equal(t, want, e, "column %d of %d rows", i, rows)
			}
		}
	}
}

// TestDictionaryThatGrows writes values that repeat at first: pages with a dictionary, then without.
func TestDictionaryThatGrows(t *testing.T) {
	t.Parallel()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
	}, nil))
	defer b.Release()
	for i := range 10_000 {
		n := int64(i % 5)
		if i > 5000 {
			n = int64(i)
		}
		b.Field(0).(*array.Int64Builder).Append(n)                         //nolint:forcetypeassert // the schema says so
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("text%d", n)) //nolint:forcetypeassert // the schema says so
	}
	r := b.NewRecord()
	size := small()
	size.groupRows = 20_000
	w, err := sized(r.Schema(), compress.Codecs.Snappy, size)
	require.NoError(t, err)
	data := written(t, w, r)
	for _, of := range encodings(t, data) {
		require.Equal(t, parquet.Encodings.RLEDict, of[0])
		require.Equal(t, parquet.Encodings.Plain, of[len(of)-1])
	}
	_, got := table(t, data)
	for i := range 2 {
		require.True(t, array.ChunkedEqual(arrow.NewChunked(r.Column(i).DataType(), []arrow.Array{r.Column(i)}), got.Column(i).Data()))
	}
	require.Equal(t, [2]int64{0, 9999}, int64Bounds(t, data))
}

// TestLongTexts writes texts as long as pages, and longer: a page holds few of them.
func TestLongTexts(t *testing.T) {
	t.Parallel()
	b := array.NewStringBuilder(memory.DefaultAllocator)
	for i := range 3000 {
		long := 1
		if i > 1000 {
			long = 200 * (i % 50)
		}
		b.Append(fmt.Sprintf("%0*d", long, i))
	}
	a := b.NewArray()
	r := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "s", Type: a.DataType(), Nullable: true}}, nil), []arrow.Array{a}, 3000)
	w, err := sized(r.Schema(), compress.Codecs.Uncompressed, small())
	require.NoError(t, err)
	data := written(t, w, r)
	f, got := table(t, data)
	require.True(t, array.ChunkedEqual(arrow.NewChunked(a.DataType(), []arrow.Array{a}), got.Column(0).Data()))
	for g := range f.NumRowGroups() {
		pages, err := f.RowGroup(g).GetColumnPageReader(0)
		require.NoError(t, err)
		for pages.Next() {
			require.Less(t, len(pages.Page().Data()), 2*2000+200*50+100)
		}
	}
}

func int64Bounds(t *testing.T, data []byte) [2]int64 {
	t.Helper()
	f, _ := table(t, data)
	chunk, err := f.MetaData().RowGroup(0).ColumnChunk(0)
	require.NoError(t, err)
	s, err := chunk.Statistics()
	require.NoError(t, err)
	numbers := s.(*metadata.Int64Statistics) //nolint:forcetypeassert // the column is of these
	return [2]int64{numbers.Min(), numbers.Max()}
}

// TestNaN leaves a chunk with a NaN, which is in no order, without bounds; zeros have both signs.
func TestNaN(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		values []float64
		has    bool
		least  float64
	}{{[]float64{1, math.NaN(), 3}, false, 0}, {[]float64{2, 1}, true, 1}, {[]float64{0, 5}, true, math.Copysign(0, -1)}, {nil, false, 0}} {
		b := array.NewFloat64Builder(memory.DefaultAllocator)
		b.AppendNull()
		b.AppendValues(c.values, nil)
		a := b.NewArray()
		r := array.NewRecord(arrow.NewSchema([]arrow.Field{{Name: "x", Type: a.DataType(), Nullable: true}}, nil), []arrow.Array{a}, int64(a.Len()))
		w, err := New(r.Schema(), compress.Codecs.Zstd)
		require.NoError(t, err)
		f, _ := table(t, written(t, w, r))
		chunk, err := f.MetaData().RowGroup(0).ColumnChunk(0)
		require.NoError(t, err)
		s, err := chunk.Statistics()
		require.NoError(t, err)
		require.Equal(t, c.has, s.HasMinMax(), "%v", c.values)
		require.EqualValues(t, 1, s.NullCount())
		if c.has {
			least := s.(*metadata.Float64Statistics).Min() //nolint:forcetypeassert // the column is of these
			require.Equal(t, math.Float64bits(c.least), math.Float64bits(least))
		}
	}
}
