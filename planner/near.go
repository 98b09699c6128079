package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// Near is another way to what a join makes of a batch's new rows, for few of them beside many that are kept: those that one of
// them can be joined with are found by hashes of their keys, outside of DuckDB, and stand in the place of all that are kept.
type Near struct {
	Tables []NearTable
	Links  []NearLink // which lead from each table to all others, in one way
}

// NearTable is a state table of a join whose rows all stay.
type NearTable struct {
	Name string
	Keys []string // columns that a Link compares
}

// NearLink says that rows of two tables are joined only where a key of the one equals one of the other.
type NearLink struct{ Tables, Keys [2]int }

// From returns the key of a table that the link compares, and the other table; -1 if it is not about the table.
func (l *NearLink) From(table int) (key, to int) {
	for i, t := range l.Tables {
		if t == table {
			return l.Keys[i], l.Tables[1-i]
		}
	}
	return -1, -1
}

// HashesSQL reads the position of each row from one on, and hashes of its keys.
func (t *NearTable) HashesSQL(from string) (string, []duck.Column) {
	items, cols := []string{PosColumn}, []duck.Column{{Name: PosColumn, Type: "BIGINT"}}
	for i, key := range t.Keys {
		name := fmt.Sprintf("__hash%d", i+1)
		items, cols = append(items, "system.main.hash("+duck.QuoteIdent(key)+") AS "+name), append(cols, duck.Column{Name: name, Type: "UBIGINT"})
	}
	return "SELECT " + strings.Join(items, ", ") + " FROM " + t.Name + " WHERE " + PosColumn + " >= " + from, cols
}

// Finds reports whether a batch of few rows may find kept ones by hashes of their keys, which take memory.
func (p *Plan) Finds() bool {
	return p.Near != nil || slices.ContainsFunc(p.Ops, func(op *Operator) bool {
		return slices.ContainsFunc(op.Steps, func(st Step) bool { return st.Near != nil })
	})
}

// explainNear explains a Near: build makes the statement that its common table expressions stand before.
func (s *statements) explainNear(n *Near, build func(with []string) string) {
	if n == nil {
		return
	}
	var texts, with []string
	for i := range n.Tables {
		t := &n.Tables[i]
		sql, _ := t.HashesSQL("$looked")
		texts, with = append(texts, sql), append(with, t.WithSQL([]string{"$found"}))
	}
	s.list[len(s.list)-1].instead("the batch has few rows, and the state many", append(texts, build(with))...)
}

// nearSingle is how many rows are each looked for by a SELECT of its own. DuckDB skips what lies far from its position, where it
// would read all positions for a list of them.
const nearSingle = 64

// WithSQL is a common table expression that hides the table: of the batch's rows, and those at positions.
func (t *NearTable) WithSQL(at []string) string {
	parts := []string{PosColumn + " >= " + getVariable(VarFirst(0))}
	if len(at) > nearSingle {
		at = []string{"IN (SELECT unnest([" + strings.Join(at, ", ") + "]))"}
	} else {
		for i := range at {
			at[i] = "= " + at[i]
		}
	}
	for _, a := range at {
		parts = append(parts, PosColumn+" "+a)
	}
	from := "SELECT * FROM temp." + t.Name + " WHERE "
	return t.Name + " AS MATERIALIZED (" + from + strings.Join(parts, " UNION ALL "+from) + ")"
}

// near is the Near of a join whose rows all stay, or nil where its equalities do not lead to all of its sources.
func (j *streamJoin) near() *Near {
	n, leaves := &Near{}, j.origins()
	for _, l := range leaves {
		n.Tables = append(n.Tables, NearTable{Name: l.side.state(l.n)})
	}
	group := make([]int, len(leaves)) // tables that links lead to from one another have the same number
	for i := range group {
		group[i] = i
	}
	for _, e := range j.equalities() {
		a, b := slices.Index(leaves, e.leaves[0]), slices.Index(leaves, e.leaves[1])
		if group[a] == group[b] {
			continue
		}
		was := group[b]
		for i := range group {
			if group[i] == was {
				group[i] = group[a]
			}
		}
		n.Links = append(n.Links, NearLink{Tables: [2]int{a, b},
			Keys: [2]int{n.Tables[a].key(e.columns[0]), n.Tables[b].key(e.columns[1])}})
	}
	if len(n.Links) < len(leaves)-1 {
		return nil
	}
	return n
}

// key returns the number of a key.
func (t *NearTable) key(column string) int {
	if i := slices.Index(t.Keys, column); i >= 0 {
		return i
	}
	t.Keys = append(t.Keys, column)
	return len(t.Keys) - 1
}

// equality compares columns of two sources of one type, whose equal values have equal hashes.
type equality struct {
	leaves  [2]leaf
	columns [2]string
}

// equalities are those of a join and the ones that it makes again.
func (j *streamJoin) equalities() []equality {
	out := slices.Clone(j.equals)
	for _, s := range j.sides() {
		if s.made != nil {
			out = append(s.made.equalities(), out...)
		}
	}
	return out
}

// findEquals finds the equalities of a condition, once it is known what the sides make again.
func (j *streamJoin) findEquals(t tree) {
	if t.class() == "CONJUNCTION" && t.str("type") == "CONJUNCTION_AND" {
		for _, part := range t.trees("children") {
			j.findEquals(part)
		}
		return
	}
	if t.class() != "COMPARISON" || t.str("type") != "COMPARE_EQUAL" {
		return
	}
	var e equality
	var types [2]string
	for i, operand := range []tree{t.sub("left"), t.sub("right")} {
		names := operand.names("column_names")
		if operand.class() != "COLUMN_REF" || len(names) != 2 {
			return
		}
		l, col := j.leaf(names[1])
		if l.side == nil {
			return
		}
		e.leaves[i], e.columns[i], types[i] = l, col.name, col.typ
	}
	if e.leaves[0] != e.leaves[1] && types[0] == types[1] && slices.Contains(hashed, types[0]) {
		j.equals = append(j.equals, e)
	}
}

// hashed are types whose equal values have one form each.
var hashed = []string{"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", //nolint:gochecknoglobals // constant
	"UBIGINT", "HUGEINT", "VARCHAR", "UUID", "DATE", "TIMESTAMP"}
