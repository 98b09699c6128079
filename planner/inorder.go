package planner

// keepingOrder writes a condition so that the rows for which it holds stay in the order in which they came. Of an OR, DuckDB's
// filters give first the rows for which its first operand holds, of each vector; of an OR within a CASE it sees to which
// rows it holds for, and computes as little.
func keepingOrder(where any) any {
	t := asTree(where)
	switch {
	case t == nil:
		return where
	case t.str("type") == "CONJUNCTION_AND":
		operands := t.list("children")
		for i := range operands {
			operands[i] = keepingOrder(operands[i])
		}
		return t
	case mayBeOr(t):
		check := tree{"when_expr": t, "then_expr": boolean(true)}
		return tree{"class": "CASE", "type": "CASE_EXPR", "alias": "", "query_location": synthetic, "case_checks": []any{check},
			"else_expr": boolean(false)}
	}
	return where
}

// mayBeOr reports whether DuckDB may make an OR of a condition. Behind a name, in another SELECT or of this one, there may be any
// condition, and a cast to what it is, coalesce of it alone, and CASE that is decided are taken away.
func mayBeOr(t tree) bool {
	switch t.class() {
	case "COLUMN_REF", "CAST", "CASE":
		return true
	}
	return t.str("type") == "CONJUNCTION_OR" || t.str("type") == "OPERATOR_COALESCE" || unrolled(t)
}

// joinedFrom is how many operands make DuckDB join with the values of IN. It makes an OR of fewer.
const joinedFrom = 6

func unrolled(t tree) bool {
	n := len(t.list("children"))
	return t.str("type") == "COMPARE_IN" && n > 2 && n < joinedFrom
}

// joinsValues reports whether DuckDB makes joins of lists of values somewhere in a SELECT, which leave no order of rows. It may
// in what a macro is that it expands itself, and may find an OR there.
func (c *compiler) joinsValues(node tree) bool {
	found := false
	for _, part := range []string{"select_list", "where_clause"} {
		walk(node[part], func(t tree) bool {
			in := t.str("type") == "COMPARE_IN" || t.str("type") == "COMPARE_NOT_IN"
			found = found || in && len(t.list("children")) >= joinedFrom || c.ownMacros[t.function()]
			return !found
		})
	}
	return found
}

func boolean(b bool) tree {
	return tree{"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": synthetic,
		"value": tree{"type": tree{"id": "BOOLEAN", "type_info": nil}, "is_null": false, "value": b}}
}
