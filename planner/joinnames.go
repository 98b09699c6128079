package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// names is what the expressions over a FROM clause may name, once columns no longer stand where the text has them.
type names struct {
	columns []*visible // in the order of a star
}

// visible is a column as the query knows it.
type visible struct {
	alias, name string
	expr        tree    // what it is over the compiled FROM
	merged      *merged // the USING column that it is part of, or nil
}

// merged is a column that USING makes of two.
type merged struct{ expr tree }

func (n *names) hasAlias(alias string) bool {
	for _, v := range n.columns {
		if strings.EqualFold(v.alias, alias) {
			return true
		}
	}
	return false
}

// bare returns what a name without a relation means, or nil.
func (n *names) bare(name string) tree {
	for _, v := range n.columns {
		if !strings.EqualFold(v.name, name) {
			continue
		}
		if v.merged != nil {
			return v.merged.expr
		}
		return v.expr
	}
	return nil
}

// resolve returns what the parts of a reference mean, with the fields of a struct taken out, or nil.
func (n *names) resolve(parts []string) tree {
	if len(parts) > 1 {
		for _, v := range n.columns {
			if strings.EqualFold(v.alias, parts[0]) && strings.EqualFold(v.name, parts[1]) {
				return fields(clone(v.expr), parts[2:])
			}
		}
	}
	if e := n.bare(parts[0]); e != nil {
		return fields(clone(e), parts[1:])
	}
	return nil
}

// fields takes nested fields out of a struct.
func fields(e tree, path []string) tree {
	for _, name := range path {
		e = call("struct_extract", "", e, stringConstant(name))
	}
	return e
}

// stringConstant is a string constant.
func stringConstant(s string) tree {
	return tree{"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": synthetic,
		"value": tree{"type": tree{"id": "VARCHAR", "type_info": nil}, "is_null": false, "value": s}}
}

func coalesce(args ...tree) tree {
	return tree{"class": "OPERATOR", "type": "OPERATOR_COALESCE", "alias": "", "query_location": synthetic,
		"children": itemList(args)}
}

func comparison(kind string, l, r tree) tree {
	return tree{"class": "COMPARISON", "type": kind, "alias": "", "query_location": synthetic, "left": l, "right": r}
}

// conjunction is the AND of conditions, nil for none.
func conjunction(parts []tree) any {
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	return tree{"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "alias": "", "query_location": synthetic,
		"children": itemList(parts)}
}

// conjuncts takes a condition apart at its ANDs. BETWEEN is two of them.
func conjuncts(t tree) []tree {
	switch {
	case t == nil:
		return nil
	case t.str("type") == "CONJUNCTION_AND":
		var out []tree
		for _, child := range t.trees("children") {
			out = append(out, conjuncts(child)...)
		}
		return out
	case t.str("type") == "COMPARE_BETWEEN":
		low := comparison("COMPARE_GREATERTHANOREQUALTO", t.sub("input"), t.sub("lower"))
		high := comparison("COMPARE_LESSTHANOREQUALTO", clone(t.sub("input")), t.sub("upper"))
		low["query_location"], high["query_location"] = t["query_location"], t["query_location"]
		return []tree{low, high}
	}
	return []tree{t}
}

// namesOf lists what a compiled FROM clause shows.
func (c *compiler) namesOf(t tree) (*names, error) { return c.namesIn(t, t) }

func (c *compiler) namesIn(t, whole tree) (*names, error) {
	switch t.str("type") {
	case emptyFrom:
		return &names{}, nil
	case "JOIN":
		l, err := c.namesIn(t.sub("left"), whole)
		if err != nil || !twoSided(t.str("join_type")) {
			return l, err
		}
		r, err := c.namesIn(t.sub("right"), whole)
		if err != nil {
			return nil, err
		}
		using, err := usingColumns(t, l, r)
		return merge(l, r, using, t.str("join_type")), err
	case "BASE_TABLE":
		if n := c.joined[t.str("table_name")]; n != nil {
			return n, nil
		}
	}
	return c.leafNames(t, whole)
}

// twoSided reports whether a join of that type shows the columns of both sides.
func twoSided(kind string) bool { return kind != "SEMI" && kind != "ANTI" }

