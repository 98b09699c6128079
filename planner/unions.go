package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// union compiles set operations of streams: UNION ALL, UNION as DISTINCT over that, INTERSECT and EXCEPT.
func (c *compiler) union(node tree, e *env) (tree, *relation, error) {
	e = c.within(node, e)
	kind := node.str("setop_type")
	if !strings.HasSuffix(kind, "_BY_NAME") {
		nameApart(node.sub("right"))
	}
	lt, lr, err := c.unionSide(node, "left", e)
	rt, rr, rightErr := c.unionSide(node, "right", e)
	if err = both(err, rightErr); err != nil {
		return nil, nil, err
	}
	if lr.pos != rr.pos { // complete mode: rows beside results
		if lt, lr, err = c.whole(lt, lr); err != nil {
			return nil, nil, err
		}
		if rt, rr, err = c.whole(rt, rr); err != nil {
			return nil, nil, err
		}
	}
	if (kind == "INTERSECT" || kind == "EXCEPT") && lr.pos {
		if err := c.refuseShapes(node, false); err != nil && !c.complete() {
			return nil, nil, err
		}
		return c.setOperation(node, lt, rt, lr, rr)
	}
	if lr.pos && !alike(lr, rr) {
		nodes, rels, err := c.sideBySide([2]tree{lt, rt}, [2]*relation{lr, rr})
		if err != nil {
			return nil, nil, err
		}
		lt, rt, lr, rr = nodes[0], nodes[1], rels[0], rels[1]
	}
	node["left"], node["right"] = lt, rt
	if !lr.pos {
		rel, err := c.unionRelation(node, lr, rr)
		return node, rel, err
	}
	return c.cutUnion(node, lr, rr)
}

// nameApart gives items of a query whose names nobody can ask for names of their own, where it has two of one name.
func nameApart(side tree) {
	for side.str("type") == "SET_OPERATION_NODE" {
		side = side.sub("left")
	}
	seen := map[string]bool{}
	for i, item := range side.trees("select_list") {
		name := item.str("alias")
		if names := item.names("column_names"); name == "" && item.class() == "COLUMN_REF" {
			name = names[len(names)-1]
		}
		if key := strings.ToLower(name); key != "" && seen[key] {
			item["alias"] = fmt.Sprintf("__i%d", i+1)
		} else {
			seen[key] = true
		}
	}
}

// unionSide compiles one side of a set operation.
func (c *compiler) unionSide(node tree, key string, e *env) (tree, *relation, error) {
	side := node.sub(key)
	yes, err := c.streaming(side, e)
	switch {
	case err != nil:
		return nil, nil, err
	case !yes:
		return nil, nil, c.referenceSide(node, side)
	}
	return c.query(side, e)
}

// referenceSide refuses reference data on one side of a set operation.
func (c *compiler) referenceSide(node, side tree) error {
	name := setName(node)
	switch {
	case strings.HasPrefix(name, "UNION"):
		return c.errAt(diag.ShapeUnsupported, side, "%s of a stream and reference data would repeat the data in every batch",
			name).WithHint("union streams with streams only")
	case strings.HasPrefix(name, "EXCEPT") && firstAt(side) < firstAt(node.sub("right")):
		return c.errAt(diag.ShapeUnsupported, side, "%s would take rows of reference data back as the stream comes", name).
			WithHint("put the stream on the left side")
	}
	not := map[bool]string{true: "NOT "}[strings.HasPrefix(name, "EXCEPT")]
	return c.errAt(diag.ShapeUnsupported, side, "%s of a stream and reference data is not supported", name).
		WithHint("write  SELECT DISTINCT ... WHERE %sEXISTS (SELECT 1 FROM table t WHERE t.key IS NOT DISTINCT FROM key)", not)
}

// setName is what the text calls a set operation.
func setName(node tree) string {
	name := strings.TrimSuffix(node.str("setop_type"), "_BY_NAME")
	if node.flag("setop_all") {
		name += " ALL"
	}
	return name
}

// alike reports whether the positions of two relations are of one kind, so that they stay what they are in a union.
func alike(l, r *relation) bool {
	return l.raw == r.raw && !l.change && !r.change && l.posType == r.posType
}

// sideBySide makes the sides of a union fit each other. A row's position becomes the number of its side and the position
// there. Rows of a source enter the query here; where rows of one side change, those of the other, which are only
// added, come to have been none before the batch.
func (c *compiler) sideBySide(nodes [2]tree, rels [2]*relation) ([2]tree, [2]*relation, error) {
	types := [2]string{rels[0].position(), rels[1].position()}
	change := rels[0].change || rels[1].change
	for i, rel := range rels {
		var err error
		if rel.raw || change && !rel.change {
			if nodes[i], rel, err = c.pass(nodes[i], rel, change); err != nil {
				return nodes, rels, err
			}
		}
		in, err := c.named(nodes[i], rel, "side")
		if err != nil {
			return nodes, rels, err
		}
		out := *in
		out.name, out.change, out.raw, out.arrives = c.fresh("side"), change, false, false
		pos, typ := "p := "+PosColumn, "p "+types[0]
		if types[0] != types[1] {
			parts := [2]string{"l := CAST(NULL AS " + types[0] + ")", "r := CAST(NULL AS " + types[1] + ")"}
			parts[i] = [2]string{"l := ", "r := "}[i] + PosColumn
			pos, typ = parts[0]+", "+parts[1], "l "+types[0]+", r "+types[1]
		}
		out.posType = "STRUCT(s TINYINT, " + typ + ")"
		c.define(out.name, fmt.Sprintf("SELECT * EXCLUDE (%s), struct_pack(s := CAST(%d AS TINYINT), %s) AS %s FROM %s", PosColumn,
			i+1, pos, PosColumn, in.name))
		nodes[i], rels[i] = selectNode([]any{star("")}, baseTable(out.name, out.name, nil)), &out
	}
	return nodes, rels, nil
}

