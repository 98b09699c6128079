package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// changes reports whether rows of a side may be taken back.
func (j *streamJoin) changes() bool {
	return j.left.from.main.change || j.right.from.main.change
}

// joinChanging compiles a join with rows that may still change, in update mode: both sides are kept, and the keys that
// the batch touched are joined anew.
func (c *compiler) joinChanging(t tree, j *streamJoin, both []tree) (*from, error) {
	j.n = len(c.ops) + 1
	o := &partitioned{n: j.n, what: "join", emits: touchedGroups}
	for i, s := range j.sides() {
		if err := c.changingSide(o, i, s); err != nil {
			return nil, err
		}
	}
	equal := j.equalColumns(both)
	for _, e := range equal {
		o.parts[0].keys, o.parts[1].keys = append(o.parts[0].keys, e[0]), append(o.parts[1].keys, e[1])
	}
	j.changingTime(o, equal)
	for _, s := range j.sides() {
		both = append(both, s.own...)
	}
	on, err := c.conditionSQL(both)
	if err != nil {
		return nil, err
	}
	rel := j.changingRelation(equal)
	pos := j.changingPosition(o, rel)
	rel.many = rel.many || j.kind == "FULL" && !j.namesBoth(both)
	sql := "SELECT " + j.changingItems() + ", " + pos + " AS " + PosColumn + "\nFROM " + o.parts[0].name() + " AS " + leftAlias + " " + j.kind + " JOIN " +
		o.parts[1].name() + " AS " + rightAlias + " ON " + on
	if j.semi() { // SEMI JOIN is wrong in DuckDB 1.1.2 with more than equalities
		not := map[string]string{"ANTI": "NOT "}[j.kind]
		sql = "SELECT " + j.changingItems() + ", " + pos + " AS " + PosColumn + "\nFROM " + o.parts[0].name() + " AS " + leftAlias + "\nWHERE " + not +
			"EXISTS (SELECT 1 FROM " + o.parts[1].name() + " AS " + rightAlias + " WHERE " + on + ")"
	}
	if err := c.bind(o, rel, sql); err != nil {
		return nil, err
	}
	rel.node = &Node{Op: "join again, " + strings.ToLower(j.kind) + " on " + j.shown(on),
		Below: []*Node{j.left.from.main.node, j.right.from.main.node}}
	return c.inPlace(t, j, rel)
}

// conditionSQL is the AND of conditions.
func (c *compiler) conditionSQL(conditions []tree) (string, error) {
	parts := make([]string, len(conditions))
	for i, t := range conditions {
		sql, err := c.exprSQL(t)
		if err != nil {
			return "", err
		}
		parts[i] = "(" + sql + ")"
	}
	return strings.Join(parts, " AND "), nil
}

// changingSide makes a side the input of the operator.
func (c *compiler) changingSide(o *partitioned, i int, s *joinSide) error {
	p := &part{n: o.n, i: i, rel: s.from.main}
	p.entry = Entry{Table: p.in(), Raw: p.rel.raw, Many: true}
	for _, col := range s.columns {
		p.columns = append(p.columns, Column{Column: stream.Column{Name: col.name, Type: col.typ}, Expr: col.name})
	}
	sql := s.rows
	if len(s.where) > 0 {
		where, err := c.conditionSQL(s.where)
		if err != nil {
			return err
		}
		sql = "SELECT * FROM (" + sql + ") AS " + s.alias + " WHERE " + where
	}
	p.input = c.chain(sql)
	if p.rel.change {
		p.old = c.before(p.input)
		c.readsOld(p.rel)
	}
	o.parts = append(o.parts, p)
	return nil
}

// equalColumns lists the pairs of columns that have to be equal.
func (j *streamJoin) equalColumns(both []tree) [][2]string {
	var out [][2]string
	for _, t := range both {
		if kind := t.str("type"); kind != "COMPARE_EQUAL" && kind != "COMPARE_NOT_DISTINCT_FROM" || !j.across(t) {
			continue
		}
		l, r := t.sub("left"), t.sub("right")
		if ln, _ := reads(l); !ln {
			l, r = r, l
		}
		ln, rn := l.names("column_names"), r.names("column_names")
		if l.class() == "COLUMN_REF" && r.class() == "COLUMN_REF" && len(ln) == 2 && len(rn) == 2 {
			out = append(out, [2]string{ln[1], rn[1]})
		}
	}
	return out
}

// changingTime lets rows go whose key holds the same watermarked time on both sides.
func (j *streamJoin) changingTime(o *partitioned, equal [][2]string) {
	for _, e := range equal {
		l, r := j.left.marks[strings.ToLower(e[0])], j.right.marks[strings.ToLower(e[1])]
		if l.kind == markNone || l.kind != r.kind || l.size != r.size || l.absent || r.absent || l.kind <= o.parts[0].mark.kind {
			continue
		}
		l.lag = max(l.lag, r.lag)
		r.lag = l.lag
		o.parts[0].timed, o.parts[0].mark = e[0], l
		o.parts[1].timed, o.parts[1].mark = e[1], r
	}
	for _, p := range o.parts {
		if p.timed != "" && p.rel.raw {
			p.entry.Late = p.mark.late(duck.QuoteIdent(p.timed))
		}
	}
}

