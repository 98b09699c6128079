package file

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// nestedFile is a Parquet file with a row per JSON object of rows, in row groups of two rows.
func nestedFile(t *testing.T, schema *arrow.Schema, rows string) string {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, bytes.NewReader([]byte(rows)))
	require.NoError(t, err)
	defer rec.Release()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &buf, parquet.NewWriterProperties(parquet.WithMaxRowGroupLength(2)),
		pqarrow.DefaultWriterProps())
	require.NoError(t, err)
	require.NoError(t, w.WriteBuffered(rec))
	require.NoError(t, w.Close())
	return buf.String()
}

func field(name string, dt arrow.DataType) arrow.Field {
	return arrow.Field{Name: name, Type: dt, Nullable: true}
}

// writtenSchema is how the file has it: more fields than are wanted, in another order and of narrower types.
func writtenSchema() *arrow.Schema {
	point := arrow.StructOf(field("z", arrow.BinaryTypes.String), field("y", arrow.PrimitiveTypes.Int16),
		field("x", arrow.PrimitiveTypes.Float32))
	return arrow.NewSchema([]arrow.Field{
		field("s", point),
		field("m", arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32)),
		field("ls", arrow.ListOf(point)),
		field("lm", arrow.ListOf(arrow.MapOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String))),
		field("deep", arrow.StructOf(field("tags", arrow.ListOf(arrow.BinaryTypes.String)), field("in", point))),
	}, nil)
}

func wantedColumns() []stream.Column {
	point := arrow.StructOf(field("x", arrow.PrimitiveTypes.Float64), field("y", arrow.PrimitiveTypes.Int64))
	return []stream.Column{
		{Name: "s", Type: "STRUCT(x DOUBLE, y BIGINT)", Arrow: point},
		{Name: "m", Type: "MAP(VARCHAR, BIGINT)", Arrow: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)},
		{Name: "ls", Type: "STRUCT(x DOUBLE, y BIGINT)[]", Arrow: arrow.ListOf(point)},
		{Name: "lm", Type: "MAP(INTEGER, VARCHAR)[]",
			Arrow: arrow.ListOf(arrow.MapOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String))},
		{Name: "deep", Type: "STRUCT(tags VARCHAR[], \"in\" STRUCT(x DOUBLE, y BIGINT))", Arrow: arrow.StructOf(
			field("tags", arrow.ListOf(arrow.BinaryTypes.String)), field("in", point))},
	}
}

const nestedRows = `[
{"s":{"z":"a","y":1,"x":0.5},"m":[{"key":"k","value":7},{"key":"l","value":null}],"ls":[{"z":null,"y":2,"x":1},null],
 "lm":[[{"key":1,"value":"one"}],null,[]],"deep":{"tags":["p","q"],"in":{"z":"b","y":3,"x":2}}},
{"s":null,"m":null,"ls":null,"lm":null,"deep":null},
{"s":{"z":"c","y":null,"x":null},"m":[],"ls":[],"lm":[],"deep":{"tags":null,"in":null}},
{"s":{"z":"d","y":-4,"x":4},"m":[{"key":"","value":1}],"ls":[{"z":"e","y":5,"x":8}],"lm":[[{"key":2,"value":null},
 {"key":3,"value":"three"}]],"deep":{"tags":[null,"r"],"in":{"z":"f","y":6,"x":16}}}]`

const nestedWant = `[
{"s":{"y":1,"x":0.5},"m":[{"key":"k","value":7},{"key":"l","value":null}],"ls":[{"y":2,"x":1},null],
 "lm":[[{"key":1,"value":"one"}],null,[]],"deep":{"tags":["p","q"],"in":{"y":3,"x":2}}},
{"s":null,"m":null,"ls":null,"lm":null,"deep":null},
{"s":{"y":null,"x":null},"m":[],"ls":[],"lm":[],"deep":{"tags":null,"in":null}},
{"s":{"y":-4,"x":4},"m":[{"key":"","value":1}],"ls":[{"y":5,"x":8}],"lm":[[{"key":2,"value":null},
 {"key":3,"value":"three"}]],"deep":{"tags":[null,"r"],"in":{"y":6,"x":16}}}]`

