package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// streamJoin is a join of two streams: both sides keep their rows until none of the other side can match any more.
type streamJoin struct {
	n           int
	kind        string // INNER, LEFT, RIGHT, FULL, SEMI or ANTI
	left, right *joinSide
	on          string // the condition over both sides, as SQL
	equal       bool   // it has an equality between the sides
	whole       string // where all rows stay: it over the rows of the sources
	again       bool   // that condition gives the same whenever it is computed
	bounds      []*bound
	equals      []equality
	taken       bool // a join above takes its rows as they are made
	tied        bool // its rows come with the positions of the rows that they are made from
}

// joinSide is one side of a join.
type joinSide struct {
	name    string // left or right
	alias   string // in generated SQL
	from    *from
	names   *names
	columns []joinColumn
	marks   map[string]mark // by lower-case column
	marked  []string        // times with a watermark, as the user names them
	plain   []string        // times without
	where   []tree          // conditions that a row has to pass before the join
	own     []tree          // ON conditions on this side alone
	notNull []string        // what a row that can match has
	rows    string          // SELECT of the batch's rows
	tree    tree            // its FROM
	made    *streamJoin     // whose rows it takes as they are made: it keeps none
	preserv bool            // rows without a match come out
	flagged bool            // the batch's rows say in __can whether they can match at all
	id      string          // column that names a row
	entry   Entry
	frees   []leave
}

// joinColumn is a column that a side keeps.
type joinColumn struct {
	name, typ string
	expr      tree // over the side's FROM
	mark      mark
}

// canColumn says whether a row of a preserved side can match at all; idColumn names a row where positions do not.
const (
	canColumn  = "__can"
	idColumn   = "__id"
	leftAlias  = "__l"
	rightAlias = "__r"
)

func (s *joinSide) in(n int) string      { return fmt.Sprintf("__in%s%d", s.name, n) }
func (s *joinSide) state(n int) string   { return fmt.Sprintf("__%s%d", s.name, n) }
func (s *joinSide) matched(n int) string { return fmt.Sprintf("__%smatched%d", s.name, n) }
func (s *joinSide) outID() string        { return "__" + s.name[:1] + "id" }

func (j *streamJoin) out() string { return outTable(j.n) }
func (j *streamJoin) hit() string { return fmt.Sprintf("__hit%d", j.n) }

func (j *streamJoin) sides() []*joinSide { return []*joinSide{j.left, j.right} }

func (j *streamJoin) other(s *joinSide) *joinSide {
	if s == j.left {
		return j.right
	}
	return j.left
}

// semi reports whether only rows of the left side come out.
func (j *streamJoin) semi() bool { return !twoSided(j.kind) }

// joinStreams compiles a join of two streams into an operator, whose rows stand in the place of the join.
func (c *compiler) joinStreams(t tree, l, r *from, take *filter) (*from, error) {
	kind := t.str("join_type")
	if kind == "OUTER" {
		kind = "FULL"
	}
	j := &streamJoin{kind: kind,
		left:  &joinSide{name: "left", alias: leftAlias, from: l, preserv: kind == "LEFT" || kind == "FULL" || kind == "ANTI"},
		right: &joinSide{name: "right", alias: rightAlias, from: r, preserv: kind == "RIGHT" || kind == "FULL"}}
	if err := c.refuseJoin(t, j); err != nil {
		return nil, err
	}
	if t.str("ref_type") == "ASOF" {
		return c.joinAsof(t, j, take)
	}
	if err := c.sideNames(t, j); err != nil {
		return nil, err
	}
	conditions, err := c.joinConditions(t, j)
	if err != nil {
		return nil, err
	}
	if err := c.sideColumns(t, j); err != nil {
		return nil, err
	}
	both := j.split(c, append(conditions, take.conditions(c, j)...))
	if !j.equal {
		return nil, c.errAt(diag.JoinUnsupported, t, "a join of two streams needs an equality between its sides").
			WithHint("add  AND a.key = b.key  to the join condition: without it every row would have to be " +
				"compared with every other")
	}
	if j.changes() {
		return c.joinChanging(t, j, both)
	}
	if err := j.finish(c, t, both); err != nil {
		return nil, err
	}
	return c.joinRelation(t, j)
}

