package planner

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// doubtful reports whether faults of the text leave some of the application unknown.
func (app *App) doubtful() bool {
	return len(app.Lost) > 0 || slices.ContainsFunc(app.Sources, func(s *Source) bool { return s.Open || s.Doubtful })
}

// emptySource makes a relation like a source's rows, with a further column if there is one. A table can not have columns
// of an unknown type, but a view can.
func emptySource(s *Source, further ...Column) string {
	cols := append(slices.Clone(s.Columns), further...)
	unknown := func(col Column) bool { return col.Type == UnknownType }
	if !s.Open && !slices.ContainsFunc(cols, unknown) {
		return emptyTable(s.Name, cols)
	}
	items := make([]string, len(cols), len(cols)+1)
	for i, col := range cols {
		items[i] = "CAST(NULL AS " + col.Type + ") AS " + duck.QuoteIdent(col.Name)
	}
	if len(items) == 0 {
		items = append(items, "NULL AS __none")
	}
	return "CREATE OR REPLACE TEMP VIEW " + duck.QuoteIdent(s.Name) + " AS SELECT " + strings.Join(items, ", ")
}

// doubt mends what names something lost, and notes what is not known of the sources.
func (m *mending) doubt(app *App) {
	lost := map[string]bool{}
	for _, name := range app.Lost {
		lost[strings.ToLower(name)] = true
	}
	for _, root := range m.roots {
		walk(root, func(t tree) bool {
			if m.isLost(t, lost) {
				m.at[t.at()] = repair{how: repairHollow, taints: true}
				m.functions = m.functions || t.class() == "FUNCTION"
			}
			return true
		})
	}
	for _, s := range app.Sources {
		name := strings.ToLower(s.Name)
		m.missing[name] = m.missing[name] || s.Open
		if s.Open || s.Doubtful {
			m.doubtful[name] = true
		}
		for _, col := range s.Columns {
			if col.Type == UnknownType && m.reads(name) {
				m.untyped[strings.ToLower(col.Name)] = true
			}
		}
	}
	for more := len(m.untyped) > 0; more; {
		more = m.deriveUntyped()
	}
}

// isLost reports whether a relation or a call is of a name whose definition could not be read.
func (m *mending) isLost(t tree, lost map[string]bool) bool {
	switch {
	case t.str("type") == "TABLE_FUNCTION" && lost[t.sub("function").function()], t.class() == "FUNCTION" && lost[t.function()]:
		return true
	}
	return slices.ContainsFunc(relationNames(t), func(name string) bool { return lost[name] && m.named[name] == nil })
}

// reads reports whether the query reads a relation of the lower-case name.
func (m *mending) reads(name string) bool {
	return m.reaches(m.roots[0], func(t tree) bool { return slices.Contains(relationNames(t), name) })
}

// deriveUntyped adds the names of columns that are made from untyped ones, and reports whether there are new ones.
func (m *mending) deriveUntyped() bool {
	before := len(m.untyped)
	for _, root := range m.roots {
		walk(root, func(t tree) bool {
			for _, item := range t.trees("select_list") {
				if name := item.str("alias"); name != "" && m.untypedIn(item) {
					m.untyped[strings.ToLower(name)] = true
				}
			}
			return true
		})
	}
	return len(m.untyped) > before
}

// untypedIn reports whether an expression has a column whose type is not known.
func (m *mending) untypedIn(expr tree) bool {
	found := false
	walk(expr, func(t tree) bool {
		for _, name := range t.names("column_names") {
			found = found || m.untyped[strings.ToLower(name)]
		}
		return !found
	})
	return found
}
