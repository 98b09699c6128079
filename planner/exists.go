package planner

import (
	"fmt"

	"github.com/tidemill/tidemill/internal/diag"
)

// innerSide and outerSide stand before names in conditions that come out of a subquery: a name there means a column of
// the subquery's own FROM before one of the outside, the value before IN one of the outside alone.
const (
	innerSide = "__inner_side"
	outerSide = "__outer_side"
)

// existsToSemi turns [NOT] EXISTS and IN over another stream, where they are whole conditions of WHERE, into SEMI and
// ANTI joins.
func (c *compiler) existsToSemi(node tree, e *env) error {
	conditions := conjuncts(node.sub("where_clause"))
	var rest []tree
	for _, t := range conditions {
		s, not := t, false
		if kids := t.trees("children"); t.str("type") == "OPERATOR_NOT" && len(kids) == 1 {
			s, not = kids[0], true
		}
		yes := false
		if kind := s.str("subquery_type"); s.str("class") == "SUBQUERY" && (kind == "EXISTS" || kind == "ANY") {
			var err error
			if yes, err = c.streaming(s.sub("subquery"), e); err != nil {
				return err
			}
			left, err := c.streaming(node.sub("from_table"), e)
			if err != nil {
				return err
			}
			yes = yes && left
		}
		if !yes {
			rest = append(rest, t)
			continue
		}
		if err := c.semiJoin(node, s, not); err != nil {
			return err
		}
	}
	if len(rest) < len(conditions) {
		node["where_clause"] = conjunction(rest)
	}
	return nil
}

// semiJoin puts a subquery into FROM.
func (c *compiler) semiJoin(node, s tree, not bool) error {
	exists := s.str("subquery_type") == "EXISTS"
	switch {
	case !exists && not:
		return c.errAt(diag.JoinUnsupported, s, "NOT IN over another stream can never be certain: one NULL that comes there "+
			"makes it NULL for every row").WithHint("write  NOT EXISTS (SELECT 1 FROM other WHERE other.key = key AND ...)")
	case !exists && s.str("comparison_type") != "COMPARE_EQUAL":
		return c.errAt(diag.JoinUnsupported, s, "ANY over another stream compares by = alone").
			WithHint("write  EXISTS (SELECT 1 FROM other WHERE other.key = key AND ...)")
	}
	inner := s.sub("subquery").sub("node")
	simple := c.simpleInner(inner)
	for _, item := range inner.trees("select_list") {
		simple = simple && (exists || item.class() != "STAR")
	}
	if exists && !simple {
		return c.errAt(diag.JoinUnsupported, s, "EXISTS over another stream is a SELECT FROM ... WHERE ... without more").
			WithHint("put what else it has into a WITH query, and read that in the subquery")
	}
	right, conditions := inner.sub("from_table"), []tree{}
	if simple {
		for _, t := range conjuncts(inner.sub("where_clause")) {
			conditions = append(conditions, withSide(innerSide, t))
		}
	}
	if !exists {
		values, items := []tree{s.sub("child")}, inner.trees("select_list")
		if s.sub("child").function() == "row" {
			values = s.sub("child").trees("children")
		}
		if !simple {
			right, items = c.innerRelation(s, inner, len(values))
		}
		for i, v := range values {
			conditions = append(conditions, comparison("COMPARE_EQUAL", withSide(outerSide, v), withSide(innerSide, items[i])))
		}
	}
	join, err := c.emptyJoin(s)
	if err != nil {
		return err
	}
	join["left"], join["right"], join["condition"] = node["from_table"], right, conjunction(conditions)
	if not {
		join["join_type"] = "ANTI"
	}
	node["from_table"] = join
	return nil
}

// simpleInner reports whether a subquery is FROM and WHERE alone, so that these can become a join.
func (c *compiler) simpleInner(inner tree) bool {
	if inner.class() != "SELECT_NODE" || c.aggregated(inner) || windowFunction(inner) != nil || inner.sub("sample") != nil ||
		len(inner.sub("cte_map").list("map")) > 0 || inner.sub("from_table").str("type") == emptyFrom {
		return false
	}
	for _, m := range inner.trees("modifiers") { // duplicates make no difference
		if m.str("type") != "DISTINCT_MODIFIER" || len(m.list("distinct_on_targets")) > 0 {
			return false
		}
	}
	simple := true
	walk(inner["where_clause"], func(t tree) bool {
		simple = simple && t.str("class") != "SUBQUERY" && t.class() != "LAMBDA"
		return simple
	})
	return simple
}

// innerRelation is a subquery as it stands, with n columns that have names.
func (c *compiler) innerRelation(s, inner tree, n int) (tree, []tree) {
	alias := c.fresh("in")
	columns, items := make([]any, n), make([]tree, n)
	for i := range n {
		name := fmt.Sprintf("__c%d", i+1)
		columns[i], items[i] = name, columnRef("", alias, name)
	}
	return tree{"type": "SUBQUERY", "alias": alias, "sample": nil, "query_location": s["query_location"],
		"subquery": tree{"node": inner}, "column_name_alias": columns}, items
}

// withSide marks the names in an expression.
func withSide(side string, t tree) tree {
	return asTree(rewrite(clone(t), func(n tree) (any, bool) {
		if n.class() != "COLUMN_REF" {
			return nil, false
		}
		out := columnRef("", append([]string{side}, n.names("column_names")...)...)
		out["query_location"] = n["query_location"]
		return out, true
	}))
}

// emptyJoin is a SEMI JOIN at the place of a subquery.
func (c *compiler) emptyJoin(s tree) (tree, error) {
	node, err := c.template("SELECT 1 FROM a SEMI JOIN b ON true")
	if err != nil {
		return nil, err
	}
	join := node.sub("from_table")
	join["query_location"] = s["query_location"]
	return join, nil
}

// fromSubquery reports whether a join condition has come out of a subquery.
func fromSubquery(condition tree) bool {
	found := false
	walk(condition, func(t tree) bool {
		names := t.names("column_names")
		found = found || len(names) > 1 && (names[0] == innerSide || names[0] == outerSide)
		return !found
	})
	return found
}
