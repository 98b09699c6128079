package decode

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

func TestCSV(t *testing.T) {
	t.Parallel()
	plain := []string{"a", "BIGINT", "s", "VARCHAR"}
	for _, c := range []struct {
		o       Options
		csv     string
		want    string
		reasons []string
	}{
		{Options{}, "1,x\r\n\n2,\"y,\"\"z\n\"\n,\n3,\"\"", `[{"a":1,"s":"x"},{"a":2,"s":"y,\"z\n"},{"a":null,"s":null},{"a":3,"s":""}]`, nil},
		{Options{CSVDelimiter: ";", CSVNull: "NULL"}, "1;NULL\nNULL;\n2;\"NULL\"", `[{"a":1,"s":null},{"a":null,"s":""},{"a":2,"s":"NULL"}]`, nil},
		{Options{CSVHeader: true}, "s,zzz,a\nx,?,1\n\"y\",,2\n", `[{"a":1,"s":"x"},{"a":2,"s":"y"}]`, nil},
		{Options{CSVHeader: true}, "s\nx", `[{"a":null,"s":"x"}]`, nil}, {Options{CSVHeader: true}, "", `[]`, nil}, {Options{}, "", `[]`, nil},
		{Options{}, "x,1\n1.5,y\n1\n1,2,3\n 7 ,z\n", `[{"a":7,"s":"z"}]`,
			[]string{"expected", "without fraction", "1 fields where 2", "more than the 2 fields"}},
		{Options{}, "1,\"x\"y\n2,z\n3,\"open\n4,w", `[{"a":2,"s":"z"}]`, []string{"must end before", "does not end"}},
		{Options{}, "1,\xff\nnull,q\n1 2,q\n", `[]`, []string{"UTF-8", "BIGINT, got null", "BIGINT, got 1 2"}},
		{Options{CSVHeader: true}, "a,a\n1,2\n", `[]`, []string{"twice in the CSV header"}},
		{Options{CSVHeader: true}, "\"a\n1,2\n", `[]`, []string{"a quoted name does not end"}},
		{Options{CSVHeader: true}, "1,x\n2,y\n", `[]`, []string{"names none of the columns: 1,x"}},
		{Options{CSVHeader: true}, "a;s\r\n1;x\r\n", `[]`, []string{"names none of the columns: a;s"}},
	} {
		c.o.Format = "csv"
		got, r := decodeAll(t, c.o, messages(c.csv), plain...)
		require.JSONEq(t, c.want, got, c.csv)
		require.Len(t, r.Bad, len(c.reasons), "%v", r.Bad)
		for i, reason := range c.reasons {
			require.Contains(t, r.Bad[i].Reason, reason)
		}
	}
}

func TestCSVTypes(t *testing.T) {
	t.Parallel()
	got, r := decodeAll(t, Options{Format: "csv", TimestampFormat: "ms"},
		messages(`TRUE,0.5,12.3,1700000000123,2024-01-01,"[1,2]","{""x"":3}","{""q"": 1}",a`), "b", "BOOLEAN", "d", "DOUBLE", "e", "DECIMAL(10,2)",
		"t", "TIMESTAMP", "day", "DATE", "l", "BIGINT[]", "m", "MAP(VARCHAR, BIGINT)", "j", "JSON", "en", "ENUM('a', 'it''s')")
	require.Empty(t, r.Bad)
	require.JSONEq(t, `[{"b":true,"d":0.5,"e":"12.3","t":"2023-11-14 22:13:20.123Z","day":"2024-01-01","l":[1,2],
		"m":[{"key":"x","value":3}],"j":"{\"q\": 1}","en":"a"}]`, got)
}

func TestText(t *testing.T) {
	t.Parallel()
	got, r := decodeAll(t, Options{Format: "text"}, messages("a\nb", "", "\xff", "c"), "v", "VARCHAR")
	require.JSONEq(t, `[{"v":"a\nb"},{"v":""},{"v":"c"}]`, got)
	require.Len(t, r.Bad, 1)
	require.Equal(t, Fault{Message: 2, End: 1, Reason: r.Bad[0].Reason}, r.Bad[0])
	require.Equal(t, []int32{0, 1, 3}, r.Message)
}

