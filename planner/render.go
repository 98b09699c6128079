package planner

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
)

// render returns the SQL of a query node.
func (c *compiler) render(node tree) (string, error) {
	stmt := tree{"error": false, "statements": []any{tree{"node": exact(node)}}}
	data, err := json.Marshal(stmt)
	if err != nil {
		return "", fmt.Errorf("encode syntax tree: %w", err)
	}
	sql, err := c.db.Render(c.ctx, data)
	if err != nil {
		return "", fmt.Errorf("render syntax tree: %w", err)
	}
	return strings.TrimRight(strings.TrimSpace(sql), ";"), nil
}

// exact returns a tree whose text, as DuckDB writes it, is the query that the tree is. DuckDB does not quote the relation of a star
// and the columns of USING, and writes CROSS JOIN as a comma, which binds less than the joins around it.
func exact(node tree) tree {
	wrong := false
	walk(node, func(t tree) bool {
		wrong = wrong || t.class() == "STAR" && needsQuotes(t.str("relation_name")) || t.str("type") == "JOIN" && !asWritten(t)
		return !wrong
	})
	if !wrong {
		return node
	}
	out := clone(node)
	walk(out, func(t tree) bool {
		switch {
		case t.class() == "STAR" && needsQuotes(t.str("relation_name")):
			t["relation_name"] = duck.QuoteIdent(t.str("relation_name"))
		case t.str("type") == "JOIN" && !asWritten(t):
			writeJoin(t)
		}
		return true
	})
	return out
}

// asWritten reports whether the text of a join is what it is.
func asWritten(join tree) bool {
	for _, name := range join.names("using_columns") {
		if needsQuotes(name) {
			return false
		}
	}
	return crossing(join) || !crossing(join.sub("left")) && !crossing(join.sub("right"))
}

func crossing(t tree) bool { return t.str("type") == "JOIN" && t.str("ref_type") == "CROSS" }

func writeJoin(join tree) {
	var using []any
	for _, name := range join.names("using_columns") {
		if needsQuotes(name) {
			name = duck.QuoteIdent(name)
		}
		using = append(using, name)
	}
	if len(using) > 0 {
		join["using_columns"] = using
	}
	for _, side := range []tree{join.sub("left"), join.sub("right")} {
		if !crossing(join) && crossing(side) {
			side["ref_type"], side["join_type"], side["condition"] = "REGULAR", "INNER", boolean(true)
		}
	}
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// needsQuotes reports whether a name is no name without quotes.
func needsQuotes(name string) bool {
	return name != "" && (!plainName.MatchString(name) || duck.Reserved(name))
}
