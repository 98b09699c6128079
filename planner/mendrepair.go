package planner

import (
	"fmt"
	"strings"
)

// apply mends a query node in place.
func (m *mending) apply(c *compiler, node tree) error {
	var failed error
	walk(node, func(t tree) bool {
		m.dropModifiers(t)
		if r, ok := m.at[t.at()]; ok && failed == nil {
			failed = c.repair(t, r)
			return failed == nil
		}
		switch columns := m.columns[strings.ToLower(t.str("table_name"))]; {
		case columns != "" && t.str("type") == "BASE_TABLE":
			failed = c.knownRelation(t, columns)
			return false
		case t.str("type") == "TABLE_FUNCTION" && m.coarse(t):
			unknownRelation(t)
		case t.str("type") == "SET_OPERATION_NODE":
			m.evenOut(t)
		}
		return failed == nil
	})
	return failed
}

// evenOut puts one side of a set operation in the place of the other if that has columns that are not known.
func (m *mending) evenOut(t tree) {
	left, right := m.open(t.sub("left"), nil), m.open(t.sub("right"), nil)
	switch {
	case left && !right:
		t["left"] = clone(t.sub("right"))
	case right && !left:
		t["right"] = clone(t.sub("left"))
	}
}

// place is where faults of a node are told.
func place(t tree) int {
	if at := t.at(); at >= 0 {
		return at
	}
	return firstAt(t)
}

// dropModifiers takes out the samples, DISTINCT, ORDER BY and LIMIT that are refused.
func (m *mending) dropModifiers(t tree) {
	if t.sub("sample") != nil && m.dropped[clause{errSample, place(t)}] {
		t["sample"] = nil
	}
	var kept []any
	for _, mod := range t.trees("modifiers") {
		if mod.str("type") == "DISTINCT_MODIFIER" && m.dropped[clause{errDistinct, place(distinctAt(t, mod))}] {
			continue
		}
		kind := mod.str("type")
		ordering := kind == "ORDER_MODIFIER" || kind == "LIMIT_MODIFIER" || kind == "LIMIT_PERCENT_MODIFIER"
		if r, ok := m.at[firstAt(mod)]; !ordering || !ok || r.taints {
			kept = append(kept, mod)
		}
	}
	if len(kept) < len(t.list("modifiers")) {
		t["modifiers"] = append([]any{}, kept...)
	}
}

// coarse reports whether something in an expression is mended by other than a name.
func (m *mending) coarse(t tree) bool {
	found := false
	walk(t, func(n tree) bool {
		found = found || m.at[n.at()].how >= repairHollow
		return !found
	})
	return found
}

// repair mends one node in place.
func (c *compiler) repair(t tree, r repair) error {
	names := t.list("column_names")
	switch {
	case t.str("type") == "BASE_TABLE" && r.how == repairGuess:
		if t.str("alias") == "" {
			t["alias"] = t.str("table_name")
		}
		t["table_name"] = r.name
	case t.str("type") == "BASE_TABLE", t.str("type") == "TABLE_FUNCTION":
		unknownRelation(t)
	case len(names) > 0 && r.how == repairGuess:
		t["column_names"] = append(append([]any{}, names[:len(names)-1]...), r.name)
	case t.function() != "" && r.how == repairGuess:
		t["function_name"] = r.name
	case t.class() == "STAR" && r.how < repairEmpty:
		t["exclude_list"], t["replace_list"] = []any{}, []any{}
	case t.str("class") != "":
		return c.hollow(t, r.how == repairEmpty)
	}
	return nil
}

// unknownRelation puts a table of which nothing is known in the place of a relation.
func unknownRelation(t tree) {
	alias, location := t.str("alias"), t["query_location"]
	if alias == "" {
		alias = t.str("table_name")
	}
	if alias == "" {
		alias = t.sub("function").function()
	}
	clear(t)
	for k, v := range baseTable(unknownTable, alias, nil) {
		t[k] = v
	}
	t["query_location"] = location
}

// hollow puts NULL in the place of an expression. Unless empty, what stands in it is still bound, and an aggregate stays
// one.
func (c *compiler) hollow(t tree, empty bool) error {
	inside := expressions(t)
	if empty {
		inside = nil
	}
	sql := nullSQL
	if len(inside) > 0 {
		sql = "CASE WHEN row(" + strings.TrimSuffix(strings.Repeat("0, ", len(inside)), ", ") + ") IS NULL THEN NULL END"
	}
	if c.isAggregate(t) {
		sql = "any_value(" + sql + ")"
	}
	shell, err := c.made(sql)
	if err != nil {
		return err
	}
	walk(shell, func(n tree) bool {
		if n.function() == "row" {
			for i, e := range inside {
				e["alias"] = ""
				n["children"].([]any)[i] = e //nolint:forcetypeassert // as the template says
			}
			return false
		}
		return true
	})
	shell["alias"], shell["query_location"] = t["alias"], t["query_location"]
	clear(t)
	for k, v := range shell {
		t[k] = v
	}
	return nil
}

// nullSQL is NULL where a literal may mean something else, as in ORDER BY.
const nullSQL = "CASE WHEN NULL THEN NULL END"

func (c *compiler) null() (tree, error) { return c.made(nullSQL) }

// made returns an expression of our own, which stands nowhere in the text.
func (c *compiler) made(sql string) (tree, error) {
	node, err := c.template("SELECT " + sql)
	if err != nil {
		return nil, err
	}
	expr := node.trees("select_list")[0]
	walk(expr, func(n tree) bool {
		n["query_location"] = synthetic
		return true
	})
	return expr, nil
}

// expressions returns the topmost expressions below a node.
func expressions(t tree) []tree {
	var out []tree
	walk(t, func(n tree) bool {
		if n.str("class") == "" || fmt.Sprintf("%p", n) == fmt.Sprintf("%p", t) {
			return true
		}
		out = append(out, n)
		return false
	})
	return out
}
