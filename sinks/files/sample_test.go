package files

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestDictionaries looks which columns of a file have a dictionary: those whose values repeat, of few rows all, and such as
// are not looked at.
func TestDictionaries(t *testing.T) {
	t.Parallel()
	for rows, want := range map[int][]bool{
		100_000:        {false, true, false, true, true},
		sampleRows:     {false, true, false, true, true},
		sampleRows - 1: {true, true, true, true, true},
	} {
		r := manyAndFew(rows)
		data := parquetOf(t, r)
		r.Release()
		require.Equal(t, want, dictionaries(t, data), "%d rows", rows)
	}
}

// TestNoRows writes a file without rows, which readers read all the same.
func TestNoRows(t *testing.T) {
	t.Parallel()
	r := manyAndFew(0)
	defer r.Release()
	pf, err := file.NewParquetReader(bytes.NewReader(parquetOf(t, r)))
	require.NoError(t, err)
	require.Zero(t, pf.NumRows())
	require.Equal(t, 5, pf.MetaData().Schema.NumColumns())
	require.NoError(t, pf.Close())
}

// parquetOf writes a file of one record.
func parquetOf(t *testing.T, r arrow.Record) []byte {
	t.Helper()
	c, err := newCodec("parquet", stream.SinkConfig{})
	require.NoError(t, err)
	var out bytes.Buffer
	w, err := c.create(&out, r.Schema())
	require.NoError(t, err)
	require.NoError(t, w.write(r))
	require.NoError(t, w.close())
	return out.Bytes()
}

// manyAndFew has numbers and texts of many different values and of few, with NULLs, and a list.
func manyAndFew(rows int) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "many", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "few", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "many text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "few.text", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "list", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
	}, nil))
	defer b.Release()
	list := b.Field(4).(*array.ListBuilder) //nolint:forcetypeassert // the schema says so
	for i := range rows {
		if i%10 == 0 {
			for _, f := range b.Fields() {
				f.AppendNull()
			}
			continue
		}
		b.Field(0).(*array.Int64Builder).Append(int64(i))                     //nolint:forcetypeassert // the schema says so
		b.Field(1).(*array.Int64Builder).Append(int64(i % 7))                 //nolint:forcetypeassert // the schema says so
		b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("text %d", i))   //nolint:forcetypeassert // the schema says so
		b.Field(3).(*array.StringBuilder).Append([]string{"one", "two"}[i%2]) //nolint:forcetypeassert // the schema says so
		list.Append(true)
		list.ValueBuilder().(*array.Int64Builder).Append(int64(i)) //nolint:forcetypeassert // the schema says so
	}
	return b.NewRecord()
}

func dictionaries(t *testing.T, data []byte) []bool {
	t.Helper()
	pf, err := file.NewParquetReader(bytes.NewReader(data))
	require.NoError(t, err)
	defer func() { require.NoError(t, pf.Close()) }()
	var all []bool
	for i := range pf.MetaData().Schema.NumColumns() {
		chunk, err := pf.MetaData().RowGroup(0).ColumnChunk(i)
		require.NoError(t, err)
		has := false
		for _, e := range chunk.Encodings() {
			has = has || e == parquet.Encodings.RLEDict || e == parquet.Encodings.PlainDict
		}
		all = append(all, has)
	}
	return all
}
