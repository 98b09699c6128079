package planner

import "strings"

// A SELECT that keeps the first rows of each partition needs of a batch's rows only those that are among the first of
// the batch itself, and of the rows it keeps only those that are still among the first.

// rowColumn names a row of the kept ones where its position does not.
const rowColumn = "__row"

// keepFirst makes the most of a SELECT that keeps the first rows of each partition by one rank.
func (c *compiler) keepFirst(o *partitioned, node tree, s *scope) error {
	rank, op, limit := rankLimit(node, s)
	o.top = o.emits == touchedGroups
	var err error
	if o.lead, err = c.findLead(o, node, s); o.lead != nil || err != nil {
		if len(overCalls(tree{"select_list": node["select_list"], "modifiers": node["modifiers"]})) == 0 {
			node["qualify"] = nil // it holds for every row that is kept
		}
		return err
	}
	if err := c.sift(o.parts[0], node, s, comparison(op, c.coarse(rank, o.parts[0]), number(limit))); err != nil {
		return err
	}
	if s.main.single || o.emits != touchedGroups {
		return nil
	}
	n := selectNode([]any{columnRef("", s.alias, rowColumn)}, clone(node.sub("from_table")))
	n["qualify"] = comparison(beyond(op), clone(rank), number(limit))
	sql, err := c.render(n)
	o.fallen = sql
	return err
}

// drops is what lets go of kept rows that have fallen out of the result.
func (o *partitioned) drops() string {
	p := o.parts[0]
	touched := " SEMI JOIN " + o.touchTable() + " t ON " + p.touched()
	if o.fallen == "" {
		return "r USING " + o.touchTable() + " t WHERE " + p.touched() + " AND r." + PosColumn + " NOT IN (SELECT " +
			PosColumn + " FROM " + outTable(o.n) + ")"
	}
	rows := "(SELECT r.*, r.rowid AS " + rowColumn + " FROM " + p.kept() + " r" + touched + ")"
	return "WHERE rowid IN (" + replaceName(o.fallen, p.name(), rows) + ")"
}

// beyond is the comparison that holds where one of keepsTop does not.
func beyond(op string) string {
	return map[string]string{"COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHAN",
		"COMPARE_LESSTHAN": "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL": "COMPARE_NOTEQUAL"}[op]
}

// sift leaves rows of the batch out that others of the batch keep from being among the first. Finding these reads few
// columns, and a batch's rows are wide. Rows of one position are let through together. What is late is so as a whole
// partition, and counted before.
func (c *compiler) sift(p *part, node tree, s *scope, first tree) error {
	n := selectNode([]any{columnRef("", s.alias, PosColumn)}, clone(node.sub("from_table")))
	n["qualify"] = first
	sql, err := c.render(n)
	if err != nil {
		return err
	}
	all := "(\n" + p.input + "\n)"
	p.entry.Table = all
	p.input = "SELECT a.* FROM " + all + " a SEMI JOIN (\n" + replaceName(sql, p.name(), all) +
		"\n) b ON a." + PosColumn + " IS NOT DISTINCT FROM b." + PosColumn
	return nil
}

// coarse is a rank that is nowhere greater than the given one: by the columns that its order begins with as long as
// those are cheap to compare, and the same for rows that are alike in them.
func (c *compiler) coarse(rank tree, p *part) tree {
	out := clone(rank)
	out["alias"] = ""
	if strings.EqualFold(rank.str("function_name"), "row_number") {
		out["function_name"], out["type"] = "rank", "WINDOW_RANK"
	}
	var orders []any
	for _, o := range out.trees("orders") {
		if len(orders) > 0 && !c.cheap(o.sub("expression"), p) {
			break
		}
		orders = append(orders, o)
	}
	out["orders"] = orders
	return out
}

// cheap reports whether values of an expression have a fixed width.
func (c *compiler) cheap(e tree, p *part) bool {
	cols, err := c.typesOf(e, p.from)
	if err != nil {
		return false // what is wrong with it shows itself where the whole SELECT is bound
	}
	switch typ := cols[0].Type; typ {
	case "BOOLEAN", "UHUGEINT", "FLOAT", "DOUBLE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
		return true
	default:
		return wholeNumber(typ) || strings.HasPrefix(typ, "DECIMAL(") && !strings.HasSuffix(typ, "]")
	}
}