func TestNestedParquet(t *testing.T) {
	t.Parallel()
	f := newFixture(t, formatParquet)
	f.columns = wantedColumns()
	f.put(t, "a.parquet", nestedFile(t, writtenSchema(), nestedRows))
	f.put(t, "b.parquet", nestedFile(t, writtenSchema(), nestedRows))
	s := f.open(t)
	defer s.Close()
	in, _ := all(t, s)
	require.Len(t, in.Rows, 2)
	for _, rec := range in.Rows {
		got, err := rec.MarshalJSON()
		require.NoError(t, err)
		require.JSONEq(t, nestedWant, string(got))
	}
	for i, c := range f.columns {
		require.True(t, arrow.TypeEqual(c.Arrow, in.Rows[1].Column(i).DataType()), c.Name)
	}
}

func TestNestedParquetRefusals(t *testing.T) {
	t.Parallel()
	text := arrow.BinaryTypes.String
	for want, c := range map[string]struct {
		written arrow.DataType
		rows    string
		column  stream.Column
	}{
		`it has no field "q"`: {arrow.StructOf(field("x", text)), `[{"c":{"x":"a"}}]`,
			stream.Column{Type: "STRUCT(q VARCHAR)", Arrow: arrow.StructOf(field("q", text))}},
		"one has fields and the other has not": {text, `[{"c":"a"}]`,
			stream.Column{Type: "STRUCT(q VARCHAR)", Arrow: arrow.StructOf(field("q", text))}},
		"is nested in the file": {arrow.StructOf(field("x", text), field("y", text)), `[{"c":{"x":"a"}}]`,
			stream.Column{Type: "VARCHAR", Arrow: text}},
		`key "k" twice`: {arrow.MapOf(text, text), `[{"c":[{"key":"k","value":"1"},{"key":"k","value":"2"}]}]`,
			stream.Column{Type: "MAP(VARCHAR, VARCHAR)", Arrow: arrow.MapOf(text, text)}},
		`field "x"`: {arrow.StructOf(field("x", text)), `[{"c":{"x":"a"}}]`,
			stream.Column{Type: "STRUCT(x BIGINT)", Arrow: arrow.StructOf(field("x", arrow.PrimitiveTypes.Int64))}},
	} {
		f := newFixture(t, formatParquet)
		c.column.Name = "c"
		f.columns = []stream.Column{c.column}
		path := f.put(t, "a.parquet", nestedFile(t, arrow.NewSchema([]arrow.Field{field("c", c.written)}, nil), c.rows))
		s := f.open(t)
		in, err := s.Read(t.Context(), rangeTo(t, s))
		require.NoError(t, err)
		require.Contains(t, in.Broken.Reasons[0], want)
		require.Equal(t, path, in.Broken.Messages.File[0])
		require.NoError(t, s.Close())
	}
}

// TestDamagedNestedParquetIsBroken asks that damage in columns with fields, which the reader decodes on goroutines of
// its own, is a broken payload and does not take down the process.
func TestDamagedNestedParquetIsBroken(t *testing.T) {
	t.Parallel()
	whole := []byte(nestedFile(t, writtenSchema(), nestedRows))
	f := newFixture(t, formatParquet)
	f.columns = wantedColumns()
	s := f.open(t).(*source)
	defer s.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	refused := 0
	for range 300 {
		data := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			data[rng.IntN(len(data))] ^= byte(1 << rng.IntN(8))
		}
		var tb tables
		var x broken
		require.NoError(t, tb.add(t.Context(), s, content{entry{Path: "x"}, data}, &x))
		refused += len(x.reasons)
		tb.release()
	}
	require.Greater(t, refused, 30)
}
