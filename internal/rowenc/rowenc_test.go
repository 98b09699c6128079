package rowenc_test

import (
	"encoding/csv"
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/rowenc"
)

// record builds a record of one column from JSON as Arrow reads it.
func record(t testing.TB, kind arrow.DataType, body string) arrow.Record {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	t.Cleanup(func() { mem.AssertSize(t, 0) })
	values, _, err := array.FromJSON(mem, kind, strings.NewReader(body))
	require.NoError(t, err)
	return wrap(t, values)
}

// wrap makes a record of one array, which it takes over.
func wrap(t testing.TB, values arrow.Array) arrow.Record {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "v", Type: values.DataType(), Nullable: true}}, nil)
	rec := array.NewRecord(schema, []arrow.Array{values}, int64(values.Len()))
	values.Release()
	t.Cleanup(rec.Release)
	return rec
}

func TestJSONForms(t *testing.T) {
	t.Parallel()
	entry := arrow.StructOf(arrow.Field{Name: "a b", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true})
	tests := map[string]struct {
		kind arrow.DataType
		in   string
		want []string
	}{
		"bool":      {arrow.FixedWidthTypes.Boolean, `[true, false, null]`, []string{"true", "false", "null"}},
		"int64":     {arrow.PrimitiveTypes.Int64, `["9223372036854775807", "-9223372036854775808", 0]`, []string{"9223372036854775807", "-9223372036854775808", "0"}},
		"uint64":    {arrow.PrimitiveTypes.Uint64, `["18446744073709551615"]`, []string{"18446744073709551615"}},
		"int8":      {arrow.PrimitiveTypes.Int8, `[-128]`, []string{"-128"}},
		"float32":   {arrow.PrimitiveTypes.Float32, `[0.1]`, []string{"0.1"}},
		"float64":   {arrow.PrimitiveTypes.Float64, `[0.1, 1e300, 100, 1e-7]`, []string{"0.1", "1e+300", "100", "1e-07"}},
		"text":      {arrow.BinaryTypes.String, `["a\"b\\c\n\t\u0001é€", ""]`, []string{`"a\"b\\c\n\t\u0001é€"`, `""`}},
		"date":      {arrow.FixedWidthTypes.Date32, `["2024-02-29", "1969-12-31", "0001-01-01"]`, []string{`"2024-02-29"`, `"1969-12-31"`, `"0001-01-01"`}},
		"time":      {arrow.FixedWidthTypes.Time64us, `["23:59:59.000001"]`, []string{`"23:59:59.000001"`}},
		"time32":    {arrow.FixedWidthTypes.Time32s, `["00:00:07"]`, []string{`"00:00:07.000000"`}},
		"timestamp": {&arrow.TimestampType{Unit: arrow.Microsecond}, `["2026-01-02T03:04:05.000006", "1969-12-31T23:59:59.999999", null]`, []string{`"2026-01-02T03:04:05.000006"`, `"1969-12-31T23:59:59.999999"`, "null"}},
		"zone":      {arrow.FixedWidthTypes.Timestamp_us, `["2026-01-02T03:04:05"]`, []string{`"2026-01-02T03:04:05.000000Z"`}},
		"nanos":     {&arrow.TimestampType{Unit: arrow.Nanosecond}, `["2026-01-02T03:04:05.000000007"]`, []string{`"2026-01-02T03:04:05.000000007"`}},
		"decimal":   {&arrow.Decimal128Type{Precision: 10, Scale: 2}, `["12.30", "-0.05"]`, []string{"12.30", "-0.05"}},
		"list":      {arrow.ListOf(arrow.PrimitiveTypes.Int64), `[[1, null], [], null]`, []string{"[1,null]", "[]", "null"}},
		"struct":    {entry, `[{"a b": 1, "s": "x"}, null]`, []string{`{"a b":1,"s":"x"}`, "null"}},
		"map":       {arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), `[[{"key": "k", "value": 1}]]`, []string{`{"k":1}`}},
		"int map":   {arrow.MapOf(arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String), `[[{"key": 7, "value": "x"}]]`, []string{`[{"key":7,"value":"x"}]`}},
		"blob":      {arrow.BinaryTypes.Binary, `["AAH/"]`, []string{`"AAH/"`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rec := record(t, tt.kind, tt.in)
			for i, want := range tt.want {
				got := string(rowenc.JSON(nil, rec, i))
				require.Equal(t, `{"v":`+want+`}`, got)
				require.True(t, json.Valid([]byte(got)), got)
			}
		})
	}
}

func TestHugeIntegersKeepEveryDigit(t *testing.T) {
	t.Parallel()
	b := array.NewDecimal128Builder(memory.DefaultAllocator, &arrow.Decimal128Type{Precision: 38})
	defer b.Release()
	want := []string{"0", "-1", "9223372036854775807", "-9223372036854775808", "9223372036854775808",
		"-9223372036854775809", "99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"}
	for _, s := range want {
		v, ok := new(big.Int).SetString(s, 10)
		require.True(t, ok)
		b.Append(decimal128.FromBigInt(v))
	}
	rec := wrap(t, b.NewArray())
	for i, s := range want {
		require.Equal(t, `{"v":`+s+`}`, string(rowenc.JSON(nil, rec, i)))
		require.Equal(t, s+"\n", string(rowenc.Bind(rec, -1).CSV(nil, i, ',')))
	}
}

