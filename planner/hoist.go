package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// DuckDB computes a call again wherever it stands: in WHERE and in the select list, for each value of an IN list, each
// branch of a CASE, twice within nullif(). What is worth it is computed once for each row of a source, where the row
// enters the batch.

// hoisted is a column of a source's rows that a query added.
type hoisted struct {
	name, sql, typ string
	cost           int
	shared         bool   // by several SELECTs
	guard          string // of rows of which nobody asks for it; "" if there is none
}

// late reports whether a column is worth a guard. Guards are made of the others.
func (h *hoisted) late() bool { return h.cost >= hoistGain }

// hoistCosts are the functions that are worth being computed once, where they are infallible: for rows that would not have asked
// for them. The number says how much a call costs, where 1 is what keeping a value does.
func hoistCosts() map[string]int {
	return map[string]int{"regexp_extract": 4, "regexp_matches": 4, "regexp_full_match": 4, "regexp_replace": 4,
		"lower": 1, "upper": 1}
}

// hoistGain is the least that must be saved, in the measure of hoistCosts.
const hoistGain = 3

// hoisting is the search through one SELECT over the rows of a source as they come.
type hoisting struct {
	c      *compiler
	s      *scope
	source *Source
	costs  map[string]int
	cost   map[string]int  // by SQL: of one call
	gains  map[string]int  // by SQL: what the calls cost, but the first
	sure   map[string]bool // those that DuckDB computes for about every row
	found  []string        // in order
}

// spot is where an expression stands.
type spot struct {
	times int  // that it is computed
	sure  bool // for about every row, not just those that a condition before it lets through
}

// hoist moves calls of a SELECT to where the rows of its source enter.
func (c *compiler) hoist(node tree, s *scope) error {
	source := c.hoistSource(node, s)
	if source == nil {
		return nil
	}
	h := &hoisting{c: c, s: s, source: source, costs: hoistCosts(), cost: map[string]int{}, gains: map[string]int{},
		sure: map[string]bool{}}
	where := node.sub("where_clause")
	err := h.count(where, spot{1, true})
	if err = both(err, h.count(node["select_list"], spot{1, where == nil})); err != nil {
		return err
	}
	columns := map[string]string{}
	for _, sql := range h.found {
		if h.gains[sql] < hoistGain || !h.sure[sql] {
			continue
		}
		col, err := h.column(sql)
		if err != nil {
			return err
		}
		columns[sql] = col.name
	}
	if len(columns) == 0 {
		return nil
	}
	if err := h.replace(node, columns); err != nil {
		return err
	}
	h.guards(node)
	return nil
}

// hoistSource returns the source whose rows the outermost SELECT reads, if it reads nothing else and no star could show a
// column more: then nobody else reads that source.
func (c *compiler) hoistSource(node tree, s *scope) *Source {
	if c.depth > 1 || c.mentioned == nil || c.mended != nil || !s.main.pos || node.sub("from_table").str("type") != "BASE_TABLE" {
		return nil
	}
	for _, source := range c.app.Sources {
		if source.Name == s.main.name && !source.Open {
			return source
		}
	}
	return nil
}

// sql returns the text of a call that may be hoisted, over the columns of the source alone, or "".
func (h *hoisting) sql(t tree) (string, error) {
	kids := t.trees("children")
	if h.costs[t.function()] == 0 || len(kids) == 0 || h.c.infallible(t, h.textType) == "" {
		return "", nil
	}
	name := h.text(kids[0])
	if name == "" {
		return "", nil
	}
	call := clone(t)
	call["children"] = append([]any{columnRef("", name)}, call.list("children")[1:]...)
	return h.c.exprSQL(call)
}

// text returns the name of the source's column that an expression is, if rows come with it and it is a text, or "".
func (h *hoisting) text(t tree) string {
	if rel, name := h.s.lookup(t); rel != nil && rel == h.s.main && h.declared(name) {
		return name
	}
	return ""
}

func (h *hoisting) textType(t tree) string {
	if h.text(t) == "" {
		return ""
	}
	return textType
}

// declared reports whether a name is that of a text that rows come with.
func (h *hoisting) declared(name string) bool {
	for _, col := range h.source.Columns {
		if col.Name == name {
			return col.Expr == "" && col.Type == "VARCHAR"
		}
	}
	return false
}

