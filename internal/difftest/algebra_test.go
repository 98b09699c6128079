package difftest_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// algebra are queries of up to four operators in a row, each drawn at random over the rows of the one below,
// whatever they are: added, replaced or taken back. All relations have the columns g, n and sv, and those of
// windows ws before them, so that each fits over each. Rows of these cases are never late.
func algebra() []shape {
	return []shape{
		{"algebra", 2, 4, func(g *gen) { g.algebra("uc", "") }},
		{"algebra-window", 2, 3, func(g *gen) { g.algebra("auc", "ws, ") }},
	}
}

// punctual makes a case one in which no row can be late.
func (g *gen) punctual() {
	g.late, g.policy = false, "min"
	for _, s := range g.sources {
		s.delay = max(s.delay, rapid.IntRange(4*disorder, 5*disorder).Draw(g.t, "long delay"))
	}
}

// algebra stacks relations; by is "ws, " if all of them are of windows, else "".
func (g *gen) algebra(modes, by string) {
	g.punctual()
	window := ""
	if by != "" {
		window = g.pick("windows", "tumble(%s, ts, INTERVAL '5 seconds')", "hop(%s, ts, INTERVAL '5 seconds', INTERVAL '10 seconds')")
	}
	var with []string
	fresh := func(sql string) string {
		name := fmt.Sprintf("i%d", len(with))
		with = append(with, name+" AS ("+sql+")")
		return name
	}
	base := func(s string) string {
		if by != "" {
			return fresh("SELECT window_start AS ws, v % 4 AS g, id % 5 AS n, w AS sv FROM " + fmt.Sprintf(window, s) + g.where())
		}
		return fresh("SELECT v % 4 AS g, id % 5 AS n, w AS sv FROM " + s + g.where())
	}
	top := base("a")
	for range rapid.IntRange(1, 3).Draw(g.t, "operators") {
		top = fresh(g.over(top, by, func() string {
			other := base(g.pick("other", "b", "b", "a"))
			if g.pick("other is", "rows", "rows", "groups") == "groups" {
				return fresh(g.groups(other, by))
			}
			return other
		}))
	}
	if g.pick("total", "no", "no", "yes") == "yes" { // over rows of all windows and groups, whatever names them
		top = fresh("SELECT " + strings.Repeat("TIMESTAMP '2026-01-01' AS ws, ", len(by)/4) + "count(g) AS g, count(*) + coalesce(sum(n), 0)::BIGINT AS n, sum(sv)::BIGINT AS sv FROM " + top)
	}
	g.set(modes, neverLate, "%s", "WITH "+strings.Join(with, ", ")+" SELECT "+by+"g, n, sv FROM "+top)
}

// groups is an aggregate by g.
func (g *gen) groups(from, by string) string {
	return fmt.Sprintf("SELECT %sg, %s AS n, %s AS sv FROM %s GROUP BY %sg%s", by, g.pick("n", "count(*)", "max(n)", "count(DISTINCT n)", "min(n)"),
		g.pick("sv", "sum(sv)::BIGINT", "max(sv)", "count(sv)", "sum(DISTINCT sv)::BIGINT", "min(sv)"), from, by,
		g.pick("having", "", "", "", " HAVING count(*) > 1", " HAVING max(n) > 2"))
}

// over is an operator over the rows of a relation; other draws another one.
func (g *gen) over(from, by string, other func() string) string {
	ws := strings.TrimSuffix(by, ", ")
	same := func(x, y string) string {
		on := g.pick("on", x+".g = "+y+".g", x+".g = "+y+".g", x+".g IS NOT DISTINCT FROM "+y+".g", x+".g = "+y+".g AND "+x+".n <= "+y+".n")
		if ws != "" {
			on += fmt.Sprintf(" AND %s.ws = %s.ws", x, y)
		}
		return on
	}
	first := func(x string) string {
		if ws != "" {
			return x + ".ws, "
		}
		return ""
	}
	switch g.pick("operator", "group", "group", "group less", "sets", "global", "rank", "distinct", "join", "outer", "semi", "set", "union", "filter", "reference") {
	case "group":
		return g.groups(from, by)
	case "group less":
		return fmt.Sprintf("SELECT %sn %% 2 AS g, count(*) AS n, sum(sv)::BIGINT AS sv FROM %s GROUP BY %sn %% 2", by, from, by)
	case "sets":
		return fmt.Sprintf("SELECT %sg, %s AS n, %s AS sv FROM %s GROUP BY %s%s", by,
			g.pick("n", "grouping(g)", "grouping(g)", "count(*) + 10 * grouping(g)"),
			g.pick("sv", "sum(sv)::BIGINT", "max(sv)", "count(DISTINCT n)"), from, by, g.pick("sets", "ROLLUP (g)", "CUBE (g)"))
	case "global":
		group := ""
		if ws != "" {
			group = " GROUP BY " + ws
		}
		return fmt.Sprintf("SELECT %s7 AS g, count(*) AS n, %s AS sv FROM %s%s", by, g.pick("sv", "sum(sv)::BIGINT", "max(n)", "min(sv)"), from, group)
	case "rank":
		return fmt.Sprintf("SELECT %sg, n, sv FROM %s QUALIFY %s OVER (PARTITION BY %sg ORDER BY %s) <= %s", by, from,
			g.pick("rank", "row_number()", "row_number()", "rank()", "dense_rank()"), by,
			g.pick("order", "n DESC, sv, g", "sv, n", "sv DESC NULLS LAST, n"), g.pick("at most", "1", "2"))
	case "distinct":
		return fmt.Sprintf("SELECT DISTINCT %sg, n, %s FROM %s", by, g.pick("sv", "sv", "NULL::BIGINT AS sv", "sv % 2 AS sv"), from)
	case "join":
		return fmt.Sprintf("SELECT %sx.g, x.n, y.sv FROM %s x JOIN %s y ON %s", first("x"), from, other(), same("x", "y"))
	case "outer":
		kind := g.pick("kind", "LEFT", "LEFT", "RIGHT", "FULL")
		side := map[string]string{"LEFT": "x", "RIGHT": "y", "FULL": "x"}[kind]
		return fmt.Sprintf("SELECT %s%s.g, x.n, y.sv FROM %s x %s JOIN %s y ON %s", first(side), side, from, kind, other(), same("x", "y"))
	case "semi":
		return fmt.Sprintf("SELECT %sx.g, x.n, x.sv FROM %s x %s JOIN %s y ON %s", first("x"), from, g.pick("kind", "SEMI", "ANTI"), other(), same("x", "y"))
	case "set":
		return fmt.Sprintf("SELECT %sg, n, sv FROM %s %s SELECT %sg, n, sv FROM %s", by, from,
			g.pick("set", "INTERSECT", "EXCEPT", "UNION", "INTERSECT ALL", "EXCEPT ALL"), by, other())
	case "union":
		return fmt.Sprintf("SELECT %sg, n, sv FROM %s UNION ALL SELECT %sg, n, sv FROM %s", by, from, by, other())
	case "filter":
		return fmt.Sprintf("SELECT %sg, n, sv FROM %s WHERE %s", by, from, g.pick("condition", "n > 1", "g IS NOT NULL", "n % 2 = 0 OR sv > 3"))
	}
	return fmt.Sprintf("SELECT %sx.g, x.n, r.lim::BIGINT AS sv FROM %s x %s JOIN r ON x.n %% 20 = r.lim %% 20", first("x"), from, g.pick("kind", "", "LEFT"))
}
