package planner

// A condition that fails for two rows fails in the batch in which the later of them comes, and one that reads a reference table
// sees it as it is then. If what a join gives is to be made later on, and again, that must make no difference.

// steady reports whether a condition on both sides is infallible and about their rows alone.
func (j *streamJoin) steady(c *compiler, t tree) bool {
	return c.infallible(t, func(t tree) string {
		names := t.names("column_names")
		if t.class() != "COLUMN_REF" || len(names) != 2 {
			return ""
		}
		return j.column(names[0], names[1]).typ
	}) == truthType
}

// column returns the column of a side, by its alias.
func (j *streamJoin) column(alias, name string) joinColumn {
	for _, s := range j.sides() {
		for _, col := range s.columns {
			if s.alias == alias && col.name == name {
				return col
			}
		}
	}
	return joinColumn{}
}
