package planner

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// TableKey names columns of a reference table. While no two of its rows have the same values in them, a join that
// compares them repeats no row of a stream.
type TableKey struct {
	Table   string
	Columns []string
}

// RepeatsSQL asks for a key that stands in the table twice: no row comes if none does.
func (k TableKey) RepeatsSQL() string {
	var cols, some []string
	for _, col := range k.Columns {
		n := duck.QuoteIdent(col)
		cols, some = append(cols, n), append(some, n+" IS NOT NULL")
	}
	return "SELECT 1 FROM " + duck.QuoteIdent(k.Table) + " WHERE " + strings.Join(some, " AND ") +
		" GROUP BY " + strings.Join(cols, ", ") + " HAVING count(*) > 1 LIMIT 1"
}

// joinKey returns the columns of the reference table on the right side of a join that its condition compares with
// columns of the left side's streams, of the same type, or nil: then nothing is known of how often it repeats a row.
func (c *compiler) joinKey(t tree, l *from) *TableKey {
	right, kind := t.sub("right"), t.str("join_type")
	if t.str("ref_type") != "REGULAR" || kind != "INNER" && kind != "LEFT" || l.main == nil || l.names != nil ||
		right.str("type") != "BASE_TABLE" || len(right.list("column_name_alias")) > 0 {
		return nil
	}
	at := slices.IndexFunc(c.app.Tables, func(d *Table) bool { return strings.EqualFold(d.Name, right.str("table_name")) })
	if at < 0 {
		return nil
	}
	def := c.app.Tables[at]
	s := keySides{left: l, table: def, alias: right.str("alias")}
	if s.alias == "" {
		s.alias = def.Name
	}
	key := &TableKey{Table: def.Name}
	for _, name := range t.names("using_columns") {
		s.compare(key, columnRef("", l.alias, name), columnRef("", s.alias, name))
	}
	for _, part := range conjuncts(t.sub("condition")) {
		if part.str("type") == "COMPARE_EQUAL" {
			s.compare(key, part.sub("left"), part.sub("right"))
			s.compare(key, part.sub("right"), part.sub("left"))
		}
	}
	if len(key.Columns) == 0 {
		return nil
	}
	return key
}

// keySides are the sides of a join with a reference table.
type keySides struct {
	left  *from
	table *Table
	alias string
}

// compare adds the column of the table to the key, if one side of an equality is a column of a stream and the other one
// of the table, of the same exact type: a cast could make equal what differs.
func (s keySides) compare(key *TableKey, streamSide, tableSide tree) {
	col := s.column(tableSide)
	if col == nil || !exactType(col.Type) || s.streamType(streamSide) != col.Type || slices.Contains(key.Columns, col.Name) {
		return
	}
	key.Columns = append(key.Columns, col.Name)
}

// column returns the column of the table that an expression is, or nil. A bare name is one side's alone: DuckDB has
// refused those that are ambiguous.
func (s keySides) column(t tree) *stream.Column {
	alias, name := columnNamed(t)
	if name == "" || alias != "" && !strings.EqualFold(alias, s.alias) {
		return nil
	}
	for i := range s.table.Columns {
		if strings.EqualFold(s.table.Columns[i].Name, name) {
			return &s.table.Columns[i]
		}
	}
	return nil
}

// streamType returns the type of the stream's column that an expression is, or "".
func (s keySides) streamType(t tree) string {
	alias, name := columnNamed(t)
	for a, rel := range s.left.streams {
		if col, ok := rel.column(name); ok && (alias == "" || strings.EqualFold(alias, a)) {
			return col.Type
		}
	}
	return ""
}

// columnNamed returns the names of a column as they are written, or "".
func columnNamed(t tree) (alias, name string) {
	names := t.names("column_names")
	switch {
	case t.class() != "COLUMN_REF":
	case len(names) == 1:
		return "", names[0]
	case len(names) == 2:
		return names[0], names[1]
	}
	return "", ""
}

// exactType reports whether values of a type are equal only if they are the same.
func exactType(typ string) bool {
	switch typ {
	case "VARCHAR", "UUID", "DATE", "TIMESTAMP", "BOOLEAN":
		return true
	}
	return wholeNumber(typ)
}

// uniqueKeys lists the keys that steps ask for.
func (p *Plan) uniqueKeys() {
	for _, op := range p.Ops {
		for _, st := range op.Steps {
			if st.Entry == nil || st.When != Punctual {
				continue
			}
			for _, k := range st.Entry.Unique {
				if !slices.ContainsFunc(p.Unique, func(o TableKey) bool {
					return o.Table == k.Table && slices.Equal(o.Columns, k.Columns)
				}) {
					p.Unique = append(p.Unique, k)
				}
			}
		}
	}
}