// count adds up what the calls below v cost.
func (h *hoisting) count(v any, at spot) error {
	t := asTree(v)
	if t == nil {
		for _, e := range asList(v) {
			if err := h.count(e, at); err != nil {
				return err
			}
		}
		return nil
	}
	sql, err := h.sql(t)
	if err != nil || hasOwnNames(t) {
		return err
	}
	if sql != "" {
		h.add(sql, t, at)
		return nil
	}
	if t.class() == "CASE" || t.str("type") == "CONJUNCTION_AND" {
		at.sure = false
	}
	kids := t.list("children")
	if n := again(t, len(kids)); n > 1 {
		return both(h.count(kids[0], spot{n * at.times, at.sure}), h.count(kids[1:], at))
	}
	for _, key := range sortedKeys(t) {
		if err := h.count(t[key], at); err != nil {
			return err
		}
	}
	return nil
}

// hasOwnNames reports whether names below an expression may be other things than columns of the source.
func hasOwnNames(t tree) bool { return t.class() == "SUBQUERY" || t.class() == "LAMBDA" }

// again is how many times DuckDB computes the first operand.
func again(t tree, operands int) int {
	switch {
	case t.function() == "nullif" && operands == 2:
		return 2
	case t.str("type") == "COMPARE_IN" || t.str("type") == "COMPARE_NOT_IN":
		return operands - 1
	}
	return 1
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

func (h *hoisting) add(sql string, t tree, at spot) {
	cost := h.costs[t.function()]
	if _, seen := h.gains[sql]; !seen {
		h.found = append(h.found, sql)
		h.gains[sql], h.cost[sql] = -cost, cost
	}
	h.gains[sql] += at.times * cost
	h.sure[sql] = h.sure[sql] || at.sure
}

// column returns the column of the source that has the value of a call, and adds it if there is none yet.
func (h *hoisting) column(sql string) (hoisted, error) {
	c, name := h.c, h.source.Name
	for i, col := range c.hoisted[name] {
		if col.sql == sql {
			c.hoisted[name][i].shared = true
			return col, nil
		}
	}
	cols, err := c.describe("SELECT " + sql + " AS x FROM " + duck.QuoteIdent(name))
	if err != nil {
		return hoisted{}, err
	}
	col := hoisted{name: fmt.Sprintf("__c%d", len(c.hoisted[name])+1), sql: sql, typ: cols[0].Type,
		cost: h.cost[sql]}
	c.hoisted[name] = append(c.hoisted[name], col)
	var further []Column
	for _, col := range c.hoisted[name] {
		further = append(further, Column{Column: stream.Column{Name: col.name, Type: col.typ}})
	}
	further = append(further, Column{Column: stream.Column{Name: PosColumn, Type: "BIGINT"}})
	if _, err := c.db.Exec(c.ctx, emptySource(h.source, further...)); err != nil {
		return hoisted{}, fmt.Errorf("prepare source %q: %w", name, err)
	}
	return col, nil
}

// replace puts columns in the place of calls. Items of the select list keep their names.
func (h *hoisting) replace(node tree, columns map[string]string) error {
	var first error
	put := func(v any) any {
		return rewrite(v, func(t tree) (any, bool) {
			if hasOwnNames(t) {
				return t, true
			}
			sql, err := h.sql(t)
			first = both(first, err)
			if columns[sql] == "" {
				return nil, false
			}
			return columnRef(t.str("alias"), h.s.alias, columns[sql]), true
		})
	}
	node["where_clause"] = put(node["where_clause"])
	items := node.list("select_list")
	for i, item := range items {
		before := asTree(item)
		name, err := before.str("alias"), error(nil)
		if name == "" && before.class() != "COLUMN_REF" {
			name, err = h.c.exprSQL(before)
		}
		after := asTree(put(clone(before)))
		first = both(first, err)
		if !same(before, after) {
			after["alias"], items[i] = name, after
		}
	}
	return first
}

// hoistedOnly returns the columns of a source that nothing but hoisted calls reads, lower case.
func (c *compiler) hoistedOnly(p *Plan, s *Source) map[string]bool {
	if len(c.hoisted[s.Name]) == 0 {
		return nil
	}
	var calls, texts []string
	for _, col := range c.hoisted[s.Name] {
		calls = append(calls, col.sql)
	}
	for _, r := range p.readers() {
		texts = append(texts, r.texts...)
	}
	for _, t := range p.StateTables() {
		for _, col := range t.Columns {
			texts = append(texts, col.Name, col.Expr)
		}
	}
	out := map[string]bool{}
	for _, col := range s.Columns {
		timed := s.Watermark != nil && strings.EqualFold(s.Watermark.Column, col.Name)
		if !timed && Mentions(strings.Join(calls, "\n"), col.Name) && !Mentions(strings.Join(texts, "\n"), col.Name) {
			out[strings.ToLower(col.Name)] = true
		}
	}
	return out
}
