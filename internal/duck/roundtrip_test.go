package duck

import (
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// roundTripCase is one DuckDB type with an expression over i (0 … 4999) that gives NULLs and edge values.
type roundTripCase struct {
	sql  string
	back string // DuckDB type after Select and Import
}

func roundTripCases() map[string]roundTripCase {
	return map[string]roundTripCase{
		"boolean":  {"nullif(i % 3, 0) = 1", "BOOLEAN"},
		"bool_all": {"i % 2 = 0", "BOOLEAN"},
		"bool_list": {
			"CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN [i % 3 = 0] ELSE [i % 5 = 0, NULL, i % " +
				"7 = 0] END",
			"BOOLEAN[]",
		},
		"bool_st": {
			"{'b': nullif(i % 3, 0) = 1, 'l': [{'c': i % 7 = 0}, {'c': i % 3 = 1}, {'c': i % " +
				"2 = 1}]}",
			"STRUCT(b BOOLEAN, l STRUCT(c BOOLEAN)[])",
		},
		"bool_map": {"MAP {'x': i % 3 = 0, 'y': i % 5 = 0, 'z': NULL}", "MAP(VARCHAR, BOOLEAN)"},
		"bool_arr": {"[i % 3 = 0, i % 5 = 0, NULL]::BOOLEAN[3]", "BOOLEAN[3]"},
		"tinyint":  {"nullif((i % 256 - 128)::TINYINT, 0)", "TINYINT"},
		"smallint": {"nullif((i * 13 - 32768)::SMALLINT, 0)", "SMALLINT"},
		"integer":  {"nullif((i - 2147483648)::INTEGER, 0)", "INTEGER"},
		"bigint": {
			"CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN 9223372036854775807 - i ELSE -i END",
			"BIGINT",
		},
		"utinyint":  {"nullif(i % 256, 0)::UTINYINT", "UTINYINT"},
		"usmallint": {"(65535 - i)::USMALLINT", "USMALLINT"},
		"uinteger":  {"(4294967295 - i)::UINTEGER", "UINTEGER"},
		"ubigint":   {"18446744073709551615::UBIGINT - i::UBIGINT", "UBIGINT"},
		"hugeint": {
			"nullif(i, 7)::HUGEINT * 10000000000000000000000000000000000 * (CASE WHEN i % 2 " +
				"= 0 THEN 1 ELSE -1 END)",
			"DECIMAL(38,0)",
		},
		"uhugeint": {"CASE WHEN i < 20 THEN (i * 10000000000000000000::HUGEINT)::UHUGEINT END",
			"DECIMAL(38,0)"},
		"float": {
			"CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'nan'::FLOAT WHEN 2 THEN '-inf'::FLOAT " +
				"ELSE i / 3 END::FLOAT",
			"FLOAT",
		},
		"double": {
			"CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN 'nan'::DOUBLE WHEN 2 THEN 'inf'::DOUBLE " +
				"ELSE i / 3 END",
			"DOUBLE",
		},
		"decimal4":  {"(i / 100)::DECIMAL(4, 1)", "DECIMAL(4,1)"},
		"decimal9":  {"(-i / 100)::DECIMAL(9, 2)", "DECIMAL(9,2)"},
		"decimal18": {"nullif((i / 7)::DECIMAL(18, 6), 0)", "DECIMAL(18,6)"},
		"decimal38": {"nullif(i, 3)::DECIMAL(38, 10) * 1000000000000000", "DECIMAL(38,10)"},
		"varchar": {
			"CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'é' || i ELSE " +
				"repeat('long text ', i % 9) || i END",
			"VARCHAR",
		},
		"json": {"('{\"a\": ' || i || '}')::JSON", "VARCHAR"},
		"blob": {
			"CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN ''::BLOB ELSE '\\x00\\xFF'::BLOB || " +
				"i::VARCHAR::BLOB END",
			"BLOB",
		},
		"date":   {"DATE '1600-02-29' + nullif(i, 3)::INTEGER * 90", "DATE"},
		"time":   {"TIME '00:00:00.000001' + INTERVAL (i * 17) SECOND", "TIME"},
		"timetz": {"'12:00:00+02'::TIMETZ", "VARCHAR"},
		"timestamp": {
			"TIMESTAMP '1677-09-22 00:00:00.123456' + INTERVAL (nullif(i, 3) * 2) MONTH",
			"TIMESTAMP",
		},
		"tstz": {
			"(TIMESTAMP '2024-01-01 00:00:00.5' + INTERVAL (nullif(i, 3)) " +
				"MICROSECOND)::TIMESTAMPTZ",
			"TIMESTAMP WITH TIME ZONE",
		},
		"ts_s":  {"(TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND)::TIMESTAMP_S", "TIMESTAMP"},
		"ts_ms": {"(TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND)::TIMESTAMP_MS", "TIMESTAMP"},
		"ts_ns": {"(TIMESTAMP '2024-01-01' + INTERVAL (i) SECOND)::TIMESTAMP_NS", "TIMESTAMP"},
		"interval": {
			"INTERVAL (nullif(i, 3)) MONTH - INTERVAL (i) DAY + INTERVAL (i * 3) MICROSECOND",
			"INTERVAL",
		},
		"uuid": {"md5(i::VARCHAR)::UUID", "VARCHAR"},
		"enum": {
			"(CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN 'it''s' ELSE 'b)' END)::ENUM('it''s', " +
				"'b)')",
			"VARCHAR",
		},
		"bit":  {"(i % 256)::UTINYINT::BIT", "VARCHAR"},
		"null": {"NULL", "INTEGER"},
		"list": {"CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN [] ELSE [i, NULL, i + 1] END", "BIGINT[]"},
		"list_text": {
			"CASE i % 4 WHEN 0 THEN NULL ELSE ['x' || i, NULL, 'a text of more than twelve " +
				"bytes'] END",
			"VARCHAR[]",
		},
		"list_list": {"[[i], NULL, [], [i, NULL]]", "BIGINT[][]"},
		"list_huge": {"[i::HUGEINT, NULL]", "DECIMAL(38,0)[]"},
		"array":     {"[i, NULL, 3]::BIGINT[3]", "BIGINT[3]"},
		"struct": {
			"CASE WHEN i % 5 = 0 THEN NULL ELSE {'a b': i, 'q\"': nullif('s' || i, 's7')} END",
			`STRUCT("a b" BIGINT, "q""" VARCHAR)`,
		},
		"struct2": {
			"{'in': {'x': nullif(i, 4), 'l': [i]}, 'u': md5(i::VARCHAR)::UUID}",
			`STRUCT("in" STRUCT(x BIGINT, l BIGINT[]), u VARCHAR)`,
		},
		"list_st": {
			"CASE WHEN i % 4 = 0 THEN NULL ELSE [{'a': i, 'b': 'x' || i}, NULL, {'a': NULL, " +
				"'b': 'y'}] END",
			"STRUCT(a BIGINT, b VARCHAR)[]",
		},
		"map": {
			"CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN MAP {} ELSE MAP {'k' || i: i, 'other': " +
				"NULL} END",
			"MAP(VARCHAR, BIGINT)",
		},
		"map_list": {"MAP {i: [{'z': i / 4}]}", "MAP(BIGINT, STRUCT(z DOUBLE)[])"},
	}
}

func TestEveryTypeGoesOutAndIn(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, Threads: 4})
	for name, tc := range roundTripCases() {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			_, err := c.Exec(ctx, "CREATE OR REPLACE TEMP TABLE orig AS SELECT i AS pos, "+tc.sql+
				" AS x FROM range(5000) t(i)")
			require.NoError(t, err)
			cols, err := c.Describe(ctx, "FROM orig")
			require.NoError(t, err)
			tb, err := c.Select(ctx, "FROM orig")
			require.NoError(t, err)
			defer tb.Release()
			require.Equal(t, int64(5000), tb.NumRows())
			want, err := ArrowType(cols[1].Type)
			require.NoError(t, err)
			require.True(t, arrow.TypeEqual(want, tb.Schema.Field(1).Type), "%s %s", want,
				tb.Schema.Field(1).Type)

			for _, size := range []int64{5000, 333, 1999} {
				recs := cut(tb, size)
				require.NoError(t, c.Import(ctx, "back", "x, pos", recs, tb.Schema))
				requireBack(t, c, tc.back)
				withView(t, c, recs, tb.Schema, func(view string) {
					_, err := c.Exec(ctx, "CREATE OR REPLACE TEMP TABLE back AS FROM "+view)
					require.NoError(t, err)
				})
				requireBack(t, c, tc.back)
				releaseAll(recs)
			}
		})
	}
}

