package file

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestArrowsSchemaInTheFile asks that columns of types that only Arrow's own schema in the file names are read as what they
// are to Parquet, and that damage of it harms nobody, an ARRAY neither.
func TestArrowsSchemaInTheFile(t *testing.T) {
	t.Parallel()
	text := arrow.BinaryTypes.String
	few := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: text}
	pairs := arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int64)
	schema := arrow.NewSchema([]arrow.Field{{Name: "few", Type: few, Nullable: true}, {Name: "large", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		{Name: "d", Type: arrow.FixedWidthTypes.Timestamp_s, Nullable: true}, {Name: "pair", Type: pairs, Nullable: true}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"few":"a","large":"b","d":"1970-01-01 00:00:07","pair":[1,2]},{"few":"a","pair":[3,4]}]`))
	require.NoError(t, err)
	defer rec.Release()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, nil, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	stored := regexp.MustCompile("/////[A-Za-z0-9+/=]{100,}").FindString(buf.String())
	require.NotEmpty(t, stored)
	damaged := strings.Replace(buf.String(), stored, strings.Repeat("A", len(stored)), 1)

	columns := []stream.Column{{Name: "few", Type: "VARCHAR", Arrow: text}, {Name: "large", Type: "VARCHAR", Arrow: text},
		{Name: "d", Type: "TIMESTAMP", Arrow: &arrow.TimestampType{Unit: arrow.Microsecond}}, {Name: "pair", Type: "BIGINT[2]", Arrow: pairs}}
	for name, c := range map[string]struct {
		columns []stream.Column
		data    string
		want    string
	}{
		"whole":   {columns, buf.String(), `[{"few":"a","large":"b","d":"1970-01-01 00:00:07Z","pair":[1,2]},{"few":"a","large":null,"d":null,"pair":[3,4]}]`},
		"flat":    {columns[:3], buf.String(), `[{"few":"a","large":"b","d":"1970-01-01 00:00:07Z"},{"few":"a","large":null,"d":null}]`},
		"damaged": {columns, damaged, `[{"few":"a","large":"b","d":"1970-01-01 00:00:07Z","pair":[1,2]},{"few":"a","large":null,"d":null,"pair":[3,4]}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, formatParquet)
			f.columns = c.columns
			f.put(t, "a.parquet", c.data)
			s := f.open(t)
			defer s.Close()
			in, _ := all(t, s)
			defer in.Release()
			require.Nil(t, in.Broken)
			got, err := in.Rows[0].MarshalJSON()
			require.NoError(t, err)
			require.JSONEq(t, c.want, string(got))
		})
	}
}

// TestArrays asks that lists of a file are read as an ARRAY where all have as many elements as declared, whatever is NULL
// and nested, and that a file with another list is refused with a word about it.
func TestArrays(t *testing.T) {
	t.Parallel()
	pair, texts := arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int32), arrow.FixedSizeListOf(1, arrow.BinaryTypes.String)
	deep := arrow.FixedSizeListOf(2, pair)
	pairs := arrow.StructOf(arrow.Field{Name: "k", Type: pair.Elem(), Nullable: true}, arrow.Field{Name: "v", Type: texts.Elem(), Nullable: true})
	mapped := arrow.MapOf(texts.Elem(), pair.Elem())
	inStruct := arrow.StructOf(arrow.Field{Name: "p", Type: pair, Nullable: true})
	for name, c := range map[string]struct {
		inFile, want arrow.DataType
		values, is   string
	}{
		"some are NULL": {arrow.ListOf(pair.Elem()), pair, `[null,[1,2],[3,null],null,null,[5,6]]`, ""},
		"all are NULL":  {arrow.ListOf(pair.Elem()), pair, `[null,null]`, ""},
		"texts":         {arrow.ListOf(texts.Elem()), texts, `[["a"],null,[null],["bc"]]`, ""},
		"of arrays":     {arrow.ListOf(arrow.ListOf(pair.Elem())), deep, `[[[1,2],[3,4]],null,[null,[5,6]]]`, ""},
		"in a struct":   {arrow.StructOf(arrow.Field{Name: "p", Type: arrow.ListOf(pair.Elem()), Nullable: true}), inStruct, `[{"p":[1,2]},null,{"p":null},{"p":[3,4]}]`, ""},
		"in a list":     {arrow.ListOf(arrow.ListOf(pair.Elem())), arrow.ListOf(pair), `[[[1,2],[3,4],null],[],null,[[5,6]]]`, ""},
		"of structs":    {arrow.ListOf(pairs), arrow.FixedSizeListOf(2, pairs), `[null,[{"k":1,"v":"a"},null],null,[{"k":null,"v":"b"},{"k":2,"v":null}]]`, ""},
		"of maps":       {arrow.ListOf(mapped), arrow.FixedSizeListOf(1, mapped), `[null,[[{"key":"a","value":1}]],[null],null,[[]]]`, ""},
		"of lists":      {arrow.ListOf(arrow.ListOf(pair.Elem())), arrow.FixedSizeListOf(2, arrow.ListOf(pair.Elem())), `[null,[[1,2,3],null],[[],[4]]]`, ""},
		"of bits":       {arrow.ListOf(arrow.FixedWidthTypes.Boolean), arrow.FixedSizeListOf(3, arrow.FixedWidthTypes.Boolean), `[[true,false,null],null,[false,true,true]]`, ""},
		"in a map":      {arrow.MapOf(arrow.BinaryTypes.String, arrow.ListOf(pair.Elem())), arrow.MapOf(arrow.BinaryTypes.String, pair), `[[{"key":"a","value":[1,2]},{"key":"b","value":null}],null,[]]`, ""},
		"too long":      {arrow.ListOf(pair.Elem()), pair, `[[1,2],[3,4,5]]`, "list 2 has 3 elements"},
		"too short":     {arrow.ListOf(pair.Elem()), pair, `[null,[1]]`, "list 2 has 1 elements"},
		"long in deep":  {arrow.ListOf(arrow.ListOf(pair.Elem())), deep, `[[[1,2],[3]]]`, "list 2 has 1 elements"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, formatParquet)
			f.columns = []stream.Column{{Name: "c", Type: "declared", Arrow: c.want}}
			f.put(t, "a.parquet", ofOneColumn(t, c.inFile, c.values))
			s := f.open(t)
			defer s.Close()
			in, _ := all(t, s)
			defer in.Release()
			if c.is != "" {
				require.NotNil(t, in.Broken)
				require.Contains(t, in.Broken.Reasons[0], c.is)
				return
			}
			require.Nil(t, in.Broken)
			require.Truef(t, arrow.TypeEqual(c.want, in.Rows[0].Column(0).DataType()), "%s", in.Rows[0].Column(0).DataType())
			got, err := in.Rows[0].Column(0).MarshalJSON()
			require.NoError(t, err)
			require.JSONEq(t, c.values, string(got))
		})
	}
}

// ofOneColumn returns a Parquet file with one column c.
func ofOneColumn(t *testing.T, dt arrow.DataType, values string) string {
	t.Helper()
	arr, _, err := array.FromJSON(memory.DefaultAllocator, dt, strings.NewReader(values))
	require.NoError(t, err)
	defer arr.Release()
	schema := arrow.NewSchema([]arrow.Field{{Name: "c", Type: dt, Nullable: true}}, nil)
	rec := array.NewRecord(schema, []arrow.Array{arr}, int64(arr.Len()))
	defer rec.Release()
	return parquetWith(t, rec)
}
