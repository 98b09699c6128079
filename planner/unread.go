package planner

import (
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// unreadColumns returns a SELECT of one row of NULLs with the columns that a reference table has, whatever is in the
// file that it could not read: those that its SELECT names, or that read_csv or read_json is told of. It is "" if only
// the file says which they are.
func (c *compiler) unreadColumns(body string) string {
	node, err := c.template(body)
	if err != nil || node.str("type") != "SELECT_NODE" {
		return ""
	}
	var items []string
	for _, item := range node.trees("select_list") {
		if item.class() == "STAR" {
			told := toldColumns(node.sub("from_table").sub("function"))
			if len(told) == 0 || len(node.list("select_list")) > 1 || !plainStar(item) {
				return ""
			}
			return "SELECT " + strings.Join(told, ", ")
		}
		name := item.str("alias")
		if names := item.names("column_names"); name == "" && len(names) > 0 {
			name = names[len(names)-1]
		}
		if name == "" {
			return ""
		}
		items = append(items, nullSQL+" AS "+duck.QuoteIdent(name))
	}
	return "SELECT " + strings.Join(items, ", ")
}

func plainStar(item tree) bool {
	return len(item.list("exclude_list")) == 0 && len(item.list("replace_list")) == 0 && item.sub("expr") == nil
}

// toldColumns returns NULLs of the names and types of columns = {name: 'type', ...} among the arguments of a function.
func toldColumns(fn tree) []string {
	var out []string
	for _, arg := range fn.trees("children") {
		if arg.str("type") != "COMPARE_EQUAL" || !strings.EqualFold(strings.Join(arg.sub("left").names("column_names"), "."), "columns") {
			continue
		}
		for _, col := range arg.sub("right").trees("children") {
			typ := constantText(col)
			if typ == "" || col.str("alias") == "" {
				return nil
			}
			out = append(out, "CAST(NULL AS "+typ+") AS "+duck.QuoteIdent(col.str("alias")))
		}
	}
	return out
}

// knownRelation puts a row of NULLs in the place of a table that can not be read but whose columns are known.
func (c *compiler) knownRelation(t tree, sql string) error {
	node, err := c.template(sql)
	if err != nil {
		return err
	}
	walk(node, func(n tree) bool {
		n["query_location"] = synthetic
		return true
	})
	alias, columns, location := relationAlias(t), t.list("column_name_alias"), t["query_location"]
	clear(t)
	t["type"], t["alias"], t["sample"], t["query_location"] = "SUBQUERY", alias, nil, location
	t["subquery"], t["column_name_alias"] = tree{"node": node}, append([]any{}, columns...)
	return nil
}
