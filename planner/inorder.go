package planner

import (
	"encoding/json"
	"slices"
	"strings"
)

// keepingOrder writes a condition so that the rows for which it holds stay in the order in which they came. Of an OR, DuckDB's
// filters give first the rows for which its first operand holds, of each vector; of an OR within a CASE it sees to which
// rows it holds for, and computes as little.
func (s *scope) keepingOrder(where any) any {
	t := asTree(where)
	switch {
	case t == nil:
		return where
	case t.str("type") == "CONJUNCTION_AND":
		operands := t.list("children")
		for i := range operands {
			operands[i] = s.keepingOrder(operands[i])
		}
		return t
	case mayBeOr(t):
		if between := s.between(t); between != nil {
			return between
		}
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

// between returns the BETWEEN that an IN of an integer column and neighbouring constants is, or nil. DuckDB finds by it which
// parts of a file to read.
func (s *scope) between(in tree) tree {
	operands := in.trees("children")
	if in.str("type") != "COMPARE_IN" || !s.integer(operands[0]) {
		return nil
	}
	values := operands[1:]
	slices.SortFunc(values, func(a, b tree) int { return int(integerOf(a) - integerOf(b)) })
	for i, v := range values {
		if integerOf(v) < 0 || integerOf(v) != integerOf(values[0])+int64(i) {
			return nil
		}
	}
	return tree{"class": "BETWEEN", "type": "COMPARE_BETWEEN", "alias": "", "query_location": in["query_location"],
		"input": operands[0], "lower": values[0], "upper": values[len(values)-1]}
}

// integer reports whether an expression is a column of integers.
func (s *scope) integer(t tree) bool {
	rel, name := s.lookup(t)
	if rel == nil {
		return false
	}
	col, _ := rel.column(name)
	return strings.HasSuffix(col.Type, "INT") || strings.HasSuffix(col.Type, "INTEGER")
}

// integerOf returns the number that a constant is, or -1 if it is none, or less than 0.
func integerOf(t tree) int64 {
	value := t.sub("value")
	n, ok := value["value"].(json.Number)
	if t.class() != "CONSTANT" || value.sub("type").str("id") != "INTEGER" || !ok {
		return -1
	}
	i, err := n.Int64()
	if err != nil {
		return -1
	}
	return i
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
