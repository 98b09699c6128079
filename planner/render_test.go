package planner

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
)

// TestRenderedTextIsTheTree reads what is written and asks that it is the query that was read first.
func TestRenderedTextIsTheTree(t *testing.T) {
	t.Parallel()
	conn := ducktest.Session(t, ducktest.Open(t, duck.Options{}))
	c := &compiler{ctx: t.Context(), db: conn}
	parse := func(sql string) tree {
		data, err := conn.Parse(t.Context(), sql)
		require.NoError(t, err, sql)
		node, err := decodeTree(data)
		require.NoError(t, err, sql)
		return node.trees("statements")[0].sub("node")
	}
	same := regexp.MustCompile(`query_location:\d+`)
	for _, sql := range []string{
		`SELECT "x y".* FROM a "x y"`, `SELECT "a""b".* EXCLUDE ("c d") FROM "select" AS "a""b"`, `SELECT "Left".*, b.* FROM a "Left", b`,
		`SELECT * FROM a JOIN b USING ("x y", k, "order")`, `SELECT * FROM a SEMI JOIN b USING ("1a")`, `SELECT * FROM a, b, c`,
		`SELECT * FROM a, b JOIN c ON b.k = c.k`, `SELECT * FROM a JOIN b USING (k), c`,
	} {
		text, err := c.render(parse(sql))
		require.NoError(t, err, sql)
		require.Equal(t, same.ReplaceAllString(fmt.Sprint(parse(sql)), ""), same.ReplaceAllString(fmt.Sprint(parse(text)), ""), text)
	}
	for sql, text := range map[string]string{
		`SELECT * FROM a CROSS JOIN b JOIN c ON a.k = c.k`:             `SELECT * FROM a INNER JOIN b ON (true) INNER JOIN c ON ((a.k = c.k))`,
		`SELECT * FROM (a CROSS JOIN b CROSS JOIN c) JOIN d USING (k)`: `SELECT * FROM a INNER JOIN b ON (true) INNER JOIN c ON (true) INNER JOIN d USING (k)`,
		`SELECT * FROM a LEFT JOIN (b CROSS JOIN c) ON a.k = c.k`:      `SELECT * FROM a LEFT JOIN b INNER JOIN c ON (true) ON ((a.k = c.k))`,
	} {
		out, err := c.render(parse(sql))
		require.NoError(t, err, sql)
		require.Equal(t, text, out, sql)
	}
}

func TestReservedWords(t *testing.T) {
	t.Parallel()
	conn := ducktest.Session(t, ducktest.Open(t, duck.Options{}))
	rows, err := conn.Rows(t.Context(), "SELECT keyword_name, keyword_category IN ('reserved', 'type_function') FROM duckdb_keywords()")
	require.NoError(t, err)
	for _, r := range rows {
		require.Equal(t, r[1], needsQuotes(fmt.Sprint(r[0])), r[0])
	}
}
