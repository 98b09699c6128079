package difftest_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// shape draws one kind of query.
type shape struct {
	name    string
	sources int // that it reads at least
	weight  int
	draw    func(g *gen)
}

// set fills in the query.
func (g *gen) set(modes string, late lateness, body string, args ...any) {
	g.q.modes, g.q.late = modes, late
	g.q.body = fmt.Sprintf(body, args...)
}

func stateless() []shape {
	items := func(g *gen) string {
		var out []string
		for i, e := range g.some("item", 1, 5, g.scalars()) {
			out = append(out, fmt.Sprintf("%s AS x%d", e, i+1))
		}
		return strings.Join(out, ", ")
	}
	read := func(g *gen) (with, name string) { return g.input(g.sources[0]) }
	return []shape{
		{"project", 1, 3, func(g *gen) {
			with, name := read(g)
			g.set("au", neverLate, "%sSELECT id, %s FROM %s%s", with, items(g), name, g.where())
		}},
		{"star", 1, 1, func(g *gen) { g.set("au", neverLate, "SELECT {*} FROM a%s", g.where()) }},
		{"unnest", 1, 1, func(g *gen) {
			with, name := read(g)
			g.set("au", neverLate, "%sSELECT id, unnest(%s) AS x FROM %s%s", with, g.pick("list", "[v, v + 1]", "range(id % 3)", "[s, 'z', s]"), name, g.where())
		}},
		{"lateral", 1, 1, func(g *gen) { g.set("au", neverLate, "SELECT id, x FROM a, unnest([v, w]) u(x)%s", g.where()) }},
		{"ref-inner", 1, 2, func(g *gen) {
			with, name := read(g)
			g.set("au", neverLate, "%sSELECT t.id, t.k, tag, %s FROM %s t JOIN m USING (k)%s", with, "t.v AS x", name, g.where())
		}},
		{"ref-left", 1, 2, func(g *gen) {
			with, name := read(g)
			g.set("au", neverLate, "%sSELECT t.id, t.v, m.tag, m.k AS mk FROM %s t LEFT JOIN m ON %s", with, name,
				g.pick("on", "t.k = m.k", "t.k IS NOT DISTINCT FROM m.k", "t.k = m.k AND t.v > 40", "t.k = m.k AND m.tag <> 'p'"))
		}},
		{"ref-two", 1, 1, func(g *gen) {
			g.set("au", neverLate, "SELECT t.id, label, tag FROM a t LEFT JOIN r ON t.k = r.k AND t.v >= r.lim LEFT JOIN m ON r.k = m.k%s",
				g.pick("then", "", " WHERE t.id % 2 = 0"))
		}},
		{"ref-semi", 1, 1, func(g *gen) { g.set("au", neverLate, "SELECT id, s FROM a SEMI JOIN m USING (k)%s", g.where()) }},
		{"ref-anti", 1, 1, func(g *gen) { g.set("au", neverLate, "SELECT id, f FROM a ANTI JOIN m USING (k)") }},
		{"ref-subquery", 1, 1, func(g *gen) {
			g.set("au", neverLate, "SELECT id, (SELECT max(tag) FROM m WHERE m.k = t.k) AS x FROM a t WHERE v IN (SELECT lim + 2 FROM r) OR ok")
		}},
		{"union-all", 2, 2, func(g *gen) {
			g.set("au", neverLate, "SELECT id, v, s FROM a%s UNION ALL SELECT id, v * 10, %s FROM b%s", g.where(),
				g.pick("s", "s", "'b'"), g.where())
		}},
		{"union-self", 1, 1, func(g *gen) {
			g.set("au", neverLate, "SELECT id, k FROM a WHERE v > 40 UNION ALL SELECT id, k FROM a WHERE v <= 50")
		}},
		{"window-rows", 1, 2, func(g *gen) {
			with, name := read(g)
			g.set("au", neverLate, "%sSELECT window_start, window_end, id, %s FROM %s%s", with, items(g),
				g.windowCall(name, g.pick("kind", "tumble", "hop")), g.where())
		}},
	}
}