// requireBack fails unless table back holds the rows of table orig, x being of the type.
func requireBack(t *testing.T, c *Conn, typ string) {
	t.Helper()
	cols, err := c.Describe(t.Context(), "SELECT x FROM back")
	require.NoError(t, err)
	require.Equal(t, typ, cols[0].Type)
	rows, err := c.Rows(t.Context(), "SELECT count(*), count(*) FILTER (WHERE o.x::VARCHAR IS DISTINCT FROM "+
		"b.x::VARCHAR) FROM orig o JOIN back b USING (pos)")
	require.NoError(t, err)
	require.Equal(t, int64(5000), rows[0][0])
	require.Equal(t, int64(0), rows[0][1], firstDifference(t, c))
}

func firstDifference(t *testing.T, c *Conn) string {
	t.Helper()
	rows, err := c.Rows(t.Context(), "SELECT pos, o.x::VARCHAR, b.x::VARCHAR "+
		"FROM orig o JOIN back b USING (pos) "+
		"WHERE o.x::VARCHAR IS DISTINCT FROM b.x::VARCHAR ORDER BY pos LIMIT 1")
	require.NoError(t, err)
	return fmt.Sprint(rows)
}

func TestImportOfNothingMakesAnEmptyTable(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "a", Type: arrow.PrimitiveTypes.Int64},
		{Name: "odd \"name\"", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	empty := b.NewRecord()
	defer empty.Release()
	for _, recs := range [][]arrow.Record{nil, {}, {empty}, {empty, empty}} {
		require.NoError(t, c.Import(t.Context(), `odd "table"`, "", recs, schema))
		cols, err := c.Describe(t.Context(), `FROM "odd ""table"""`)
		require.NoError(t, err)
		require.Equal(t, []Column{{"a", "BIGINT"}, {`odd "name"`, "VARCHAR"}}, cols)
		tb, err := c.Select(t.Context(), `FROM "odd ""table"""`)
		require.NoError(t, err)
		require.Equal(t, int64(0), tb.NumRows())
		require.Equal(t, 2, tb.Schema.NumFields())
		tb.Release()
	}
}