// changingRelation is what comes out. Its rows are named by the keys of both sides; a column that equals a key of the
// left side is no key of its own.
func (j *streamJoin) changingRelation(equal [][2]string) *relation {
	l, r := j.left.from.main, j.right.from.main
	rel := &relation{name: outTable(j.n), marks: map[string]mark{}, stream: true, pos: true, tables: []string{outTable(j.n)},
		filtered: true, change: true, retracts: true, single: !l.many && !r.many && l.single && r.single,
		many: l.many || r.many, sources: union(l.sources, r.sources), nulls: union(l.nulls, r.nulls)}
	rel.keyed = l.keyed
	for name, m := range j.left.marks {
		m.lag, m.absent = max(m.lag, j.lag()), m.absent || j.kind == "RIGHT" || j.kind == "FULL"
		rel.marks[name] = m
	}
	if j.semi() {
		return rel
	}
	same := map[string]int{}
	for _, e := range equal {
		if m := j.left.marks[strings.ToLower(e[0])]; m.key > 0 && j.kind == "INNER" {
			same[strings.ToLower(e[1])] = m.key
		}
	}
	if l.keyed == nil || r.keyed == nil {
		rel.keyed = nil
	}
	number := map[int]int{}
	for i, m := range r.keyed {
		for name, k := range j.right.marks {
			if k.key == i+1 && same[name] > 0 {
				number[i+1] = same[name]
			}
		}
		if number[i+1] == 0 && rel.keyed != nil {
			rel.keyed = append(append([]mark{}, rel.keyed...), m)
			number[i+1] = len(rel.keyed)
		}
	}
	for name, m := range j.right.marks {
		m.key, m.lag, m.absent = number[m.key], max(m.lag, j.lag()), m.absent || j.kind == "LEFT" || j.kind == "FULL"
		rel.marks[name] = m
	}
	return rel
}

// namesBoth reports whether the keys of both sides name the rows of a FULL JOIN: rows without a match whose keys are
// all NULL are one on each side, unless the join is on just these keys and NULL matches NULL.
func (j *streamJoin) namesBoth(both []tree) bool {
	if len(j.left.own) > 0 || len(j.right.own) > 0 {
		return false
	}
	for _, t := range both {
		if t.str("type") != "COMPARE_NOT_DISTINCT_FROM" {
			return false
		}
	}
	equal := j.equalColumns(both)
	seen := [2]map[int]bool{{}, {}}
	for _, e := range equal {
		for i, s := range j.sides() {
			seen[i][s.marks[strings.ToLower(e[i])].key] = true
		}
	}
	if seen[0][0] || seen[1][0] || len(equal) != len(both) || len(equal) == 0 {
		return false
	}
	return len(seen[0]) == len(j.left.from.main.keyed) && len(seen[1]) == len(j.right.from.main.keyed)
}

// lag is how long rows of either side hold back what comes out.
func (j *streamJoin) lag() int64 {
	var lag int64
	for _, s := range j.sides() {
		for _, m := range s.marks {
			if m.kind != markNone {
				lag = max(lag, m.lag)
			}
		}
	}
	return lag
}

// changingPosition is what a row comes out with: the positions of both sides, and where rows of one position may be in
// several partitions, of which a batch gives some, the partition.
func (j *streamJoin) changingPosition(o *partitioned, rel *relation) string {
	l, r := j.left.from.main, j.right.from.main
	fields, types := []string{"l := " + leftAlias + "." + PosColumn}, []string{"l " + l.position()}
	repeated := !l.single
	if !j.semi() {
		fields, types = append(fields, "r := "+rightAlias+"."+PosColumn), append(types, "r "+r.position())
		repeated = repeated || !r.single
	} else if !repeated {
		rel.posType = l.posType
		return leftAlias + "." + PosColumn
	}
	for i, p := range o.parts {
		if !repeated || i > 0 && j.semi() {
			break
		}
		for n, key := range p.keys {
			name := fmt.Sprintf("%s%d", []string{"l", "r"}[i], n+1)
			fields = append(fields, name+" := "+[]string{leftAlias, rightAlias}[i]+"."+duck.QuoteIdent(key))
			types = append(types, name+" "+p.typeOf(key))
		}
	}
	rel.posType = "STRUCT(" + strings.Join(types, ", ") + ")"
	return "struct_pack(" + strings.Join(fields, ", ") + ")"
}

// changingItems is the select list of the join.
func (j *streamJoin) changingItems() string {
	var items []string
	for _, s := range j.sides() {
		if s == j.right && j.semi() {
			continue
		}
		for _, col := range s.columns {
			n := duck.QuoteIdent(col.name)
			items = append(items, s.alias+"."+n+" AS "+n)
		}
	}
	return strings.Join(items, ", ")
}
