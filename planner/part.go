package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// newPart makes the input of a partitioned operator from the relation that a SELECT reads: the columns that the
// SELECT names, of the rows that pass its WHERE. The SELECT then reads the kept rows instead.
func (c *compiler) newPart(o *partitioned, node tree, s *scope) (*part, error) {
	p := &part{n: o.n, i: len(o.parts), rel: s.main}
	p.entry = Entry{Table: p.in(), Raw: s.main.raw, Many: !s.main.single}
	o.parts = append(o.parts, p)
	leaf := leafOf(node.sub("from_table"), s)
	from := clone(leaf)
	var where any
	if len(s.aliases) == 1 {
		where, node["where_clause"] = node["where_clause"], nil
	}
	used, all := usedColumns(node, s)
	items := []any{}
	for _, col := range s.main.cols {
		if !all && !used[strings.ToLower(col.Name)] {
			continue
		}
		items = append(items, columnRef("", s.alias, col.Name))
		p.columns = append(p.columns, Column{Column: stream.Column{Name: col.Name, Type: col.Type}, Expr: col.Name})
	}
	p.items, p.from, p.where = items, from, where
	leaf["table_name"], leaf["column_name_alias"] = p.name(), []any{}
	return p, p.render(c, s)
}

// render writes the SELECT of the part's rows.
func (p *part) render(c *compiler, s *scope) error {
	n := selectNode(append(append([]any(nil), p.items...), columnRef("", s.alias, PosColumn)), clone(p.from))
	n["where_clause"] = cloneAny(p.where)
	sql, err := c.render(n)
	if err != nil {
		return err
	}
	p.input = c.chain(sql)
	if p.rel.change {
		p.old = c.before(p.input)
		c.readsOld(p.rel)
	}
	return nil
}

// readsOld notes that somebody reads what the rows of a relation were before the batch.
func (c *compiler) readsOld(rel *relation) {
	for _, t := range rel.tables {
		var n int
		if _, err := fmt.Sscanf(t, "__out%d", &n); err == nil {
			c.wantsOld[n-1] = true
		}
	}
}

// partition says which expressions of the rows are their partition. Those that are no columns become some.
func (p *part) partition(c *compiler, s *scope, exprs []tree) error {
	for i, e := range exprs {
		name := ""
		if _, col := s.lookup(e); col != "" {
			name = col
		}
		m := s.mark(e)
		if name == "" {
			name = fmt.Sprintf("__k%d", i+1)
			sql, err := c.exprSQL(e)
			if err != nil {
				return err
			}
			item := clone(e)
			item["alias"] = name
			cols, err := c.typesOf(item, p.from)
			if err != nil {
				return err
			}
			p.items = append(p.items, item)
			p.columns = append(p.columns, Column{Column: stream.Column{Name: name, Type: cols[0].Type}, Expr: sql})
		}
		p.keys = append(p.keys, name)
		p.marks = append(p.marks, m)
		if m.kind != markNone && !m.absent && m.kind > p.mark.kind && !c.complete() {
			p.timed, p.mark = name, m
		}
	}
	if p.timed != "" {
		p.entry.Late = p.mark.late(duck.QuoteIdent(p.timed))
	}
	return p.render(c, s)
}

// typesOf types an item over a FROM clause.
func (c *compiler) typesOf(item, from tree) ([]duck.Column, error) {
	sql, err := c.render(selectNode([]any{clone(item)}, clone(from)))
	if err != nil {
		return nil, err
	}
	return c.describe(sql)
}

// leafOf returns the table reference of a scope's stream in its FROM clause.
func leafOf(from tree, s *scope) tree {
	var leaf tree
	walk(from, func(t tree) bool {
		if leaf == nil && t.str("type") == "BASE_TABLE" && t.str("table_name") == s.main.name &&
			strings.EqualFold(t.str("alias"), s.alias) {
			leaf = t
		}
		return leaf == nil
	})
	return leaf
}

// usedColumns returns the names of all columns that a SELECT reads, or that it may read every one.
func usedColumns(node tree, s *scope) (used map[string]bool, all bool) {
	used = map[string]bool{}
	walk(node, func(t tree) bool {
		switch t.class() {
		case "STAR":
			r := t.str("relation_name")
			all = all || r == "" || strings.EqualFold(r, s.alias)
		case "COLUMN_REF":
			for _, n := range t.names("column_names") {
				used[strings.ToLower(n)] = true
			}
		case "JOIN":
			for _, n := range t.names("using_columns") {
				used[strings.ToLower(n)] = true
			}
			all = all || t.str("ref_type") == "NATURAL"
		}
		return true
	})
	return used, all || !s.main.single
}