// windowed makes a shape of aggregates over windows.
func windowed(name string, weight int, kind string) shape {
	return shape{name, 1, weight, func(g *gen) {
		with, in := g.input(g.sources[0])
		call, where := g.windowCall(in, kind), g.where()
		items := append([]string{g.pick("time", "window_start", "window_end")}, g.keys(0)...)
		if g.flip("both ends") && items[0] == "window_start" {
			items = append([]string{"window_end"}, items...)
		}
		g.q.lateFrom = fmt.Sprintf("%s SELECT id, window_end <= __late AS late FROM every_%s%s", with, call, where)
		g.set("auc", lateWindows, "%sSELECT %s, %s FROM %s%s%s%s", with, strings.Join(items, ", "), g.calls(len(items)),
			call, where, g.grouped(len(items)), g.having())
	}}
}

func aggregates() []shape {
	return []shape{
		windowed("agg-tumble", 5, "tumble"), windowed("agg-hop", 4, "hop"),
		{"agg-session", 1, 3, func(g *gen) {
			call := fmt.Sprintf("session(a, ts, k, INTERVAL '%s')", g.pick("gap", "5 seconds", "2 seconds", "10 seconds"))
			g.set("auc", lateRows, "SELECT window_start, window_end, k, %s FROM %s%s GROUP BY ALL", g.calls(3), call, "")
		}},
		{"agg-key", 1, 4, func(g *gen) {
			if !g.late && g.flip("no watermark") {
				g.sources[0].delay = -1
			}
			with, name := g.input(g.sources[0])
			keys := g.keys(1)
			g.set("uc", neverLate, "%sSELECT %s, %s FROM %s%s%s%s", with, strings.Join(keys, ", "), g.calls(len(keys)), name,
				g.where(), g.grouped(len(keys)), g.having())
		}},
		{"agg-global", 1, 3, func(g *gen) {
			with, name := g.input(g.sources[0])
			g.set("uc", neverLate, "%sSELECT %s FROM %s%s", with, g.calls(0), name, g.where())
		}},
		{"agg-time", 1, 2, func(g *gen) {
			keys := append([]string{"ts"}, g.keys(0)...)
			g.q.lateFrom = "SELECT id, ts <= __late AS late FROM a WHERE ts IS NOT NULL"
			g.set("auc", lateTimes, "SELECT %s, %s FROM {open:a} WHERE ts IS NOT NULL%s", strings.Join(keys, ", "), g.calls(len(keys)), g.grouped(len(keys)))
		}},
		{"agg-rollup", 1, 2, func(g *gen) {
			calls, where := g.calls(3), g.where()
			g.set("uc", neverLate, "SELECT k, ok, grouping(k, ok) AS g, %s FROM a%s GROUP BY %s", calls, where,
				g.pick("sets", "ROLLUP (k, ok)", "CUBE (k, ok)", "CUBE (k, ok) HAVING count(*) > 1",
					"GROUPING SETS ((k, ok), (ok))"))
		}},
		{"agg-window-sets", 1, 2, func(g *gen) {
			calls, where := g.calls(3), g.where()
			call := g.windowCall("a", g.pick("kind", "tumble", "hop"))
			g.set("auc", lateWindows, "SELECT window_start, k, grouping(k) AS g, %s FROM %s%s GROUP BY %s", calls, call, where,
				g.pick("sets", "GROUPING SETS ((window_start, k), (window_start))", "window_start, ROLLUP (k)"))
		}},
		{"agg-ref", 1, 2, func(g *gen) {
			call := g.windowCall("a", g.pick("kind", "tumble", "hop"))
			g.q.lateFrom = "SELECT id, window_end <= __late AS late FROM every_" + call
			g.set("auc", lateWindows, "SELECT window_start, label, %s FROM %s t LEFT JOIN r ON t.k = r.k GROUP BY ALL",
				strings.Join(g.some("ref call", 1, 3, []string{"count(*) AS n", "sum(v) AS sv", "list(id{ord}) AS l", "sum(f{ord}) AS sf",
					"count(DISTINCT s) AS ds", "max(lim) AS lim", "avg(d) AS ad"}), ", "), call)
		}},
		{"agg-union", 2, 2, func(g *gen) {
			with := "WITH u AS (SELECT id, k, v, s, f, ts, 'a' AS o{pos} FROM a UNION ALL SELECT id, k, v + 1000, s, f, ts, 'b'{pos} FROM b) "
			call := g.windowCall("u", g.pick("kind", "tumble", "hop"))
			g.q.lateFrom = with + " SELECT o || id AS id, window_end <= __late AS late FROM every_" + call
			g.set("auc", lateWindows, "%sSELECT window_start, k, %s FROM %s GROUP BY ALL", with,
				strings.Join(g.some("union call", 1, 3, []string{"count(*) AS n", "sum(v) AS sv", "list(o || id{ord}) AS l", "sum(f{ord}) AS sf",
					"first(v{ord}) AS fv", "string_agg(s, ''{ord}) AS sa", "count(DISTINCT o) AS d"}), ", "), call)
		}},
		{"agg-above", 1, 2, func(g *gen) {
			call := g.windowCall("a", g.pick("kind", "tumble", "hop"))
			g.q.lateFrom = "SELECT id, window_end <= __late AS late FROM every_" + call
			g.set("ac", lateWindows, "SELECT t + INTERVAL '1 second' AS t1, n * 10 AS n10, k, label FROM (SELECT window_start AS t, k, count(*) AS n FROM %s GROUP BY ALL) x LEFT JOIN r USING (k) WHERE n > %s",
				call, g.pick("least", "0", "1"))
		}},
		{"agg-complete-over", 1, 2, func(g *gen) {
			inner := "(SELECT k, count(*) AS n, sum(v) AS sv FROM a" + g.where() + " GROUP BY k)"
			g.set("c", neverLate, "%s", g.pick("over", "SELECT k, n FROM "+inner+" ORDER BY n DESC, k LIMIT 2",
				"SELECT k, n, rank() OVER (ORDER BY n DESC, k) AS rk FROM "+inner, "SELECT max(n) AS most, count(*) AS groups FROM "+inner,
				"SELECT k, n FROM "+inner+" QUALIFY row_number() OVER (ORDER BY n, k) = 1", "SELECT k, n FROM "+inner+" x SEMI JOIN r USING (k)"))
		}},
	}
}

