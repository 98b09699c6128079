package difftest_test

// mixed are clauses that the other families leave out.
func mixed() []shape {
	return []shape{
		{"session-keys", 1, 2, func(g *gen) {
			key := g.pick("key", "(k, ok)", "ok", "k", "(ok, s)")
			by := map[string]string{"(k, ok)": "k, ok", "(ok, s)": "ok, s"}[key]
			if by == "" {
				by = key
			}
			g.set("auc", lateRows, "SELECT window_start, window_end, %s, count(*) AS n, %s AS x FROM session(a, ts, %s, %s) GROUP BY ALL", by,
				g.pick("call", "sum(v)", "list(id ORDER BY id)", "max(s)", "count(DISTINCT v)", "first(id{ord})", "last(v{ord})"), key,
				g.pick("gap", "INTERVAL '3 seconds'", "CASE WHEN v > 40 THEN INTERVAL '2 seconds' ELSE INTERVAL '6 seconds' END", "to_seconds(v % 5)"))
		}},
		{"over-named", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT k, id, row_number() OVER w AS rn, %s OVER w AS x, %s OVER (PARTITION BY k) AS y FROM a%s WINDOW w AS (PARTITION BY k ORDER BY %s, id%s)",
				g.pick("call", "first_value(v)", "sum(v)", "ntile(2)", "lead(v, 1, -1)", "dense_rank()", "cume_dist()", "nth_value(id, 2)", "count(DISTINCT s)"),
				g.pick("whole", "count(*)", "max(v)", "sum(w)", "min(d)"), g.where(), g.pick("order", "v", "s DESC", "ts", "d NULLS LAST"),
				g.pick("frame", "", " ROWS BETWEEN 1 PRECEDING AND 2 FOLLOWING", " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING"))
		}},
		{"over-window", 1, 2, func(g *gen) {
			g.set("a", lateWindows, "SELECT window_start, id, k, %s OVER (PARTITION BY window_start ORDER BY %s, id) AS x, v * 100 / sum(v) OVER (PARTITION BY window_start) AS y FROM %s QUALIFY %s",
				g.pick("call", "rank()", "sum(v)", "lag(k)", "count(*)", "first_value(s)"), g.pick("order", "v DESC", "k", "ts"), g.windowCall("a", g.pick("kind", "tumble", "hop")),
				g.pick("qualify", "true", "count(*) OVER (PARTITION BY window_start) > 2", "v > avg(v) OVER (PARTITION BY window_start)"))
		}},
		{"view-of-view", 1, 2, func(g *gen) {
			g.q.before = append(g.q.before, "CREATE VIEW v1 AS SELECT id, k, v, s, ts, d{pos} FROM a"+g.where()+";",
				"CREATE VIEW v2 AS WITH m AS (SELECT id, k, v + 1 AS v, s, ts, d{pos} FROM v1) SELECT id, k, v, s, ts, d{pos} FROM m WHERE v IS NOT NULL;")
			g.set("uc", neverLate, "WITH a AS (SELECT * FROM v2 WHERE id %% 4 <> 0) SELECT k, count(*) AS n, %s AS x FROM a%s GROUP BY k",
				g.pick("call", "sum(v)", "list(id{ord})", "max(d)", "count(DISTINCT s)", "first(v{ord})"), g.pick("where", "", " WHERE v > 7", " WHERE s IS NULL OR v > 9"))
		}},
		{"union-by-name", 2, 2, func(g *gen) {
			g.set("au", neverLate, "SELECT id, k, v FROM a%s UNION ALL BY NAME SELECT v AS w, k, id FROM b%s", g.where(), g.where())
		}},
		{"agg-of-reference", 1, 2, func(g *gen) {
			g.set("uc", neverLate, "SELECT %s AS g, count(*) AS n, %s AS x FROM a t LEFT JOIN m ON t.k = m.k%s GROUP BY ALL", g.pick("key", "tag", "t.ok", "coalesce(tag, t.s)", "(SELECT max(label) FROM r WHERE r.k = t.k)"),
				g.pick("call", "sum((SELECT max(lim) FROM r WHERE r.k = t.k))", "sum(t.v)", "count(DISTINCT tag)", "list(t.id ORDER BY t.id, tag)", "max(tag)"),
				g.pick("where", "", " WHERE t.v > 20 OR tag = 'p'", " WHERE EXISTS (SELECT 1 FROM r WHERE r.k = t.k)", " WHERE t.k NOT IN (SELECT k FROM r WHERE lim > 10)"))
		}},
		{"complete-over-groups", 2, 4, func(g *gen) {
			g.set("c", neverLate, "WITH g AS (SELECT k, count(*) AS n, sum(v) AS sv, max(id) AS m FROM a%s GROUP BY k), h AS (SELECT k, max(v) AS v, count(*) AS n FROM b GROUP BY k) %s", g.where(),
				g.pick("over", "SELECT k, n, n / (SELECT sum(n) FROM g) AS x FROM g", "SELECT k, n FROM g WHERE n > (SELECT avg(n) FROM h)", "SELECT k, n FROM g EXCEPT SELECT k, n FROM h",
					"SELECT g.k, g.n, h.v, label FROM g FULL JOIN h ON g.k = h.k LEFT JOIN r ON r.k = g.k", "SELECT DISTINCT n FROM g ORDER BY n LIMIT 2 OFFSET 1",
					"SELECT n % 2 AS e, count(*) AS c, sum(sv) AS sv FROM g GROUP BY e HAVING count(*) > 1", "SELECT k, m FROM g WHERE k NOT IN (SELECT k FROM h WHERE k IS NOT NULL)",
					"SELECT k, n FROM g WHERE EXISTS (SELECT 1 FROM h WHERE h.n > g.n)", "(SELECT k, n FROM g ORDER BY n DESC, m LIMIT 1) UNION ALL (SELECT k, n FROM h ORDER BY n, v, k LIMIT 1)",
					"SELECT k, m, lag(m) OVER (ORDER BY m) AS l FROM g", "SELECT list(n ORDER BY n) AS l, count(DISTINCT sv) AS d FROM g", "SELECT a.k, b.n FROM g a, h b WHERE a.n < b.n",
					"SELECT k, unnest([n, m]) AS x FROM g", "SELECT x.k, y.n FROM g x ASOF JOIN g y ON x.m >= y.n AND x.n = y.n"))
		}},
		{"having-only", 1, 2, func(g *gen) {
			g.set("uc", neverLate, "SELECT k FROM a%s GROUP BY k HAVING %s", g.where(), g.pick("having", "count(*) = 2", "max(v) > 50 AND min(v) < 50", "sum(v) % 2 = 0", "count(DISTINCT s) = 1",
				"first(id{ord}) % 2 = 0", "bool_or(ok)", "list(v{ord})[1] > 7", "max(id) - min(id) < 4", "count(*) FILTER (WHERE ok) > 1"))
		}},
	}
}
