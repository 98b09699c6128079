package difftest_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// many are joins of three and four sources and tables, in any order and nesting, bounded in time or not, alone and below other
// operators.
func many() []shape {
	return []shape{
		{"join-many", 3, 3, func(g *gen) {
			from, conds, rels := g.tree(rapid.IntRange(3, 4).Draw(g.t, "relations"))
			g.set("au", lateRows, "SELECT %s FROM %s%s", g.columnsOf(rels), from, g.whereOf(conds, rels))
		}},
		{"join-many-agg", 3, 2, func(g *gen) {
			from, conds, rels := g.tree(3)
			ids := idsOf(rels)
			g.set("uc", lateRows, "SELECT %[1]s.k, %[2]s FROM %[3]s%[4]s GROUP BY %[1]s.k%[5]s", rels[0].alias,
				strings.Join(g.some("call", 1, 3, []string{"count(*) AS n", "sum(" + rels[1].alias + ".v) AS sv", "count(DISTINCT " + rels[2].alias + ".id) AS d",
					fmt.Sprintf("list(%s ORDER BY %s) AS l", rels[2].alias+".id", ids), fmt.Sprintf("first(%s ORDER BY %s) AS f", rels[1].alias+".s", ids),
					fmt.Sprintf("arg_max(%s.id, [%s]) AS am", rels[1].alias, ids)}), ", "), from, g.whereOf(conds, rels), g.pick("having", "", "", " HAVING count(*) > 2"))
		}},
		{"join-many-distinct", 3, 1, func(g *gen) {
			from, conds, rels := g.tree(3)
			g.set("au", lateRows, "SELECT DISTINCT %[1]s.k, %[2]s.v FROM %[3]s%[4]s", rels[0].alias, rels[2].alias, from, g.whereOf(conds, rels))
		}},
		{"join-many-rank", 3, 1, func(g *gen) {
			from, conds, rels := g.tree(3)
			g.set("u", lateRows, "SELECT %[1]s.k, %[5]s, row_number() OVER (PARTITION BY %[1]s.k ORDER BY %[2]s.v DESC, %[6]s) AS rn FROM %[3]s%[4]s QUALIFY rn <= %[7]s",
				rels[0].alias, rels[2].alias, from, g.whereOf(conds, rels), idItems(rels), idsOf(rels), g.pick("n", "1", "2"))
		}},
		{"join-many-cte", 2, 2, func(g *gen) {
			g.set("au", lateRows, "WITH j AS (SELECT x.id, x.k, x.v, y.id AS yid, y.s%s FROM a x JOIN b y ON %s%s) SELECT p.id, p.yid, q.id AS id2, q.yid AS yid2, q.s FROM j p JOIN j q ON %s",
				g.pick("more", "", ", x.w + y.id AS u"), g.equality("x", "y"), g.whereOf(nil, nil), g.pick("second", "p.k = q.k AND p.v = q.v", "p.yid = q.id", "p.k = q.k AND p.id < q.id"))
		}},
		{"join-many-union", 3, 1, func(g *gen) {
			from, conds, rels := g.tree(3)
			g.set("au", lateRows, "SELECT %s FROM %s%s UNION ALL SELECT id, id, id FROM a%s", idItems(rels), from, g.whereOf(conds, rels), g.where())
		}},
	}
}

// member is one of the relations of a tree of joins.
type member struct {
	alias string
	of    string // what it reads
}

func idsOf(rels []member) string {
	out := make([]string, len(rels))
	for i, r := range rels {
		out[i] = r.alias + ".id"
	}
	return strings.Join(out, ", ")
}

func idItems(rels []member) string {
	out := make([]string, len(rels))
	for i, r := range rels {
		out[i] = fmt.Sprintf("%s.id AS id%d", r.alias, i+1)
	}
	return strings.Join(out, ", ")
}