// refuseJoin refuses joins that no condition can mend.
func (c *compiler) refuseJoin(t tree, j *streamJoin) error {
	l, r := j.left.from.main, j.right.from.main
	switch ref := t.str("ref_type"); {
	case ref == "POSITIONAL":
		return c.errAt(diag.JoinUnsupported, t,
			"a positional join with a stream has no meaning: its rows have no fixed number").WithHint("join on a key")
	case !l.pos || !r.pos:
		return c.errAt(diag.JoinUnsupported, t,
			"a stream can not be joined with an aggregate of a stream in output mode %s", c.appMode()).
			WithHint("use OUTPUT MODE APPEND")
	case c.q.Mode == stream.Update && !j.changes() && (j.kind == "LEFT" || j.kind == "RIGHT" || j.kind == "FULL"):
		return c.errAt(diag.UpdateUnsupported, t, "a %s JOIN of two streams can not run in output mode UPDATE: "+
			"its rows without a match are known only when they are final", j.kind).WithHint("use OUTPUT MODE APPEND")
	case l.collated || r.collated:
		return c.errAt(diag.JoinUnsupported, t, "COLLATE below a join of streams is not supported").
			WithHint("compare lower(x) for NOCASE, strip_accents(x) for NOACCENT")
	}
	return nil
}

func (c *compiler) sideNames(t tree, j *streamJoin) error {
	for i, s := range j.sides() {
		s.names = s.from.names
		if s.names == nil {
			var err error
			if s.names, err = c.namesOf(t.sub([]string{"left", "right"}[i])); err != nil {
				return err
			}
		}
	}
	return nil
}

// joinConditions are the conditions of ON or USING.
func (c *compiler) joinConditions(t tree, j *streamJoin) ([]tree, error) {
	out := conjuncts(t.sub("condition"))
	using, err := usingColumns(t, j.left.names, j.right.names)
	for _, name := range using {
		out = append(out, comparison("COMPARE_EQUAL", columnRef("", usingLeft, name), columnRef("", usingRight, name)))
	}
	return out, err
}

// usingLeft and usingRight stand for the sides in conditions made from USING.
const (
	usingLeft  = "__using_left"
	usingRight = "__using_right"
)

// sideColumns names and types the columns that each side keeps: those that the query mentions.
func (c *compiler) sideColumns(t tree, j *streamJoin) error {
	taken := map[string]bool{}
	for i, s := range j.sides() {
		if err := c.describeSide(s, t.sub([]string{"left", "right"}[i])); err != nil {
			return err
		}
		items := []any{}
		var kept []joinColumn
		s.names = s.names.moved(func(i int, v *visible) tree {
			col := s.columns[i]
			s.note(v, col)
			if c.wanted != nil && !c.wanted[strings.ToLower(v.name)] {
				return nil
			}
			col.name = uniqueName(v.alias+"."+v.name, taken)
			item := clone(col.expr)
			item["alias"] = col.name
			items, kept = append(items, item), append(kept, col)
			if col.mark != (mark{}) {
				s.marks[strings.ToLower(col.name)] = col.mark
			}
			return columnRef("", s.alias, col.name)
		})
		s.columns = kept
		for _, col := range kept {
			if err := c.storable(t, col.typ); err != nil {
				return err
			}
		}
		items = append(items, columnRef(PosColumn, s.from.alias, PosColumn))
		s.tree = t.sub([]string{"left", "right"}[i])
		var err error
		if s.rows, err = c.render(selectNode(items, s.tree)); err != nil {
			return err
		}
	}
	return nil
}

// describeSide types every column that a side has.
func (c *compiler) describeSide(s *joinSide, tree tree) error {
	s.marks, s.columns = map[string]mark{}, nil
	below, items := &scope{from: s.from, c: c}, []any{}
	for _, v := range s.names.columns {
		items = append(items, clone(v.expr))
	}
	items = append(items, columnRef(PosColumn, s.from.alias, PosColumn))
	sql, err := c.render(selectNode(items, clone(tree)))
	if err != nil {
		return err
	}
	cols, err := c.describe(sql)
	if err != nil {
		return err
	}
	for i, v := range s.names.columns {
		s.columns = append(s.columns, joinColumn{typ: cols[i].Type, expr: v.expr, mark: below.mark(v.expr)})
	}
	return nil
}