func TestTextAsBytes(t *testing.T) {
	t.Parallel()
	got, r := decodeAll(t, Options{Format: "text"}, messages("\xff\x00a", "", "QQ=="), "v", "BLOB")
	require.Empty(t, r.Bad)
	require.JSONEq(t, `[{"v":"/wBh"},{"v":""},{"v":"UVE9PQ=="}]`, got)
}

func TestColumnsThatCanNotBeDecodedAreNamedTogether(t *testing.T) {
	t.Parallel()
	_, err := New(Options{Columns: []stream.Column{
		{Name: "a", Type: "INTERVAL", Arrow: arrow.FixedWidthTypes.MonthDayNanoInterval}, {Name: "b", Type: "BIGINT", Arrow: arrow.PrimitiveTypes.Int64},
		{Name: "c", Type: "TIMESTAMP_S", Arrow: arrow.FixedWidthTypes.Timestamp_s},
	}})
	faults := diag.All(err)
	require.Len(t, faults, 2)
	require.Equal(t, "a", faults[0].Column)
	require.Equal(t, "c", faults[1].Column)
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	m := messages(`{"a":1}`, `[{"a":2},{"a":3}]`)
	m.Subject, m.File = []string{"s.1", "s.\xff"}, []string{"f1", "f2"}
	m.Published = []int64{0, 1_500_000}
	m.Headers = []map[string]string{nil, {"b": "2", "a": "1"}}
	got, r := decodeAll(t, Options{}, m, "@sequence", "BIGINT", "a", "BIGINT", "@subject", "VARCHAR", "@file", "VARCHAR",
		"@published_at", "TIMESTAMP", "@headers", "MAP(VARCHAR, VARCHAR)")
	require.Empty(t, r.Bad)
	second := `"sequence":2,"subject":"s.\ufffd","file":"f2","published_at":"1970-01-01 00:00:01.5Z",
		"headers":[{"key":"a","value":"1"},{"key":"b","value":"2"}]`
	require.JSONEq(t, `[{"sequence":1,"a":1,"subject":"s.1","file":"f1","published_at":"1970-01-01 00:00:00Z","headers":null},
		{"a":2,`+second+`},{"a":3,`+second+`}]`, got)
}

func TestEmptyBatches(t *testing.T) {
	t.Parallel()
	for _, m := range []*stream.Messages{nil, {}} {
		got, r := decodeAll(t, Options{}, m, "a", "BIGINT", "l", "VARCHAR[][]", "s", "STRUCT(a BIGINT, \"b c\" VARCHAR[])", "m", "MAP(VARCHAR, BIGINT)")
		require.Equal(t, "[]", got)
		require.Empty(t, r.Bad)
	}
}

// every is a decoder's columns, one of each type, and their pairs.
func everyType() []string {
	var pairs []string
	for _, sql := range []string{"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
		"HUGEINT", "FLOAT", "DOUBLE", "DECIMAL(10,2)", "DECIMAL(38,9)", "VARCHAR", "UUID", "JSON", "ENUM('a', 'it''s')", "BLOB", "DATE", "TIME",
		"TIMESTAMP", "BIGINT[]", "VARCHAR[][]", "STRUCT(a BIGINT, \"b c\" VARCHAR[])", "STRUCT(id INTEGER, price DECIMAL(10,2))[]",
		"MAP(VARCHAR, BIGINT)"} {
		pairs = append(pairs, "c_"+sql, sql)
	}
	return pairs
}

const everyJSON = `[{"c_BOOLEAN":true,"c_TINYINT":-1,"c_SMALLINT":-2,"c_INTEGER":-3,"c_BIGINT":-4,"c_UTINYINT":5,"c_USMALLINT":6,
	"c_UINTEGER":7,"c_UBIGINT":8,"c_HUGEINT":-9,"c_FLOAT":0.5,"c_DOUBLE":0.25,"c_DECIMAL(10,2)":-1.25,"c_DECIMAL(38,9)":1.5,
	"c_VARCHAR":"ä","c_UUID":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","c_JSON":[1],"c_ENUM('a', 'it''s')":"it's","c_BLOB":"AAE=",
	"c_DATE":"2024-01-01","c_TIME":"01:02:03","c_TIMESTAMP":"2024-01-01 01:02:03","c_BIGINT[]":[1,null],"c_VARCHAR[][]":[["x"],null],
	"c_STRUCT(a BIGINT, \"b c\" VARCHAR[])":{"a":1,"b c":["y"]},"c_STRUCT(id INTEGER, price DECIMAL(10,2))[]":[{"id":1,"price":2},{}],
	"c_MAP(VARCHAR, BIGINT)":{"k":1,"l":null}},{},{"c_BIGINT[]":[],"c_VARCHAR":"z"}]`