// leafNames asks DuckDB for the columns of one relation.
func (c *compiler) leafNames(t, whole tree) (*names, error) {
	alias := t.str("alias")
	if alias == "" {
		switch t.str("type") {
		case "BASE_TABLE":
			alias = t.str("table_name")
		case "TABLE_FUNCTION":
			alias = t.sub("function").function()
		default:
			alias = c.fresh("unnamed")
			t["alias"] = alias
		}
	}
	sql, err := c.render(selectNode([]any{star(alias)}, clone(whole)))
	if err != nil {
		return nil, err
	}
	cols, err := c.describe(sql)
	if err != nil {
		return nil, err
	}
	n := &names{}
	for _, col := range cols {
		if col.Name != PosColumn {
			n.columns = append(n.columns, &visible{alias: alias, name: col.Name, expr: columnRef("", alias, col.Name)})
		}
	}
	return n, nil
}

// usingColumns lists the columns that a join compares by their name.
func usingColumns(t tree, l, r *names) ([]string, error) {
	if t.str("ref_type") != "NATURAL" {
		return t.names("using_columns"), nil
	}
	var out []string
	seen := map[string]bool{}
	for _, v := range l.columns {
		if key := strings.ToLower(v.name); !seen[key] && r.bare(v.name) != nil {
			seen[key] = true
			out = append(out, v.name)
		}
	}
	return out, nil
}

// merge puts the names of two sides together; those of using are one column from here on.
func merge(l, r *names, using []string, kind string) *names {
	out := &names{}
	for _, v := range append(append([]*visible(nil), l.columns...), r.columns...) {
		w := *v
		out.columns = append(out.columns, &w)
	}
	for _, name := range using {
		le, re := l.bare(name), r.bare(name)
		if le == nil || re == nil {
			continue
		}
		m := &merged{expr: le}
		switch kind {
		case "RIGHT":
			m.expr = re
		case "FULL", "OUTER":
			m.expr = coalesce(clone(le), clone(re))
		}
		for _, v := range out.columns {
			if strings.EqualFold(v.name, name) {
				v.merged = m
			}
		}
	}
	return out
}

// moved gives every column another expression. Those that at leaves out are gone.
func (n *names) moved(at func(i int, v *visible) tree) *names {
	exprs := make([]tree, len(n.columns))
	for i, v := range n.columns {
		exprs[i] = at(i, v)
	}
	out, seen := &names{}, map[*merged]*merged{}
	for i, v := range n.columns {
		if exprs[i] == nil {
			continue
		}
		w := &visible{alias: v.alias, name: v.name, expr: exprs[i]}
		if v.merged != nil && seen[v.merged] == nil {
			seen[v.merged] = &merged{expr: n.carry(clone(v.merged.expr), exprs)}
		}
		if v.merged != nil {
			w.merged = seen[v.merged]
		}
		out.columns = append(out.columns, w)
	}
	return out
}

// carry replaces the columns in an expression over the old FROM by what they have become.
func (n *names) carry(expr tree, exprs []tree) tree {
	return asTree(rewrite(expr, func(t tree) (any, bool) {
		if t.class() != "COLUMN_REF" {
			return nil, false
		}
		for i, v := range n.columns {
			if exprs[i] != nil && same(v.expr, t) {
				return clone(exprs[i]), true
			}
		}
		return t, true
	}))
}

// resolver gives the meaning of a reference, or nil if it is not one to replace.
type resolver func(parts []string) tree

// replaceRefs rewrites the references in an expression, also those that its subqueries make to the outside.
func (c *compiler) replaceRefs(v any, find resolver) any {
	return rewrite(v, func(t tree) (any, bool) {
		switch {
		case t.class() == "COLUMN_REF":
			e := find(t.names("column_names"))
			if e == nil {
				return t, true
			}
			e["alias"], e["query_location"] = t["alias"], t["query_location"]
			return e, true
		case t.str("class") == "SUBQUERY":
			t["child"] = c.replaceRefs(t["child"], find)
			c.replaceInQuery(t.sub("subquery").sub("node"), find)
			return t, true
		case t.str("type") == "SUBQUERY":
			c.replaceInQuery(t.sub("subquery").sub("node"), find)
			return t, true
		case lambdas(t):
			for i, child := range t.list("children") {
				t.list("children")[i] = c.replaceInLambda(child, find)
			}
			return t, true
		}
		return nil, false
	})
}