// columnsOf draws a select list with the ids of all relations.
func (g *gen) columnsOf(rels []member) string {
	items := idItems(rels)
	for i, r := range rels {
		for j, col := range g.some("columns of "+r.alias, 0, 3, []string{"k", "s", "f", "d", "day", "ok", "w", "ts"}) {
			items += fmt.Sprintf(", %s.%s AS c%d_%d", r.alias, col, i, j)
		}
	}
	if g.flip("computed item") {
		items += fmt.Sprintf(", coalesce(%s.v, %s.v) + 1 AS e", rels[0].alias, rels[len(rels)-1].alias)
	}
	return items
}

// whereOf draws a WHERE clause beside the conditions of the joins that stand in it.
func (g *gen) whereOf(conds []string, rels []member) string {
	if len(rels) > 0 && rapid.IntRange(0, 2).Draw(g.t, "where") == 0 {
		a, z := rels[0].alias, rels[len(rels)-1].alias
		conds = append(conds, "("+g.pick("condition", a+".v > 20", a+".v <> "+z+".v", a+".id % 3 <> 0 OR "+z+".ok", z+".s LIKE '%x%' AND "+a+".v IS NOT NULL",
			a+".id % 3 = "+z+".id % 3", a+".k IN (SELECT k FROM r)", a+".v / nullif("+z+".v, 0) < 2")+")")
	}
	if len(conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conds, " AND ")
}

func (g *gen) equality(x, y string) string {
	return g.pick("equality", x+".k = "+y+".k", x+".k = "+y+".k", x+".k IS NOT DISTINCT FROM "+y+".k", x+".v = "+y+".v", x+".id % 3 = "+y+".id % 3 AND "+x+".k = "+y+".k",
		x+".k = "+y+".k AND "+x+".v <= "+y+".v", x+".d::DOUBLE = "+y+".d::DOUBLE", x+".s = "+y+".s AND "+x+".id <> "+y+".id", x+".id = "+y+".id")
}

// tree draws a FROM clause of n relations, and the conditions of its joins that stand in WHERE.
func (g *gen) tree(n int) (from string, where []string, rels []member) {
	aliases := []string{"x", "y", "z", "t"}
	rels = make([]member, n)
	for i := range rels {
		rels[i] = member{aliases[i], g.pick("relation", "a", "b", "c", "b", "c", "(SELECT * FROM a WHERE v > 20)", "(SELECT * FROM c)")}
	}
	bounded := g.pick("bounded", "no", "no", "all", "first")
	if bounded != "no" { // a row may be late for one relation and not for another that reads the same source
		g.punctual()
	}
	joins := 0
	on := func(x, y member) string { // behind a join without a bound there may be no bound: what an old row makes there is late
		cond := g.equality(x.alias, y.alias)
		if joins++; bounded == "all" || bounded == "first" && joins == 1 {
			cond += strings.NewReplacer("x.", x.alias+".", "y.", y.alias+".").Replace(g.between())
		}
		return cond
	}
	item := func(m member) string { return m.of + " " + m.alias }
	kind := func() string { return g.pick("kind", "", "", "", "", "LEFT ", "INNER ") }
	if n == 4 && g.flip("bushy") {
		return fmt.Sprintf("(%s JOIN %s ON %s) %sJOIN (%s JOIN %s ON %s) ON %s", item(rels[0]), item(rels[1]), on(rels[0], rels[1]), kind(),
			item(rels[2]), item(rels[3]), on(rels[2], rels[3]), on(rels[rapid.IntRange(0, 1).Draw(g.t, "left")], rels[2])), nil, rels
	}
	if bounded == "no" && g.flip("commas") {
		var items []string
		for i := range rels {
			items = append(items, item(rels[i]))
			if i > 0 {
				where = append(where, on(rels[i-1], rels[i]))
			}
		}
		return strings.Join(items, ", "), where, rels
	}
	from = item(rels[0])
	for i := 1; i < n; i++ {
		with := rels[rapid.IntRange(0, i-1).Draw(g.t, "with")]
		cond := on(with, rels[i])
		if i > 1 && g.flip("with both") {
			cond += fmt.Sprintf(" AND %s.v <> %s.v", rels[0].alias, rels[i].alias)
		}
		from += fmt.Sprintf(" %sJOIN %s ON %s", kind(), item(rels[i]), cond)
	}
	return from, nil, rels
}
