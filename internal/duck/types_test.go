package duck

import (
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"
)

func TestArrowTypeOfEverySpelling(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{
		"BIGINT":                     "int64",
		"HUGEINT":                    "decimal(38, 0)",
		"DECIMAL(18,3)":              "decimal(18, 3)",
		"VARCHAR":                    "utf8",
		"TIMESTAMP":                  "timestamp[us]",
		"TIMESTAMP WITH TIME ZONE":   "timestamp[us, tz=UTC]",
		"TIMESTAMP WITH TIME ZONE[]": "list<l: timestamp[us, tz=UTC], nullable>",
		"INTEGER[][3]":               "fixed_size_list<a: list<l: int32, nullable>, nullable>[3]",
		`STRUCT(a INTEGER, "b, c" MAP(VARCHAR, DOUBLE[]))`: "" +
			"struct<a: int32, b, c: map<utf8, list<l: float64, nullable>, items_nullable>>",
		`ENUM('a', 'it''s)', 'b')`: "utf8",
		"UUID":                     "utf8",
		"INTERVAL":                 "month_day_nano_interval",
		`"NULL"`:                   "int32",
	} {
		dt, err := ArrowType(typ)
		require.NoError(t, err, typ)
		require.Equal(t, want, dt.String(), typ)
	}
	for _, typ := range []string{"", "NOPE", "UNION(a INTEGER)", "DECIMAL(39,0)", "DECIMAL(5,6)",
		"DECIMAL(x)", "DECIMAL(",
		"INTEGER[", "INTEGER[0]", "INTEGER[x]", "STRUCT(", "STRUCT(a)", "STRUCT(a INTEGER",
		`STRUCT("a INTEGER)`,
		"MAP(INTEGER)", "MAP(INTEGER, ", "MAP(INTEGER, BIGINT", "ENUM(", "ENUM('a'", "ENUM('a", "INTEGER)",
		"INTEGER ",
		strings.Repeat("STRUCT(a ", 1000)} {
		_, err := ArrowType(typ)
		requireKind(t, Binder, err)
	}
}

func FuzzArrowType(f *testing.F) {
	for _, s := range []string{"BIGINT", `STRUCT("a""" DECIMAL(9,2)[], b ENUM('x', 'y'))`,
		"MAP(UUID, HUGEINT[3])[]", "ENUM("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tree, err := parseType(s)
		if err != nil {
			return
		}
		// The target of a cast is a type again, and needs no further cast.
		again, err := parseType(tree.target())
		if err != nil || !again.plain() || !arrow.TypeEqual(tree.arrow(), again.arrow()) {
			t.Fatalf("%q became %q: %v", s, tree.target(), err)
		}
	})
}

func TestSelectRefusesTypesWithoutAnArrowTwin(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	_, err := c.Select(t.Context(), "SELECT union_value(a := 1) AS u")
	require.Contains(t, requireKind(t, Binder, err).Message, `column "u"`)
	_, err = c.Select(t.Context(), "SELECT 170141183460469231731687303715884105727::HUGEINT AS h")
	requireKind(t, Conversion, err)
	tb, err := c.Select(t.Context(), "SELECT -99999999999999999999999999999999999999::HUGEINT AS h")
	require.NoError(t, err)
	tb.Release()
}

func TestRowsGivesPlainGoValues(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	rows, err := c.Rows(t.Context(), `SELECT true, 1::TINYINT, 2::USMALLINT, 3::UINTEGER, 4, 5::UBIGINT,
		6::HUGEINT,
		1.5::FLOAT, 2.5::DOUBLE, -0.05::DECIMAL(4, 2), 7::DECIMAL(9, 0), 'text', 'bytes'::BLOB,
		'00000000-0000-0000-0000-000000000001'::UUID, TIMESTAMP '2024-01-02 03:04:05.678901',
			DATE '2024-01-02',
		INTERVAL '1 month 2 days 3 microseconds', [1, NULL], {'a': 1::TINYINT}, MAP {'k': 1.5}, NULL,
			'x'::ENUM('x')`)
	require.NoError(t, err)
	require.Equal(t, [][]any{{
		true, int64(1), int64(2), int64(3), int64(4), uint64(5), big.NewInt(6),
		1.5, 2.5, "-0.05", "7", "text", []byte("bytes"),
		"00000000-0000-0000-0000-000000000001", time.Date(2024, 1, 2, 3, 4, 5, 678901000, time.UTC),
		time.Date(2024, 1, 2, 0, 0, 0, 0, time.UTC), Interval{Months: 1, Days: 2, Micros: 3},
		[]any{int64(1), nil}, map[string]any{"a": int64(1)}, map[any]any{"k": "1.5"}, nil, "x",
	}}, rows)
}

func TestArgumentsAreBound(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	at := time.Date(2024, 1, 2, 3, 4, 5, 678901000, time.UTC)
	rows, err := c.Rows(t.Context(), "SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?", 1, "it's; é", []byte{0, 1}, nil,
		at, 2.5, true,
		big.NewInt(-7), Interval{Days: 1})
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(1), "it's; é", []byte{0, 1}, nil, at, 2.5, true, big.NewInt(-7),
		Interval{Days: 1}}}, rows)
	for _, bad := range []any{"a\x00b", "\xff", struct{}{}, []string{"x"}} {
		_, err := c.Exec(t.Context(), "SELECT ?", bad)
		requireKind(t, InvalidInput, err)
	}
	n, err := c.Exec(t.Context(), "CREATE TABLE x(a INT); INSERT INTO x VALUES (?), (?), (3)", 1, 2)
	require.NoError(t, err)
	require.Equal(t, int64(3), n)
	n, err = c.Exec(t.Context(), "UPDATE x SET a = a + 1 WHERE a > ?", 1)
	require.NoError(t, err)
	require.Equal(t, int64(2), n)
	_, err = c.Exec(t.Context(), "SELECT 1\x00")
	requireKind(t, Syntax, err)
}

func TestQuoting(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	for _, s := range []string{"plain", "", `"`, "'", `a"b'c\n`, "é; --", "\n"} {
		name := QuoteIdent(s + "x")
		rows, err := c.Rows(t.Context(), "SELECT "+QuoteLiteral(s)+", "+name+" FROM (SELECT 1 AS "+name+")")
		require.NoError(t, err)
		require.Equal(t, [][]any{{s, int64(1)}}, rows)
	}
}
