package planner

import "strconv"

// Rows of a join may have one position, that of the later of the two they are made from. Where the rows of sources that they
// are made from stay, the positions of these tell them apart: numbers, where all their values would have to be compared.

// leaf is a side of a join that keeps rows, with the number of the join.
type leaf struct {
	side *joinSide
	n    int
}

// origins are the sides whose rows the join's rows are made from.
func (j *streamJoin) origins() []leaf {
	var out []leaf
	for _, s := range j.sides() {
		if s.made != nil {
			out = append(out, s.made.origins()...)
			continue
		}
		out = append(out, leaf{s, j.n})
	}
	return out
}

// leaf returns the side that has a column of the join's rows, and the column there; no side if it is made of several.
func (j *streamJoin) leaf(column string) (leaf, joinColumn) {
	for _, s := range j.sides() {
		for _, col := range s.columns {
			switch {
			case col.name != column:
			case s.made == nil:
				return leaf{s, j.n}, col
			default:
				return s.made.behind(col)
			}
		}
	}
	return leaf{}, joinColumn{}
}

// behind is leaf of what a column of a join above is.
func (j *streamJoin) behind(col joinColumn) (leaf, joinColumn) {
	if names := col.expr.names("column_names"); col.expr.class() == "COLUMN_REF" && len(names) == 2 {
		return j.leaf(names[1])
	}
	return leaf{}, joinColumn{}
}

// alias names the rows of a source where all are joined.
func (l leaf) alias() string { return l.side.alias + strconv.Itoa(l.n) }

// tie names the column with their positions.
func (l leaf) tie() string { return PosColumn + "_" + l.side.name + strconv.Itoa(l.n) }

// over is the join that a query does nothing but select from, whose rows its ties tell apart, or nil.
func (c *compiler) over(top tree, rel *relation) *streamJoin {
	from := top.sub("from_table")
	if !rel.pos || rel.single || top.class() != "SELECT_NODE" || from.str("type") != "BASE_TABLE" ||
		len(top.trees("modifiers")) > 0 || unnests(top) {
		return nil
	}
	for _, op := range c.ops {
		if j, ok := op.(*streamJoin); ok && from.str("table_name") == j.out() && j.stays() {
			return j
		}
	}
	return nil
}

// tie adds the columns to a query over a join that order its rows of one position, and returns them.
func (c *compiler) tie(top tree, j *streamJoin) []string {
	j.tied = true
	from, ties, items := top.sub("from_table"), j.ties(), top.list("select_list")
	for _, tie := range ties {
		items = append(items, columnRef(tie, from.str("alias"), tie))
	}
	top["select_list"] = items
	return ties
}

// ties names the columns of the join's rows that have the positions of those that they are made from.
func (j *streamJoin) ties() []string {
	var out []string
	for _, l := range j.origins() {
		out = append(out, l.tie())
	}
	return out
}
