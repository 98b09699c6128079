package difftest_test

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// lateness says which rows a query leaves out because they came too late.
type lateness int

const (
	neverLate   lateness = iota // none, whatever the watermark
	lateWindows                 // the pairs of row and window whose window had ended
	lateTimes                   // rows whose event time had passed
	lateRows                    // those that the engine keeps as late letters
)

// query is a body as the engine gets it, and with its marks as plain DuckDB does: {ord} is an order of the
// log inside a call, {,ord} more of an order that is there, {pos} the columns that carry it through a
// SELECT, {*} all columns of a source, {every} before a window call one that leaves no pair out, {open:x}
// the rows of source x that were not late by their event time, {a} and {b} the rows of a source that have one.
type query struct {
	shape    string
	modes    string // letters of append, update, complete
	before   []string
	body     string
	late     lateness
	lateFrom string       // FROM … WHERE … of the rows that can be late, over windows none of which is left out; "" if not known
	near     map[int]bool // result columns that are the same to 1e-9
}

func (q query) streamed(text string) string {
	text = strings.NewReplacer("{ord}", "", "{,ord}", "", "{pos}", "", "{*}", "*", "{every}", "", "{a}", "a", "{b}", "b").Replace(text)
	for strings.Contains(text, "{open:") {
		before, rest, _ := strings.Cut(text, "{open:")
		name, after, _ := strings.Cut(rest, "}")
		text = before + name + after
	}
	return text
}

func (q query) plain(text string) string {
	text = strings.NewReplacer("{ord}", " ORDER BY __ord", "{,ord}", ", __ord", "{pos}", ", __ord, __late",
		"{*}", "* EXCLUDE (__ord, __late)", "{every}", "every_",
		"{a}", "(SELECT * FROM a WHERE ts IS NOT NULL)", "{b}", "(SELECT * FROM b WHERE ts IS NOT NULL)").Replace(text)
	for strings.Contains(text, "{open:") {
		before, rest, _ := strings.Cut(text, "{open:")
		name, after, _ := strings.Cut(rest, "}")
		text = before + "(SELECT * FROM " + name + " WHERE __late IS NULL OR ts > __late)" + after
	}
	return text
}

// gen draws queries over a world.
type gen struct {
	*world
	q query
}

func (g *gen) pick(what string, from ...string) string {
	return rapid.SampledFrom(from).Draw(g.t, what)
}

func (g *gen) flip(what string) bool { return rapid.Bool().Draw(g.t, what) }

// some draws between least and most different ones.
func (g *gen) some(what string, least, most int, from []string) []string {
	n := rapid.IntRange(least, min(most, len(from))).Draw(g.t, what+" count")
	at := rapid.IntRange(0, len(from)-1).Draw(g.t, what)
	step := 1
	if len(from) > 2 {
		step = rapid.SampledFrom([]int{1, 1, 2}).Draw(g.t, what+" step")
	}
	var out []string
	for len(out) < n {
		found := false
		for _, have := range out {
			found = found || have == from[at%len(from)]
		}
		if !found {
			out = append(out, from[at%len(from)])
			at += step
			continue
		}
		at++
	}
	return out
}

func (g *gen) filter() string {
	return g.pick("filter", "v > 40", "ok", "k IS NOT NULL", "v IS NULL OR v % 2 = 1", "s LIKE '%x%'", "f < 1", "d >= 0.3",
		"id % 3 <> 0", "day > DATE '2000-01-01' OR s = 'it''s'", "k IN (SELECT k FROM r)", "NOT coalesce(ok, false)")
}

func (g *gen) where() string {
	if rapid.IntRange(0, 2).Draw(g.t, "where") > 0 {
		return ""
	}
	return " WHERE " + g.filter()
}

func (g *gen) scalars() []string {
	return append(oddScalars(), "v + 1", "k", "s", "d", "f", "ok", "w", "day", "upper(s)", "CASE WHEN v > 40 THEN 'hi' WHEN ok THEN s END",
		"coalesce(v, -1) * 2", "d * 2", "f / 3", "s || '!'", "ts", "[v, id]", "struct_pack(n := v, t := s)", "length(s)",
		"twice(v)", "day + 1", "epoch_us(ts)")
}

// input is what a query reads instead of a bare source: the source, a view over it, or a CTE; name is what
// stands in FROM and in window calls.
func (g *gen) input(s *source) (with, name string) {
	cols := "id, k, v, s, f, ok, day, d, w, ts"
	switch g.pick("input", "bare", "bare", "view", "cte", "star view") {
	case "view":
		g.q.before = append(g.q.before, fmt.Sprintf("CREATE VIEW v_%s AS SELECT %s{pos} FROM %s%s;", s.name, cols, s.name, g.where()))
		return "", "v_" + s.name
	case "star view":
		g.q.before = append(g.q.before, fmt.Sprintf("CREATE VIEW v_%s AS SELECT * FROM %s;", s.name, s.name))
		return "", "v_" + s.name
	case "cte":
		return fmt.Sprintf("WITH c_%s AS (SELECT %s{pos} FROM %s%s) ", s.name, cols, s.name, g.where()), "c_" + s.name
	}
	return "", s.name
}

