package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// setOperation compiles INTERSECT and EXCEPT of two streams: equal rows of both sides are a partition of their own.
func (c *compiler) setOperation(node tree, lt, rt tree, l, r *relation) (tree, *relation, error) {
	c.results = true
	kind := strings.ReplaceAll(node.str("setop_type"), "_", " ")
	o := &partitioned{n: len(c.ops) + 1, what: strings.ToLower(kind), emits: c.emission()}
	rel := &relation{name: outTable(o.n), stream: true, marks: map[string]mark{}, tables: []string{outTable(o.n)},
		sources: union(l.sources, r.sources), filtered: true, single: !node.flag("setop_all"), pos: o.emits != allGroups,
		change: o.emits == touchedGroups, retracts: true, many: node.flag("setop_all"), collated: l.collated || r.collated}
	for i, side := range []tree{lt, rt} {
		in, err := c.named(side, []*relation{l, r}[i], "side")
		if err != nil {
			return nil, nil, err
		}
		if err := c.setPart(o, in); err != nil {
			return nil, nil, err
		}
	}
	if err := c.setTime(o, node, kind); err != nil {
		return nil, nil, err
	}
	if o.parts[0].timed == "" {
		rel.nulls = union(l.nulls, r.nulls)
	}
	all := ""
	if node.flag("setop_all") {
		all = " ALL"
	}
	var names, fields, types []string
	for i, col := range l.cols {
		names = append(names, duck.QuoteIdent(col.Name))
		fields = append(fields, fmt.Sprintf("k%d := %s", i+1, duck.QuoteIdent(col.Name)))
		types = append(types, fmt.Sprintf("k%d %s", i+1, col.Type))
		rel.keyed = append(rel.keyed, mark{})
		rel.marks[strings.ToLower(col.Name)] = mark{key: i + 1}
		if p := o.parts[0]; p.timed == col.Name && o.emits == closedGroups {
			m := p.mark
			m.key = i + 1
			rel.marks[strings.ToLower(col.Name)] = m
		}
	}
	sql := "SELECT * FROM (SELECT " + strings.Join(o.parts[0].quoted(""), ", ") + " FROM " + o.parts[0].name() + " " + kind + all +
		" SELECT " + strings.Join(o.parts[1].quoted(""), ", ") + " FROM " + o.parts[1].name() + ")"
	if rel.pos {
		rel.posType = "STRUCT(" + strings.Join(types, ", ") + ")"
		sql = "SELECT " + strings.Join(names, ", ") + ", struct_pack(" + strings.Join(fields, ", ") + ") AS " + PosColumn +
			strings.TrimPrefix(sql, "SELECT *")
	}
	if err := c.bind(o, rel, sql); err != nil {
		return nil, nil, err
	}
	rel.node = &Node{Op: o.what, Below: []*Node{l.node, r.node}}
	out := selectNode([]any{star("")}, baseTable(rel.name, rel.name, nil))
	rel.name = ""
	return out, rel, nil
}

// setPart adds one side: all of its columns are its partition.
func (c *compiler) setPart(o *partitioned, in *relation) error {
	p := &part{n: o.n, i: len(o.parts), rel: in}
	p.entry = Entry{Table: p.in(), Raw: in.raw, Many: !in.single}
	for _, col := range in.cols {
		p.columns = append(p.columns, Column{Column: stream.Column{Name: col.Name, Type: col.Type}, Expr: col.Name})
		p.keys = append(p.keys, col.Name)
		p.marks = append(p.marks, in.marks[strings.ToLower(col.Name)])
		p.items = append(p.items, columnRef("", col.Name))
	}
	p.from = baseTable(in.name, "s", nil)
	o.parts = append(o.parts, p)
	f := &from{main: in, alias: "s"}
	return p.render(c, &scope{from: f, c: c})
}

// setTime finds the column that closes rows of both sides.
func (c *compiler) setTime(o *partitioned, node tree, kind string) error {
	l, r := o.parts[0], o.parts[1]
	for i := range l.columns {
		if i >= len(r.columns) || c.complete() {
			break
		}
		m, n := l.marks[i], r.marks[i]
		if m.kind == markNone || m.kind != n.kind || m.size != n.size || m.absent || n.absent || m.kind <= l.mark.kind {
			continue
		}
		m.lag = max(m.lag, n.lag)
		l.timed, l.mark, r.timed, r.mark = l.columns[i].Name, m, r.columns[i].Name, m
	}
	for _, p := range o.parts {
		if p.timed != "" {
			p.entry.Late = p.mark.late(duck.QuoteIdent(p.timed))
		}
	}
	if o.emits == closedGroups && l.timed == "" {
		return c.errAt(diag.ShapeUnsupported, node,
			"%s of streams in output mode append needs a watermarked time or window in the same column of both sides: "+
				"without one no row is ever certain", kind).
			WithHint("add the window bounds to both sides, or use OUTPUT MODE UPDATE")
	}
	return nil
}
