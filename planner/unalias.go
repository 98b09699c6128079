package planner

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// unalias puts the expressions of the select list in the place of their names in WHERE and in OVER calls: a SELECT with
// ranks is taken apart, and where these go its aliases are not known. A name that is a column's means the column, as in
// DuckDB.
func (c *compiler) unalias(node tree, s *scope) error {
	items := node.trees("select_list")
	if !slices.ContainsFunc(items, func(item tree) bool { return item.str("alias") != "" }) {
		return nil
	}
	sql, err := c.render(selectNode([]any{star("")}, clone(node.sub("from_table"))))
	if err != nil {
		return err
	}
	columns, err := c.describe(sql)
	if err != nil {
		return err
	}
	columns = append(columns, s.main.cols...)
	node["where_clause"] = expanded(node["where_clause"], items, columns)
	for _, call := range overCalls(tree{"qualify": node["qualify"]}) {
		expanded(call, items, columns)
	}
	for i, item := range items {
		for _, call := range overCalls(tree{"select_list": item}) {
			expanded(call, items[:i], columns)
		}
	}
	return nil
}

// expanded puts items in the place of their aliases, and those before them in the place of aliases in these.
func expanded(v any, items []tree, columns []duck.Column) any {
	return rewrite(v, func(t tree) (any, bool) {
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || len(names) != 1 {
			return t, t.class() == "SUBQUERY"
		}
		if slices.ContainsFunc(columns, func(col duck.Column) bool { return strings.EqualFold(col.Name, names[0]) }) {
			return t, true
		}
		i := slices.IndexFunc(items, func(item tree) bool { return strings.EqualFold(item.str("alias"), names[0]) })
		if i < 0 || len(overCalls(tree{"select_list": items[i]})) > 0 {
			return t, true
		}
		out := clone(items[i])
		out["alias"] = t.str("alias")
		return expanded(out, items[:i], columns), true
	})
}
