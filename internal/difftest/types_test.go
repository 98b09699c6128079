package difftest_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// keyKind is a type of the key k, and five of its values as text: the first comes most often, the last never.
type keyKind struct {
	typ    string
	given  bool // rows come with it; else it is cast from text in a computed column
	values [5]string
}

// usualKeys are the types that most cases have.
func usualKeys() []keyKind {
	return []keyKind{{"INTEGER", true, [5]string{"1", "2", "-7", "3", "9"}}, {"BIGINT", true, [5]string{"1", "2", "-7", "3", "9"}},
		{"VARCHAR", true, [5]string{"a", "b", "日本", "", "zz"}}}
}

// oddKeys are all others that a query may have: values that are equal and look different, that are the least and the greatest,
// that hold NULL.
func oddKeys() []keyKind {
	return []keyKind{
		{"TINYINT", true, [5]string{"-128", "0", "127", "1", "9"}}, {"UBIGINT", true, [5]string{"18446744073709551615", "0", "9223372036854775808", "1", "9"}},
		{"HUGEINT", true, [5]string{"99999999999999999999999999999999999999", "0", "-18446744073709551616", "18446744073709551616", "9"}},
		{"DECIMAL(38,10)", true, [5]string{"0.0000000001", "-1.5", "9999999999999999999999999999.9999999999", "0", "9"}},
		{"DECIMAL(4,1)", true, [5]string{"0.1", "-999.9", "0.2", "0", "9"}},
		{"DOUBLE", true, [5]string{"NaN", "0", "-Inf", "1e-300", "9"}}, {"FLOAT", true, [5]string{"0.1", "NaN", "Inf", "16777216", "9"}},
		{"DATE", true, [5]string{"1969-12-31", "0001-01-01", "9999-12-31", "1970-01-01", "2000-02-29"}},
		{"TIME", true, [5]string{"23:59:59.999999", "00:00:00", "12:00:00", "00:00:00.000001", "01:01:01"}},
		{"TIMESTAMP", true, [5]string{"1969-12-31 23:59:59.999999", "1970-01-01 00:00:00", "2026-01-01 00:00:00", "1582-10-15 00:00:00", "2000-01-01 00:00:00"}},
		{"TIMESTAMPTZ", true, [5]string{"1969-12-31 23:59:59.999999", "1970-01-01 00:00:00", "2026-01-01 02:00:00", "2026-01-01 00:00:00", "2000-01-01 00:00:00"}},
		{"BOOLEAN", false, [5]string{"true", "false", "true", "true", "false"}},
		{"UUID", true, [5]string{"00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff", "80000000-0000-0000-0000-000000000000",
			"7fffffff-ffff-ffff-ffff-ffffffffffff", "12345678-1234-1234-1234-123456789012"}},
		{"ENUM('z', 'a', '', 'ü', 'never')", true, [5]string{"z", "a", "", "ü", "never"}},
		{"BLOB", false, [5]string{`\x00`, "a", `\x00\x00`, `\xFF`, "zz"}},
		{"INTERVAL", false, [5]string{"1 month", "2 days", "5 hours", "-1 microseconds", "9 years"}},
		{"INTEGER[]", false, [5]string{"[1, NULL]", "[]", "[NULL]", "[1]", "[9]"}},
		{"INTEGER[2]", false, [5]string{"[1, NULL]", "[1, 2]", "[NULL, NULL]", "[0, 0]", "[9, 9]"}},
		{"STRUCT(x INTEGER, y VARCHAR)", false, [5]string{"{'x': 1, 'y': a}", "{'x': NULL, 'y': a}", "{'x': 1, 'y': NULL}", "{'x': NULL, 'y': NULL}", "{'x': 9, 'y': z}"}},
		{"MAP(VARCHAR, INTEGER)", false, [5]string{"{a=1, b=2}", "{b=2, a=1}", "{}", "{a=NULL}", "{z=9}"}},
		{"STRUCT(l INTEGER[], s STRUCT(d DATE))[]", false, [5]string{"[{'l': [1], 's': {'d': 2026-01-01}}]", "[NULL]", "[{'l': NULL, 's': NULL}]", "[]", "[{'l': [], 's': NULL}]"}},
		{"BIT", false, [5]string{"0", "00", "1", "101010101", "11"}},
		{"UHUGEINT", false, [5]string{"99999999999999999999999999999999999999", "0", "18446744073709551616", "1", "9"}},
	}
}