// passing gives rows on as they come. It keeps nothing.
type passing struct {
	n     int
	rel   *relation
	input string
	entry Entry
}

// pass makes an operator of the rows of a query: those of a source are counted as used there.
func (c *compiler) pass(node tree, rel *relation, change bool) (tree, *relation, error) {
	o := &passing{n: len(c.ops) + 1, rel: rel}
	if err := c.distinctNames(rel, "UNION"); err != nil {
		return nil, nil, err
	}
	sql, err := c.render(node)
	if err != nil {
		return nil, nil, err
	}
	o.input = c.chain(sql)
	o.entry = Entry{Table: outTable(o.n), Raw: rel.raw, Many: !rel.single}
	c.add(o, rel)
	c.nulls = union(c.nulls, rel.nulls)
	out := *rel
	out.name, out.raw, out.ordered, out.change, out.keyed, out.tables = "", false, false, change, nil, []string{outTable(o.n)}
	if change {
		c.changes[outTable(o.n)] = true
	}
	top, err := c.outOf(o.n, &out)
	return top, &out, err
}

func (o *passing) operator(old bool) *Operator {
	out := outTable(o.n)
	op := &Operator{Name: fmt.Sprintf("rows %d", o.n), Steps: []Step{
		{Title: "rows that come", Table: out, SQL: o.input, Rows: o.rel.tables},
		{Title: "which of them are used", Effect: Count, Entry: &o.entry, Rows: []string{out}}}}
	if old {
		op.Steps = append(op.Steps, Step{Title: "none of them was there before", Table: oldTable(o.n),
			SQL: "SELECT * FROM " + out + " WHERE false", Rows: []string{out}})
	}
	return op
}

// whole keeps all rows of a query, in complete mode, where results stand beside rows.
func (c *compiler) whole(node tree, rel *relation) (tree, *relation, error) {
	if !rel.pos {
		return node, rel, nil
	}
	if err := c.distinctNames(rel, "a set operation"); err != nil {
		return nil, nil, err
	}
	in, err := c.named(node, rel, "rows")
	if err != nil {
		return nil, nil, err
	}
	o := &partitioned{n: len(c.ops) + 1, what: "rows", emits: allGroups}
	if err := c.setPart(o, in); err != nil {
		return nil, nil, err
	}
	out := &relation{name: outTable(o.n), stream: true, marks: map[string]mark{}, tables: []string{outTable(o.n)},
		sources: rel.sources, nulls: rel.nulls, collated: rel.collated, filtered: rel.filtered,
		node: &Node{Op: "all rows", Below: []*Node{rel.node}}}
	p := o.parts[0]
	if err := c.bind(o, out, "SELECT "+strings.Join(p.quoted(""), ", ")+" FROM "+p.name()); err != nil {
		return nil, nil, err
	}
	c.nulls = union(c.nulls, rel.nulls)
	top := selectNode([]any{star("")}, baseTable(out.name, out.name, nil))
	out.name = ""
	return top, out, nil
}

// cutUnion finishes a union of rows with positions: DISTINCT and LIMIT over all of them.
func (c *compiler) cutUnion(node tree, l, r *relation) (tree, *relation, error) {
	cut, err := c.takeCuts(node)
	if err != nil {
		return nil, nil, err
	}
	if !node.flag("setop_all") {
		if cut == nil {
			cut = &cuts{}
		}
		node["setop_all"] = true
		cut.distinct = tree{"type": "DISTINCT_MODIFIER"}
	}
	if err := c.refuseShapes(node, false); err != nil {
		return nil, nil, err
	}
	return c.cutting(cut, node, nil, func(node tree, _ *scope) (tree, *relation, error) {
		rel, err := c.unionRelation(node, l, r)
		return node, rel, err
	})
}