// lambdas reports whether the arguments of a call may be lambdas. Elsewhere an arrow takes a value out of JSON.
func lambdas(t tree) bool {
	switch strings.TrimPrefix(strings.TrimPrefix(t.function(), "list_"), "array_") {
	case "transform", "apply", "filter", "reduce":
		return true
	}
	return false
}

// replaceInLambda leaves the parameters of a lambda alone.
func (c *compiler) replaceInLambda(arg any, find resolver) any {
	t := asTree(arg)
	if t == nil || t.class() != "LAMBDA" {
		return c.replaceRefs(arg, find)
	}
	params := map[string]bool{}
	walk(t["lhs"], func(p tree) bool {
		for _, name := range p.names("column_names") {
			params[strings.ToLower(name)] = true
		}
		return true
	})
	t["expr"] = c.replaceRefs(t["expr"], func(parts []string) tree {
		if params[strings.ToLower(parts[0])] {
			return nil
		}
		return find(parts)
	})
	return t
}

// replaceInQuery rewrites what a subquery reads of the outside: what its own FROM does not have.
func (c *compiler) replaceInQuery(node tree, find resolver) {
	if node == nil {
		return
	}
	if node.class() != "SELECT_NODE" {
		for _, side := range []string{"left", "right", "child"} {
			c.replaceInQuery(node.sub(side), find)
		}
		return
	}
	aliases := map[string]bool{}
	walk(node["from_table"], func(t tree) bool {
		aliases[strings.ToLower(t.str("alias"))] = true
		aliases[strings.ToLower(t.str("table_name"))] = true
		return t.str("type") != "SUBQUERY"
	})
	own, err := c.namesOf(clone(node.sub("from_table")))
	inner := func(parts []string) tree {
		if len(parts) > 1 && aliases[strings.ToLower(parts[0])] {
			return nil
		}
		if err == nil && own.bare(parts[0]) != nil {
			return nil
		}
		if err != nil && len(parts) == 1 {
			return nil // what a relation that reads the outside has is known by DuckDB alone
		}
		return find(parts)
	}
	for _, k := range sortedKeys(node) {
		node[k] = c.replaceRefs(node[k], inner)
	}
}

// rename makes the expressions of a SELECT name the columns of the joins in its FROM. Result columns keep their names.
func (c *compiler) rename(node tree, n *names) error {
	taken := map[string]bool{}
	for _, item := range node.trees("select_list") {
		taken[strings.ToLower(item.str("alias"))] = true
	}
	delete(taken, "")
	if err := c.renameItems(node, n); err != nil {
		return err
	}
	for _, part := range []string{"where_clause", "group_expressions", "having", "qualify", "modifiers"} {
		if err := c.wholeRows(node[part], n); err != nil {
			return err
		}
		find := n.resolve
		if part == "having" || part == "qualify" || part == "modifiers" {
			find = func(parts []string) tree {
				if len(parts) == 1 && taken[strings.ToLower(parts[0])] {
					return nil
				}
				return n.resolve(parts)
			}
		}
		node[part] = c.replaceRefs(node[part], find)
	}
	return nil
}

func (c *compiler) renameItems(node tree, n *names) error {
	var items []any
	for _, item := range node.trees("select_list") {
		if item.class() == "STAR" && item.sub("expr") == nil && !item.flag("columns") {
			expanded, err := c.expandStar(item, n)
			if err != nil {
				return err
			}
			items = append(items, expanded...)
			continue
		}
		if err := c.wholeRows(item, n); err != nil {
			return err
		}
		list := []any{item}
		unnamed := unnamedItems(tree{"select_list": list})
		list[0] = c.replaceRefs(item, n.resolve)
		for _, u := range unnamed {
			if &u.list[0] == &list[0] {
				if err := c.keepName(u); err != nil {
					return err
				}
				break
			}
		}
		items = append(items, list[0])
	}
	node["select_list"] = items
	return nil
}

