package planner

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// ranked compiles a SELECT with OVER (...) or QUALIFY over a stream.
func (c *compiler) ranked(node tree, s *scope) (tree, *relation, error) {
	if err := c.hidePosition(node, s); err != nil {
		return nil, nil, err
	}
	if err := c.unalias(node, s); err != nil {
		return nil, nil, err
	}
	calls := overCalls(node)
	if len(calls) == 0 {
		return nil, nil, c.errAt(diag.ShapeUnsupported, node.sub("qualify"), "QUALIFY without a window function").
			WithHint("use WHERE, or rank with row_number() OVER (...)")
	}
	o := &partitioned{n: len(c.ops) + 1, what: "rank", emits: c.emission()}
	p, err := c.newPart(o, node, s)
	if err != nil {
		return nil, nil, err
	}
	if err := p.partition(c, s, commonPartition(calls, s)); err != nil {
		return nil, nil, err
	}
	if o.emits == closedGroups && p.timed == "" {
		return c.overPastQuery(node, s, p, calls)
	}
	for _, call := range calls {
		breakTies(call, s)
	}
	if err := c.refuseModifiers(node); err != nil {
		return nil, nil, err
	}
	whole := clone(node)
	if !s.main.change && len(s.aliases) == 1 && keepsTop(node, s, calls) && !unnests(node) {
		if err := c.keepFirst(o, node, s); err != nil {
			return nil, nil, err
		}
	}
	sorted := c.ordered(node)
	rel, err := c.evaluate(o, node, s)
	if err != nil {
		return nil, nil, err
	}
	c.rankKeys(rel, whole, s, calls, p)
	if o.lead != nil && rel.change {
		rel.lasts, rel.filtered, rel.ordered = true, false, !subqueried(node)
	}
	out := selectNode([]any{star("")}, baseTable(rel.name, rel.name, nil))
	rel.name, rel.sorted = "", sorted
	return out, rel, nil
}

// emission is which partitions or groups a batch of this mode gives.
func (c *compiler) emission() groups {
	switch c.mode() {
	case stream.Append:
		return closedGroups
	case stream.Update:
		return touchedGroups
	}
	return allGroups
}

// overCalls returns the OVER calls of a SELECT itself.
func overCalls(node tree) []tree {
	var calls []tree
	for _, part := range []string{"select_list", "qualify", "modifiers"} {
		walk(node[part], func(t tree) bool {
			if t.str("class") == "WINDOW" {
				calls = append(calls, t)
			}
			return t.class() != "SUBQUERY"
		})
	}
	return calls
}

// commonPartition returns the PARTITION BY expressions that all calls share and that read the stream alone.
func commonPartition(calls []tree, s *scope) []tree {
	var common []tree
	for _, e := range calls[0].trees("partitions") {
		everywhere := s.own(e)
		for _, call := range calls[1:] {
			found := false
			for _, o := range call.trees("partitions") {
				found = found || same(e, o)
			}
			everywhere = everywhere && found
		}
		if everywhere {
			common = append(common, e)
		}
	}
	return common
}

// own reports whether an expression reads columns of the stream's relation and nothing else.
func (s *scope) own(e tree) bool {
	own, some := true, false
	walk(e, func(t tree) bool {
		switch t.class() {
		case "COLUMN_REF":
			rel, _ := s.lookup(t)
			own, some = own && rel != nil, true
		case "SUBQUERY":
			own = false
		}
		return own
	})
	return own && some
}

// breakTies makes the order of a call complete, where rows that are alike may come in any order otherwise.
func breakTies(call tree, s *scope) {
	rows := strings.HasSuffix(call.str("start"), "_ROWS") || strings.HasSuffix(call.str("end"), "_ROWS")
	switch strings.ToLower(call.str("function_name")) {
	case "row_number", "lag", "lead", "first_value", "first", "nth_value", "ntile":
	case "rank", "rank_dense", "dense_rank", "percent_rank", "cume_dist":
		return
	default:
		if !rows {
			return
		}
	}
	call["orders"] = append(call.list("orders"), s.tieBreaks()...)
}

