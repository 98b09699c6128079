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
	case t.str("type") == "CONJUNCTION_OR", unrolled(t):
		check := tree{"when_expr": t, "then_expr": boolean(true)}
		return tree{"class": "CASE", "type": "CASE_EXPR", "alias": "", "query_location": synthetic, "case_checks": []any{check},
			"else_expr": boolean(false)}
	}
	return where
}

// joinedFrom is how many operands make DuckDB join with the values of IN. It makes an OR of fewer.
const joinedFrom = 6

func unrolled(t tree) bool {
	return t.str("type") == "COMPARE_IN" && len(t.list("children")) < joinedFrom
}

// joinsValues reports whether DuckDB makes joins of lists of values somewhere in a SELECT, which leave no order of rows.
func joinsValues(node tree) bool {
	found := false
	for _, part := range []string{"select_list", "where_clause"} {
		walk(node[part], func(t tree) bool {
			in := t.str("type") == "COMPARE_IN" || t.str("type") == "COMPARE_NOT_IN"
			found = found || in && len(t.list("children")) >= joinedFrom
			return !found
		})
	}
	return found
}

func boolean(b bool) tree {
	return tree{"class": "CONSTANT", "type": "VALUE_CONSTANT", "alias": "", "query_location": synthetic,
		"value": tree{"type": tree{"id": "BOOLEAN", "type_info": nil}, "is_null": false, "value": b}}
}
