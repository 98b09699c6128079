package planner

import (
	"slices"
	"strings"
)

// path returns the nodes from a body or view down to the outermost one at a place; nil if there is none.
func (m *mending) path(at int) []tree {
	for _, root := range m.roots {
		if p := pathTo(root, at); p != nil {
			return p
		}
	}
	return nil
}

func pathTo(v any, at int) []tree {
	switch v := v.(type) {
	case tree:
		if v.at() == at {
			return []tree{v}
		}
		for _, k := range sortedKeys(v) {
			if p := pathTo(v[k], at); p != nil {
				return append([]tree{v}, p...)
			}
		}
	case []any:
		for _, e := range v {
			if p := pathTo(e, at); p != nil {
				return p
			}
		}
	}
	return nil
}

// innermostSelect returns the SELECT that the end of a path stands in, or its beginning.
func innermostSelect(path []tree) tree {
	for _, t := range slices.Backward(path) {
		if t.str("type") == "SELECT_NODE" {
			return t
		}
	}
	return path[0]
}

// within reports whether the end of a path stands in something that is mended.
func (m *mending) within(path []tree) bool {
	return slices.ContainsFunc(path, func(t tree) bool { return m.at[t.at()].how > 0 })
}

// holds reports whether a node, or a query that it names, has a mended place for which is holds.
func (m *mending) holds(node tree, is func(repair) bool) bool {
	return m.reaches(node, func(t tree) bool {
		r, ok := m.at[t.at()]
		return ok && is(r)
	})
}

// doubts reports whether a node, or a query that it names, reads a source whose declaration has a fault.
func (m *mending) doubts(node tree) bool {
	return len(m.doubtful) > 0 && m.reaches(node, func(t tree) bool {
		return slices.ContainsFunc(relationNames(t), func(name string) bool { return m.doubtful[name] })
	})
}

// reaches reports whether is holds of anything in a node, or in the queries that it names.
func (m *mending) reaches(node tree, is func(tree) bool) bool {
	seen, found := map[string]bool{}, false
	var visit func(v any)
	visit = func(v any) {
		walk(v, func(t tree) bool {
			found = found || is(t)
			for _, name := range relationNames(t) {
				if !seen[name] {
					seen[name] = true
					visit(m.named[name])
				}
			}
			return !found
		})
	}
	visit(node)
	return found
}

// relationNames returns the lower-case names that a relation in FROM reads by.
func relationNames(t tree) []string {
	switch t.str("type") {
	case "BASE_TABLE":
		return []string{strings.ToLower(t.str("table_name"))}
	case "TABLE_FUNCTION":
		fn := t.sub("function")
		if kids := fn.trees("children"); isWindow(fn.function()) && len(kids) > 0 {
			if names := kids[0].names("column_names"); len(names) == 1 {
				return []string{strings.ToLower(names[0])}
			}
		}
	}
	return nil
}

// mayExist reports whether the column at the end of a path may be one of a relation of which not all columns are known.
func (m *mending) mayExist(path []tree) bool {
	qualifier := ""
	if names := path[len(path)-1].names("column_names"); len(names) > 1 {
		qualifier = names[0]
	}
	for _, t := range path {
		if t.str("type") != "SELECT_NODE" {
			continue
		}
		for _, rel := range leaves(t.sub("from_table")) {
			if (qualifier == "" || strings.EqualFold(qualifier, relationAlias(rel))) && m.open(rel, nil) {
				return true
			}
		}
	}
	return false
}

// leaves returns the relations that a FROM clause joins.
func leaves(t tree) []tree {
	if t.str("type") == "JOIN" {
		return append(leaves(t.sub("left")), leaves(t.sub("right"))...)
	}
	return []tree{t}
}

func relationAlias(t tree) string {
	for _, name := range []string{t.str("alias"), t.str("table_name"), t.sub("function").function()} {
		if name != "" {
			return name
		}
	}
	return ""
}

// open reports whether a relation, or a query node, may have columns that are not known. Seen are the names on the way.
func (m *mending) open(t tree, seen []string) bool {
	switch t.str("type") {
	case "SUBQUERY":
		return m.open(t.sub("subquery").sub("node"), seen)
	case "SET_OPERATION_NODE":
		return m.open(t.sub("left"), seen) || m.open(t.sub("right"), seen)
	case "CTE_NODE":
		return m.open(t.sub("child"), seen)
	case "SELECT_NODE":
		star := func(item tree) bool { return item.class() == "STAR" }
		opens := func(rel tree) bool { return m.open(rel, seen) }
		return slices.ContainsFunc(t.trees("select_list"), star) &&
			slices.ContainsFunc(leaves(t.sub("from_table")), opens)
	}
	if t != nil && m.coarse(t) {
		return true
	}
	return slices.ContainsFunc(relationNames(t), func(name string) bool {
		return m.missing[name] || !slices.Contains(seen, name) && m.open(m.named[name], append(seen, name))
	})
}