// tieBreaks order rows that are alike otherwise: by position, and by all values where that occurs twice.
func (s *scope) tieBreaks() []any {
	orders := []any{orderBy("ASCENDING", "ORDER_DEFAULT", columnRef("", s.alias, PosColumn))}
	if !s.main.single {
		for _, col := range s.main.cols {
			orders = append(orders, orderBy("ASCENDING", "ORDER_DEFAULT", columnRef("", s.alias, col.Name)))
		}
	}
	return orders
}

// rankLimit takes a QUALIFY apart that compares one rank with a whole number: the rank, the comparison and the number.
// A name is that of a column before it is one of the select list, as in DuckDB.
func rankLimit(node tree, s *scope) (rank tree, op string, limit int) {
	q := node.sub("qualify")
	if q == nil || q.class() != "COMPARISON" {
		return nil, "", 0
	}
	l, r, op := q.sub("left"), q.sub("right"), q.str("type")
	if l.class() == "CONSTANT" {
		l, r = r, l
		op = map[string]string{"COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
			"COMPARE_GREATERTHAN": "COMPARE_LESSTHAN", "COMPARE_EQUAL": "COMPARE_EQUAL"}[op]
	}
	if names := l.names("column_names"); len(names) == 1 && !s.has(names[0]) {
		for _, item := range node.trees("select_list") {
			if strings.EqualFold(item.str("alias"), names[0]) {
				l = item
			}
		}
	}
	value := r.sub("value")
	n, err := strconv.Atoi(fmt.Sprint(value["value"]))
	if err != nil || r.class() != "CONSTANT" || !wholeNumber(value.sub("type").str("id")) {
		return nil, "", 0
	}
	switch strings.ToLower(l.str("function_name")) {
	case "row_number", "rank", "dense_rank", "rank_dense":
		if l.str("class") == "WINDOW" {
			return l, op, n
		}
	}
	return nil, "", 0
}

// has reports whether a name may be that of a column.
func (s *scope) has(name string) bool {
	_, ok := s.main.column(name)
	return ok
}

// keepsTop reports whether a SELECT keeps the first rows of each partition by one rank: whoever falls out of them
// can not come back, since rows are only added.
func keepsTop(node tree, s *scope, calls []tree) bool {
	rank, op, n := rankLimit(node, s)
	if rank == nil || op != "COMPARE_LESSTHANOREQUALTO" && op != "COMPARE_LESSTHAN" && (op != "COMPARE_EQUAL" || n != 1) {
		return false
	}
	for _, call := range calls {
		if !same(call, rank) {
			return false
		}
	}
	return true
}

// rankKeys says what names the rows of a SELECT with ranks: its partition if there is one row in each, its partition
// and row number, or what names the rows below.
func (c *compiler) rankKeys(rel *relation, node tree, s *scope, calls []tree, p *part) {
	if !rel.change {
		return
	}
	rank, op, n := rankLimit(node, s)
	number := -1
	partition := p.keys
	for i, item := range node.trees("select_list") {
		if strings.EqualFold(item.str("function_name"), "row_number") && item.str("class") == "WINDOW" &&
			len(item.trees("partitions")) == len(p.keys) {
			number = i
		}
	}
	one := rank != nil && strings.EqualFold(rank.str("function_name"), "row_number") && n == 1 &&
		op != "COMPARE_LESSTHAN" && len(rank.trees("partitions")) == len(p.keys)
	if len(calls) == 0 || !one && number < 0 {
		rel.keyed = s.main.keyed
		return
	}
	rel.keyed, rel.many = make([]mark, len(partition)), unnests(node)
	for i, key := range partition {
		rel.keyed[i] = p.marks[i]
		for j, item := range node.trees("select_list") {
			if r, name := s.lookup(item); r != nil && strings.EqualFold(name, key) && j < len(rel.cols) {
				rel.setKey(j, i+1)
			}
		}
	}
	if !one {
		rel.keyed = append(rel.keyed, mark{})
		rel.setKey(number, len(rel.keyed))
	}
}

