package decode

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// columnTypes pairs spelled types with their Arrow form.
func columnTypes() map[string]arrow.DataType {
	str := arrow.BinaryTypes.String
	return map[string]arrow.DataType{
		"BOOLEAN": arrow.FixedWidthTypes.Boolean, "TINYINT": arrow.PrimitiveTypes.Int8,
		"SMALLINT": arrow.PrimitiveTypes.Int16, "INTEGER": arrow.PrimitiveTypes.Int32,
		"BIGINT": arrow.PrimitiveTypes.Int64, "UTINYINT": arrow.PrimitiveTypes.Uint8,
		"USMALLINT": arrow.PrimitiveTypes.Uint16, "UINTEGER": arrow.PrimitiveTypes.Uint32,
		"UBIGINT": arrow.PrimitiveTypes.Uint64, "HUGEINT": &arrow.Decimal128Type{Precision: 38},
		"FLOAT": arrow.PrimitiveTypes.Float32, "DOUBLE": arrow.PrimitiveTypes.Float64,
		"DECIMAL(10,2)": &arrow.Decimal128Type{Precision: 10, Scale: 2},
		"DECIMAL(38,9)": &arrow.Decimal128Type{Precision: 38, Scale: 9},
		"VARCHAR":       str, "UUID": str, "JSON": str, "ENUM('a', 'it''s')": str,
		"BLOB": arrow.BinaryTypes.Binary, "DATE": arrow.FixedWidthTypes.Date32,
		"TIME": arrow.FixedWidthTypes.Time64us, "TIMESTAMP": &arrow.TimestampType{Unit: arrow.Microsecond},
		"INTERVAL":    arrow.FixedWidthTypes.MonthDayNanoInterval,
		"BIGINT[]":    arrow.ListOf(arrow.PrimitiveTypes.Int64),
		"VARCHAR[][]": arrow.ListOf(arrow.ListOf(str)),
		"STRUCT(a BIGINT, \"b c\" VARCHAR[])": arrow.StructOf(
			arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
			arrow.Field{Name: "b c", Type: arrow.ListOf(str), Nullable: true}),
		"STRUCT(id INTEGER, price DECIMAL(10,2))[]": arrow.ListOf(arrow.StructOf(
			arrow.Field{Name: "id", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
			arrow.Field{Name: "price", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}, Nullable: true})),
		"MAP(VARCHAR, BIGINT)":  arrow.MapOf(str, arrow.PrimitiveTypes.Int64),
		"MAP(VARCHAR, VARCHAR)": arrow.MapOf(str, str),
		"MAP(BIGINT, VARCHAR)":  arrow.MapOf(arrow.PrimitiveTypes.Int64, str),
	}
}

// column declares one column; a name that begins with "@" is a METADATA column.
func column(t testing.TB, name, sql string) stream.Column {
	t.Helper()
	dt, ok := columnTypes()[sql]
	require.True(t, ok, "type %s", sql)
	c := stream.Column{Name: name, Type: sql, Arrow: dt}
	if name[0] == '@' {
		c.Name, c.Metadata = name[1:], true
	}
	return c
}

// decoder builds a decoder over name, type pairs.
func decoder(t testing.TB, o Options, pairs ...string) *Decoder {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		o.Columns = append(o.Columns, column(t, pairs[i], pairs[i+1]))
	}
	d, err := New(o)
	require.NoError(t, err)
	return d
}

func messages(payloads ...string) *stream.Messages {
	m := &stream.Messages{}
	for i, p := range payloads {
		m.Append(uint64(i+1), []byte(p))
	}
	return m
}

// decodeAll decodes with a checked allocator and returns the rows as JSON text.
func decodeAll(t *testing.T, o Options, m *stream.Messages, pairs ...string) (string, Result) {
	t.Helper()
	alloc := memory.NewCheckedAllocator(memory.NewGoAllocator())
	o.Alloc = alloc
	d := decoder(t, o, pairs...)
	r, err := d.Decode(m)
	require.NoError(t, err)
	require.Len(t, r.Message, int(r.Rows.NumRows()))
	require.Len(t, r.Index, int(r.Rows.NumRows()))
	js, err := r.Rows.MarshalJSON()
	require.NoError(t, err)
	r.Release()
	alloc.AssertSize(t, 0)
	return string(js), r
}