// note remembers a time, for messages.
func (s *joinSide) note(v *visible, col joinColumn) {
	switch {
	case col.mark.event().kind != markNone:
		s.marked = append(s.marked, userName(v))
	case col.typ == "TIMESTAMP":
		s.plain = append(s.plain, userName(v))
	}
}

// storable refuses a type that no table can have: a STRUCT whose fields have no names.
func (c *compiler) storable(at tree, typ string) error {
	if !strings.Contains(typ, "STRUCT(") {
		return nil
	}
	if _, err := c.db.Describe(c.ctx, "SELECT CAST(NULL AS "+typ+")"); asDuckError(err) == nil {
		return err
	}
	return c.errAt(diag.JoinUnsupported, at, "type %s has fields without names, which can not be kept", typ).
		WithHint("write {'a': x, 'b': y} for (x, y)")
}

// scope is what the conditions see.
func (j *streamJoin) scope(c *compiler) *scope {
	f := &from{streams: map[string]*relation{}}
	for _, s := range j.sides() {
		rel := &relation{marks: s.marks}
		for _, col := range s.columns {
			rel.cols = append(rel.cols, duck.Column{Name: col.name, Type: col.typ})
		}
		f.streams[s.alias] = rel
	}
	f.main, f.alias = f.streams[leftAlias], leftAlias
	return &scope{from: f, c: c}
}

// find gives the meaning of a reference in a join condition.
func (j *streamJoin) find(parts []string) tree {
	switch parts[0] {
	case usingLeft:
		return clone(j.left.names.bare(parts[1]))
	case usingRight:
		return clone(j.right.names.bare(parts[1]))
	case outerSide:
		return j.left.names.resolve(parts[1:])
	case innerSide:
		if e := j.right.names.resolve(parts[1:]); e != nil {
			return e
		}
		return j.left.names.resolve(parts[1:])
	}
	for _, s := range j.sides() {
		if len(parts) > 1 && s.names.hasAlias(parts[0]) {
			if e := s.names.resolve(parts); e != nil {
				return e
			}
		}
	}
	for _, s := range j.sides() {
		if e := s.names.resolve(parts); e != nil {
			return e
		}
	}
	return nil
}

// reads reports which sides an expression over both of them reads.
func reads(v any) (left, right bool) {
	walk(v, func(t tree) bool {
		if names := t.names("column_names"); t.class() == "COLUMN_REF" {
			left, right = left || names[0] == leftAlias, right || names[0] == rightAlias
		}
		return true
	})
	return left, right
}

// split gives conditions on one side to it and returns those on both.
func (j *streamJoin) split(c *compiler, conditions []tree) []tree {
	var both []tree
	for _, t := range conditions {
		t = asTree(c.replaceRefs(t, j.find))
		l, r := reads(t)
		switch {
		case l && !r:
			j.left.own = append(j.left.own, t)
		case r && !l:
			j.right.own = append(j.right.own, t)
		default:
			both = append(both, t)
			j.compares(t)
		}
	}
	return both
}

// compares notes that a condition is an equality between the sides.
func (j *streamJoin) compares(t tree) {
	if t.class() != "COMPARISON" {
		return
	}
	switch t.str("type") {
	case "COMPARE_EQUAL", "COMPARE_NOT_DISTINCT_FROM":
		j.equal = j.equal || j.across(t)
	}
}

// across reports whether a comparison has one side of the join on either side.
func (j *streamJoin) across(t tree) bool {
	ll, lr := reads(t["left"])
	rl, rr := reads(t["right"])
	return ll && !lr && rr && !rl || lr && !ll && rl && !rr
}

// filter is the WHERE clause of a SELECT, whose conditions inner joins may take as theirs.
type filter struct {
	node tree
}

