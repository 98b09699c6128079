package planner

import (
	"github.com/tidemill/tidemill/internal/diag"
)

// semiToExists rewrites SEMI and ANTI joins with reference data whose condition has more than equalities as [NOT]
// EXISTS. DuckDB 1.1.2 runs them wrongly when it swaps the sides: a row then passes by its key alone. It swaps when
// the left side is the smaller one, as a batch of a stream is.
func (c *compiler) semiToExists(node tree, e *env) error {
	for t := node.sub("from_table"); t.str("type") == "JOIN"; {
		kind := t.str("join_type")
		if kind != "SEMI" && kind != "ANTI" || onlyEqualities(t.sub("condition")) {
			if kind != "INNER" && kind != "LEFT" && kind != "SEMI" && kind != "ANTI" {
				break
			}
			t = t.sub("left")
			continue
		}
		streams, err := c.streaming(t.sub("right"), e)
		if err != nil {
			return err
		}
		if streams {
			t = t.sub("left")
			continue
		}
		exists, err := c.exists(t, kind == "ANTI")
		if err != nil {
			return err
		}
		node["where_clause"] = conjunction(append(conjuncts(node.sub("where_clause")), exists))
		left := t.sub("left")
		clear(t)
		for k, v := range left {
			t[k] = v
		}
	}
	return c.refuseInnerSemi(node.sub("from_table"), e)
}

// refuseInnerSemi refuses those that stand where a condition in WHERE would mean something else.
func (c *compiler) refuseInnerSemi(from tree, e *env) error {
	var first error
	walk(from, func(t tree) bool {
		kind := t.str("join_type")
		if first != nil || t.str("type") == "SUBQUERY" || t.str("class") == "SUBQUERY" {
			return false
		}
		if kind != "SEMI" && kind != "ANTI" || onlyEqualities(t.sub("condition")) {
			return true
		}
		left, err := c.streaming(t.sub("left"), e)
		right, rightErr := c.streaming(t.sub("right"), e)
		switch {
		case err != nil:
			first = err
		case rightErr != nil:
			first = rightErr
		case left && !right:
			first = c.errAt(diag.JoinUnsupported, t, "a %s JOIN with more than equalities can not stand on this side of another join",
				kind).WithHint("put it into a subquery: (SELECT * FROM a %s JOIN b ON ...)", kind)
		}
		return first == nil
	})
	return first
}

// onlyEqualities reports whether a join condition compares nothing but keys. A join by USING has no condition.
func onlyEqualities(condition tree) bool {
	for _, t := range conjuncts(condition) {
		if kind := t.str("type"); kind != "COMPARE_EQUAL" && kind != "COMPARE_NOT_DISTINCT_FROM" {
			return false
		}
	}
	return true
}

// exists is the condition that the right side of a join has a row for the left one.
func (c *compiler) exists(t tree, not bool) (tree, error) {
	inner := selectNode([]any{number(1)}, t.sub("right"))
	inner["where_clause"] = t["condition"]
	node, err := c.template("SELECT 1 WHERE EXISTS (SELECT 1)")
	if err != nil {
		return nil, err
	}
	found := node.sub("where_clause")
	walk(found, func(n tree) bool {
		n["query_location"] = t["query_location"]
		return true
	})
	found["subquery"] = tree{"node": inner}
	if !not {
		return found, nil
	}
	return tree{"class": "OPERATOR", "type": "OPERATOR_NOT", "alias": "", "query_location": t["query_location"],
		"children": []any{found}}, nil
}
