package planner

import (
	"strings"
)

// mentions collects the names that a query mentions anywhere, and those of the views that it reads, lower case. It is
// nil if any column may be meant: by a star, a natural join or a position.
func (c *compiler) mentions(node tree) map[string]bool {
	out, seen := map[string]bool{}, map[string]bool{}
	all, todo := false, []tree{node}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		walk(next, func(t tree) bool {
			all = all || t.class() == "STAR" || t.class() == "POSITIONAL_REFERENCE" || t.str("ref_type") == "NATURAL"
			names := append(t.names("column_names"), t.names("using_columns")...)
			for _, name := range append(names, t.str("table_name")) {
				name = strings.ToLower(name)
				out[name] = true
				if v := c.views[name]; v != nil && !seen[name] { // window calls name it where a column could stand
					seen[name] = true
					todo = append(todo, v.body)
				}
			}
			return true
		})
	}
	if all {
		return nil
	}
	return out
}

// columnsUnread returns the names of the declared columns of a source that nothing in the plan reads, lower case: the query
// does not mention them, nor does any statement, state table or computed column. They need not be brought into a batch.
func (c *compiler) columnsUnread(p *Plan, s *Source) map[string]bool {
	if c.mentioned == nil {
		return nil
	}
	var texts []string
	for _, r := range p.readers() {
		texts = append(texts, r.texts...)
	}
	for _, t := range p.StateTables() {
		for _, col := range t.Columns {
			texts = append(texts, col.Name, col.Expr)
		}
	}
	for _, col := range s.Columns {
		texts = append(texts, col.Expr)
	}
	text, out := strings.Join(texts, "\n"), map[string]bool{}
	for _, col := range s.Columns {
		name := strings.ToLower(col.Name)
		timed := s.Watermark != nil && strings.EqualFold(s.Watermark.Column, col.Name)
		if col.Expr == "" && !timed && !c.mentioned[name] && !Mentions(text, name) {
			out[name] = true
		}
	}
	return out
}