func deduplications() []shape {
	return []shape{
		{"distinct", 1, 3, func(g *gen) {
			// Rows without time are counted as such and left out where their time is in the key.
			g.set("au", lateRows, "SELECT DISTINCT %s FROM a%s", strings.Join(g.some("column", 1, 3, []string{"k", "s", "ok", "v", "ts", "day"}), ", "), " WHERE ts IS NOT NULL")
		}},
		{"distinct-on", 1, 2, func(g *gen) {
			g.set("au", lateRows, "SELECT DISTINCT ON (%s) id, k, s FROM a%s{ord}", g.pick("on", "k", "k, s", "ok"), g.where())
		}},
		{"distinct-on-order", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT DISTINCT ON (%s) k, ok, v %% 2 AS b, id, v FROM a WHERE ts IS NOT NULL ORDER BY %s{,ord}", g.pick("on", "k", "k, v % 2", "ok, k"),
				g.pick("order", "ts DESC", "k, ts", "v, ts DESC", "s DESC NULLS FIRST"))
		}},
		{"distinct-on-window", 1, 2, func(g *gen) {
			g.set("a", lateWindows, "SELECT DISTINCT ON (window_end, k) window_end, k, id, v FROM %s ORDER BY %s, id", g.windowCall("a", g.pick("kind", "tumble", "hop")),
				g.pick("order", "v DESC", "s", "ts DESC"))
		}},
		{"distinct-on-groups", 1, 2, func(g *gen) {
			g.set("uc", neverLate, "SELECT %s FROM (SELECT DISTINCT ON (n) n, k, m FROM (SELECT k, count(*) AS n, max(id) AS m FROM a%s GROUP BY k) ORDER BY n, m %s, k) d%s",
				g.pick("items", "n, k, m", "n, m, k"), g.where(), g.pick("way", "", "DESC"), g.pick("then", "", " WHERE n > 1"))
		}},
		{"keep-first", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT k, id, v FROM a%s QUALIFY row_number() OVER (PARTITION BY k ORDER BY ts{,ord}) = 1", " WHERE ts IS NOT NULL")
		}},
		{"keep-last", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT k, id, v FROM a%s QUALIFY row_number() OVER (PARTITION BY k ORDER BY ts DESC{,ord}) = 1", " WHERE ts IS NOT NULL")
		}},
		{"keep-by", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT k, ok, id, v, s, d FROM a%s QUALIFY row_number() OVER (PARTITION BY k, ok ORDER BY %s, %s, id) = 1", g.where(),
				g.pick("by", "v DESC", "d NULLS FIRST", "length(s) DESC", "v % 3"), g.pick("then", "s", "s DESC NULLS FIRST", "ts", "d DESC"))
		}},
		{"keep-of-window", 1, 3, func(g *gen) {
			g.set("au", lateWindows, "SELECT window_end, k, id, v FROM %s QUALIFY row_number() OVER (PARTITION BY window_end, k ORDER BY %s, id DESC) = 1",
				g.windowCall("a", "tumble"), g.pick("by", "v", "ts DESC", "s NULLS FIRST"))
		}},
		{"top-n", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT k, id, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS rk FROM a QUALIFY rk <= %s", g.pick("n", "1", "2", "3"))
		}},
		{"top-n-window", 1, 3, func(g *gen) {
			g.set("au", lateWindows, "SELECT window_start, k, id, v FROM %s QUALIFY %s OVER (PARTITION BY window_start%s ORDER BY v DESC, id) <= %s",
				g.windowCall("a", g.pick("kind", "tumble", "hop")), g.pick("rank", "row_number()", "rank()"), g.pick("by", "", ", k"), g.pick("n", "1", "2"))
		}},
		{"over-past", 1, 2, func(g *gen) {
			by := g.pick("by", "PARTITION BY k ", "PARTITION BY k, v % 2 ", "")
			over := g.pick("over", "ORDER BY ts{,ord} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", "ORDER BY ts{,ord} ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING",
				"ORDER BY ts RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW", "ORDER BY ts RANGE BETWEEN INTERVAL '9 seconds' PRECEDING AND INTERVAL '2 seconds' PRECEDING")
			g.set("a", lateRows, "SELECT id, k, %s OVER (%s%s) AS x, %s OVER (%sORDER BY ts{,ord}) AS y FROM a WHERE ts IS NOT NULL",
				g.pick("call", "sum(v)", "count(*)", "max(v)", "count(DISTINCT v)", "min(d)"), by, over, g.pick("lag", "lag(id)", "lag(v, 2)", "lag(id, 3, -1)"), by)
		}},
		{"over-update", 1, 1, func(g *gen) {
			g.set("u", neverLate, "SELECT k, id, sum(v) OVER (PARTITION BY k ORDER BY ts, id %s) AS x, lead(id) OVER (PARTITION BY k ORDER BY ts, id) AS y, row_number() OVER (PARTITION BY k ORDER BY ts, id) AS rn FROM a%s",
				g.pick("frame", "", "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING"), g.where())
		}},
		{"limit", 1, 2, func(g *gen) {
			g.set("au", neverLate, "SELECT id, k FROM a%s{ord} LIMIT %s", g.where(), g.pick("n", "0", "1", "5", "20"))
		}},
		{"limit-below", 1, 1, func(g *gen) {
			g.set("uc", neverLate, "SELECT %s FROM (SELECT k, v FROM a%s{ord} LIMIT %s)", g.pick("above", "count(*) AS n, sum(v) AS sv", "count(DISTINCT k) AS n, max(v) AS sv"), g.where(), g.pick("n", "3", "10"))
		}},
		{"set-time", 2, 2, func(g *gen) {
			op := g.pick("operation", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL", "UNION")
			g.set("a", lateRows, "SELECT ts, k FROM a WHERE ts IS NOT NULL %s SELECT ts, k FROM b WHERE ts IS NOT NULL", op)
		}},
		{"set-window", 2, 2, func(g *gen) {
			call, op := g.windowCall("a", "tumble"), g.pick("operation", "INTERSECT", "EXCEPT", "EXCEPT ALL", "INTERSECT ALL", "UNION")
			g.set("a", lateWindows, "SELECT window_start, window_end, k FROM %s %s SELECT window_start, window_end, k FROM %s", call, op,
				strings.Replace(call, "(a,", "(b,", 1))
		}},
		{"set-update", 2, 1, func(g *gen) {
			op := g.pick("operation", "INTERSECT", "EXCEPT", "UNION")
			g.set("u", neverLate, "SELECT k, v FROM a %s SELECT k, v FROM b", op)
		}},
	}
}