// expandStar writes out a star over joins.
func (c *compiler) expandStar(t tree, n *names) ([]any, error) {
	gone, other := map[string]bool{}, map[string]tree{}
	for _, name := range t.names("exclude_list") {
		gone[strings.ToLower(name)] = true
	}
	for _, r := range t.trees("replace_list") {
		other[strings.ToLower(r.str("key"))] = r.sub("value")
	}
	relation := t.str("relation_name")
	var items []any
	seen := map[*merged]bool{}
	for _, v := range n.columns {
		key := strings.ToLower(v.name)
		if gone[key] || relation != "" && !strings.EqualFold(relation, v.alias) {
			continue
		}
		item := clone(v.expr)
		if v.merged != nil && relation == "" {
			if seen[v.merged] {
				continue
			}
			seen[v.merged], item = true, clone(v.merged.expr)
		}
		if r := other[key]; r != nil {
			if err := c.wholeRows(r, n); err != nil {
				return nil, err
			}
			item = asTree(c.replaceRefs(clone(r), n.resolve))
		}
		item["alias"], item["query_location"] = v.name, t["query_location"]
		items = append(items, item)
	}
	return items, nil
}

// wholeRows refuses what takes all columns at once other than by a plain star.
func (c *compiler) wholeRows(v any, n *names) error {
	var fault error
	walk(v, func(t tree) bool {
		parts := t.names("column_names")
		switch {
		case fault != nil || t.str("class") == "SUBQUERY" || t.str("type") == "SUBQUERY" || t.class() == "LAMBDA":
			return false
		case t.class() == "STAR" && t.str("class") == "STAR" && (t.flag("columns") || t.sub("expr") != nil):
			fault = c.errAt(diag.ShapeUnsupported, t, "COLUMNS() over a join of streams is not supported").
				WithHint("name the columns, or use * with EXCLUDE and REPLACE")
		case t.class() == "COLUMN_REF" && len(parts) == 1 && n.hasAlias(parts[0]) && n.bare(parts[0]) == nil:
			fault = c.errAt(diag.ShapeUnsupported, t, "%q as one value of all columns is not supported on a stream",
				parts[0]).WithHint("write struct_pack() of the columns")
		}
		return fault == nil
	})
	return fault
}

// wanted collects the names that a SELECT mentions anywhere, lower case; nil if it may mean any.
func wanted(node tree) map[string]bool {
	out, all := map[string]bool{}, false
	walk(node, func(t tree) bool {
		all = all || byPlace(t)
		for _, list := range []string{"column_names", "using_columns"} {
			for _, name := range t.names(list) {
				out[strings.ToLower(name)] = true
			}
		}
		return true
	})
	for _, part := range []string{"select_list", "where_clause", "group_expressions", "having", "qualify", "modifiers"} {
		walk(node[part], func(t tree) bool {
			all = all || t.class() == "STAR"
			return t.class() != "SUBQUERY"
		})
	}
	if all {
		return nil
	}
	return out
}

// uniqueName makes a column name that is not taken yet.
func uniqueName(name string, taken map[string]bool) string {
	out := name
	for i := 2; taken[strings.ToLower(out)]; i++ {
		out = fmt.Sprintf("%s.%d", name, i)
	}
	taken[strings.ToLower(out)] = true
	return out
}

// joinNamed writes the condition of a join with reference data over the columns that a join of streams has.
func (c *compiler) joinNamed(t tree, l, r, out *from) error {
	both := clone(t)
	both["condition"], both["using_columns"], both["ref_type"], both["join_type"] = nil, []any{}, "CROSS", "INNER"
	for i, side := range []*from{l, r} {
		key := []string{"left", "right"}[i]
		if side.names == nil {
			var err error
			if side.names, err = c.namesIn(both.sub(key), both); err != nil {
				return err
			}
			t[key] = both[key] // with the names that relations without one were given
		}
	}
	using, err := usingColumns(t, l.names, r.names)
	if err != nil {
		return err
	}
	kind := t.str("join_type")
	all := merge(l.names, r.names, using, kind)
	parts := conjuncts(t.sub("condition"))
	for i := range parts {
		parts[i] = asTree(c.replaceRefs(parts[i], all.resolve))
	}
	for i, name := range using {
		how := "COMPARE_EQUAL"
		if t.str("ref_type") == "ASOF" && i == len(using)-1 {
			how = "COMPARE_GREATERTHANOREQUALTO"
		}
		parts = append(parts, comparison(how, clone(l.names.bare(name)), clone(r.names.bare(name))))
	}
	t["condition"], t["using_columns"] = conjunction(parts), []any{}
	if t.str("ref_type") == "NATURAL" {
		t["ref_type"] = "REGULAR"
	}
	out.names = all
	if !twoSided(kind) {
		out.names = l.names
	}
	return nil
}