// windowCall is tumble() or hop() over a name.
func (g *gen) windowCall(name, kind string) string {
	if kind == "hop" {
		return fmt.Sprintf("hop(%s, ts, INTERVAL '%s', INTERVAL '10 seconds')", name, g.pick("slide", "5 seconds", "2 seconds", "10 seconds"))
	}
	size := g.pick("size", "5 seconds", "7 seconds", "1 minute", "1500 milliseconds")
	if g.flip("offset") {
		return fmt.Sprintf("tumble(%s, ts, INTERVAL '%s', INTERVAL '%s')", name, size, g.pick("shift", "1 second", "-2 seconds"))
	}
	return fmt.Sprintf("tumble(%s, ts, INTERVAL '%s')", name, size)
}

// exactCalls are aggregate calls whose answer is the same to the last bit, order made explicit. Which of
// two zeros that differ in sign is at a quantile is not said by an order: adding zero makes them one.
func exactCalls() []string {
	return []string{
		"count(*)", "count(v)", "sum(v)", "sum(w)", "sum(d)", "sum(f{ord})", "min(v)", "max(s)", "min(ts)", "max(d)", "max(day)",
		"avg(v)", "avg(d)", "avg(f{ord})", "bool_and(ok)", "bool_or(v > 50)", "bit_xor(v)", "bit_or(id)",
		"count(DISTINCT k)", "count(DISTINCT s)", "sum(DISTINCT v)", "count(DISTINCT (k, v))", "count(*) FILTER (WHERE v > 50)",
		"sum(f{ord}) FILTER (WHERE ok)", "avg(DISTINCT v)", "max(v) FILTER (WHERE s = 'x')",
		"median(v)", "quantile_cont(f, 0.25) + 0.0", "quantile_disc(v, [0.1, 0.9])", "mode(k{ord})", "list(v{ord})", "list(s{ord})",
		"string_agg(s, '|'{ord})", "histogram(v)", "first(v{ord})", "last(s{ord})", "any_value(v{ord})", "last(id{ord})",
		"arg_max(id, v{ord})", "arg_min(s, v{ord})", "max_by(v, d{ord})", "list(v ORDER BY s DESC NULLS LAST{,ord})",
		"list(DISTINCT v ORDER BY v)", "string_agg(s, ',' ORDER BY id DESC)", "list(k{ord}) FILTER (WHERE v < 60)",
		"first(id ORDER BY d, v DESC{,ord})", "fsum(f{ord})", "approx_count_distinct(v)", "sum(v) * 2 + count(*)",
		"max(v) - min(v)", "coalesce(sum(v), 0) / count(*)", "CASE WHEN count(*) > 2 THEN 'many' ELSE 'few' END",
		"list(v{ord})[1]", "array_length(list(id{ord}))", "entropy(v % 2 = 0)", "min(f)", "max(f)",
	}
}

// nearCalls add up floating-point numbers in a way that no order is promised for: their moments are merged.
func nearCalls() []string {
	return []string{"stddev(v)", "var_pop(v)", "corr(v, id)", "stddev_samp(d::DOUBLE)", "covar_pop(v, id)", "regr_slope(v, id)"}
}

// calls draws the aggregate calls of a SELECT that has first columns before them.
func (g *gen) calls(first int) string {
	var out []string
	for i, call := range g.some("call", 1, 4, append(exactCalls(), oddCalls()...)) {
		out = append(out, fmt.Sprintf("%s AS a%d", call, i+1))
	}
	if rapid.IntRange(0, 7).Draw(g.t, "moment") == 0 {
		if g.q.near == nil {
			g.q.near = map[int]bool{}
		}
		g.q.near[first+len(out)] = true
		out = append(out, g.pick("moment call", nearCalls()...)+" AS m1")
	}
	return strings.Join(out, ", ")
}

// keys draws the keys of a group beside its time.
func (g *gen) keys(least int) []string {
	list := g.some("key", least, 2, append(oddGroups(), "k", "s", "ok", "day", "v % 3", "upper(s)", "d", "CASE WHEN v > 40 THEN 'hi' ELSE 'lo' END", "f"))
	out := make([]string, len(list))
	for i, k := range list {
		out[i] = fmt.Sprintf("%s AS g%d", k, i+1)
	}
	return out
}

func (g *gen) having() string {
	if rapid.IntRange(0, 3).Draw(g.t, "having") > 0 {
		return ""
	}
	return " HAVING " + g.pick("condition", "count(*) > 1", "sum(v) BETWEEN 30 AND 150", "max(id) % 2 = 0", "count(DISTINCT s) < 2")
}

// grouped writes a GROUP BY over the first n items of the SELECT.
func (g *gen) grouped(n int) string {
	if n == 0 {
		return ""
	}
	if g.flip("group by all") {
		return " GROUP BY ALL"
	}
	places := make([]string, n)
	for i := range places {
		places[i] = fmt.Sprint(i + 1)
	}
	return " GROUP BY " + strings.Join(places, ", ")
}
