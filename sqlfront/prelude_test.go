package sqlfront_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/sqlfront"
)

func openPrelude(t *testing.T) *duck.Conn {
	t.Helper()
	conn := openTyper(t)
	for _, s := range sqlfront.Split(sqlfront.Prelude()) {
		_, err := conn.Exec(t.Context(), sqlfront.Prelude()[s.Start:s.End])
		require.NoError(t, err)
	}
	_, err := conn.Exec(t.Context(), `CREATE TABLE ev AS SELECT k, s.t::TIMESTAMP AS t, 1 AS size, 2 AS src, 3 AS ts FROM (VALUES
		('a', '2024-01-01 00:00:00'), ('a', '2024-01-01 00:00:05'), ('a', '2024-01-01 00:00:10.000001'),
		('b', '2024-01-01 00:00:07'), (NULL, '2024-01-01 00:00:07'), (NULL, '2024-01-01 00:00:09'),
		('a', NULL), ('a', '1969-12-31 23:59:57.5')) s(k, t)`)
	require.NoError(t, err)
	return conn
}

func TestPreludeWindows(t *testing.T) {
	conn := openPrelude(t)
	windows := func(from string) []string {
		rows, err := conn.Rows(t.Context(), "SELECT concat_ws(' ', coalesce(k, 'NULL'), strftime(window_start, '%d %H:%M:%S.%f'), "+
			"strftime(window_end, '%d %H:%M:%S.%f'), n) FROM (SELECT k, window_start, window_end, count(*) AS n FROM "+from+
			" GROUP BY ALL) ORDER BY window_start, window_end, k NULLS LAST")
		require.NoError(t, err, from)
		var out []string
		for _, r := range rows {
			out = append(out, fmt.Sprint(r[0]))
		}
		return out
	}
	require.Equal(t, []string{
		"a 31 23:59:55.000000 01 00:00:00.000000 1",
		"a 01 00:00:00.000000 01 00:00:05.000000 1",
		"a 01 00:00:05.000000 01 00:00:10.000000 1",
		"b 01 00:00:05.000000 01 00:00:10.000000 1",
		"NULL 01 00:00:05.000000 01 00:00:10.000000 2",
		"a 01 00:00:10.000000 01 00:00:15.000000 1",
	}, windows("tumble(ev, t, INTERVAL '5 seconds')"))
	require.Equal(t, []string{
		"a 31 23:59:53.000000 01 00:00:03.000000 1",
		"a 31 23:59:53.000000 01 00:00:03.000000 1",
		"a 01 00:00:03.000000 01 00:00:13.000000 2",
		"b 01 00:00:03.000000 01 00:00:13.000000 1",
		"NULL 01 00:00:03.000000 01 00:00:13.000000 2",
	}, windows("tumble(ev, t, INTERVAL '10 seconds', INTERVAL '3 seconds')"))
	require.Equal(t, []string{
		"b 01 00:00:00.000000 01 00:00:10.000000 1",
		"b 01 00:00:05.000000 01 00:00:15.000000 1",
	}, windows("(FROM hop(ev, t, INTERVAL '5 seconds', INTERVAL '10 seconds') WHERE k = 'b')"))
	// Exactly the gap apart joins, a microsecond more does not; NULL is a key like any other.
	require.Equal(t, []string{
		"a 31 23:59:57.500000 01 00:00:02.500000 1",
		"a 01 00:00:00.000000 01 00:00:10.000000 2",
		"b 01 00:00:07.000000 01 00:00:12.000000 1",
		"NULL 01 00:00:07.000000 01 00:00:14.000000 2",
		"a 01 00:00:10.000001 01 00:00:15.000001 1",
	}, windows("session(ev, t, k, INTERVAL '5 seconds')"))
	// A gap of the row's own, NULL and negative ones out; and a key of two columns.
	require.Equal(t, []string{
		"a 01 00:00:00.000000 01 00:00:15.000001 3",
	}, windows("session(ev, t, k, CASE WHEN k = 'b' THEN INTERVAL '-1 second' WHEN t < TIMESTAMP '2024-01-01' THEN NULL "+
		"WHEN k = 'a' AND t = TIMESTAMP '2024-01-01' THEN INTERVAL '12 seconds' WHEN k = 'a' THEN INTERVAL '5 seconds' END)"))
	require.Equal(t, windows("session(ev, t, k, INTERVAL '5 seconds')"),
		windows("session(ev, t, (k, size), INTERVAL '5 seconds')"))
}

func TestPreludeReadsTablesViewsAndCTEs(t *testing.T) {
	conn := openPrelude(t)
	_, err := conn.Exec(t.Context(), "CREATE VIEW v AS SELECT * FROM ev WHERE k = 'b'")
	require.NoError(t, err)
	for sql, want := range map[string]int{
		"SELECT * FROM tumble(v, t, INTERVAL '5 seconds')":                                                                        1,
		`SELECT * FROM tumble("ev", "t", INTERVAL 5 SECOND)`:                                                                      7,
		"WITH c AS (FROM ev WHERE k = 'a') SELECT * FROM tumble(c, t, INTERVAL '5 seconds')":                                      4,
		"WITH c AS (FROM ev WHERE k = 'a') FROM session(c, t, k, INTERVAL '5 seconds') a JOIN v USING (size)":                     4,
		"SELECT x.k FROM tumble(ev, t, INTERVAL '5 seconds') x JOIN tumble(v, t, INTERVAL '5 seconds') y USING (window_start, k)": 1,
		"SELECT * FROM hop(v, t, INTERVAL '1 second', INTERVAL '3 seconds') LEFT JOIN ev USING (k)":                               3,
		"SELECT * FROM (SELECT * FROM tumble(v, t, INTERVAL '1 hour')) UNION ALL SELECT * FROM tumble(v, t, INTERVAL '1 hour')":   2,
	} {
		rows, err := conn.Rows(t.Context(), sql)
		require.NoError(t, err, sql)
		require.Len(t, rows, want, sql)
	}
}
