package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// panes is how an aggregate over hop() gets by with one row per row: rows are aggregated by pane, the stretch between
// two window starts, and only the panes are put into the windows that they are in.
type panes struct {
	hop   *hopWindows
	moved []int // the keys that are window bounds
}

// hopWindows says how a relation of hop() was made.
type hopWindows struct {
	name  string // of its CTE
	panes string // the CTE with each row in its latest window alone
	slide int64  // microseconds
	n     int64  // windows that a row is in
}

// findPanes reports how the aggregate can use panes, or nil: every aggregate must merge whatever the order is, and
// nothing but keys may read the window's bounds.
func (g *grouping) findPanes() *panes {
	hop := g.s.main.hop
	if hop == nil || g.a.rows != nil || len(g.a.seen) > 0 || len(g.sets) > 0 {
		return nil
	}
	for _, p := range g.a.partials {
		if strings.Contains(p.merge, "ORDER BY") {
			return nil
		}
	}
	out := &panes{hop: hop}
	for i, k := range g.keys {
		switch bound := g.bounds(k); {
		case bound && k.class() == "COLUMN_REF":
			out.moved = append(out.moved, i)
		case bound:
			return nil
		}
	}
	for _, call := range g.calls {
		if g.bounds(call) {
			return nil
		}
	}
	if len(out.moved) == 0 || g.bounds(g.node.sub("where_clause")) || g.bounds(g.node.sub("from_table")) {
		return nil
	}
	return out
}

// bounds reports whether something reads a bound of the window.
func (g *grouping) bounds(v any) bool {
	found := false
	walk(v, func(t tree) bool {
		if names := t.names("column_names"); t.class() == "COLUMN_REF" && len(names) > 0 {
			last := strings.ToLower(names[len(names)-1])
			found = found || last == windowStart || last == windowEnd
		}
		for _, name := range t.names("using_columns") {
			found = found || strings.EqualFold(name, windowStart) || strings.EqualFold(name, windowEnd)
		}
		return !found
	})
	return found
}

// paneSQL is the relation with each row in its latest window alone, whose start is that of the pane.
func paneSQL(rel *relation, g grid, size string, micros int64) string {
	exclude, last := posColumns(rel)
	return fmt.Sprintf("SELECT *%s, %s%s\nFROM %s WHERE %s IS NOT NULL",
		exclude, g.bounds(size, micros, ""), last, duck.QuoteIdent(rel.name), g.col)
}

func (a *aggregate) panesTable() string { return fmt.Sprintf("__panes%d", a.n) }

// delta is the table of what a batch adds to the groups.
func (a *aggregate) delta() string {
	if a.panes != nil {
		return a.panesTable()
	}
	return a.in
}

// panesSQL aggregates the batch's rows by pane and puts the panes into their open windows: with the position of each, as
// rows for a merge in DuckDB, or without. What is counted is a pane's rows, in its latest window.
func (a *aggregate) panesSQL(counted, placed bool) string {
	keys := a.keyNames("")
	items := a.keyNames("p.")
	for _, i := range a.panes.moved {
		n := duck.QuoteIdent(a.keys[i].Name)
		items[i] = fmt.Sprintf("p.%s - to_microseconds(w.__w * %d) AS %s", n, a.panes.hop.slide, n)
	}
	var merged []string
	for _, p := range a.partials {
		n := duck.QuoteIdent(p.Name)
		merged = append(merged, p.merge+" AS "+n)
		items = append(items, "p."+n)
	}
	if placed {
		merged, items = append(merged, "min("+PosColumn+") AS "+PosColumn), append(items, "p."+PosColumn)
	}
	if counted {
		merged = append(merged, "count(*) AS "+RowsColumn)
		items = append(items, "CASE w.__w WHEN 0 THEN p."+RowsColumn+" ELSE 0 END AS "+RowsColumn)
	}
	sql := "SELECT * FROM (\n  SELECT " + list(items) + "\n  FROM (SELECT " + list(keys, merged) + " FROM " + a.in + a.alive(counted) + " GROUP BY " +
		strings.Join(keys, ", ") + ") p\n  CROSS JOIN (SELECT unnest(range(" + fmt.Sprint(a.panes.hop.n) + ")) AS __w) w\n)"
	return sql + a.alive(counted)
}
