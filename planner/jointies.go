package planner

import "strconv"

// Rows of a join may have one position, that of the later of the two they are made from. Where the rows of sources that they
// are made from stay, the positions of these tell them apart: numbers, where all their values would have to be compared.

// tie returns the columns that order the rows of one position of a query over such a join, which are added to its select list.
func (c *compiler) tie(top tree, rel *relation) []string {
	from := top.sub("from_table")
	if !rel.pos || rel.single || top.class() != "SELECT_NODE" || from.str("type") != "BASE_TABLE" ||
		len(top.trees("modifiers")) > 0 || unnests(top) {
		return nil
	}
	for _, op := range c.ops {
		j, ok := op.(*streamJoin)
		if !ok || from.str("table_name") != j.out() || !j.stays() {
			continue
		}
		j.tied = true
		ties, items := j.ties(""), top.list("select_list")
		for _, tie := range ties {
			items = append(items, columnRef(tie, from.str("alias"), tie))
		}
		top["select_list"] = items
		return ties
	}
	return nil
}

// ties names the columns of the join's rows that have the positions of those that they are made from.
func (j *streamJoin) ties(prefix string) []string {
	var out []string
	for _, s := range j.sides() {
		if s.made != nil {
			out = append(out, s.made.ties(prefix)...)
			continue
		}
		out = append(out, prefix+s.tie(j.n))
	}
	return out
}

func (s *joinSide) tie(n int) string { return PosColumn + "_" + s.name + strconv.Itoa(n) }

// tied selects the columns of a side.
func (s *joinSide) tied(n int) []string {
	if s.made != nil {
		return s.made.ties(s.alias + ".")
	}
	return []string{s.alias + "." + PosColumn + " AS " + s.tie(n)}
}
