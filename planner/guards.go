package planner

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// What is computed where rows enter is computed for each of them, also for those of which nobody asks for it: a CASE has
// another branch for them, an OR has an operand that is true anyhow. Guards name rows of which that is known by what is cheap.

// guard is a condition on a row: a column, which is a text, is equal to a constant.
type guard struct{ column, value string }

// guards are conditions each of which makes an expression the same, whatever the value of some column is.
type guards struct {
	any  bool // the column is not in the expression
	list []guard
}

// and returns the conditions that do so for two expressions.
func (g guards) and(o guards) guards {
	switch {
	case g.any:
		return o
	case o.any:
		return g
	}
	var out guards
	for _, one := range g.list {
		if slices.Contains(o.list, one) {
			out.list = append(out.list, one)
		}
	}
	return out
}

// guardsMax is how many are taken, those that stand first: they are compared one after the other.
const guardsMax = 16

// sql returns the condition that one of them holds, or "".
func (g guards) sql() string {
	var list []string
	for _, one := range g.list {
		if text := duck.QuoteIdent(one.column) + " = " + duck.QuoteLiteral(one.value); !slices.Contains(list, text) {
			list = append(list, text)
		}
	}
	return strings.Join(list[:min(len(list), guardsMax)], " OR ")
}

// guarding is the search for the guards of one column that was hoisted.
type guarding struct {
	h      *hoisting
	column *hoisted
}

// guards finds those of the columns that have come to stand in a SELECT and are worth it.
func (h *hoisting) guards(node tree) {
	all := h.c.hoisted[h.source.Name]
	for i := range all {
		g := guarding{h: h, column: &all[i]}
		if all[i].guard = ""; all[i].late() && !all[i].shared {
			all[i].guard = g.each([]any{node["where_clause"], node["select_list"]}).sql()
		}
	}
}

// of returns the guards of the column in an expression or a list of them.
func (g *guarding) of(v any) guards {
	t := asTree(v)
	switch {
	case t == nil:
		return g.each(asList(v))
	case g.is(t):
		return guards{}
	case hasOwnNames(t):
		return guards{any: true} // calls in it stay there
	}
	var parts []any
	for _, key := range sortedKeys(t) {
		parts = append(parts, t[key])
	}
	out := g.each(parts)
	switch {
	case out.any:
	case t.str("type") == "CONJUNCTION_OR":
		out.list = append(out.list, g.otherOperands(t)...)
	case t.class() == "CASE":
		out.list = append(out.list, g.otherBranches(t)...)
	}
	return out
}

func (g *guarding) each(list []any) guards {
	out := guards{any: true}
	for _, v := range list {
		out = out.and(g.of(v))
	}
	return out
}

// is reports whether an expression is the column.
func (g *guarding) is(t tree) bool { return g.hoisted(t) == g.column }

// hoisted returns the hoisted column that an expression is, or nil.
func (g *guarding) hoisted(t tree) *hoisted {
	names, all := t.names("column_names"), g.h.c.hoisted[g.h.source.Name]
	if t.class() != "COLUMN_REF" || len(names) == 0 {
		return nil
	}
	i := slices.IndexFunc(all, func(col hoisted) bool { return col.name == names[len(names)-1] })
	if i < 0 {
		return nil
	}
	return &all[i]
}

func (g *guarding) in(v any) bool {
	found := false
	walk(v, func(t tree) bool {
		found = found || g.is(t)
		return !found
	})
	return found
}

// otherOperands returns what makes an operand of OR true that has nothing to do with the column. DuckDB may compute those
// that have all the same: with any value of the column they must not fail.
func (g *guarding) otherOperands(or tree) []guard {
	var out []guard
	for _, t := range or.trees("children") {
		switch {
		case !g.in(t):
			out = append(out, g.truths(t)...)
		case !g.sound(t):
			return nil
		}
	}
	return out
}

// otherBranches returns what makes CASE take a branch before the column is met.
func (g *guarding) otherBranches(t tree) []guard {
	var out []guard
	for _, check := range t.trees("case_checks") {
		if g.in(check) {
			break
		}
		out = append(out, g.truths(check.sub("when_expr"))...)
	}
	return out
}

// truths returns conditions each of which makes a condition true.
func (g *guarding) truths(t tree) []guard {
	operands := t.trees("children")
	switch t.str("type") {
	case "CONJUNCTION_OR":
		var out []guard
		for _, operand := range operands {
			out = append(out, g.truths(operand)...)
		}
		return out
	case "COMPARE_EQUAL":
		left, right := t.sub("left"), t.sub("right")
		return append(g.equal(left, right), g.equal(right, left)...)
	case "COMPARE_IN":
		return g.equal(operands[0], operands[1:]...)
	}
	return nil
}

// equal returns the conditions that a text, if it is one, equals the constants among values.
func (g *guarding) equal(t tree, values ...tree) []guard {
	var out []guard
	for _, v := range values {
		if value, ok := literal(v); ok && g.text(t) != "" {
			out = append(out, guard{g.text(t), value})
		}
	}
	return out
}

// text returns the name of the column that an expression is, if it is a text that is there before guarded ones are computed.
func (g *guarding) text(t tree) string {
	if col := g.hoisted(t); col != nil && col.typ == "VARCHAR" && !col.late() {
		return col.name
	}
	return g.h.text(t)
}

// sound reports whether a condition is infallible, with any value of the column.
func (g *guarding) sound(t tree) bool {
	return g.h.c.infallible(t, func(t tree) string {
		switch {
		case g.is(t):
			return g.column.typ
		case g.text(t) != "":
			return textType
		}
		return ""
	}) == truthType
}

// steps returns the select lists by which the rows of a source get the columns that were hoisted from a query: first those
// that guards read, then the guarded ones.
func (c *compiler) steps(s *Source, declared []stream.Column) []string {
	var first, then []string
	guarded := false
	for _, col := range declared {
		first, then = append(first, castAs(col)), append(then, duck.QuoteIdent(col.Name))
	}
	for _, col := range c.hoisted[s.Name] {
		if col.guard == "" {
			first, then = append(first, col.sql+" AS "+col.name), append(then, col.name)
			continue
		}
		guarded = true
		then = append(then, "CASE WHEN "+col.guard+" THEN NULL ELSE "+col.sql+" END AS "+col.name)
	}
	switch {
	case guarded:
		return []string{selection(append(first, PosColumn)), selection(append(then, PosColumn))}
	case len(c.hoisted[s.Name]) > 0:
		return []string{selection(append(first, PosColumn))}
	}
	return nil
}
