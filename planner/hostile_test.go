package planner

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
)

// hostileValues are the values of each type that make DuckDB's functions fail, if anything does: both ends of its range, what is
// no number or no time, nothing, too much, and texts that mean something to somebody. NULL is one of each.
var hostileValues = map[string][]string{
	"BOOLEAN":   {"true", "false"},
	"TINYINT":   {"-128", "127", "0", "1", "-1"},
	"SMALLINT":  {"-32768", "32767", "0", "1", "-1"},
	"INTEGER":   {"-2147483648", "2147483647", "0", "1", "-1"},
	"BIGINT":    {"-9223372036854775808", "9223372036854775807", "4294967296", "0", "1", "-1"},
	"HUGEINT":   {"-170141183460469231731687303715884105728", "170141183460469231731687303715884105727", "0", "-1"},
	"UTINYINT":  {"0", "255", "1"},
	"USMALLINT": {"0", "65535", "1"},
	"UINTEGER":  {"0", "4294967295", "1"},
	"UBIGINT":   {"0", "18446744073709551615", "9223372036854775808", "1"},
	"UHUGEINT":  {"0", "'340282366920938463463374607431768211455'", "1"},
	"FLOAT":     {"'nan'", "'inf'", "'-inf'", "-0.0", "3.4e38", "-3.4e38", "1e-45"},
	"DOUBLE":    {"'nan'", "'inf'", "'-inf'", "-0.0", "1.7e308", "-1.7e308", "5e-324"},

	"DECIMAL(4,1)":   {"999.9", "-999.9", "0"},
	"DECIMAL(9,2)":   {"9999999.99", "-9999999.99", "0"},
	"DECIMAL(18,3)":  {"999999999999999.999", "-999999999999999.999", "0"},
	"DECIMAL(38,10)": {"9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999", "0"},

	"VARCHAR": {"''", "'a'", "'A'", "repeat('x', 5000)", "repeat('(', 1000)", "repeat('İ', 3000)", "chr(0)", "'a' || chr(0) || 'b'",
		"'ǅßİıſσς'", "'👩‍👩‍👧‍👦'", "chr(1114111)", "chr(769)", "'é'", `'\'`, `'a\'`, "'%'", `'_\'`, "'['", "'*'", "'99999999999999999999'", "'-1'", "'nan'",
		"'infinity'", "'294247-01-11'", "'[1'"},
	"BLOB": {"''::BLOB", `'\xFF\x00'::BLOB`, `'\xC3'::BLOB`},
	"BIT":  {"'0'", "'1'", "repeat('10', 1000)"},
	"UUID": {"'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"},
	"JSON": {"'{}'", `'{"a": 1}'`, "'null'", "'[1]'"},

	"DATE":                     {"'5877642-06-25 (BC)'", "'5881580-07-10'", "'infinity'", "'-infinity'", "'1970-01-01'"},
	"TIMESTAMP":                {"'290309-12-22 (BC) 00:00:00'", "'294247-01-10 04:00:54.775806'", "'infinity'", "'-infinity'", "'1970-01-01'"},
	"TIMESTAMP WITH TIME ZONE": {"'290309-12-22 (BC) 00:00:00+00'", "'294247-01-10 04:00:54.775806+00'", "'infinity'", "'-infinity'"},
	"TIMESTAMP_S":              {"'290309-12-22 (BC) 00:00:00'", "'294247-01-10 04:00:54'", "'infinity'", "'-infinity'"},
	"TIMESTAMP_MS":             {"'290309-12-22 (BC) 00:00:00'", "'294247-01-10 04:00:54.775'", "'infinity'", "'-infinity'"},
	"TIMESTAMP_NS":             {"'1677-09-22 00:00:00'", "'2262-04-11 23:47:16.854775806'", "'infinity'", "'-infinity'"},
	"TIME":                     {"'00:00:00'", "'24:00:00'", "'23:59:59.999999'"},
	"TIME WITH TIME ZONE":      {"'00:00:00+15:59:59'", "'24:00:00-15:59:59'"},
	"INTERVAL": {"to_months(2147483647) + to_days(2147483647) + to_microseconds(9223372036854775807)", "INTERVAL 0 DAY",
		"to_months(-2147483648) + to_days(-2147483648) + to_microseconds(-9223372036854775808)", "INTERVAL 30 DAY", "INTERVAL 1 MONTH"},

	"ENUM('a', 'b')": {"'a'", "'b'"},
	"INTEGER[]":      {"[]", "[NULL]", "[2147483647, -2147483648]", "range(5000)"},
	"VARCHAR[]":      {"[]", "[NULL, '']", "['a']"},
	"DOUBLE[]":       {"[]", "['nan', NULL]", "['inf']"},
	"INTEGER[3]":     {"[1, 2, 3]", "[NULL, NULL, NULL]"},

	"STRUCT(a INTEGER, b VARCHAR)": {"{'a': NULL, 'b': NULL}", "{'a': 2147483647, 'b': 'x'}"},
	"MAP(VARCHAR, INTEGER)":        {"MAP {}", "MAP {'a': NULL}", "MAP {'a': 1, 'b': 2}"},
	"UNION(n INTEGER, s VARCHAR)":  {"union_value(n := 1)", "union_value(s := 'x')"},
}

// hostileTypes are their types, in order.
func hostileTypes() []string {
	var out []string
	for typ := range hostileValues {
		out = append(out, typ)
	}
	slices.Sort(out)
	return out
}

// hostileTable is the name of the table that has the values of a type, in its column x. Without rows it is noRows.
func hostileTable(typ string) string { return duck.QuoteIdent("hostile " + typ) }

func noRows(typ string) string { return duck.QuoteIdent("empty " + typ) }

// makeHostile fills the tables, and takes from DuckDB what it would do otherwise for few rows.
func makeHostile(t *testing.T, conn *duck.Conn) {
	t.Helper()
	exec := func(format string, args ...any) {
		_, err := conn.Exec(t.Context(), fmt.Sprintf(format, args...))
		require.NoError(t, err, format, args)
	}
	for _, typ := range hostileTypes() {
		for _, name := range []string{hostileTable(typ), noRows(typ)} {
			exec("CREATE TABLE %s (x %s)", name, typ)
		}
		exec("INSERT INTO %s VALUES (%s), (NULL)", hostileTable(typ), strings.Join(hostileValues[typ], "), ("))
	}
	exec("SET nested_loop_join_threshold = 0")
	exec("SET merge_join_threshold = 0")
}
