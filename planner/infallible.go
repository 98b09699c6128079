package planner

import (
	"encoding/json"
	"slices"
)

// An expression is infallible if no values of its columns make DuckDB raise an error when it computes it. Only such a one may be
// computed for rows that would not have asked for it, at another time than the query's text would have it, or once more: a row for
// which it failed would stop a query, or become a dead letter, that the text as it stands lets pass. Whoever moves expressions
// asks here. It is said of values, not of memory, which anything may lack, nor of what DuckDB's binder finds in the text: that
// is a fault of the query wherever the expression stands. What no rule below allows may fail.

// columnTypes gives DuckDB's type of the column that an expression is, or "" for one that is none, or may not be read.
type columnTypes func(tree) string

// Types of what infallible expressions give.
const (
	truthType = "BOOLEAN"
	textType  = "VARCHAR"
	wholeType = "integer" // of any width, with sign or without: where two meet, DuckDB casts to one that holds both
)

// demand is what a rule asks of an operand.
type demand int

const (
	anything   demand = iota // an infallible expression
	likeOthers               // one of the same type as the other operands
	aText                    // one that gives a text
	aTruth                   // one that gives a truth value
	aWhole                   // one that gives an integer
	aConstant                // what is written out, of any type: DuckDB looks at it when it binds, or it makes nothing fail
	aPositive                // an integer > 0 that is written out
)

// infallibleRule allows a function, an operator or a predicate over operands, of which the last demand holds for those that follow too.
type infallibleRule struct {
	operands []demand
	gives    string
}

// infallibleRules are by the lower-case name of a function or operator, or by the syntax tree's type of a predicate. A test
// runs each over the extremes of all types in the linked DuckDB. Beside each group stands what in DuckDB's sources makes it so.
func infallibleRules() map[string]infallibleRule {
	compared := infallibleRule{[]demand{likeOthers, likeOthers}, truthType}
	matched := infallibleRule{[]demand{aText, aConstant}, truthType}
	changed := infallibleRule{[]demand{aText, aConstant}, textType}
	connected := infallibleRule{[]demand{aTruth}, truthType}
	return map[string]infallibleRule{
		// comparison_operators.cpp: a total order of each type, NaN and infinities in it. Of like types nothing is cast.
		"COMPARE_EQUAL": compared, "COMPARE_NOTEQUAL": compared, "COMPARE_LESSTHAN": compared, "COMPARE_GREATERTHAN": compared,
		"COMPARE_LESSTHANOREQUALTO": compared, "COMPARE_GREATERTHANOREQUALTO": compared, "COMPARE_DISTINCT_FROM": compared,
		"COMPARE_NOT_DISTINCT_FROM": compared, "COMPARE_IN": compared, "COMPARE_NOT_IN": compared,
		// boolean_operators.cpp, null_operations.cpp: three-valued logic, no other values.
		"CONJUNCTION_AND": connected, "CONJUNCTION_OR": connected, "OPERATOR_NOT": connected,
		"OPERATOR_IS_NULL": {[]demand{anything}, truthType}, "OPERATOR_IS_NOT_NULL": {[]demand{anything}, truthType},
		// default_functions.cpp: a macro, CASE WHEN a = b THEN NULL ELSE a END. CASE knows no arrays, so texts alone.
		"nullif": {[]demand{aText, aText}, textType},
		// arithmetic.cpp: x % 0 is NULL; only the least number % -1 overflows.
		"%": {[]demand{aWhole, aPositive}, wholeType},
		// caseconvert.cpp: letter by letter, from and to what is valid UTF-8.
		"lower": {[]demand{aText}, textType}, "upper": {[]demand{aText}, textType},
		// regexp.cpp: a pattern, group and options that are constant are compiled when the call is bound; re2 matches without
		// going back, in memory that is bounded, and takes a reference to a group that there is not for an empty text.
		"regexp_matches": matched, "regexp_full_match": matched, "regexp_extract": changed, "regexp_replace": changed,
	}
}

// infallible returns the type of an expression if it is infallible over these columns, or "".
func (c *compiler) infallible(t tree, columns columnTypes) string {
	if typ := columns(t); typ != "" {
		return typeClass(typ)
	}
	if _, text := literal(t); text {
		return textType
	}
	r, allowed := infallibleRules()[ruleName(t)]
	operands := operandsOf(t)
	if !allowed || len(operands) == 0 || c.ownMacros[t.function()] || t.flag("distinct") || t.sub("filter") != nil {
		return ""
	}
	first := c.infallible(operands[0], columns)
	for i, operand := range operands {
		if !r.operands[min(i, len(r.operands)-1)].met(operand, c.infallible(operand, columns), first) {
			return ""
		}
	}
	return r.gives
}

// met reports whether an operand, of this type if it is infallible, meets the demand.
func (d demand) met(operand tree, typ, first string) bool {
	switch d {
	case likeOthers:
		return typ != "" && typ == first
	case aText:
		return typ == textType
	case aTruth:
		return typ == truthType
	case aWhole:
		return typ == wholeType
	case aConstant:
		return operand.class() == "CONSTANT"
	case aPositive:
		return integerOf(operand) > 0
	}
	return typ != ""
}

// ruleName is by what the rule of an expression is found.
func ruleName(t tree) string {
	if name := t.function(); name != "" {
		return name
	}
	return t.str("type")
}

// operandsOf are the operands of a function, an operator or a predicate.
func operandsOf(t tree) []tree {
	if t.class() == "COMPARISON" {
		return []tree{t.sub("left"), t.sub("right")}
	}
	return t.trees("children")
}

// typeClass makes integers of one type: those that are compared without a fault.
func typeClass(typ string) string {
	if slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}, typ) {
		return wholeType
	}
	return typ
}

// literal returns the text that a constant is.
func literal(t tree) (string, bool) {
	value := t.sub("value")
	if t.class() != "CONSTANT" || value.flag("is_null") || value.sub("type").str("id") != "VARCHAR" {
		return "", false
	}
	s, ok := value["value"].(string)
	return s, ok
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
