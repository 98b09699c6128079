package planner

import (
	"strings"
)

// mentions collects the names that a query mentions anywhere, and those of the views that it reads, lower case. It is
// nil if any column may be meant: by a star, a natural join, a position, a list of new names or the name of a whole row.
func (c *compiler) mentions(node tree) map[string]bool {
	out, seen := map[string]bool{}, map[string]bool{}
	alone, rows := map[string]bool{}, map[string]bool{} // names that stand for a value, and those of relations
	all, todo := false, []tree{node}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		walk(next, func(t tree) bool {
			all = all || t.class() == "STAR" || byPlace(t)
			if names := t.names("column_names"); len(names) == 1 {
				alone[strings.ToLower(names[0])] = true
			}
			for _, name := range rowNames(t) {
				rows[name] = true
			}
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
	for name := range alone {
		all = all || rows[name]
	}
	if all {
		return nil
	}
	return out
}

// byPlace reports whether an expression, or what stands in FROM, means columns that it does not name. A subquery with new
// names for its columns names them itself.
func byPlace(t tree) bool {
	renamed := len(t.list("column_name_alias")) > 0 && (t.str("type") == "BASE_TABLE" || isWindow(t.sub("function").function()))
	return renamed || t.class() == "POSITIONAL_REFERENCE" || t.str("ref_type") == "NATURAL"
}

// rowNames are the names that a whole row of what stands in FROM has, lower case.
func rowNames(t tree) []string {
	switch t.str("type") {
	case "BASE_TABLE", "TABLE_FUNCTION", "SUBQUERY", "JOIN":
	default:
		return nil
	}
	var names []string
	for _, name := range []string{t.str("alias"), t.str("table_name"), t.sub("function").str("function_name")} {
		if name != "" {
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

// neverRead returns the names of the declared columns of a source that nothing in the plan reads, lower case: the query
// does not mention them, nor does any statement, state table or computed column. They need not be brought into a batch.
func (c *compiler) neverRead(p *Plan, s *Source) map[string]bool {
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
