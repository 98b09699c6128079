package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// name finds what the query calls its keys and aggregates: an item of the select list that is nothing but one of them
// names it, and its own text names it otherwise.
func (g *grouping) name() {
	names := make([]string, 0, len(g.a.keys)+len(g.a.values))
	for _, k := range g.a.keys {
		names = append(names, strings.Trim(k.Expr, `"`))
	}
	for _, v := range g.a.values {
		names = append(names, v.call)
	}
	for i, item := range g.items {
		n := -1
		if key := g.keyOf(item); key >= 0 {
			n = key
		} else if call := g.callOf(item); call >= 0 {
			n = len(g.a.keys) + call
		}
		if n >= 0 && i < len(g.names) {
			names[n] = g.names[i]
		}
	}
	g.a.names = distinct(names)
}

// distinct numbers the names that come again. Names that differ in case only are the same to DuckDB.
func distinct(names []string) []string {
	seen := map[string]bool{}
	out := make([]string, len(names))
	for i, name := range names {
		out[i] = name
		for n := 2; seen[strings.ToLower(out[i])]; n++ {
			out[i] = fmt.Sprintf("%s_%d", name, n)
		}
		seen[strings.ToLower(out[i])] = true
	}
	return out
}

// readable selects all groups with what their aggregates are by now, under the names of the query.
func (a *aggregate) readable() string {
	plain := *a
	plain.numbered = false
	items := make([]string, 0, len(a.names))
	for i, name := range a.names {
		column := ""
		if i < len(a.keys) {
			column = a.keys[i].Name
		} else {
			column = a.values[i-len(a.keys)].name
		}
		items = append(items, duck.QuoteIdent(column)+" AS "+duck.QuoteIdent(name))
	}
	if len(items) == 0 {
		return ""
	}
	return "SELECT " + strings.Join(items, ", ") + "\nFROM (" + plain.outSQL("SELECT * FROM "+a.state()) + ")"
}

// closes is the time at which the watermark frees a group, or "".
func (a *aggregate) closes() string {
	if !a.timed() {
		return ""
	}
	return a.time.mark.closes(duck.QuoteIdent(a.time.key))
}

// readable is the column with what it is made of.
func (p partial) readable() Column {
	c := p.Column
	if c.Expr != "" {
		return c
	}
	c.Expr = strings.ReplaceAll(p.merge, duck.QuoteIdent(p.Name), p.init)
	return c
}
