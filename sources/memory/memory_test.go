package memory

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/sources/sourcetest"
	"github.com/tidemill/tidemill/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func columns() []stream.Column {
	return []stream.Column{
		{Name: "id", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64},
		{Name: "sequence", Type: "UBIGINT", Arrow: arrow.PrimitiveTypes.Uint64, Metadata: true},
		{Name: "ts", Type: "TIMESTAMP", Arrow: &arrow.TimestampType{Unit: arrow.Microsecond}},
	}
}

func openSource(t *testing.T, hub *Hub, columns []stream.Column) stream.Source {
	t.Helper()
	s, err := Connector(hub).Open(t.Context(), stream.SourceConfig{Name: "src", Columns: columns})
	require.NoError(t, err)
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	sourcetest.Run(t, func(*testing.T) sourcetest.Harness {
		hub := NewHub()
		return sourcetest.Harness{
			Open: func(t *testing.T) stream.Source { return openSource(t, hub, columns()) },
			Add: func(t *testing.T, n int) {
				for i := range n {
					require.NoError(t, hub.Add("src", columns(), [][]any{{i, "2024-01-02 03:04:05.5"}}))
				}
			},
		}
	}, sourcetest.Features{Rows: true})
}

func TestOneAddIsSeenAsAWhole(t *testing.T) {
	t.Parallel()
	hub := NewHub()
	defer hub.Release()
	s := openSource(t, hub, columns())
	require.NoError(t, hub.Add("src", columns(), [][]any{{1, nil}, {nil, "1969-12-31 23:59:59.999999"}, {3, "2024-01-01"}}))
	a, err := s.Available(t.Context(), "0", "", stream.Limit{})
	require.NoError(t, err)
	require.Equal(t, stream.Available{To: "3", Identity: "memory"}, a)
	a, err = s.Available(t.Context(), "0", a.Identity, stream.Limit{Rows: 2})
	require.NoError(t, err)
	require.Equal(t, stream.Available{To: "2", Identity: "memory", Behind: 1}, a)
	in, err := s.Read(t.Context(), stream.Range{From: "1", To: "3"})
	require.NoError(t, err)
	defer in.Release()
	got, err := in.Rows[0].MarshalJSON()
	require.NoError(t, err)
	require.JSONEq(t, `[{"id":null,"sequence":2,"ts":"1969-12-31 23:59:59.999999Z"},{"id":3,"sequence":3,"ts":"2024-01-01 00:00:00Z"}]`,
		string(got))
	_, err = s.Available(t.Context(), "4", "", stream.Limit{})
	require.Equal(t, diag.DataLoss, diag.CodeOf(err))
}

func TestValues(t *testing.T) {
	t.Parallel()
	str := arrow.BinaryTypes.String
	for _, c := range []struct {
		dt    arrow.DataType
		v     any
		want  string // empty: refused
		error string
	}{
		{arrow.FixedWidthTypes.Boolean, true, "true", ""}, {arrow.FixedWidthTypes.Boolean, 1, "", "true or false"},
		{arrow.PrimitiveTypes.Int8, -128, "-128", ""}, {arrow.PrimitiveTypes.Int8, 128, "", "range"},
		{arrow.PrimitiveTypes.Uint8, uint64(255), "255", ""}, {arrow.PrimitiveTypes.Uint16, -1, "", "range"},
		{arrow.PrimitiveTypes.Int16, 7.0, "7", ""}, {arrow.PrimitiveTypes.Int32, 1.5, "", "an integer"},
		{arrow.PrimitiveTypes.Int64, "9223372036854775807", "9223372036854775807", ""}, {arrow.PrimitiveTypes.Int64, "1e999999999", "", "a number"},
		{arrow.PrimitiveTypes.Uint64, uint64(1 << 63), "9223372036854775808", ""}, {arrow.PrimitiveTypes.Uint32, "x", "", "a number"},
		{arrow.PrimitiveTypes.Float64, 1, "1", ""}, {arrow.PrimitiveTypes.Float32, 0.5, "0.5", ""}, {arrow.PrimitiveTypes.Float64, true, "", "a number"},
		{&arrow.Decimal128Type{Precision: 5, Scale: 2}, 12.34, "12.34", ""}, {&arrow.Decimal128Type{Precision: 5, Scale: 2}, 1.005, "", "exact in 5"},
		{&arrow.Decimal128Type{Precision: 38}, "-12345678901234567890", "-12345678901234567890", ""},
		{str, "x", "x", ""}, {str, 1, "", "text"}, {arrow.BinaryTypes.Binary, "AAE=", "AAE=", ""}, {arrow.BinaryTypes.Binary, "?", "", "base64"},
		{arrow.FixedWidthTypes.Date32, "2024-02-29", "2024-02-29", ""}, {arrow.FixedWidthTypes.Date32, 3, "", "YYYY"},
		{arrow.FixedWidthTypes.Time64us, "01:02:03.5", "01:02:03.500000", ""}, {arrow.FixedWidthTypes.Time64us, "25:00:00", "", "HH:MM"},
		{&arrow.TimestampType{Unit: arrow.Microsecond}, "soon", "", "YYYY"},
		{arrow.ListOf(arrow.PrimitiveTypes.Int64), []any{1, nil}, "[1,null]", ""}, {arrow.ListOf(str), "x", "", "a list"},
		{arrow.StructOf(arrow.Field{Name: "a", Type: str, Nullable: true}), map[string]any{"a": "b"}, `{"a":"b"}`, ""},
		{arrow.StructOf(arrow.Field{Name: "a", Type: str, Nullable: true}), map[string]any{"z": "b"}, "", "no field"},
		{arrow.MapOf(str, arrow.PrimitiveTypes.Int64), map[string]any{"b": 2, "a": 1}, `[{"key":"a","value":1},{"key":"b","value":2}]`, ""},
	} {
		rec, err := build("s", []stream.Column{{Name: "v", Type: "T", Arrow: c.dt}}, [][]any{{c.v}})
		if c.error != "" {
			require.Equal(t, diag.RowFault, diag.CodeOf(err), "%v", c.v)
			require.Contains(t, err.Error(), c.error)
			continue
		}
		require.NoError(t, err, "%v", c.v)
		require.Equal(t, c.want, rec.Column(0).ValueStr(0))
		rec.Release()
	}
	_, err := build("s", columns(), [][]any{{1}})
	require.ErrorContains(t, err, "row 1 has 1 values")
}
