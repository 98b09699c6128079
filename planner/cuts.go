package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// cuts are what a SELECT or UNION leaves out of its own rows by operators of their own: duplicates, and all but the
// first rows.
type cuts struct {
	distinct tree // the modifier, or nil
	on       []string
	orders   []tree // of DISTINCT ON: which of the rows with one key is the first
	hidden   int    // columns at the end of the select list that are not in the result
	time     string // the hidden column with the time of dedup_horizon, or ""
	timeMark mark
	grouped  bool
	exprs    map[string]string // what the columns of the select list are, by name
	limit    tree              // the modifier, or nil
	top      bool
}

// cutting compiles a query node by rows, and does its DISTINCT and LIMIT.
func (c *compiler) cutting(
	cut *cuts, node tree, s *scope, rows func(tree, *scope) (tree, *relation, error),
) (tree, *relation, error) {
	if cut == nil {
		return rows(node, s)
	}
	c.depth++ // what is below needs positions
	out, rel, err := rows(node, s)
	c.depth--
	if err == nil && cut.distinct != nil {
		out, rel, err = c.distinct(cut, out, rel)
	}
	if err == nil && cut.limit != nil {
		out, rel, err = c.limit(cut, out, rel)
	}
	return out, rel, err
}

// takeCuts takes DISTINCT and LIMIT out of a query node. It is nil if there is neither.
func (c *compiler) takeCuts(node tree) (*cuts, error) {
	cut := &cuts{top: c.depth == 1}
	var rest []any
	for _, m := range node.trees("modifiers") {
		switch m.str("type") {
		case "DISTINCT_MODIFIER":
			cut.distinct = m
		case "LIMIT_MODIFIER":
			cut.limit = m
		case "LIMIT_PERCENT_MODIFIER":
			return nil, c.errAt(diag.LimitUnsupported, m, "LIMIT with a percentage needs the number of all rows, "+
				"and a stream never ends").WithHint("write LIMIT with a number of rows")
		default:
			rest = append(rest, m)
		}
	}
	if cut.distinct == nil && cut.limit == nil {
		return nil, nil //nolint:nilnil // nothing to cut is no fault
	}
	if cut.distinct != nil && len(cut.distinct.list("distinct_on_targets")) > 0 && len(rest) > 0 {
		if len(rest) > 1 || asTree(rest[0]).str("type") != "ORDER_MODIFIER" {
			return nil, c.refuseShapes(tree{"modifiers": rest}, false)
		}
		cut.orders, rest = asTree(rest[0]).trees("orders"), nil
	}
	node["modifiers"] = append([]any{}, rest...)
	return cut, nil
}

// cutRows writes the SELECT of the rows that an operator cuts: columns, position, and if positions may occur twice a
// number __n in the order of positions and values.
func (c *compiler) cutRows(node tree, rel *relation, what string) (string, error) {
	sql, err := c.render(node)
	if err != nil {
		return "", err
	}
	if err := c.distinctNames(rel, what); err != nil {
		return "", err
	}
	items := append(quoteAll(rel.columnNames()), PosColumn)
	if rel.needsNumber() {
		items = append(items, "row_number() OVER (ORDER BY "+rel.order("")+") AS __n")
	}
	return c.chain("SELECT " + strings.Join(items, ", ") + "\nFROM (\n" + sql + "\n)"), nil
}

// distinctNames refuses rows with two columns of one name, which no table can have.
func (c *compiler) distinctNames(rel *relation, what string) error {
	seen := map[string]bool{}
	for _, col := range rel.cols {
		if key := strings.ToLower(col.Name); seen[key] {
			return diag.New(diag.DuplicateColumn, "two columns below %s are named %q", what, col.Name).
				At(c.app.Text, c.q.Span).WithHint("give one of them another name with AS")
		} else {
			seen[key] = true
		}
	}
	return nil
}

// needsNumber reports whether positions alone do not number rows.
func (r *relation) needsNumber() bool { return !r.single || r.posType != "" }

// order is the list that makes the order of rows explicit: by position, and by values where that occurs twice.
func (r *relation) order(prefix string) string {
	order := prefix + PosColumn
	if !r.single {
		for _, col := range r.cols {
			order += ", " + prefix + duck.QuoteIdent(col.Name)
		}
	}
	return order
}

func quoteAll(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = duck.QuoteIdent(n)
	}
	return out
}

// cut is what an operator lets through of rel.
func (r *relation) cut(n int, op string, detail ...string) *relation {
	out := *r
	out.name, out.raw, out.ordered, out.filtered, out.tables = "", false, false, true, []string{outTable(n)}
	out.node = &Node{Op: op, Detail: detail, Below: []*Node{r.node}}
	return &out
}

// outOf registers an operator and returns SELECT * of what it gives.
func (c *compiler) outOf(n int, rel *relation) (tree, error) {
	cols := append(append([]duck.Column(nil), rel.cols...), duck.Column{Name: PosColumn, Type: rel.position()})
	if err := c.emptyOut(outTable(n), cols); err != nil {
		return nil, err
	}
	return selectNode([]any{star("")}, baseTable(outTable(n), outTable(n), nil)), nil
}

// constantCount evaluates the number of a LIMIT or OFFSET; -1 is none.
func (c *compiler) constantCount(what string, t tree) (int64, error) {
	if t == nil {
		return -1, nil
	}
	constant := true
	walk(t, func(n tree) bool {
		constant = constant && n.class() != "COLUMN_REF" && n.class() != "SUBQUERY" && n.class() != "PARAMETER" &&
			n.function() != "getvariable"
		return constant
	})
	if !constant {
		return 0, c.errAt(diag.LimitUnsupported, t, "%s over a stream must be a constant", what).
			WithHint("write %s 10", what)
	}
	sql, err := c.exprSQL(t)
	if err != nil {
		return 0, err
	}
	rows, err := c.db.Rows(c.ctx, "SELECT CAST(("+sql+") AS BIGINT)")
	if err != nil {
		fault := asDuckError(err)
		if fault == nil {
			return 0, fmt.Errorf("evaluate %s: %w", what, err)
		}
		return 0, c.errAt(diag.LimitUnsupported, t, "%s is not a number of rows: %s", what, firstLine(fault.Message)).
			WithHint("write %s 10", what)
	}
	if rows[0][0] == nil {
		return -1, nil
	}
	n, ok := rows[0][0].(int64)
	if !ok || n < 0 {
		return 0, c.errAt(diag.LimitUnsupported, t, "%s is negative: %v", what, rows[0][0]).WithHint("write %s 10", what)
	}
	return n, nil
}
