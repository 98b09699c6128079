package planner

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// from is what a FROM clause has: the relations that carry rows of sources, with the names they go by. At
// most
// one of them has positions.
type from struct {
	aliases []string // of every visible relation, in order
	streams map[string]*relation
	main    *relation // the one that carries rows of sources
	alias   string    // of main
	single  bool
	unique  []TableKey // if set, rows of main that came once come once while these are
	ordered bool
	repeats bool   // a join may repeat a row of main
	drops   bool   // a join may drop rows
	names   *names // set where a join of streams is in it, whose columns have other names
}

// fromClause compiles a FROM clause in place: every relation that reads a source becomes a name.
func (c *compiler) fromClause(t tree, e *env) (*from, error) {
	switch t.str("type") {
	case "JOIN":
		return c.join(t, e)
	case "BASE_TABLE":
		return c.baseRelation(t, e)
	case "SUBQUERY":
		yes, err := c.streaming(t.sub("subquery"), e)
		if err != nil {
			return nil, err
		}
		if !yes {
			return c.reference(t, e, t.str("alias"))
		}
		sub, rel, err := c.query(t.sub("subquery").sub("node"), e)
		if err != nil {
			return nil, err
		}
		if rel, err = c.named(sub, rel, "subquery"); err != nil {
			return nil, err
		}
		return c.leaf(t, rel, t.str("alias"), t.list("column_name_alias")), nil
	case "TABLE_FUNCTION":
		if isWindow(t.sub("function").function()) {
			return c.window(t, e)
		}
	case emptyFrom, "EXPRESSION_LIST":
	default:
		return nil, c.shapeFault(t)
	}
	return c.reference(t, e, t.str("alias"))
}

// reference is a relation that reads no source.
func (c *compiler) reference(t tree, e *env, alias string) (*from, error) {
	if err := c.references(t, e); err != nil {
		return nil, err
	}
	return &from{aliases: []string{alias}, streams: map[string]*relation{}, single: true, ordered: true}, nil
}

// leaf replaces a relation by the name of a compiled one.
func (c *compiler) leaf(t tree, rel *relation, alias string, columns []any) *from {
	if alias == "" {
		alias = rel.name
	}
	location := t["query_location"]
	clear(t)
	for k, v := range baseTable(rel.name, alias, columns) {
		t[k] = v
	}
	t["query_location"] = location
	rel = rel.renamed(columns)
	return &from{aliases: []string{alias}, streams: map[string]*relation{strings.ToLower(alias): rel},
		main:  rel,
		alias: alias, single: rel.single, ordered: rel.ordered}
}

// renamed applies a column alias list.
func (r *relation) renamed(columns []any) *relation {
	if len(columns) == 0 {
		return r
	}
	out := *r
	out.hop = nil
	out.cols = append([]duck.Column(nil), r.cols...)
	out.marks, out.tags = map[string]mark{}, nil
	for i := range out.cols {
		old := strings.ToLower(out.cols[i].Name)
		if i < len(columns) {
			out.cols[i].Name = fmt.Sprint(columns[i])
		}
		if m, ok := r.marks[old]; ok {
			out.marks[strings.ToLower(out.cols[i].Name)] = m
		}
		if values := r.tags[old]; values != nil {
			out.tag(strings.ToLower(out.cols[i].Name), values)
		}
	}
	dropDuplicates(out.marks, out.cols)
	dropDuplicates(out.tags, out.cols)
	return &out
}

func (c *compiler) baseRelation(t tree, e *env) (*from, error) {
	if err := c.plainName(t); err != nil {
		return nil, err
	}
	name := t.str("table_name")
	alias := t.str("alias")
	if alias == "" {
		alias = name
	}
	yes, err := c.streamingName(name, e, t)
	if err != nil {
		return nil, err
	}
	if !yes {
		return c.reference(t, e, alias)
	}
	rel, err := c.nameRelation(name, e, t)
	if err != nil {
		return nil, err
	}
	return c.leaf(t, rel, alias, t.list("column_name_alias")), nil
}

// nameRelation compiles what a name stands for. A CTE or view is compiled once.
func (c *compiler) nameRelation(name string, e *env, at tree) (*relation, error) {
	what, err := c.resolve(name, e, at)
	if err != nil {
		return nil, err
	}
	if what.source != nil {
		return c.sourceRelation(what.source), nil
	}
	def := what.def
	if def == nil || def.body == nil {
		return nil, c.errAt(diag.ShapeUnsupported, at, "%q is not a stream", name).
			WithHint("name a source, view or WITH query")
	}
	if def.rel != nil || def.err != nil {
		return def.rel, def.err
	}
	sub, rel, err := c.query(clone(def.body), def.env)
	if err != nil {
		def.err = err
		return nil, err
	}
	if rel, err = c.named(sub, rel, def.name); err != nil {
		return nil, err
	}
	def.rel = rel
	if len(def.aliases) > 0 {
		def.rel, err = c.realias(rel, def.aliases)
	}
	return def.rel, err
}

// realias gives a compiled CTE the column names of WITH name(a, b).
func (c *compiler) realias(rel *relation, columns []any) (*relation, error) {
	sql, err := c.render(selectNode([]any{star("")}, baseTable(rel.name, "w", columns)))
	if err != nil {
		return nil, err
	}
	out := rel.renamed(columns)
	name := c.fresh("columns")
	c.define(name, sql)
	out.name = name
	return out, nil
}