func (c *compiler) unionRelation(node tree, l, r *relation) (*relation, error) {
	sql, err := c.render(node)
	if err != nil {
		return nil, err
	}
	cols, err := c.describe(sql)
	if err != nil {
		return nil, err
	}
	rel := &relation{marks: map[string]mark{}, stream: true, pos: l.pos, filtered: l.filtered || r.filtered,
		raw: l.raw, posType: l.posType, change: l.change, arrives: l.arrives && r.arrives, tables: union(l.tables, r.tables),
		collated: l.collated || r.collated, retracts: l.retracts || r.retracts,
		sources: union(l.sources, r.sources), nulls: union(l.nulls, r.nulls)}
	rel.single = l.single && r.single && (l.change || len(rel.sources) == len(l.sources)+len(r.sources))
	for _, col := range cols {
		if col.Name != PosColumn {
			rel.cols = append(rel.cols, col)
		}
	}
	names := rel.sideNames(r, node.str("setop_type") == "UNION_BY_NAME")
	for key, other := range names {
		if m := bothMarks(l.marks[key], r.marks[other]); m.kind != markNone {
			rel.marks[key] = m
		}
		if tags := append(slices.Clone(l.tags[key]), r.tags[other]...); l.tags[key] != nil && r.tags[other] != nil {
			rel.tag(key, tags)
		}
	}
	if rel.change {
		rel.nameUnion(l, r, names)
	}
	if rel.change && rel.keyed == nil {
		c.naming = "give each branch of the UNION ALL that is made of groups a constant of its own, such as 'a' AS part, " +
			"beside its keys, or use UNION"
	}
	rel.node = &Node{Op: "union all", Below: []*Node{l.node, r.node}}
	return rel, nil
}

// sideNames pairs the names of the columns of a union, in lower case, with those of its right side.
func (r *relation) sideNames(right *relation, byName bool) map[string]string {
	names := map[string]string{}
	for i, col := range r.cols {
		key := strings.ToLower(col.Name)
		names[key] = key
		if !byName && i < len(right.cols) {
			names[key] = strings.ToLower(right.cols[i].Name)
		}
	}
	return names
}

// bothMarks is what is known of a column of a union, from what is known of it on either side.
func bothMarks(a, b mark) mark {
	if a.kind == markNone || b.kind == markNone || a.absent != b.absent {
		return mark{}
	}
	if a.kind != b.kind || a.size != b.size {
		a, b = a.event(), b.event()
	}
	a.source, a.lag, a.key = "", max(a.lag, b.lag), 0
	if a.window != "" {
		a.window += "+" + b.window
		a.whole = a.whole && b.whole
	}
	return a
}

// nameUnion says what names the rows of a union: what names those of each side, if a column tells the sides apart.
func (r *relation) nameUnion(left, right *relation, names map[string]string) {
	r.many, r.retracts = left.many || right.many, true
	apart := ""
	for _, col := range r.cols {
		if key := strings.ToLower(col.Name); apartBy(left.tags[key], right.tags[names[key]]) && apart == "" {
			apart = key
		}
	}
	if apart == "" || !left.shows() || !right.shows() {
		return
	}
	r.keyed = []mark{}
	for _, col := range r.cols {
		key := strings.ToLower(col.Name)
		if key != apart && left.marks[key].key == 0 && right.marks[names[key]].key == 0 {
			continue
		}
		r.keyed = append(r.keyed, mark{})
		m := r.marks[key]
		m.key = len(r.keyed)
		r.marks[key] = m
	}
}

// shows reports whether the columns of a relation name its rows.
func (r *relation) shows() bool {
	seen := map[int]bool{}
	for _, m := range r.marks {
		if m.key > 0 {
			seen[m.key-1] = true
		}
	}
	return r.keyed != nil && !r.many && r.named(seen)
}

// tag notes which constants a column has.
func (r *relation) tag(column string, values []string) {
	if r.tags == nil {
		r.tags = map[string][]string{}
	}
	r.tags[column] = values
}

// apartBy reports whether two lists of constants have none in common, whatever type they end up with.
func apartBy(left, right []string) bool {
	for _, l := range left {
		for _, r := range right {
			if kind, _, _ := strings.Cut(l, " "); l == r || !strings.HasPrefix(r, kind+" ") {
				return false
			}
		}
	}
	return len(left) > 0 && len(right) > 0
}

// tagsOf notes which columns of a SELECT are constants.
func (r *relation) tagsOf(items []tree, s *scope) {
	for _, item := range items {
		name := strings.ToLower(item.str("alias"))
		if names := item.names("column_names"); name == "" && len(names) > 0 {
			name = strings.ToLower(names[len(names)-1])
		}
		delete(r.tags, name)
		if value := constantTag(item); value != "" && name != "" {
			r.tag(name, []string{value})
		}
		if rel, col := s.lookup(item); rel != nil && rel.tags[strings.ToLower(col)] != nil {
			r.tag(name, rel.tags[strings.ToLower(col)])
		}
		if item.class() == "STAR" && item.sub("expr") == nil && len(item.list("replace_list")) == 0 {
			for column, values := range s.main.tags {
				r.tag(column, values)
			}
		}
	}
	dropDuplicates(r.tags, r.cols)
}

// constantTag is a constant whose equality with another of its type is that of their texts, or "".
func constantTag(t tree) string {
	v := t.sub("value")
	if t.class() != "CONSTANT" || v.flag("is_null") {
		return ""
	}
	switch kind := v.sub("type").str("id"); kind {
	case "VARCHAR", "INTEGER", "BOOLEAN":
		return kind + " " + fmt.Sprint(v["value"])
	}
	return ""
}