// below is the filter for a side of a join: nil where the join may add or keep rows of its own.
func (f *filter) below(kind, ref string, left bool) *filter {
	if f == nil {
		return nil
	}
	if left && (kind == "INNER" || kind == "LEFT" || !twoSided(kind)) {
		return f
	}
	if !left && ref != "ASOF" && (kind == "INNER" || kind == "RIGHT") {
		return f
	}
	return nil
}

// conditions takes those conditions out of WHERE that the join can test: for an inner join all that name nothing else,
// for others those on the side whose rows all come out.
func (f *filter) conditions(c *compiler, j *streamJoin) []tree {
	if f == nil || f.node.sub("where_clause") == nil {
		return nil
	}
	var mine, rest []tree
	for _, t := range conjuncts(f.node.sub("where_clause")) {
		whole := true
		walk(t, func(n tree) bool {
			whole = whole && n.str("class") != "SUBQUERY" && n.class() != "LAMBDA" && n.class() != "STAR"
			if n.class() == "COLUMN_REF" {
				whole = whole && j.find(n.names("column_names")) != nil
			}
			return whole
		})
		var l, r bool
		if whole {
			l, r = reads(c.replaceRefs(clone(t), j.find))
		}
		switch {
		case !whole || !l && !r:
			rest = append(rest, t)
		case j.kind == "INNER":
			mine = append(mine, t)
		case l && !r && (j.kind == "LEFT" || j.semi()):
			j.left.where = append(j.left.where, asTree(c.replaceRefs(t, j.find)))
		case r && !l && j.kind == "RIGHT":
			j.right.where = append(j.right.where, asTree(c.replaceRefs(t, j.find)))
		default:
			rest = append(rest, t)
		}
	}
	f.node["where_clause"] = conjunction(rest)
	return mine
}

// joinRelation puts the operator's rows in the place of the join.
func (c *compiler) joinRelation(t tree, j *streamJoin) (*from, error) {
	out := j.out()
	l, r := j.left.from.main, j.right.from.main
	rel := &relation{name: out, marks: j.outMarks(), stream: true, pos: true, tables: []string{out}, filtered: true,
		sources: union(l.sources, r.sources), nulls: union(j.left.nulls(), j.right.nulls())}
	rel.arrives = j.kind == "INNER" && l.raw && r.raw
	rel.single, rel.posType = j.semi() && j.left.from.single, j.positionType()
	if j.remade() {
		rel.join = j
	}
	cols := j.outColumns()
	for _, col := range cols {
		if !strings.HasPrefix(col.Name, "__") {
			rel.cols = append(rel.cols, col)
		}
	}
	rel.node = j.node(c)
	if err := c.emptyOut(out, cols); err != nil {
		return nil, err
	}
	c.add(j, l, r)
	for _, s := range j.sides() {
		if s.from.main.raw {
			c.nulls = union(c.nulls, s.nulls())
		}
	}
	return c.inPlace(t, j, rel)
}

// inPlace puts a join's rows where it stands in FROM.
func (c *compiler) inPlace(t tree, j *streamJoin, rel *relation) (*from, error) {
	out := rel.name
	shown := j.left.names
	if !j.semi() {
		using, err := usingColumns(t, j.left.names, j.right.names)
		if err != nil {
			return nil, err
		}
		shown = merge(j.left.names, j.right.names, using, j.kind)
	}
	shown = shown.moved(func(_ int, v *visible) tree {
		return columnRef("", out, v.expr.names("column_names")[1])
	})
	c.joined[out] = shown
	f := c.leaf(t, rel, out, nil)
	f.names, f.drops = shown, true
	return f, nil
}

// nulls are the sources whose rows may come out without event time.
func (s *joinSide) nulls() []string {
	rel := s.from.main
	if s.preserv || !rel.raw || len(rel.sources) != 1 {
		return rel.nulls
	}
	for _, f := range s.frees {
		if f.bounds && f.mark.source == rel.sources[0] {
			return nil
		}
	}
	return rel.nulls
}

func userName(v *visible) string { return v.alias + "." + v.name }
