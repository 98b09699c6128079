package planner

import (
	"encoding/json"
	"slices"
)

// A condition that fails for two rows fails in the batch in which the later of them comes, and one that reads a reference table
// sees it as it is then. If what a join gives is to be made later on, and again, that must make no difference.

// steady reports whether a condition on both sides can not fail and is about their rows alone.
func (j *streamJoin) steady(t tree) bool {
	switch t.class() {
	case "CONJUNCTION":
		return !slices.ContainsFunc(t.trees("children"), func(t tree) bool { return !j.steady(t) })
	case "COMPARISON":
		left := j.steadyType(t.sub("left"))
		return left != "" && left == j.steadyType(t.sub("right"))
	}
	return false
}

// steadyType returns the type of a column, or of its rest of division by a number, where all integers are one type: what is
// compared with its like is not cast, or to a wider integer. It is "" for any other expression.
func (j *streamJoin) steadyType(t tree) string {
	const integer = "INTEGER"
	switch names, operands := t.names("column_names"), t.trees("children"); {
	case t.function() == "%" && len(operands) == 2 && integerOf(operands[1]) > 0 && j.steadyType(operands[0]) == integer:
		return integer
	case t.class() != "COLUMN_REF" || len(names) != 2:
		return ""
	default:
		typ := j.column(names[0], names[1]).typ
		if slices.Contains([]string{"TINYINT", "SMALLINT", integer, "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}, typ) {
			return integer
		}
		return typ
	}
}

// column returns the column of a side, by its alias.
func (j *streamJoin) column(alias, name string) joinColumn {
	for _, s := range j.sides() {
		for _, col := range s.columns {
			if s.alias == alias && col.name == name {
				return col
			}
		}
	}
	return joinColumn{}
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