// between draws a condition that bounds the times of both sides.
func (g *gen) between() string {
	return g.pick("bound", " AND y.ts BETWEEN x.ts - INTERVAL '5 seconds' AND x.ts + INTERVAL '5 seconds'",
		" AND y.ts >= x.ts AND y.ts < x.ts + INTERVAL '10 seconds'", " AND x.ts BETWEEN y.ts AND y.ts + INTERVAL '3 seconds'",
		" AND x.ts < y.ts AND y.ts - INTERVAL '4 seconds' <= x.ts", " AND y.ts = x.ts", " AND y.ts > x.ts - INTERVAL '2 seconds' AND x.ts > y.ts - INTERVAL '1 microsecond'",
		" AND y.ts BETWEEN x.ts + INTERVAL '1 second' AND x.ts + INTERVAL '3 seconds'")
}

func joins() []shape {
	pair := func(name, kind string, bounded, right bool) shape {
		return shape{name, 2, 2, func(g *gen) {
			second, less := g.pick("second", "b", "b", "a"), "x.k = y.k AND x.v < y.v"
			if !right { // DuckDB's SEMI JOIN takes comparisons with NULL for true at times
				less = "x.k = y.k AND coalesce(x.v < y.v, false)"
			}
			on := g.pick("equal", "x.k = y.k", "x.k IS NOT DISTINCT FROM y.k", less)
			if bounded {
				on += g.between()
			}
			if bounded && !right { // likewise
				second = "{" + second + "}"
			}
			cols := "x.id, x.v"
			if right {
				cols += ", y.id AS id2, y.s"
			}
			g.set("au", lateRows, "SELECT %s FROM a x %s JOIN %s y ON %s", cols, kind, second, on)
		}}
	}
	list := []shape{pair("join-inner", "", false, true), pair("join-inner-range", "", true, true), pair("join-left-range", "LEFT", true, true),
		pair("join-right-range", "RIGHT", true, true), pair("join-full-range", "FULL", true, true), pair("join-semi", "SEMI", false, false),
		pair("join-semi-range", "SEMI", true, false), pair("join-anti-range", "ANTI", true, false)}
	return append(list, shape{"rank-over-join", 2, 2, func(g *gen) {
		g.set("u", lateRows, "SELECT x.id, x.k, y.id AS id2, y.v FROM a x JOIN b y ON x.k = y.k%s QUALIFY %s OVER (PARTITION BY x.id ORDER BY y.v DESC, y.id) = 1", g.between(),
			g.pick("rank", "row_number()", "row_number()"))
	}}, shape{"join-window", 2, 2, func(g *gen) {
		size := g.pick("size", "5 seconds", "10 seconds")
		g.set("a", lateRows, "SELECT x.window_start, x.id, y.id AS id2 FROM tumble(a, ts, INTERVAL '%s') x %s JOIN tumble(b, ts, INTERVAL '%s') y ON x.k = y.k AND x.window_start = y.window_start AND x.window_end = y.window_end",
			size, g.pick("kind", "", "LEFT", "FULL"), size)
	}}, shape{"join-three", 3, 1, func(g *gen) {
		g.set("a", lateRows, "SELECT x.id, y.id AS id2, z.id AS id3 FROM a x JOIN b y ON x.k = y.k%s JOIN c z ON y.k = z.k%s", g.between(),
			g.pick("third bound", "", " AND z.ts BETWEEN y.ts - INTERVAL '5 seconds' AND y.ts + INTERVAL '5 seconds'"))
	}}, shape{"join-asof", 2, 1, func(g *gen) {
		g.set("a", lateRows, "SELECT x.id, y.ts AS at FROM a x ASOF %sJOIN b y ON x.k = y.k AND x.ts >= y.ts WHERE x.ts IS NOT NULL", g.pick("kind", "", "LEFT "))
	}}, shape{"exists", 2, 2, func(g *gen) {
		on := "y.k = x.k" + g.pick("more", "", " AND y.v < x.v", " AND v > 40") + g.between()
		switch g.pick("form", "exists", "in", "not exists") {
		case "in":
			g.set("au", lateRows, "SELECT x.id, x.v FROM a x WHERE k IN (SELECT k FROM {b} y WHERE y.ts BETWEEN x.ts - INTERVAL '5 seconds' AND x.ts)%s", g.pick("and", "", " AND x.v > 20"))
		case "exists":
			g.set("au", lateRows, "SELECT x.id, x.v FROM a x WHERE EXISTS (SELECT %s FROM {b} y WHERE %s)%s", g.pick("star", "1", "*"), on, g.pick("and", "", " AND x.v > 20"))
		default:
			g.set("au", lateRows, "SELECT x.id, x.v FROM a x WHERE %sNOT EXISTS (SELECT 1 FROM {b} y WHERE %s)", g.pick("and", "", "x.v > 20 AND "), on)
		}
	}}, shape{"exists-of-groups", 2, 1, func(g *gen) {
		g.set("u", neverLate, "SELECT x.k, n FROM (SELECT k, count(*) AS n FROM a%s GROUP BY k) x WHERE %s", g.where(),
			g.pick("form", "k IN (SELECT k FROM b GROUP BY k HAVING max(v) > 40)", "EXISTS (SELECT 1 FROM (SELECT k, max(v) AS m FROM b GROUP BY k) y WHERE k = x.k AND m > n)",
				"NOT EXISTS (SELECT 1 FROM b WHERE k = x.k)"))
	}}, shape{"join-asof-next", 2, 2, func(g *gen) {
		g.set("a", lateRows, "SELECT x.id, y.ts AS at FROM a x ASOF JOIN {b} y ON x.k = y.k AND %s WHERE x.ts IS NOT NULL",
			g.pick("next", "x.ts <= y.ts", "x.ts < y.ts", "y.ts >= x.ts + INTERVAL '2 seconds'", "y.ts + INTERVAL '5 seconds' > x.ts"))
	}}, shape{"join-asof-next-window", 2, 1, func(g *gen) {
		size := g.pick("size", "5 seconds", "10 seconds")
		g.set("a", lateRows, "SELECT x.window_start, x.id, y.ts AS at FROM tumble(a, ts, INTERVAL '%s') x ASOF %sJOIN tumble(b, ts, INTERVAL '%s') y ON x.k = y.k AND x.window_start = y.window_start AND x.ts %s y.ts",
			size, g.pick("kind", "", "LEFT "), size, g.pick("next", "<=", "<"))
	}})
}

