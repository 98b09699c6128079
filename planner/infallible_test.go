package planner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
)

// ruleCases has expressions over a.x and b.x for each rule, and what may be written out in them.
var ruleCases = map[string][]string{
	"COMPARE_EQUAL":                {"a.x = b.x"},
	"COMPARE_NOTEQUAL":             {"a.x <> b.x"},
	"COMPARE_LESSTHAN":             {"a.x < b.x"},
	"COMPARE_GREATERTHAN":          {"a.x > b.x"},
	"COMPARE_LESSTHANOREQUALTO":    {"a.x <= b.x"},
	"COMPARE_GREATERTHANOREQUALTO": {"a.x >= b.x"},
	"COMPARE_DISTINCT_FROM":        {"a.x IS DISTINCT FROM b.x"},
	"COMPARE_NOT_DISTINCT_FROM":    {"a.x IS NOT DISTINCT FROM b.x"},
	"COMPARE_IN":                   {"a.x IN (b.x, a.x)", "a.x IN (b.x, b.x, b.x, b.x, b.x, b.x, b.x)"},
	"COMPARE_NOT_IN":               {"a.x NOT IN (b.x, a.x)"},
	"CONJUNCTION_AND":              {"a.x AND b.x"},
	"CONJUNCTION_OR":               {"a.x OR b.x", "a.x = b.x OR a.x > b.x"},
	"OPERATOR_NOT":                 {"NOT a.x"},
	"OPERATOR_IS_NULL":             {"a.x IS NULL"},
	"OPERATOR_IS_NOT_NULL":         {"a.x IS NOT NULL"},
	"nullif":                       {"nullif(a.x, b.x)", "nullif(a.x, 'a')"},
	"%":                            {"a.x % 1", "a.x % 5", "a.x % 300", "a.x % 2147483647", "a.x % 7 = b.x % 7", "a.x % 5 < b.x"},
	"lower":                        {"lower(a.x)"},
	"upper":                        {"upper(a.x)"},
	"regexp_matches":               patterned("regexp_matches", "", ", 'i'", ", 's'", ", 'g'", ", 'zz'", ", NULL"),
	"regexp_full_match":            patterned("regexp_full_match", "", ", 'i'", ", NULL"),
	"regexp_extract":               patterned("regexp_extract", "", ", 0", ", 1", ", 9", ", 10", ", -1", ", NULL", ", 1, 'i'", ", 1, NULL"),
	"regexp_replace": patterned("regexp_replace", ", ''", ", 'b'", `, '\1'`, `, '\9'`, `, '\'`, ", 'b', 'g'", `, '\0\0', 'g'`, ", 'b', 'gi'",
		", NULL", ", 'b', NULL"),
}

// patterned are calls with patterns that match, that match nothing or anything, and that are none; with two of them whatever may
// follow.
func patterned(name string, rest ...string) (calls []string) {
	for i, pattern := range []string{"'(a)'", "'.*'", "''", "'(x+x+)+y'", "'(x*)*$'", `'\C'`, `'(\C)'`, `'\pL+'`, `'\x{10FFFF}'`, "'(a|b|x)*?'",
		"'^$|'", "'('", "'x{1001}'", "'(x{30}){30}'", `'\'`, "NULL"} {
		for j, r := range rest {
			if i < 2 || j == 0 {
				calls = append(calls, name+"(a.x, "+pattern+r+")")
			}
		}
	}
	return calls
}

// pair are the types of a.x and b.x.
type pair struct{ a, b string }

// pairs are those that come into question: two of one type, and two integers.
func pairs() (out []pair) {
	for _, a := range hostileTypes() {
		for _, b := range hostileTypes() {
			if typeClass(a) == typeClass(b) {
				out = append(out, pair{a, b})
			}
		}
	}
	return out
}

// judge returns what infallible says of an expression over columns of these types.
func judge(t *testing.T, conn *duck.Conn, sql string, types pair, macros ...string) string {
	t.Helper()
	data, err := conn.Parse(t.Context(), "SELECT "+sql)
	require.NoError(t, err, sql)
	root, err := decodeTree(data)
	require.NoError(t, err)
	c := &compiler{ownMacros: map[string]bool{}}
	for _, m := range macros {
		c.ownMacros[m] = true
	}
	return c.infallible(root.trees("statements")[0].sub("node").trees("select_list")[0], func(t tree) string {
		switch strings.Join(t.names("column_names"), ".") {
		case "a.x":
			return types.a
		case "b.x":
			return types.b
		}
		return ""
	})
}

