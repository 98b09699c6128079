package decode

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
)

func TestJSONValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sql, json, want string }{
		{"BOOLEAN", `true`, `true`}, {"BOOLEAN", `false`, `false`}, {"BOOLEAN", `null`, `null`},
		{"TINYINT", `-128`, `-128`}, {"TINYINT", `127`, `127`}, {"UTINYINT", `255`, `255`},
		{"SMALLINT", `-32768`, `-32768`}, {"USMALLINT", `65535`, `65535`},
		{"INTEGER", `2147483647`, `2147483647`}, {"UINTEGER", `4294967295`, `4294967295`},
		{"BIGINT", `-9223372036854775808`, `-9223372036854775808`}, {"BIGINT", `-0`, `0`},
		{"BIGINT", `1e3`, `1000`}, {"BIGINT", `12.00`, `12`}, {"BIGINT", `1200e-2`, `12`},
		{"UBIGINT", `18446744073709551615`, `18446744073709551615`}, {"UBIGINT", `-0`, `0`},
		{"HUGEINT", `-99999999999999999999999999999999999999`, `"-99999999999999999999999999999999999999"`},
		{"DECIMAL(10,2)", `-12345678.9`, `"-12345678.9"`}, {"DECIMAL(10,2)", `1.500`, `"1.5"`},
		{"DECIMAL(10,2)", `1.5e1`, `"15"`}, {"DECIMAL(10,2)", `0`, `"0"`},
		{"DECIMAL(38,9)", `12345678901234567890123456789.123456789`, `"12345678901234567890123456789.123456789"`},
		{"DOUBLE", `0.1`, `0.1`}, {"DOUBLE", `1e308`, `1e+308`}, {"DOUBLE", `-0.0`, `-0`},
		{"DOUBLE", `9007199254740993`, `9007199254740992`}, {"DOUBLE", `123456789012345678901234`, `1.2345678901234569e+23`},
		{"FLOAT", `0.1`, `0.1`},
		{"VARCHAR", `"a\u00e4\ud83d\ude00\n\"\\\/ü"`, `"aä😀\n\"\\/ü"`}, {"VARCHAR", `""`, `""`},
		{"UUID", `"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"`, `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
		{"JSON", `{"a": [1, 2.50], "b":null}`, `"{\"a\": [1, 2.50], \"b\":null}"`},
		{"ENUM('a', 'it''s')", `"it's"`, `"it's"`}, {"BLOB", `"AAEC/w=="`, `"AAEC/w=="`},
		{"BLOB", `"\u0041AEC/w=="`, `"AAEC/w=="`},
		{"DATE", `"2024-02-29"`, `"2024-02-29"`}, {"TIME", `"23:59:59.999999999"`, `"23:59:59.999999"`},
		{"TIMESTAMP", `"2024-01-02T03:04:05.123456789Z"`, `"2024-01-02 03:04:05.123456Z"`},
		{"TIMESTAMP", `"2024-01-02 03:04:05+02:30"`, `"2024-01-02 00:34:05Z"`},
		{"TIMESTAMP", `"294247-01-10 04:00:54.775806"`, `"294247-01-10 04:00:54.775806Z"`},
		{"TIMESTAMP", `"2024-01-02 03:04-0500"`, `"2024-01-02 08:04:00Z"`},
		{"TIMESTAMP", `"2024-01-02"`, `"2024-01-02 00:00:00Z"`}, {"TIMESTAMP", `"1969-12-31 23:59:59.5"`, `"1969-12-31 23:59:59.5Z"`},
		{"BIGINT[]", `[1, null, -3]`, `[1,null,-3]`}, {"BIGINT[]", `[]`, `[]`}, {"BIGINT[]", `null`, `null`},
		{"VARCHAR[][]", `[["a"],null,[],["b","c"]]`, `[["a"],null,[],["b","c"]]`},
		{"STRUCT(a BIGINT, \"b c\" VARCHAR[])", `{"b c":["x"],"z":{"q":[{}]}}`, `{"a":null,"b c":["x"]}`},
		{"STRUCT(id INTEGER, price DECIMAL(10,2))[]", `[{"id":1,"price":2.5},{"price":3}]`,
			`[{"id":1,"price":"2.5"},{"id":null,"price":"3"}]`},
		{"MAP(VARCHAR, BIGINT)", `{"x":1,"y":null}`, `[{"key":"x","value":1},{"key":"y","value":null}]`},
	} {
		got, r := decodeAll(t, Options{}, messages(`{"v":`+c.json+`}`, ` { "v" : `+c.json+` } `), "v", c.sql)
		require.Empty(t, r.Bad, "%s %s", c.sql, c.json)
		got = strings.ReplaceAll(got, "\n", "")
		require.Equal(t, `[{"v":`+c.want+`},{"v":`+c.want+`}]`, got, "%s %s", c.sql, c.json)
	}
}

func TestJSONWrongValues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ sql, json, reason string }{
		{"BIGINT", `"12"`, `column "v": expected BIGINT as a number, got "12"`},
		{"BIGINT", `1.7`, `column "v": expected an integer without fraction, got 1.7`},
		{"BIGINT", `9223372036854775808`, `column "v": expected a number within the range of BIGINT, got 9223372036854775808`},
		{"BIGINT", `1e400000000000`, `within the range of BIGINT`}, {"TINYINT", `-129`, `within the range`},
		{"BIGINT", `1e-400000000000`, `without fraction`},
		{"UTINYINT", `-1`, `within the range of UTINYINT`}, {"UBIGINT", `18446744073709551616`, `within the range`},
		{"HUGEINT", `100000000000000000000000000000000000000`, `within the range of HUGEINT`},
		{"DECIMAL(10,2)", `1.005`, `at most 2 digits behind the point`}, {"DECIMAL(10,2)", `100000000`, `within the range`},
		{"DOUBLE", `1e400`, `within the range of DOUBLE`}, {"DOUBLE", `"NaN"`, `DOUBLE as a number`},
		{"FLOAT", `1e39`, `within the range of FLOAT`}, {"BOOLEAN", `1`, `true or false`}, {"BOOLEAN", `"true"`, `true or false`},
		{"VARCHAR", `1`, `column "v": expected VARCHAR as a string, got 1`}, {"UUID", `"a0"`, `a UUID`},
		{"ENUM('a', 'it''s')", `"b"`, `one of the 2 values of its ENUM`}, {"BLOB", `"A"`, `base64`},
		{"DATE", `"2023-02-29"`, `YYYY-MM-DD`}, {"DATE", `"2024-01-01 00:00"`, `YYYY-MM-DD`}, {"DATE", `"999999-01-01"`, `YYYY`},
		{"TIME", `"24:00:00"`, `HH:MM:SS`}, {"TIMESTAMP", `"infinity"`, `TIMESTAMP`}, {"TIMESTAMP", `1700000000`, `TIMESTAMP`},
		{"TIMESTAMP", `"294247-01-10 04:00:54.775807"`, `TIMESTAMP`}, {"TIMESTAMP", `"300000-01-01"`, `TIMESTAMP`},
		{"TIMESTAMP", `"2024-01-02T03:04:60"`, `TIMESTAMP`}, {"TIMESTAMP", `"2024-01-02T"`, `TIMESTAMP`},
		{"TIMESTAMP", `"2024-01-02 03:04:05."`, `TIMESTAMP`}, {"TIMESTAMP", `"2024-01-02 03:04:05+2"`, `TIMESTAMP`},
		{"BIGINT[]", `{}`, `an array`}, {"BIGINT[]", `[1,"x"]`, `column "v[]": expected BIGINT as a number, got "x"`},
		{"STRUCT(a BIGINT, \"b c\" VARCHAR[])", `{"a":true}`, `column "v.a": expected BIGINT as a number, got true`},
		{"MAP(VARCHAR, BIGINT)", `{"x":1,"x":2}`, `column "v": the key x stands twice`},
		{"MAP(VARCHAR, BIGINT)", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"a":2}`, `the key a stands twice`},
		{"BIGINT", `1,"v":2`, `column "v": its key stands twice in the object`},
		{"VARCHAR", `{"` + strings.Repeat("x", 300) + `":1}`, `…`},
	} {
		got, r := decodeAll(t, Options{Format: "ndjson"}, messages(`{"v":`+c.json+"}\n{}"), "v", c.sql)
		require.Equal(t, `[{"v":null}`+"\n]", got, "%s %s", c.sql, c.json)
		require.Len(t, r.Bad, 1, "%s %s", c.sql, c.json)
		require.Contains(t, r.Bad[0].Reason, c.reason)
		require.Less(t, len(r.Bad[0].Reason), 200)
		require.Equal(t, 0, r.Bad[0].Index)
		require.Equal(t, []int32{1}, r.Index)
	}
}

