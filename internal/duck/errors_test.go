package duck

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestErrorsHaveKindMessagePositionAndCandidates(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	_, err := c.Exec(t.Context(), `CREATE TABLE orders(amount BIGINT, customer VARCHAR, "odd ""n" INT NOT NULL)`)
	require.NoError(t, err)
	cases := []struct {
		sql      string // ¦ marks the position
		kind     Kind
		message  string
		position bool
		near     []string
	}{
		{"SELECT ¦amout FROM orders", Binder, `Referenced column "amout" not found in FROM clause!`, true,
			[]string{"orders.amount", "orders.customer"}},
		{"SELECT amount\nFROM ¦order_s", Catalog, "Table with name order_s does not exist!", true,
			[]string{"orders"}},
		{"SELECT\r\n\t1,\n  ¦flor(amount) FROM orders", Catalog,
			"Scalar Function with name flor does not exist!",
			true, []string{"floor"}},
		{"SELECT 'é', ¦sum(customer) FROM orders", Binder,
			"No function matches the given name and argument types " +
				"'sum(VARCHAR)'. You might need to add explicit type casts.", true,
			[]string{"sum(DECIMAL) -> DECIMAL",
				"sum(SMALLINT) -> HUGEINT", "sum(INTEGER) -> HUGEINT", "sum(BIGINT) -> HUGEINT",
				"sum(HUGEINT) -> HUGEINT",
				"sum(DOUBLE) -> DOUBLE"}},
		{"SELECT 'é' ¦amount frm orders x", Syntax, "", false, nil},
		{"SELECT 'é', amount frm ¦orders", Syntax, `syntax error at or near "orders"`, true, nil},
		{"SELECT 'x'¦::INTEGER", Conversion, "Could not convert string 'x' to INT32", true, nil},
		{"SELECT 9223372036854775807 + 1::BIGINT", OutOfRange,
			"Overflow in addition of INT64 (9223372036854775807 + 1)!",
			false, nil},
		{"SELECT error('by hand')", InvalidInput, "by hand", false, nil},
		{"SELECT 300::UTINYINT", Conversion, "", false, nil},
		{`SELECT 'a' LIKE x ESCAPE '\' FROM (VALUES ('\')) v(x)`, InvalidInput, "Like pattern must not end with escape character!", false, nil},
		{"SELECT time_bucket(x, DATE '2020-01-01') FROM (VALUES (INTERVAL '1 month 1 day')) v(x)", InvalidInput,
			"Month intervals cannot have day or time component", false, nil},
	}
	for _, tc := range cases {
		sql := strings.Replace(tc.sql, "¦", "", 1)
		want := -1
		if tc.position {
			want = strings.Index(tc.sql, "¦")
		}
		_, err := c.Select(t.Context(), sql)
		e := requireKind(t, tc.kind, err)
		if tc.message != "" {
			require.Equal(t, tc.message, e.Message)
			require.Equal(t, want, e.Position, sql)
		}
		require.Equal(t, tc.near, e.Candidates, sql)
		require.NotContains(t, e.Error(), "LINE ")
		rowFault := tc.kind == Conversion || tc.kind == OutOfRange || tc.kind == InvalidInput
		require.Equal(t, rowFault, e.RowFault())
	}
	_, err = c.Exec(t.Context(), "INSERT INTO orders VALUES (1, 'a', NULL)")
	requireKind(t, Constraint, err)
	_, err = c.Exec(t.Context(), "CREATE TABLE orders(a INT)")
	requireKind(t, Catalog, err)
	_, err = c.Exec(t.Context(), "")
	require.Error(t, err)
	_, err = c.Rows(t.Context(), "SELECT ?")
	var e *Error
	require.ErrorAs(t, err, &e)
}

// TestPositionsInLongAndWideLines moves one bad name through lines that DuckDB cuts.
func TestPositionsInLongAndWideLines(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	known, unknown := 0, 0
	for _, filler := range []string{"1, ", "'é', ", "'中文', ", "'a long text with 🙂 in it', ", "\t12,"} {
		for _, before := range []int{0, 1, 3, 8, 20, 60} {
			for _, head := range []string{"SELECT ", "SELECT 1,\n  2,\r\n"} {
				for _, tail := range []string{"", strings.Repeat(", 22", 60), "\nFROM range(3) t(i)"} {
					sql := head + strings.Repeat(filler, before) + "nobody_knows_me" + tail
					_, err := c.Describe(t.Context(), sql)
					e := requireKind(t, Binder, err)
					if e.Position < 0 {
						t.Logf("no position: %q", e.Err)
						unknown++
						continue
					}
					known++
					require.Equal(t, strings.Index(sql, "nobody"), e.Position, sql)
				}
			}
		}
	}
	require.Zero(t, unknown)
	require.Equal(t, 180, known)
}