func chains() []shape {
	tumble := func(g *gen, s string) string {
		return fmt.Sprintf("tumble(%s, ts, INTERVAL '%s')", s, g.pick("size", "5 seconds", "2 seconds"))
	}
	return []shape{
		{"agg-of-agg", 1, 2, func(g *gen) {
			g.set("auc", lateWindows, "SELECT window_start, %s FROM (SELECT window_start, k, count(*) AS n, sum(v) AS sv FROM %s GROUP BY ALL) GROUP BY window_start",
				g.pick("outer", "max(n) AS most, count(*) AS groups", "sum(sv) AS total", "arg_max(k, n ORDER BY k) AS top"), tumble(g, "a"))
		}},
		{"window-of-window", 1, 2, func(g *gen) {
			g.set("auc", lateWindows, "WITH i AS (SELECT window_start AS ws, k, count(*) AS n FROM %s GROUP BY ALL) "+
				"SELECT window_start, sum(n) AS total, max(n) AS most FROM {every}tumble(i, ws, INTERVAL '20 seconds') GROUP BY ALL", tumble(g, "a"))
		}},
		{"join-of-aggs", 2, 1, func(g *gen) {
			g.set("auc", lateWindows, "WITH x AS (SELECT window_start, k, count(*) AS n FROM tumble(a, ts, INTERVAL '5 seconds') GROUP BY ALL), "+
				"y AS (SELECT window_start, k, sum(v) AS sv FROM tumble(b, ts, INTERVAL '5 seconds') GROUP BY ALL) "+
				"SELECT x.window_start, x.k, n, sv FROM x JOIN y ON x.window_start = y.window_start AND x.k = y.k")
		}},
		{"agg-of-join", 2, 1, func(g *gen) {
			g.set("auc", lateRows, "WITH j AS (SELECT x.ts, x.k, y.v FROM a x JOIN b y ON x.k = y.k%s) "+
				"SELECT window_start, k, count(*) AS n, sum(v) AS sv FROM tumble(j, ts, INTERVAL '10 seconds') GROUP BY ALL", g.between())
		}},
		{"distinct-then-agg", 1, 2, func(g *gen) {
			g.set("auc", lateRows, "WITH d AS (SELECT DISTINCT ts, k, v FROM a) SELECT window_start, count(*) AS n, sum(v) AS sv FROM %s GROUP BY ALL", tumble(g, "d"))
		}},
		{"agg-then-distinct", 1, 1, func(g *gen) {
			g.set("auc", lateWindows, "SELECT DISTINCT window_start, n FROM (SELECT window_start, k, count(*) AS n FROM %s GROUP BY ALL)", tumble(g, "a"))
		}},
		{"top-of-agg", 1, 1, func(g *gen) {
			g.set("auc", lateWindows, "SELECT window_start, k, n FROM (SELECT window_start, k, count(*) AS n FROM %s GROUP BY ALL) "+
				"QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY n DESC, k) = 1", tumble(g, "a"))
		}},
		{"agg-of-session", 1, 2, func(g *gen) {
			g.punctual()
			g.set("uc", neverLate, "SELECT k, count(*) AS sessions, max(n) AS most, sum(epoch_us(window_end) - epoch_us(window_start)) AS held FROM (SELECT window_start, window_end, k, count(*) AS n "+
				"FROM session(a, ts, k, INTERVAL '%s') GROUP BY ALL) GROUP BY k", g.pick("gap", "5 seconds", "2 seconds"))
		}},
		{"agg-of-latest", 1, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT v, count(*) AS n, %s AS x FROM (SELECT k, v, id FROM a WHERE ts IS NOT NULL QUALIFY row_number() OVER (PARTITION BY k ORDER BY ts DESC, id DESC) = 1) GROUP BY v",
				g.pick("call", "max(id)", "list(k ORDER BY k)", "sum(id)", "count(DISTINCT k)"))
		}},
		{"window-of-latest", 1, 1, func(g *gen) {
			g.punctual()
			g.set("u", neverLate, "WITH i AS (SELECT k, max(ts) AS t, count(*) AS n FROM a GROUP BY k) SELECT window_start, %s FROM %s GROUP BY ALL",
				g.pick("items", "count(*) AS c, sum(n) AS n", "k, sum(n) AS n"), g.pick("window", "tumble(i, t, INTERVAL '5 seconds')", "hop(i, t, INTERVAL '5 seconds', INTERVAL '10 seconds')"))
		}},
		{"join-agg-top", 2, 2, func(g *gen) {
			g.set("au", lateRows, "WITH j AS (SELECT x.ts, x.k, y.v FROM a x JOIN b y ON x.k = y.k%s), "+
				"w AS (SELECT window_start, k, count(*) AS n, sum(v) AS sv FROM tumble(j, ts, INTERVAL '10 seconds') GROUP BY ALL) "+
				"SELECT window_start, k, n, sv, row_number() OVER (PARTITION BY window_start ORDER BY n DESC, k) AS rn FROM w QUALIFY rn <= 2", g.between())
		}},
		{"union-rows-groups", 2, 2, func(g *gen) {
			g.set("a", lateWindows, "SELECT window_end AS t, k, count(*) AS n FROM %s GROUP BY ALL UNION ALL SELECT ts, k, v FROM %s%s", tumble(g, "a"),
				g.pick("rows", "a", "b"), g.where())
		}},
		{"agg-of-union", 2, 2, func(g *gen) {
			g.punctual()
			g.set("uc", neverLate, "SELECT k, count(*) AS c, %s AS x FROM (SELECT k, count(*) AS n FROM a%s GROUP BY k UNION %s SELECT k, v FROM %s) GROUP BY k",
				g.pick("call", "sum(n)", "max(n)", "list(n ORDER BY n)", "count(DISTINCT n)"), g.where(), g.pick("all", "ALL", ""), g.pick("rows", "a", "b"))
		}},
		{"window-of-union", 2, 2, func(g *gen) {
			g.punctual()
			g.set("auc", neverLate, "WITH u AS (SELECT window_end AS t, k, count(*) AS n FROM %s GROUP BY ALL UNION ALL SELECT ts, k, v FROM b WHERE ts IS NOT NULL) "+
				"SELECT window_start, k, count(*) AS c, sum(n) AS n, median(n) AS m FROM tumble(u, t, INTERVAL '10 seconds') GROUP BY ALL", tumble(g, "a"))
		}},
		{"union-parts", 2, 2, func(g *gen) {
			g.set("uc", neverLate, "SELECT 'a' AS part, k, count(*) AS n FROM a%s GROUP BY k%s UNION ALL SELECT 'b', k, max(v) FROM b GROUP BY k%s", g.where(),
				g.pick("having", "", " HAVING count(*) < 4"), g.pick("third", "", " UNION ALL SELECT 'c', NULL, count(*) FROM a"))
		}},
		{"sets-of-groups", 1, 2, func(g *gen) {
			g.set("uc", neverLate, "SELECT k, b, grouping_id(k, b) AS g, count(*) AS n, %s AS x FROM (SELECT k, v %% 4 AS b, max(id) AS m, s FROM a%s GROUP BY ALL) GROUP BY %s",
				g.pick("call", "sum(m)", "median(m)", "list(m ORDER BY m)", "count(DISTINCT s)"), g.where(),
				g.pick("sets", "ROLLUP (k, b)", "CUBE (k, b)", "GROUPING SETS ((k, b), (k))", "CUBE (k, b) HAVING count(*) > 1", "GROUPING SETS ((b), (), (k))"))
		}},
		{"over-groups", 1, 1, func(g *gen) {
			g.set("a", lateWindows, "SELECT window_end, k, n, lag(n) OVER (PARTITION BY k ORDER BY window_end) AS l FROM (SELECT window_end, k, count(*) AS n FROM %s GROUP BY ALL)", tumble(g, "a"))
		}},
		{"enrich-by-agg", 2, 2, func(g *gen) {
			g.set("u", neverLate, "SELECT n, count(*) AS c, max(id) AS most FROM (SELECT x.id, x.k, n FROM a x %sJOIN (SELECT k, count(*) AS n FROM b GROUP BY k) y ON x.k = y.k) GROUP BY n", g.pick("kind", "", "LEFT "))
		}},
	}
}

// drawShape picks one by its weight.
func drawShape(t *rapid.T, from []shape) shape {
	var bag []int
	for i, s := range from {
		for range s.weight {
			bag = append(bag, i)
		}
	}
	return from[rapid.SampledFrom(bag).Draw(t, "shape")]
}