// named makes a CTE of a compiled query.
func (c *compiler) named(node tree, rel *relation, hint string) (*relation, error) {
	sql, err := c.render(node)
	if err != nil {
		return nil, err
	}
	out := *rel
	out.hop = nil
	out.name = c.fresh(hint)
	c.define(out.name, sql)
	return &out, nil
}

func (c *compiler) sourceRelation(s *Source) *relation {
	c.sources[s.Name] = true
	rel := &relation{name: s.Name, marks: map[string]mark{}, stream: true, pos: true, single: true,
		ordered: true, raw: true, arrives: true, tables: []string{s.Name},
		sources: []string{s.Name}, nulls: []string{s.Name}, node: &Node{Op: "source " + s.Name}}
	for _, col := range s.Columns {
		rel.cols = append(rel.cols, duck.Column{Name: col.Name, Type: col.Type})
	}
	if s.Watermark != nil {
		rel.marks[strings.ToLower(s.Watermark.Column)] = mark{kind: markEvent, source: s.Name}
		rel.node.Detail = []string{fmt.Sprintf("watermark %s - %s", s.Watermark.Column, s.Watermark.Delay)}
	}
	return rel
}

// join compiles both sides. A stream joins reference data on the side that is preserved, or another stream.
func (c *compiler) join(t tree, e *env) (*from, error) {
	kind, ref := t.str("join_type"), t.str("ref_type")
	take := c.take
	defer func() { c.take = take }()
	c.take = take.below(kind, ref, true)
	l, err := c.fromClause(t.sub("left"), e)
	if err == nil && l.names != nil {
		t["right"] = c.replaceRefs(t["right"], l.names.resolve)
	}
	c.take = take.below(kind, ref, false)
	r, rightErr := c.fromClause(t.sub("right"), e)
	if err = both(err, both(rightErr, c.subqueries(t.sub("condition"), e))); err != nil {
		return nil, err
	}
	if l.main != nil && r.main != nil {
		if !l.main.pos && !r.main.pos && c.complete() {
			if fromSubquery(t.sub("condition")) {
				return nil, c.errAt(diag.JoinUnsupported, t, "a subquery over results can not test results in output mode COMPLETE").
					WithHint("write a SEMI JOIN or ANTI JOIN of the two, or use OUTPUT MODE UPDATE")
			}
			if (kind == "SEMI" || kind == "ANTI") && !onlyEqualities(t.sub("condition")) {
				return nil, c.errAt(diag.JoinUnsupported, t, "DuckDB runs a %s JOIN with more than equalities wrongly when the left "+
					"side is the smaller one", kind).
					WithHint("write  WHERE key IN (SELECT ...)  over a joined subquery, or use OUTPUT MODE UPDATE")
			}
			return l.plus(r, kind), nil
		}
		return c.joinStreams(t, l, r, take)
	}
	if l.main == nil && r.main == nil {
		return l.plus(r, kind), nil
	}
	if ref == "POSITIONAL" {
		return nil, c.errAt(diag.JoinUnsupported, t,
			"a positional join with a stream has no meaning: its rows have no fixed number").
			WithHint("join on a key")
	}
	if err := c.checkSides(t, l.main != nil, kind, ref); err != nil {
		return nil, err
	}
	out := l.plus(r, kind)
	if key := c.joinKey(t, l); key != nil && (l.single || l.unique != nil) {
		out.unique = append(slices.Clone(l.unique), *key)
	}
	if l.names == nil && r.names == nil {
		return out, nil
	}
	return out, c.joinNamed(t, l, r, out)
}

func (c *compiler) checkSides(t tree, streamLeft bool, kind, ref string) error {
	if streamLeft {
		switch kind {
		case "INNER", "LEFT", "SEMI", "ANTI":
			return nil
		}
	} else {
		switch {
		case ref == "ASOF":
		case kind == "INNER", kind == "RIGHT":
			return nil
		}
	}
	side := "right"
	if !streamLeft {
		side = "left"
	}
	return c.errAt(diag.JoinUnsupported, t,
		"this %s JOIN would keep or test rows of the reference table on its %s side "+
			"against the whole stream, which never ends",
		kind, side).
		WithHint("put the stream on the left and use JOIN, LEFT JOIN, SEMI JOIN or ANTI JOIN")
}

// plus is the FROM clause of a join.
func (f *from) plus(o *from, kind string) *from {
	out := &from{aliases: f.aliases, streams: map[string]*relation{}, main: f.main, alias: f.alias,
		drops: f.drops || o.drops}
	if out.main == nil {
		out.main, out.alias = o.main, o.alias
	} else if o.main != nil { // results of aggregates in complete mode
		both := *f.main
		both.sources, both.nulls = union(f.main.sources, o.main.sources), union(f.main.nulls, o.main.nulls)
		out.main = &both
	}
	semi := kind == "SEMI" || kind == "ANTI"
	for k, v := range f.streams {
		out.streams[k] = v
	}
	if !semi {
		out.aliases = append(append([]string(nil), f.aliases...), o.aliases...)
		for k, v := range o.streams {
			out.streams[k] = v
		}
	}
	out.single = semi && f.single
	out.repeats = f.repeats || o.repeats || !semi
	out.drops = out.drops || kind != "LEFT" && kind != "RIGHT"
	return out
}

// star is SELECT *, or relation.*.
func star(relation string) tree {
	return tree{"class": "STAR", "type": "STAR", "alias": "", "query_location": synthetic,
		"relation_name": relation,
		"exclude_list":  []any{}, "replace_list": []any{}, "columns": false, "expr": nil, "unpacked": false}
}