// TestCandidatesAreNamesOfUsers asks for names that are near those of DuckDB's own catalogue.
func TestCandidatesAreNamesOfUsers(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	_, err := c.Exec(t.Context(), "CREATE TABLE pg_klass(a INT); CREATE TABLE usages(a INT)")
	require.NoError(t, err)
	for sql, near := range map[string][]string{
		"SELECT * FROM pg_class_":           nil, // pg_class and the user's pg_klass look alike
		"SELECT * FROM duckdb_tablse":       nil,
		"SELECT * FROM sqlite_mastre":       nil,
		"SELECT * FROM usage":               {"usages"},
		"SELECT duckdb_setting FROM usages": {"a"},
	} {
		_, err := c.Select(t.Context(), sql)
		var e *Error
		require.ErrorAs(t, err, &e, sql)
		for _, name := range e.Candidates {
			require.False(t, internal(name), "%s: %s", sql, name)
		}
		if near != nil {
			require.Contains(t, strings.Join(e.Candidates, " "), near[0], sql)
		}
	}
	for name, want := range map[string]bool{
		"pg_type": true, "main.duckdb_tables": true, "pg_catalog.x": true, "information_schema.tables": true,
		"__in": true, "Sqlite_master": true, "orders": false, "page_views": false, "s.amount": false,
	} {
		require.Equal(t, want, internal(name), name)
	}
}

func TestParseAdmitsExactlyOneSelect(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	for _, sql := range []string{
		"SELECT 1", "select 1;", "FROM x", "VALUES (1), (2)", "WITH a AS (SELECT 1) SELECT * FROM a",
		"(SELECT 1)",
		"SELECT 1 UNION ALL SELECT 2", "TABLE x", "SELECT 'it''s; not two'",
		"-- note\nSELECT /* ; */ 1 -- end",
		"SELECT sum(a) FILTER (b) OVER (PARTITION BY c) FROM t QUALIFY row_number() OVER () = 1",
	} {
		tree, err := c.Parse(t.Context(), sql)
		require.NoError(t, err, sql)
		text, err := c.Render(t.Context(), tree)
		require.NoError(t, err, sql)
		again, err := c.Parse(t.Context(), text)
		require.NoError(t, err, text)
		fixed, err := c.Render(t.Context(), again)
		require.NoError(t, err, text)
		if !strings.HasPrefix(sql, "VALUES") { // DuckDB wraps these once more each time.
			require.Equal(t, text, fixed)
		}
	}
	for _, sql := range []string{
		"", ";", "-- only a note", "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE x", "DROP TABLE x",
		"INSERT INTO x VALUES (1)",
		"UPDATE x SET a = 1", "DELETE FROM x", "CREATE TABLE x(a INT)", "CREATE TABLE x AS SELECT 1",
		"COPY x TO 'f'",
		"ATTACH 'f'", "INSTALL x", "LOAD x", "SET threads=1", "PRAGMA enable_profiling", "EXPLAIN SELECT 1",
		"BEGIN",
		"CALL pragma_version()", "PIVOT x ON y", "EXPORT DATABASE 'x'", "CHECKPOINT", "USE x", "VACUUM",
		"DESCRIBE x",
		"SHOW TABLES", "SUMMARIZE x", "PREPARE p AS SELECT 1", "EXECUTE p", "SELECT", "SELEC 1",
		"SELECT 'open",
		"SELECT 1\x00; DROP TABLE x", "SELECT '\xff'", "SELECT 1 FROM", "(",
	} {
		_, err := c.Parse(t.Context(), sql)
		requireKind(t, Syntax, err)
	}
	_, err := c.Parse(t.Context(), "SELECT 'é', 1 frm x y")
	require.Equal(t, len("SELECT 'é', 1 frm "), requireKind(t, Syntax, err).Position)
	_, err = c.Parse(t.Context(), "SELECT 'é\xff'")
	require.Equal(t, len("SELECT 'é"), requireKind(t, Syntax, err).Position)
}

func TestRenderRefusesWhatIsNoTree(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true})
	for _, tree := range []string{"", "{", "null", "[]", "{}", `{"statements":[]}`, `{"error":true}`,
		`{"error":false,"statements":[{"node":{"type":"SELECT_NODE"}}]}`,
		`{"statements":[{"node":{"type":"NOPE"}}]}`} {
		_, err := c.Render(t.Context(), []byte(tree))
		var e *Error
		require.ErrorAs(t, err, &e, tree)
	}
	_, err := c.Rows(t.Context(), "SELECT 1")
	require.NoError(t, err)
}

func FuzzExcerptPosition(f *testing.F) {
	f.Add("Binder Error: x\nLINE 2: SELECT y\n               ^", "SELECT 1,\nSELECT y")
	f.Add("\nLINE 1: ...\n ^", strings.Repeat("é", 200))
	f.Add("\nLINE 99999999999999999999: ", "")
	f.Add("Parser Error\nLINE 1", "x")
	f.Fuzz(func(t *testing.T, msg, sql string) {
		if at := excerptPosition(msg, sql); at < -1 || at > len(sql) {
			t.Fatalf("position %d outside of %d bytes", at, len(sql))
		}
		e := parseMessage(msg, sql)
		if e.Position > len(sql) {
			t.Fatalf("position %d outside of %d bytes", e.Position, len(sql))
		}
	})
}