func TestImportSkipsEmptyRecordsBetweenFullOnes(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	tb, err := c.Select(t.Context(), "SELECT i FROM range(10) t(i)")
	require.NoError(t, err)
	defer tb.Release()
	empty := tb.Records[0].NewSlice(3, 3)
	defer empty.Release()
	recs := []arrow.Record{empty, tb.Records[0], empty, empty, tb.Records[0], empty}
	require.NoError(t, c.Import(t.Context(), "x", "", recs, tb.Schema))
	rows, err := c.Rows(t.Context(), "SELECT count(*), sum(i)::BIGINT FROM x")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(20), int64(90)}}, rows)
}

func TestImportRefusesWhatItCanNotCarry(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	one := func(dt arrow.DataType) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{{Name: "x", Type: dt}}, nil)
	}
	dict := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	for _, dt := range []arrow.DataType{
		dict, arrow.ListOf(dict), arrow.MapOf(arrow.BinaryTypes.String, dict), arrow.StructOf(),
		arrow.StructOf(arrow.Field{Name: "d", Type: dict}), arrow.FixedSizeListOf(2, dict), arrow.Null,
		arrow.FixedWidthTypes.Float16, &arrow.Decimal256Type{Precision: 50},
		arrow.FixedWidthTypes.DayTimeInterval,
		arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32),
		arrow.BinaryTypes.StringView,
	} {
		requireKind(t, InvalidInput, c.Import(t.Context(), "x", "", nil, one(dt)))
	}
	requireKind(t, InvalidInput, c.Import(t.Context(), "x", "", nil, nil))
	requireKind(t, InvalidInput, c.Import(t.Context(), "x", "", nil, arrow.NewSchema(nil, nil)))
	tb, err := c.Select(t.Context(), "SELECT 1::BIGINT AS x")
	require.NoError(t, err)
	defer tb.Release()
	requireKind(t, InvalidInput, c.Import(t.Context(), "x", "", tb.Records, one(arrow.BinaryTypes.String)))
	two := arrow.NewSchema([]arrow.Field{{Name: "x", Type: arrow.PrimitiveTypes.Int64},
		{Name: "y", Type: arrow.PrimitiveTypes.Int64}}, nil)
	requireKind(t, InvalidInput, c.Import(t.Context(), "x", "", tb.Records, two))
	err = c.Import(t.Context(), "x", "nope", tb.Records, tb.Schema)
	requireKind(t, Binder, err)
	views, err := c.Rows(t.Context(), "SELECT view_name FROM duckdb_views() WHERE NOT internal")
	require.NoError(t, err)
	require.Empty(t, views)
}

func TestSelectedRowsOutliveTheConnection(t *testing.T) {
	t.Parallel()
	db, err := Open(t.Context(), Options{})
	require.NoError(t, err)
	c, err := db.Conn(t.Context())
	require.NoError(t, err)
	tb, err := c.Select(t.Context(), "SELECT i, 'row number ' || i AS s FROM range(300000) t(i)")
	require.NoError(t, err)
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
	require.NoError(t, db.Close())
	require.Equal(t, int64(300_000), tb.NumRows())
	at := 0
	for _, rec := range tb.Records {
		require.LessOrEqual(t, rec.NumRows(), int64(recordRowsMax))
		s := rec.Column(1).(*array.String)
		for i := range s.Len() {
			if want := fmt.Sprintf("row number %d", at); s.Value(i) != want {
				require.Equal(t, want, s.Value(i))
			}
			at++
		}
	}
	tb.Release()
	_, err = c.Exec(t.Context(), "SELECT 1")
	requireKind(t, InvalidInput, err)
}