func drawKey(t *rapid.T) keyKind {
	if rapid.IntRange(0, 2).Draw(t, "odd key") > 0 {
		return rapid.SampledFrom(usualKeys()).Draw(t, "key type")
	}
	return rapid.SampledFrom(oddKeys()).Draw(t, "key type")
}

// columns declare the key.
func (k keyKind) columns() []column {
	if k.given {
		return []column{{name: "k", typ: k.typ}}
	}
	return []column{{name: "kt", typ: "VARCHAR"}, {name: "k", typ: k.typ, expr: "CAST(kt AS " + k.typ + ")"}}
}

// cell draws one of its values.
func (k keyKind) cell(t *rapid.T) any {
	if i := rapid.SampledFrom([]int{0, 0, 0, 1, 2, 3, -1}).Draw(t, "k"); i >= 0 {
		return k.values[i]
	}
	return nil
}

// literal is one of its values in SQL.
func (k keyKind) literal(i int) string {
	return fmt.Sprintf("CAST('%s' AS %s)", strings.ReplaceAll(k.values[i], "'", "''"), k.typ)
}

// oddScalars are expressions over a row whose types few queries have.
func oddScalars() []string {
	return []string{"to_seconds(v)", "encode(s)", "v::HUGEINT * 100000000000000000000", "{'a': v, 'b': [s]}", "MAP {coalesce(s, '-'): v}", "[v, NULL]",
		"ts::TIMESTAMPTZ", "ts::TIME", "md5(s)::UUID", "v::UTINYINT", "CAST(CASE WHEN ok THEN 'a' END AS ENUM('a', 'b'))", "to_json([v])",
		"ts - TIMESTAMP '2026-01-01'", "list_transform([v, id], x -> x + 1)", "regexp_extract(s, '(.)', 1)", "strftime(ts, '%Y-%m')",
		"date_trunc('month', ts)", "v IN (7, 31, 42)", "nullif(s, 'x')", "[k, k]", "{'k': k}", "CAST(k AS VARCHAR)", "(v % 2)::VARCHAR::BIT"}
}

// oddGroups are such that rows may be grouped by.
func oddGroups() []string {
	return []string{"to_seconds(v)", "[v % 3, NULL]", "{'a': v % 3, 'b': s}", "md5(s)::UUID", "ts::TIME", "date_trunc('minute', ts)", "(v % 3)::UTINYINT",
		"encode(s)", "(v % 2)::HUGEINT", "nullif(f, 0)", "v % 3 = 0", "[k]", "{'k': k, 'v': v % 2}", "w"}
}

// oddCalls are aggregate calls of such types, and those that few queries have.
func oddCalls() []string {
	return []string{"max(k)", "min(k)", "first(k{ord})", "last(k{ord})", "any_value(k{ord})", "arg_max(k, v{ord})", "arg_min(id, k{ord})", "list(DISTINCT k ORDER BY k)",
		"max(to_seconds(v))", "min({'a': v, 'b': s})", "max([v, id])", "list({'a': v, 's': s}{ord})", "max(md5(s)::UUID)", "min(ts::TIME)",
		"sum(v::HUGEINT * 1000000000000000000000)", "bit_and(v)", "product(v % 3)", "max(v, 2)", "min(id, 3)", "arg_max(id, id, 2)", "mad(v)", "favg(f{ord})",
		"count_if(ok)", "sum(DISTINCT d)", "string_agg(DISTINCT s, ',' ORDER BY s)", "bitstring_agg(v, 0, 100)", "histogram(s)", "list(k ORDER BY k, id)",
		"list(v ORDER BY k NULLS FIRST, v DESC{,ord})", "max(s) FILTER (WHERE k IS NULL)", "min(ok)", "max(day) - min(day)", "first(v ORDER BY ts DESC NULLS LAST{,ord})",
		"count(DISTINCT s) FILTER (WHERE ok)", "sum(DISTINCT v) FILTER (WHERE v > 5)", "sum(CASE WHEN ok THEN v END)", "count(DISTINCT [v, NULL])", "max(encode(s))",
		"sum(v) / nullif(count(v), 0) > 20", "count(DISTINCT k) + count(DISTINCT v)", "first(s{ord}) IS NULL"}
}
