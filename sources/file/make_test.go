package file_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.String()
}

// lines are n rows from first on, of which each packs badly.
func lines(first, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":%d,\"k\":\"%d\",\"pad\":\"%x\"}\n", first+i, first+i, uint64(i+1)*0x9e3779b97f4a7c15)
	}
	return b.String()
}

// nestedRow is a Parquet file with a row for each text.
func nestedRow(t *testing.T, id int, texts ...string) string {
	t.Helper()
	text, number := arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64
	field := func(name string, dt arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: dt, Nullable: true}
	}
	schema := arrow.NewSchema([]arrow.Field{field("id", number),
		field("s", arrow.StructOf(field("y", text), field("x", number))), field("m", arrow.MapOf(text, number)),
		field("l", arrow.ListOf(arrow.StructOf(field("x", number))))}, nil)
	var rows []string
	for _, y := range texts {
		rows = append(rows, fmt.Sprintf(`{"id":%d,"s":{"y":%q,"x":7},"m":[{"key":"a","value":8}],"l":[{"x":1},{"x":2}]}`, id, y))
	}
	return parquetOf(t, schema, "["+strings.Join(rows, ",")+"]")
}

// parquetOf is a Parquet file of rows in JSON.
func parquetOf(t *testing.T, schema *arrow.Schema, rows string) string {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(rows))
	require.NoError(t, err)
	defer rec.Release()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, nil, pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	require.NoError(t, w.Write(rec))
	require.NoError(t, w.Close())
	return buf.String()
}