func TestJSONBrokenPayloads(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ json, reason string }{
		{``, "the payload is empty"}, {` `, "the payload is empty"}, {"\x00", "expected an object"}, {`1`, "expected an object"},
		{`{"v":1`, `expected "," or "}", found the end`}, {`{"v":1}}`, "nothing behind"}, {`{"v":1}{"v":2}`, "ndjson"},
		{`{"v":01}`, "leading zeros"}, {`{"v":1.}`, "behind the point"}, {`{"v":1e}`, "exponent"}, {`{"v":-}`, "leading"},
		{`{v:1}`, "key in quotes"}, {`{"v" 1}`, `":"`}, {`{"v":}`, "a value"}, {`{"v":NaN}`, "a value"}, {`{"v":1,}`, "key in quotes"},
		{`{"x":"` + "\x01" + `"}`, "control"}, {`{"x":"` + "\xff" + `"}`, "UTF-8"}, {`{"x":"\ud800"}`, "surrogate"},
		{`{"x":"\q"}`, "escape"}, {`{"x":"\`, "escape"}, {`{"x":"\u12`, "hexadecimal"}, {`{"x":tru}`, "a value"},
		{`[{"v":1},{"v":2]`, `"," or "}"`}, {`[{"v":1}`, `"," or "]"`}, {`[{"v":1},]`, "value"}, {`[`, "value"},
		{`{"x":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, "deeper than 64"},
		{`{"x":` + strings.Repeat("[", 1_000_000), "deeper than 64"},
		{strings.Repeat("[", 1_000_000), "deeper than 64"},
	} {
		got, r := decodeAll(t, Options{}, messages(`{"v":1}`, c.json, `{"v":2}`), "v", "BIGINT")
		require.Equal(t, "[{\"v\":1}\n,{\"v\":2}\n]", got, show([]byte(c.json), 30))
		require.Len(t, r.Bad, 1, show([]byte(c.json), 30))
		require.Equal(t, 1, r.Bad[0].Message)
		require.Equal(t, -1, r.Bad[0].Index)
		require.Contains(t, r.Bad[0].Reason, c.reason)
	}
}

func TestJSONArraysSetRowsAside(t *testing.T) {
	t.Parallel()
	m := messages(` [ {"a":1,"s":"x"}, {"a":"no","s":"y"}, 7, {"s":"z"} ] `, `[]`)
	got, r := decodeAll(t, Options{}, m, "a", "BIGINT", "s", "VARCHAR", "@sequence", "UBIGINT", "@subject", "VARCHAR")
	require.Equal(t, `[{"a":1,"s":"x","sequence":1,"subject":null}`+"\n"+`,{"a":null,"s":"z","sequence":1,"subject":null}`+"\n]", got)
	require.Equal(t, []int32{0, 3}, r.Index)
	require.Len(t, r.Bad, 2)
	require.Equal(t, `{"a":"no","s":"y"}`, string(m.Payload(0)[r.Bad[0].Start:r.Bad[0].End]))
	require.Equal(t, "7", string(m.Payload(0)[r.Bad[1].Start:r.Bad[1].End]))
}

func TestNDJSON(t *testing.T) {
	t.Parallel()
	m := messages("\xEF\xBB\xBF{\"a\":1}\r\n\n  \n{\"a\":2}  \n{\"a\":\n{\"a\":3}", "", "\n")
	got, r := decodeAll(t, Options{Format: "ndjson"}, m, "a", "BIGINT")
	require.Equal(t, "[{\"a\":1}\n,{\"a\":2}\n,{\"a\":3}\n]", got)
	require.Equal(t, []int32{0, 1, 3}, r.Index)
	require.Len(t, r.Bad, 1)
	require.Equal(t, 2, r.Bad[0].Index)
}

func TestTooManyFaultsMakeThePayloadOneFault(t *testing.T) {
	t.Parallel()
	for format, payload := range map[string]string{
		"json": "[{}," + strings.Repeat("1,", faultsMax) + "2]", "ndjson": "{}\n" + strings.Repeat("1\n", faultsMax+1),
		"csv": "1\n" + strings.Repeat("x\n", faultsMax+1),
	} {
		got, r := decodeAll(t, Options{Format: format}, messages(payload), "a", "BIGINT")
		require.Equal(t, "[]", got)
		require.Len(t, r.Bad, 1)
		require.Contains(t, r.Bad[0].Reason, "more than 10000")
	}
}

func TestKeyOrderChanges(t *testing.T) {
	t.Parallel()
	m := messages(`{"a":1,"x":[{"a":5}],"b":"p"}`, `{"b":"q","a":2}`, `{"a":3,"b":"r"}`, `{"A":9,"\u0061":4}`, `{}`, `{"ab":1,"b" : "s"}`)
	got, r := decodeAll(t, Options{}, m, "a", "BIGINT", "b", "VARCHAR")
	require.Empty(t, r.Bad)
	require.Equal(t, `[{"a":1,"b":"p"},{"a":2,"b":"q"},{"a":3,"b":"r"},{"a":4,"b":null},{"a":null,"b":null},{"a":null,"b":"s"}]`,
		strings.ReplaceAll(got, "\n", ""))
}

// TestLongKeysAreNotLearned asks that an object with a key too long to be learned is not taken for one with the keys of an
// object before it.
func TestLongKeysAreNotLearned(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	for _, odd := range []string{`"` + long + `":0`, `"b"` + strings.Repeat(" ", 300) + `:4`} {
		rows := []string{`{"b":1,"c":2}`, `{"b":1}`, `{` + odd + `,"c":2}`, `{"b":7,"c":2}`, `{"b":8,"c":3}`}
		got, r := decodeAll(t, Options{}, messages(rows...), "b", "BIGINT", "c", "BIGINT")
		require.Empty(t, r.Bad)
		require.Contains(t, strings.ReplaceAll(got, "\n", ""), `{"b":7,"c":2},{"b":8,"c":3}]`)
	}
}

// TestDays asks that a timestamp does not depend on the one before it.
func TestDays(t *testing.T) {
	t.Parallel()
	var day lastDay
	for _, s := range []string{"2024-01-02T03:04:05.1", "2024-01-02 23:59:59.1234567", "2024-01-02", "2024-01-02x", "2024-01-03T00:00",
		"2024-01-021T00:00", "12024-01-02T00:00:01", "12024-01-02T00:00:02", "2024-02-30T00:00", "2024-02-30T00:00", "", "2024-01-03T1"} {
		want, wantOK := (&lastDay{}).timestamp([]byte(s))
		got, ok := day.timestamp([]byte(s))
		require.Equal(t, wantOK, ok, s)
		require.Equal(t, want, got, s)
	}
}

func TestNoDayAtFirst(t *testing.T) {
	t.Parallel()
	_, ok := new(lastDay).timestamp([]byte(strings.Repeat("\x00", dateBytes) + "T00:00:00"))
	require.False(t, ok)
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ unit, json, want string }{
		{"s", "1700000000", "2023-11-14 22:13:20"}, {"s", "1700000000.1234569", "2023-11-14 22:13:20.123456"},
		{"ms", "1700000000123", "2023-11-14 22:13:20.123"}, {"us", "-1", "1969-12-31 23:59:59.999999"},
		{"ns", "1700000000123456789", "2023-11-14 22:13:20.123456"}, {"ns", "-1", "1969-12-31 23:59:59.999999"},
	} {
		got, r := decodeAll(t, Options{TimestampFormat: c.unit}, messages(`{"v":`+c.json+`}`), "v", "TIMESTAMP")
		require.Empty(t, r.Bad)
		require.Equal(t, `[{"v":"`+c.want+`Z"}`+"\n]", got)
	}
	for _, wrong := range []string{`"1"`, `9223372036854775807`, `1e30`, `-9223372036855`} {
		_, r := decodeAll(t, Options{TimestampFormat: "s"}, messages(`{"v":`+wrong+`}`), "v", "TIMESTAMP")
		require.Len(t, r.Bad, 1, wrong)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		o    Options
		pair [2]string
		code diag.Code
	}{
		{Options{}, [2]string{"a", "INTERVAL"}, diag.BadType}, {Options{}, [2]string{"a", "MAP(BIGINT, VARCHAR)"}, diag.BadType},
		{Options{Format: "text"}, [2]string{"a", "BIGINT"}, diag.BadOption}, {Options{Format: "xml"}, [2]string{"a", "BIGINT"}, diag.BadOption},
		{Options{Format: "parquet"}, [2]string{"a", "BIGINT"}, diag.BadOption},
		{Options{TimestampFormat: "h"}, [2]string{"a", "BIGINT"}, diag.BadOption},
		{Options{Format: "csv", CSVDelimiter: "ab"}, [2]string{"a", "BIGINT"}, diag.BadOption},
		{Options{}, [2]string{"@offset", "BIGINT"}, diag.UnknownColumn}, {Options{}, [2]string{"@sequence", "VARCHAR"}, diag.BadType},
	} {
		c.o.Columns = append(c.o.Columns, column(t, c.pair[0], c.pair[1]))
		_, err := New(c.o)
		require.Equal(t, c.code, diag.CodeOf(err))
	}
}