func (r *relation) setKey(column, key int) {
	name := strings.ToLower(r.cols[column].Name)
	m := r.marks[name]
	m.key = key
	r.marks[name] = m
}

func (c *compiler) refuseModifiers(node tree) error {
	if c.complete() {
		return nil
	}
	return c.refuseShapes(tree{"modifiers": node["modifiers"]}, false)
}

// evaluate makes a partitioned operator of a SELECT over the names of its parts, and the relation of what it gives.
func (c *compiler) evaluate(o *partitioned, node tree, s *scope) (*relation, error) {
	marks := c.outputMarks(node, s)
	rel := &relation{name: outTable(o.n), stream: true, marks: map[string]mark{}, tables: []string{outTable(o.n)},
		sources: s.main.sources, nulls: s.main.nulls, collated: s.main.collated, filtered: true,
		single: s.single && !unnests(node), change: o.emits == touchedGroups, retracts: o.emits == touchedGroups,
		many: s.main.many || s.repeats || unnests(node), pos: o.emits != allGroups}
	if rel.pos {
		pos, typ := o.position(s)
		node["select_list"] = append(node.list("select_list"), pos)
		rel.posType = typ
	}
	sql, err := c.render(node)
	if err != nil {
		return nil, err
	}
	if err := c.bind(o, rel, sql); err != nil {
		return nil, err
	}
	p := o.parts[0]
	for name, m := range marks {
		if rel.change || p.timed != "" && (m.window != "" && m.window == p.mark.window || m == p.mark) {
			rel.marks[name] = m
		}
	}
	dropDuplicates(rel.marks, rel.cols)
	if p.timed != "" && o.emits != allGroups {
		rel.nulls = nil
	}
	rel.node = &Node{Op: o.what + " " + strings.Join(rel.columnNames(), ", "), Below: []*Node{s.main.node}}
	if len(p.keys) > 0 {
		rel.node.Detail = append(rel.node.Detail, "by "+strings.Join(p.keys, ", "))
	}
	return rel, nil
}

// position is what a row comes out with, and its type. Rows of one position are taken back together, so where they may
// be in several partitions, of which a batch gives some, the partition is part of it.
func (o *partitioned) position(s *scope) (tree, string) {
	p := o.parts[0]
	if s.main.single || o.emits != touchedGroups || len(p.keys) == 0 {
		return columnRef(PosColumn, s.alias, PosColumn), s.main.posType
	}
	fields, types := []any{columnRef("p", s.alias, PosColumn)}, []string{"p " + s.main.position()}
	for i, key := range p.keys {
		name := fmt.Sprintf("k%d", i+1)
		fields, types = append(fields, columnRef(name, s.alias, key)), append(types, name+" "+p.typeOf(key))
	}
	return function(PosColumn, "struct_pack", fields...), "STRUCT(" + strings.Join(types, ", ") + ")"
}

// bind types the SELECT of a partitioned operator and registers it.
func (c *compiler) bind(o *partitioned, rel *relation, sql string) error {
	var inputs []*relation
	for _, p := range o.parts {
		cols := []duck.Column{}
		for _, col := range p.columns {
			cols = append(cols, duck.Column{Name: col.Name, Type: col.Type})
		}
		if err := c.emptyOut(p.name(), append(cols, duck.Column{Name: PosColumn, Type: p.rel.position()})); err != nil {
			return err
		}
		inputs = append(inputs, p.rel)
	}
	o.sql = c.chain(sql)
	cols, err := c.describe(sql)
	if err != nil {
		return err
	}
	if err := c.emptyOut(outTable(o.n), cols); err != nil {
		return err
	}
	if rel.pos {
		cols = cols[:len(cols)-1]
	}
	rel.cols = cols
	c.add(o, inputs...)
	if rel.change {
		c.changes[rel.name] = true
	}
	for _, p := range o.parts {
		if p.timed == "" && !o.top {
			c.warn("%s keeps every row for ever: about %d bytes each", o.what, p.table().RowBytes())
		}
	}
	return nil
}

func (c *compiler) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}
