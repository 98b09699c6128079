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
// are to Parquet, that damage of it harms nobody, and that an ARRAY is one by it.
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
		"damaged": {columns[:3], damaged, `[{"few":"a","large":"b","d":"1970-01-01 00:00:07Z"},{"few":"a","large":null,"d":null}]`},
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