func TestFloatsWithoutJSONFormAreNull(t *testing.T) {
	t.Parallel()
	b := array.NewFloat64Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)}, nil)
	rec := wrap(t, b.NewArray())
	for i, want := range []string{"null", "null", "null", "-0"} {
		require.Equal(t, `{"v":`+want+`}`, string(rowenc.JSON(nil, rec, i)))
	}
	require.Equal(t, "NaN\n", string(rowenc.Bind(rec, -1).CSV(nil, 0, ',')))
}

func TestTimestampsAtTheEnds(t *testing.T) {
	t.Parallel()
	b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond})
	defer b.Release()
	b.AppendValues([]arrow.Timestamp{math.MaxInt64, -math.MaxInt64, 253402300800000000, -62198755200000000}, nil)
	rec := wrap(t, b.NewArray())
	for i, want := range []string{"infinity", "-infinity", "10000-01-01T00:00:00.000000", "-0001-01-01T00:00:00.000000"} {
		require.Equal(t, `{"v":"`+want+`"}`, string(rowenc.JSON(nil, rec, i)))
	}
}

func TestDatesAtTheEnds(t *testing.T) {
	t.Parallel()
	b := array.NewDate32Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]arrow.Date32{math.MaxInt32, -math.MaxInt32, 2932897, -735160}, nil)
	rec := wrap(t, b.NewArray())
	for i, want := range []string{"infinity", "-infinity", "10000-01-01", "-0043-03-15"} {
		require.Equal(t, `{"v":"`+want+`"}`, string(rowenc.JSON(nil, rec, i)))
	}
}

func TestIntervals(t *testing.T) {
	t.Parallel()
	b := array.NewMonthDayNanoIntervalBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]arrow.MonthDayNanoInterval{{}, {Months: 1, Days: 2, Nanoseconds: 3_500_000_000}, {Nanoseconds: -1}}, nil)
	rec := wrap(t, b.NewArray())
	for i, want := range []string{"PT0S", "P1M2DT3.5S", "PT-0.000000001S"} {
		require.Equal(t, `{"v":"`+want+`"}`, string(rowenc.JSON(nil, rec, i)))
	}
}

func TestInvalidUTF8BecomesValidJSON(t *testing.T) {
	t.Parallel()
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues([]string{"a\xffb", "\xc3", "ok\xe2\x82"}, nil)
	rec := wrap(t, b.NewArray())
	for i, want := range []string{"a\ufffdb", "\ufffd", "ok\ufffd\ufffd"} {
		var got struct{ V string }
		require.NoError(t, json.Unmarshal(rowenc.JSON(nil, rec, i), &got))
		require.Equal(t, want, got.V)
	}
}

func TestCSVTellsNullFromEmpty(t *testing.T) {
	t.Parallel()
	rec := record(t, arrow.BinaryTypes.String, `[null, "", "a,b", "q\"q", "l1\nl2", " x", "plain"]`)
	want := []string{"\n", "\"\"\n", "\"a,b\"\n", "\"q\"\"q\"\n", "\"l1\nl2\"\n", "\" x\"\n", "plain\n"}
	for i, w := range want {
		require.Equal(t, w, string(rowenc.Bind(rec, -1).CSV(nil, i, ',')))
	}
	require.Equal(t, "v\n", string(rowenc.Header(nil, rec.Schema(), ',')))
	fields, err := csv.NewReader(strings.NewReader(string(rowenc.Bind(rec, -1).CSV(nil, 4, ',')))).Read()
	require.NoError(t, err)
	require.Equal(t, []string{"l1\nl2"}, fields)
}

func TestDictionary(t *testing.T) {
	t.Parallel()
	kind := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	b := array.NewDictionaryBuilder(memory.DefaultAllocator, kind).(*array.BinaryDictionaryBuilder)
	defer b.Release()
	require.NoError(t, b.AppendString("x"))
	require.NoError(t, b.AppendString("y"))
	b.AppendNull()
	require.NoError(t, b.AppendString("x"))
	rec := wrap(t, b.NewArray())
	for i, want := range []string{`"x"`, `"y"`, "null", `"x"`} {
		require.Equal(t, `{"v":`+want+`}`, string(rowenc.JSON(nil, rec, i)))
	}
	require.Equal(t, "y", rowenc.Value(rec.Column(0), 1))
	require.Nil(t, rowenc.Value(rec.Column(0), 2))
}

func BenchmarkJSON(b *testing.B) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "country", Type: arrow.BinaryTypes.String},
		{Name: "amount", Type: arrow.PrimitiveTypes.Float64}, {Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Microsecond}},
	}, nil)
	rb := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer rb.Release()
	for i := range 1000 {
		rb.Field(0).(*array.Int64Builder).Append(int64(i) * 7919)
		rb.Field(1).(*array.StringBuilder).Append("Germany")
		rb.Field(2).(*array.Float64Builder).Append(float64(i) / 7)
		rb.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(1767225600000000 + int64(i)*1234567))
	}
	rec := rb.NewRecord()
	defer rec.Release()
	var dst []byte
	for b.Loop() {
		dst = dst[:0]
		rows := rowenc.Bind(rec, -1)
		for i := range 1000 {
			dst = append(rows.JSON(dst, i), '\n')
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "rows/s")
}
