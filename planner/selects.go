package planner

import (
	"regexp"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// query compiles a query node that reads a stream. It returns the node with its FROM resolved, and what its
// rows
// are. While the relation has positions, __pos is the last column of the select list.
func (c *compiler) query(node tree, e *env) (tree, *relation, error) {
	c.depth++
	defer func() { c.depth-- }()
	switch node.class() {
	case "SELECT_NODE":
		return c.selectQuery(node, e)
	case "SET_OPERATION_NODE":
		return c.union(node, e)
	case "CTE_NODE":
		return c.query(node.sub("child"), e)
	}
	return nil, nil, c.errAt(diag.ShapeUnsupported, node, "a recursive query can not read a stream").
		WithHint("put the recursion over reference data in CREATE TABLE")
}

// scope is what the expressions of one SELECT see.
type scope struct {
	*from
	c   *compiler
	env *env
}

func (c *compiler) selectQuery(node tree, e *env) (tree, *relation, error) {
	if node.sub("sample") != nil {
		return nil, nil, c.sampleFault(node)
	}
	e = c.within(node, e)
	if err := c.existsToSemi(node, e); err != nil {
		return nil, nil, err
	}
	if err := c.semiToExists(node, e); err != nil {
		return nil, nil, err
	}
	f, err := c.selectFrom(node, e)
	if err == nil && f.main == nil {
		return nil, nil, c.errAt(diag.ShapeUnsupported, node,
			"this part of the query reads a stream only in a subquery").
			WithHint("read the stream in FROM")
	}
	for _, part := range []string{"select_list", "where_clause", "group_expressions", "having", "qualify",
		"modifiers"} {
		err = both(err, c.subqueries(node[part], e))
	}
	if err != nil {
		return nil, nil, err
	}
	if f.names != nil {
		if err := c.rename(node, f.names); err != nil {
			return nil, nil, err
		}
	}
	s := &scope{from: f, c: c, env: e}
	plain := !f.main.pos && c.complete()
	grouped := c.aggregated(node)
	c.results = c.results || grouped || windowFunction(node) != nil
	if plain || c.complete() && (grouped || windowFunction(node) != nil) {
		return c.selectRows(node, s) // DISTINCT and LIMIT are plain SQL
	}
	cut, err := c.takeCuts(node)
	if err == nil && cut != nil && cut.distinct != nil {
		err = c.hideTargets(cut, node, s, grouped || windowFunction(node) != nil)
	}
	if err != nil {
		return nil, nil, err
	}
	return c.cutting(cut, node, s, c.selectRows)
}

// selectRows compiles a SELECT but for its DISTINCT and LIMIT.
func (c *compiler) selectRows(node tree, s *scope) (tree, *relation, error) {
	plain := !s.main.pos && c.complete()
	grouped := c.aggregated(node)
	switch {
	case grouped && plain:
	case grouped:
		return c.aggregate(node, s)
	case !plain:
		return c.ungrouped(node, s)
	}
	return c.project(node, s)
}

// ungrouped compiles a SELECT without GROUP BY over rows that have positions.
func (c *compiler) ungrouped(node tree, s *scope) (tree, *relation, error) {
	if windowFunction(node) != nil {
		return c.ranked(node, s)
	}
	if err := c.refuseShapes(node, false); err != nil {
		return nil, nil, err
	}
	return c.project(node, s)
}

// selectFrom compiles the FROM clause of a SELECT. Joins in it keep what the SELECT mentions, and may take conditions
// out of its WHERE clause.
func (c *compiler) selectFrom(node tree, e *env) (*from, error) {
	names, take := c.wanted, c.take
	defer func() { c.wanted, c.take = names, take }()
	c.wanted, c.take = wanted(node), &filter{node: node}
	return c.fromClause(node.sub("from_table"), e)
}

// aggregated reports whether a SELECT groups.
func (c *compiler) aggregated(node tree) bool {
	if len(node.list("group_expressions")) > 0 || node.str("aggregate_handling") == "FORCE_AGGREGATES" {
		return true
	}
	found := false
	for _, part := range []string{"select_list", "having"} {
		walk(node[part], func(t tree) bool {
			if t.class() == "SUBQUERY" {
				return false
			}
			found = found || c.isAggregate(t)
			return !found
		})
	}
	return found || node.sub("having") != nil
}

func (c *compiler) isAggregate(t tree) bool {
	name := t.function()
	return name != "" && c.cat.aggregates[name]
}

// refuseShapes refuses what would need state that this version does not keep.
func (c *compiler) refuseShapes(node tree, plain bool) error {
	if plain {
		return nil
	}
	for _, m := range node.trees("modifiers") {
		switch m.str("type") {
		case "ORDER_MODIFIER":
			return c.errAt(diag.OrderByUnsupported, m,
				"ORDER BY can not be used on a stream in output mode %s: rows never stop coming",
				c.appMode()).WithHint("drop the ORDER BY, or aggregate and use OUTPUT MODE COMPLETE")
		case "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER":
			return c.errAt(diag.LimitUnsupported, m, "LIMIT can not be used here in output mode %s", c.appMode()).
				WithHint("drop the LIMIT, or aggregate and use OUTPUT MODE COMPLETE")
		case "DISTINCT_MODIFIER":
			fault := c.errAt(diag.ShapeUnsupported, distinctAt(node, m), "DISTINCT can not be used here on a stream").
				WithHint("group by the columns in OUTPUT MODE UPDATE or COMPLETE")
			fault.Err = errDistinct
			return fault
		}
	}
	return nil
}

// distinctAt is where a DISTINCT is told of.
func distinctAt(node, m tree) tree {
	if firstAt(m) >= 0 {
		return m
	}
	return node
}

// windowFunction returns the first OVER call of a SELECT itself, or nil.
func windowFunction(node tree) tree {
	var found tree
	for _, part := range []string{"select_list", "qualify", "where_clause", "having", "modifiers"} {
		walk(node[part], func(t tree) bool {
			if found == nil && t.str("class") == "WINDOW" {
				found = t
			}
			return found == nil && t.class() != "SUBQUERY"
		})
	}
	if q := node.sub("qualify"); found == nil && q != nil {
		return q
	}
	return found
}

// project compiles a SELECT without grouping.
func (c *compiler) project(node tree, s *scope) (tree, *relation, error) {
	if err := c.hidePosition(node, s); err != nil {
		return nil, nil, err
	}
	marks, filter := c.outputMarks(node, s), cloneAny(node["where_clause"])
	if err := c.hoist(node, s); err != nil {
		return nil, nil, err
	}
	if s.main.pos && s.single && s.ordered && !subqueried(node) {
		node["where_clause"] = keepingOrder(node["where_clause"])
	}
	if s.main.pos {
		pos := columnRef(PosColumn, s.alias, PosColumn)
		node["select_list"] = append(node.list("select_list"), pos)
	}
	sql, err := c.render(node)
	if err != nil {
		return nil, nil, err
	}
	cols, err := c.describe(sql)
	if err != nil {
		return nil, nil, err
	}
	if s.main.pos {
		cols = cols[:len(cols)-1]
	}
	dropDuplicates(marks, cols)
	rel := &relation{cols: cols, marks: marks, stream: true, pos: s.main.pos, sources: s.main.sources,
		lasts: s.main.lasts, raw: s.main.raw, posType: s.main.posType, change: s.main.change, arrives: s.main.arrives, tables: s.main.tables, keyed: s.main.keyed, retracts: s.main.retracts,
		many:  s.main.many || s.main.change && (s.repeats || unnests(node)),
		nulls: s.main.nulls, collated: s.main.collated || collated(node["select_list"]) != nil,
		single: s.single && !unnests(node), ordered: s.ordered && !subqueried(node), mixed: s.main.mixed || c.joinsValues(node),
		filtered: s.main.filtered || s.drops || node.sub("where_clause") != nil}
	detail := []string{}
	if where := asTree(filter); where != nil {
		w, err := c.exprSQL(where)
		if err != nil {
			return nil, nil, err
		}
		detail = append(detail, "filter "+w)
	}
	rel.tagsOf(node.trees("select_list"), s)
	rel.node = &Node{Op: "project " + strings.Join(rel.columnNames(), ", "), Detail: detail,
		Below: []*Node{s.main.node}}
	return node, rel, nil
}

// subqueried reports whether a SELECT computes something by a subquery: DuckDB makes a join of that, which need not keep
// the order of rows.
func subqueried(node tree) bool {
	found := false
	for _, part := range []string{"select_list", "where_clause"} {
		walk(node[part], func(t tree) bool {
			found = found || t.str("class") == "SUBQUERY"
			return !found
		})
	}
	return found
}

func unnests(node tree) bool {
	found := false
	walk(node["select_list"], func(t tree) bool {
		found = found || t.function() == "unnest" || t.function() == "unlist"
		return !found && t.class() != "SUBQUERY"
	})
	return found
}

// hidePosition keeps __pos out of every star, and refuses what can not be kept from seeing it.
func (c *compiler) hidePosition(node tree, s *scope) error {
	return c.positions(node, s, func(t tree) error {
		if t.class() == "STAR" {
			return c.hideStar(t, s)
		}
		return nil
	})
}

// refuseWholeRows refuses names that stand for all columns anywhere in a SELECT.
func (c *compiler) refuseWholeRows(node tree, s *scope) error {
	return c.positions(node, s, func(tree) error { return nil })
}

// positions refuses whole rows, also in subqueries, and visits all other parts of a SELECT but its subqueries. It does
// nothing where there is no position to be seen.
func (c *compiler) positions(node tree, s *scope, visit func(tree) error) error {
	if !s.main.pos {
		return nil
	}
	var first error
	walk(node, func(t tree) bool {
		switch {
		case first != nil:
		case t.str("class") == "SUBQUERY" || t.str("type") == "SUBQUERY":
			first = c.refuseWithin(t, s)
			return false
		case t.class() == "COLUMN_REF":
			first = c.refuseWholeRow(t, s)
		default:
			first = visit(t)
		}
		return first == nil
	})
	return first
}

// refuseWithin refuses a subquery that names the whole row of the SELECT around it. Arguments of a table function name
// relations.
func (c *compiler) refuseWithin(sub tree, s *scope) error {
	own, alias := false, strings.ToLower(s.alias)
	walk(sub, func(t tree) bool {
		own = own || slices.Contains(rowNames(t), alias)
		return !own
	})
	var first error
	walk(sub, func(t tree) bool {
		if first != nil || own || t.str("type") == "TABLE_FUNCTION" {
			return false
		}
		if t.class() == "COLUMN_REF" {
			first = c.refuseWholeRow(t, s)
		}
		return first == nil
	})
	return first
}

// refuseWholeRow refuses a name that stands for all columns, which has the position among them.
func (c *compiler) refuseWholeRow(t tree, s *scope) error {
	names := t.names("column_names")
	if _, isColumn := s.main.column(names[0]); len(names) > 1 || isColumn || !strings.EqualFold(names[0], s.alias) {
		return nil
	}
	return c.errAt(diag.ShapeUnsupported, t, "%q as one value of all columns is not supported on a stream", names[0]).
		WithHint("write struct_pack() of the columns")
}

func (c *compiler) hideStar(t tree, s *scope) error {
	if r := t.str("relation_name"); r != "" && !strings.EqualFold(r, s.alias) {
		return nil
	}
	expr := t.sub("expr")
	if expr == nil {
		t["exclude_list"] = append(t.list("exclude_list"), PosColumn)
		return nil
	}
	pattern := constantText(expr)
	if pattern == "" {
		return nil // a lambda over a star, which is met on its own
	}
	re, err := regexp.Compile(pattern)
	if err != nil || re.MatchString(PosColumn) {
		return c.errAt(diag.ShapeUnsupported, t, "COLUMNS(%q) also matches the hidden column %s", pattern,
			PosColumn).
			WithHint("anchor the pattern, or use COLUMNS(c -> ...)")
	}
	return nil
}

// outputMarks says what is known of the columns that a SELECT passes on.
func (c *compiler) outputMarks(node tree, s *scope) map[string]mark {
	marks := map[string]mark{}
	for _, item := range node.trees("select_list") {
		if item.class() == "STAR" && item.sub("expr") == nil {
			c.starMarks(item, s, marks)
			continue
		}
		name, m := item.str("alias"), s.mark(item)
		if names := item.names("column_names"); name == "" && len(names) > 0 {
			name = names[len(names)-1]
		}
		if m == (mark{}) {
			delete(marks, strings.ToLower(name))
			continue
		}
		marks[strings.ToLower(name)] = m
	}
	return marks
}

// dropDuplicates forgets what is known of names that several columns have: it may be about any of them.
func dropDuplicates[T any](marks map[string]T, cols []duck.Column) {
	seen := map[string]bool{}
	for _, col := range cols {
		key := strings.ToLower(col.Name)
		if seen[key] {
			delete(marks, key)
		}
		seen[key] = true
	}
}

func (c *compiler) starMarks(item tree, s *scope, marks map[string]mark) {
	if r := item.str("relation_name"); r != "" && s.streams[strings.ToLower(r)] == nil {
		return
	}
	gone := map[string]bool{}
	for _, n := range item.names("exclude_list") {
		gone[strings.ToLower(n)] = true
	}
	for _, r := range item.trees("replace_list") {
		gone[strings.ToLower(r.str("key"))] = true
	}
	for k, m := range s.main.marks {
		if !gone[k] {
			marks[k] = m
		}
	}
}

// lookup returns the stream relation and column that a reference names.
func (s *scope) lookup(t tree) (*relation, string) {
	names := t.names("column_names")
	if t.class() != "COLUMN_REF" {
		return nil, ""
	}
	switch len(names) {
	case 1:
		if col, ok := s.main.column(names[0]); ok {
			return s.main, col.Name
		}
	case 2:
		if r := s.streams[strings.ToLower(names[0])]; r != nil {
			if col, ok := r.column(names[1]); ok {
				return r, col.Name
			}
		}
	}
	return nil, ""
}

func union(a, b []string) []string {
	out := append([]string(nil), a...)
	for _, s := range b {
		found := false
		for _, o := range out {
			found = found || o == s
		}
		if !found {
			out = append(out, s)
		}
	}
	return out
}

// columnsOf makes stream columns of described ones.
func columnsOf(cols []duck.Column) ([]stream.Column, error) {
	out := make([]stream.Column, len(cols))
	for i, col := range cols {
		typ, err := duck.ArrowType(col.Type)
		if err != nil {
			return nil, diag.New(diag.BadType, "column %q has type %s, which can not leave a query", col.Name,
				col.Type).
				WithHint("cast it to another type")
		}
		out[i] = stream.Column{Name: col.Name, Type: col.Type, Arrow: typ}
	}
	return out, nil
}