// compute has DuckDB compute an expression for all pairs of values of two tables, in every place where a plan may put it. The
// first error is that of the select list.
func compute(ctx context.Context, conn *duck.Conn, sql, a, b string, condition bool) error {
	from := []string{a + " a"}
	if strings.Contains(sql, "b.x") {
		from = append(from, b+" b")
	}
	rows := strings.Join(from, ", ")
	statements := []string{fmt.Sprintf("SELECT count(r), hash(last(r)) FROM (SELECT %s AS r FROM %s)", sql, rows)}
	if condition {
		statements = append(statements, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s", rows, sql))
	}
	if condition && len(from) > 1 {
		for _, join := range []string{"JOIN %s ON %s", "FULL JOIN %s ON a.rowid = b.rowid AND %s"} {
			statements = append(statements, "SELECT count(*) FROM "+from[0]+" "+fmt.Sprintf(join, from[1], sql))
		}
	}
	for _, s := range statements {
		if _, err := conn.Rows(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// TestInfallible runs what each rule allows over hostile values. What DuckDB refuses without a row as well may stand.
func TestInfallible(t *testing.T) {
	t.Parallel()
	conn := ducktest.Conn(t, duck.Options{Threads: 1})
	makeHostile(t, conn)
	for name := range infallibleRules() {
		require.NotEmpty(t, ruleCases[name], "a rule without a case: %s", name)
	}
	for name, cases := range ruleCases {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, infallibleRules(), name)
			ran := 0
			if testing.Short() {
				cases = cases[:min(4, len(cases))]
			}
			for _, sql := range cases {
				for _, types := range pairs() {
					gives := judge(t, conn, sql, types)
					if gives == "" || !strings.Contains(sql, "b.x") && types.a != types.b {
						continue
					}
					err := compute(t.Context(), conn, sql, hostileTable(types.a), hostileTable(types.b), gives == truthType)
					if err != nil && compute(t.Context(), conn, sql, noRows(types.a), noRows(types.b), gives == truthType) != nil {
						continue // refused, whatever the rows are
					}
					ran++
					require.NoError(t, err)
					require.Equal(t, gives, typeClass(typeIn(t, conn, sql, types)), sql)
				}
			}
			require.GreaterOrEqual(t, ran, len(cases)/3, "the rule was hardly tried")
		})
	}
}

// typeIn is DuckDB's type of an expression.
func typeIn(t *testing.T, conn *duck.Conn, sql string, types pair) string {
	t.Helper()
	cols, err := conn.Describe(t.Context(), fmt.Sprintf("SELECT %s AS r FROM %s a, %s b", sql, noRows(types.a), noRows(types.b)))
	require.NoError(t, err)
	return cols[0].Type
}

// fallible are expressions that look as harmless as those that rules allow, or more, by the types that make them fail.
var fallible = []struct {
	a, b string
	sql  []string
}{
	{"BIGINT", "BIGINT", []string{"-a.x", "abs(a.x)", "a.x + b.x", "a.x - b.x", "a.x * b.x", "a.x % b.x", "a.x % -1", "a.x // b.x", "a.x << b.x", "a.x::INTEGER",
		"a.x::UBIGINT", "[a.x][a.x + 1]", "to_hours(a.x)", "a.x = -b.x"}},
	{"INTEGER", "INTEGER", []string{"chr(a.x)", "factorial(a.x)", "a.x // b.x", "-a.x", "make_date(a.x, b.x, 1)"}},
	{"UBIGINT", "BIGINT", []string{"a.x::BIGINT = b.x", "a.x::INTEGER % 5"}},
	{"HUGEINT", "HUGEINT", []string{"a.x + b.x", "-a.x", "abs(a.x)", "a.x % b.x"}},
	{"DECIMAL(38,10)", "DECIMAL(38,10)", []string{"a.x + b.x", "a.x * b.x", "a.x::DECIMAL(10,2)"}},
	{"DOUBLE", "DOUBLE", []string{"a.x::INTEGER", "a.x::DECIMAL(10,2)", "sqrt(a.x)", "ln(a.x)", "sin(a.x)", "acos(a.x)"}},
	{"VARCHAR", "BIGINT", []string{"substring(a.x, b.x, 3)", "left(a.x, b.x)", "a.x[b.x]", "repeat(a.x, b.x)", "a.x::BIGINT = b.x"}},
	{"VARCHAR", "VARCHAR", []string{"a.x ILIKE b.x", `a.x LIKE b.x ESCAPE '\'`, `a.x NOT LIKE b.x ESCAPE '\'`, "a.x LIKE b.x ESCAPE a.x", "regexp_matches(a.x, b.x)",
		"regexp_full_match(a.x, b.x)", "a.x SIMILAR TO b.x", "a.x->>'$.a'", "a.x::INTEGER[]",
		"a.x::TIMESTAMP", "a.x::BOOLEAN", "strptime(a.x, '%Y')", "error(a.x)", "from_base64(a.x)", "unhex(a.x)", "a.x::UUID", "a.x::BLOB", "printf(a.x, b.x)",
		"lower(a.x)::INTEGER = 1", "date_trunc(a.x, TIMESTAMP '2020-01-01')", "hamming(a.x, b.x)",
		"nullif(a.x, lower(b.x)::INTEGER)", "a.x = 'a' OR b.x::BIGINT > 5"}},
	{"BLOB", "BLOB", []string{"decode(a.x)"}},
	{"BIT", "BIT", []string{"a.x & b.x", "a.x::INTEGER", "get_bit(a.x, 5)"}},
	{"DATE", "INTEGER", []string{"a.x + b.x", "a.x - b.x", "a.x::TIMESTAMP", "week(a.x)", "a.x + INTERVAL 1 DAY"}},
	{"TIMESTAMP", "TIMESTAMP", []string{"a.x + INTERVAL 1 DAY", "a.x - b.x", "a.x::TIMESTAMP_NS"}},
	{"TIMESTAMP", "INTERVAL", []string{"a.x + b.x", "a.x - b.x", "time_bucket(b.x, a.x)"}},
	{"INTERVAL", "INTERVAL", []string{"a.x + b.x", "-a.x", "a.x * 2"}},
	{"INTEGER[]", "INTEGER[]", []string{"a.x[1] + 1", "a.x[b.x[2]:b.x[1]:0]", "list_distance(a.x, b.x)", "map(a.x, b.x)"}},
}

// TestFallible holds the hostile values to it that they make expressions fail for which there is no rule, and failures to it that
// a row is to blame for them: the row becomes a dead letter, and the query goes on.
func TestFallible(t *testing.T) {
	t.Parallel()
	conn := ducktest.Conn(t, duck.Options{Threads: 1})
	makeHostile(t, conn)
	for _, f := range fallible {
		for _, sql := range f.sql {
			require.Empty(t, judge(t, conn, sql, pair{f.a, f.b}), sql)
			empty := compute(t.Context(), conn, sql, noRows(f.a), noRows(f.b), false)
			err := compute(t.Context(), conn, sql, hostileTable(f.a), hostileTable(f.b), false)
			var fault *duck.Error
			switch {
			case empty != nil:
				t.Errorf("bind %v", empty)
			case !errors.As(err, &fault):
				t.Errorf("no fault: %s %s %s", sql, f.a, f.b)
			case !fault.RowFault():
				t.Errorf("not a row fault: %s %v", sql, fault)
			}
		}
	}
}

// A name that the application has given to a macro says nothing.
func TestInfallibleIsNotSaidOfMacros(t *testing.T) {
	conn := ducktest.Conn(t, duck.Options{})
	texts := pair{"VARCHAR", "VARCHAR"}
	require.Equal(t, textType, judge(t, conn, "Lower(a.x)", texts))
	require.Empty(t, judge(t, conn, "Lower(a.x)", texts, "lower"))
	require.Empty(t, judge(t, conn, "lower(a.x) FILTER (WHERE true)", texts))
	require.Empty(t, judge(t, conn, "lower(c.x)", texts), "of which nothing is known")
}