// TestNestedSlices cuts nested arrays by hand in ways that Select never does: a struct with an offset, and a
// struct with an offset inside a list.
func TestNestedSlices(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	st := arrow.StructOf(arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		arrow.Field{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true})
	lb := array.NewListBuilder(mem, st)
	defer lb.Release()
	sb := lb.ValueBuilder().(*array.StructBuilder)
	for i := range 40 {
		lb.Append(i%5 != 0)
		for j := range i % 4 {
			sb.Append(j != 1)
			sb.FieldBuilder(0).(*array.Int64Builder).Append(int64(i*10 + j))
			sb.FieldBuilder(1).AppendValueFromString(fmt.Sprintf("value %d of %d", j, i))
		}
	}
	list := lb.NewListArray()
	defer list.Release()
	structs := list.ListValues()
	tail := array.NewSlice(structs, 7, int64(structs.Len()))
	defer tail.Release()
	halved := array.NewSlice(tail, 3, 23)
	defer halved.Release()
	lists := array.NewSlice(list, 9, 29)
	defer lists.Release()

	schema := arrow.NewSchema([]arrow.Field{{Name: "l", Type: list.DataType(), Nullable: true},
		{Name: "s", Type: st, Nullable: true}}, nil)
	rec := array.NewRecord(schema, []arrow.Array{lists, halved}, 20)
	defer rec.Release()
	require.NoError(t, c.Import(t.Context(), "x", "", []arrow.Record{rec}, schema))
	f, err := c.OpenFeed(t.Context(), "lent", []Column{{Name: "l", Type: "STRUCT(n BIGINT, s VARCHAR)[]"},
		{Name: "s", Type: "STRUCT(n BIGINT, s VARCHAR)"}})
	require.NoError(t, err)
	require.NoError(t, f.lender.lend([]arrow.Record{rec}))
	for _, from := range []string{"x", "lent"} {
		tb, err := c.Select(t.Context(), "FROM "+from)
		require.NoError(t, err)
		for i := range 20 {
			require.Equal(t, lists.ValueStr(i), tb.Records[0].Column(0).ValueStr(i), from)
			require.Equal(t, halved.ValueStr(i), tb.Records[0].Column(1).ValueStr(i), from)
		}
		tb.Release()
	}
	require.NoError(t, f.Close(t.Context()))
}

// TestImportOfTypesThatSelectNeverYields covers what sources may bring.
func TestImportOfTypesThatSelectNeverYields(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "ls", Type: arrow.BinaryTypes.LargeString, Nullable: true},
		{Name: "lb", Type: arrow.BinaryTypes.LargeBinary, Nullable: true},
		{Name: "s", Type: &arrow.TimestampType{Unit: arrow.Second}, Nullable: true},
		{Name: "ms", Type: &arrow.TimestampType{Unit: arrow.Millisecond}, Nullable: true},
		{Name: "ns", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}, Nullable: true},
		{Name: "tz", Type: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "Europe/Berlin"},
			Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range 10 {
		b.Field(0).(*array.LargeStringBuilder).Append(fmt.Sprintf("a long text of row %d", i))
		b.Field(1).(*array.BinaryBuilder).Append([]byte{0, byte(i), 255})
		b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
		b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(i * 1000))
		b.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(i * 1_000_000_000))
		b.Field(5).(*array.TimestampBuilder).Append(arrow.Timestamp(i * 1_000_000))
	}
	rec := b.NewRecord()
	defer rec.Release()
	tail := rec.NewSlice(7, 9)
	defer tail.Release()
	require.NoError(t, c.Import(t.Context(), "x", "", []arrow.Record{tail}, schema))
	rows, err := c.Rows(t.Context(), `SELECT ls, lb, s = ms AND ms = ns::TIMESTAMP, epoch_us(s), epoch_us(tz),
		typeof(tz) FROM x`)
	require.NoError(t, err)
	zoned := "TIMESTAMP WITH TIME ZONE"
	require.Equal(t, [][]any{
		{"a long text of row 7", []byte{0, 7, 255}, true, int64(7_000_000), int64(7_000_000), zoned},
		{"a long text of row 8", []byte{0, 8, 255}, true, int64(8_000_000), int64(8_000_000), zoned},
	}, rows)
	times := arrow.NewSchema([]arrow.Field{{Name: "t", Type: arrow.FixedWidthTypes.Time64ns}}, nil)
	requireKind(t, InvalidInput, c.Import(t.Context(), "x", "", nil, times))
}