// ipcStream writes records as an Arrow stream.
func ipcStream(t testing.TB, recs ...arrow.Record) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(recs[0].Schema()))
	for _, r := range recs {
		require.NoError(t, w.Write(r))
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

func everyStream(t testing.TB) (data []byte, want string) {
	t.Helper()
	d := decoder(t, Options{}, everyType()...)
	r, err := d.Decode(messages(everyJSON))
	require.NoError(t, err)
	require.Empty(t, r.Bad)
	defer r.Release()
	js, err := r.Rows.MarshalJSON()
	require.NoError(t, err)
	slice := r.Rows.NewSlice(1, 3)
	defer slice.Release()
	return ipcStream(t, r.Rows, slice), string(js)
}

func TestArrowRoundTrip(t *testing.T) {
	t.Parallel()
	data, want := everyStream(t)
	got, r := decodeAll(t, Options{Format: "arrow"}, messages(string(data)), everyType()...)
	require.Empty(t, r.Bad)
	require.Len(t, r.Index, 5)
	rows := strings.SplitAfter(strings.TrimSuffix(want, "]"), "\n")
	require.Equal(t, want[:len(want)-1]+","+strings.TrimPrefix(rows[1], ",")+rows[2]+"]", got)
}

func TestArrowColumnsByName(t *testing.T) {
	t.Parallel()
	data, _ := everyStream(t)
	got, r := decodeAll(t, Options{Format: "arrow"}, messages(string(data), "", string(data[:200]), "ARROW1xx", string(data)+"x"),
		"c_BIGINT", "BIGINT", "absent", "VARCHAR")
	require.JSONEq(t, `[{"c_BIGINT":-4,"absent":null},{"c_BIGINT":null,"absent":null},{"c_BIGINT":null,"absent":null},
		{"c_BIGINT":null,"absent":null},{"c_BIGINT":null,"absent":null}]`, got)
	require.Len(t, r.Bad, 4)
	for i, reason := range []string{"empty", "ends too early", "Feather", "follows its end"} {
		require.Contains(t, r.Bad[i].Reason, reason)
	}
	_, r = decodeAll(t, Options{Format: "arrow"}, messages(string(data)), "c_BIGINT", "INTEGER")
	require.Len(t, r.Bad, 1)
	require.Contains(t, r.Bad[0].Reason, `column "c_BIGINT": its type in the Arrow stream is not the one of INTEGER`)
}

func TestArrowRowsThatDuckDBCanNotHold(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "t", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for _, v := range []int64{1, math.MaxInt64, -math.MaxInt64, math.MinInt64, 2, 3} {
		b.Field(0).(*array.TimestampBuilder).Append(arrow.Timestamp(v))
	}
	b.Field(1).(*array.StringBuilder).AppendValues([]string{"a", "b", "c", "d", "\xff", "f"}, nil)
	rec := b.NewRecord()
	defer rec.Release()
	got, r := decodeAll(t, Options{Format: "arrow"}, messages(string(ipcStream(t, rec))), "t", "TIMESTAMP", "s", "VARCHAR")
	require.JSONEq(t, `[{"t":"1970-01-01 00:00:00.000001Z","s":"a"},{"t":"1970-01-01 00:00:00.000003Z","s":"f"}]`, got)
	require.Len(t, r.Bad, 4)
	require.Equal(t, []int32{0, 5}, r.Index)
}

func TestDamagedArrowNeverPanics(t *testing.T) {
	t.Parallel()
	whole, _ := everyStream(t)
	d := decoder(t, Options{Format: "arrow"}, everyType()...)
	rng := rand.New(rand.NewPCG(3, 4))
	values := []byte{0, 1, 0x7F, 0x80, 0xFF}
	bad := 0
	for range 20_000 {
		data := bytes.Clone(whole)
		for range 1 + rng.IntN(4) {
			data[rng.IntN(len(data))] = values[rng.IntN(len(values))]
		}
		r, err := d.Decode(messages(string(data)))
		require.NoError(t, err)
		bad += len(r.Bad)
		r.Release()
	}
	require.Greater(t, bad, 1000)
}
