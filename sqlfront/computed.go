package sqlfront

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// typeColumns has DuckDB normalise the declared types and checks METADATA.
func (r *reader) typeColumns(ctx context.Context, p *parser, list *columnList) error {
	for _, c := range list.columns {
		if c.typ == (diag.Span{}) {
			continue // Its fault is known.
		}
		typ, err := r.columnType(ctx, p, c)
		if err != nil {
			return err
		}
		if typ == "" {
			continue
		}
		arrowType, err := duck.ArrowType(typ)
		if err != nil {
			p.fault(diag.BadType, c.typ, `column "%s" has the type %s, which a source can not give`, c.id.name, typ).
				WithHint("declare it as VARCHAR, and cast it in the query")
			continue
		}
		c.column = planner.Column{
			Column: stream.Column{Name: c.id.name, Type: typ, Arrow: arrowType, Metadata: c.metadata},
			Span:   c.id.span,
		}
		if c.expr != (diag.Span{}) {
			c.column.Expr, c.column.At = p.text.Body[c.expr.Start:c.expr.End], c.expr.Start
		}
		c.ok = !c.metadata || p.metadata(c)
	}
	return nil
}

// columnType returns DuckDB's spelling of a type, or "" if there is a fault.
func (r *reader) columnType(ctx context.Context, p *parser, c *columnDecl) (string, error) {
	text := p.text.Body[c.typ.Start:c.typ.End]
	if typ := r.types[text]; typ != "" {
		return typ, nil
	}
	const before = "SELECT CAST(NULL AS "
	cols, err := r.env.Typer.Describe(ctx, before+text+"\n) AS t")
	fault, err := sqlFault(err, "look up a type")
	if err != nil {
		return "", err
	}
	if fault != nil {
		span := c.typ
		if fault.Kind == duck.Syntax && fault.Position >= len(before) {
			span = p.place(c.typ.Start+fault.Position-len(before), c.typ)
		}
		e := p.fault(diag.BadType, span, `the type of column "%s" is not one of DuckDB's: %s`,
			c.id.name, oneLine(fault.Message))
		nearHint(e, p.text.Body[span.Start:span.End], typeNames())
		return "", nil
	}
	if len(cols) != 1 || strings.EqualFold(strings.Trim(text, `"`), "null") {
		p.fault(diag.BadType, c.typ, `the type of column "%s" is not one that a column can have`, c.id.name)
		return "", nil
	}
	r.types[text] = cols[0].Type
	return cols[0].Type, nil
}

// metadataTypes returns the types that a METADATA column of the name may have, or nil if there is none.
func metadataTypes(name string) []string {
	switch fold(name) {
	case "subject", "file":
		return []string{"VARCHAR"}
	case "sequence":
		return []string{"UBIGINT", "BIGINT"}
	case "published_at":
		return []string{"TIMESTAMP"}
	case "headers":
		return []string{"MAP(VARCHAR, VARCHAR)"}
	}
	return nil
}

// metadata reports whether a METADATA column is one that transports have.
func (p *parser) metadata(c *columnDecl) bool {
	types := metadataTypes(c.id.name)
	if types == nil {
		e := p.fault(diag.UnknownColumn, c.id.span, `there is no METADATA column "%s"`, c.id.name)
		nearHint(e, c.id.name, []string{"subject", "sequence", "published_at", "headers", "file"})
		e.WithNote("METADATA columns: subject VARCHAR, sequence UBIGINT, published_at TIMESTAMP, " +
			"headers MAP(VARCHAR, VARCHAR), file VARCHAR")
		return false
	}
	for _, t := range types {
		if t == c.column.Type {
			return true
		}
	}
	p.fault(diag.BadType, c.typ, `METADATA column "%s" is %s, not %s`,
		c.id.name, strings.Join(types, " or "), c.column.Type).
		WithHint("write  %s %s METADATA", c.id.name, types[0])
	return false
}

// typeComputed checks the expressions of computed columns against the columns that are not computed.
func (r *reader) typeComputed(ctx context.Context, p *parser, list *columnList) error {
	scope := computedScope{list: list}
	for _, c := range list.columns {
		if c.expr == (diag.Span{}) {
			scope.plain = append(scope.plain, c.declared().Column)
		}
	}
	for _, c := range list.columns {
		if !c.ok || c.column.Expr == "" {
			continue
		}
		before := p.quiet
		parsed, err := r.checkComputed(ctx, p, list, c)
		if err == nil && parsed {
			err = r.bindComputed(ctx, p, c, scope)
		}
		if err != nil {
			return err
		}
		c.ok = p.quiet == before
	}
	return nil
}

const computedBefore = "SELECT ("

// checkComputed parses an expression and refuses what is not a function of its own row alone. It reports whether it is
// one expression.
func (r *reader) checkComputed(
	ctx context.Context, p *parser, list *columnList, c *columnDecl,
) (bool, error) {
	data, err := r.env.Typer.Parse(ctx, computedBefore+c.column.Expr+"\n)")
	fault, err := sqlFault(err, "parse a computed column")
	if err != nil {
		return false, err
	}
	if fault != nil {
		from := c.expr.Start - len(computedBefore)
		p.binderFault(c.expr, from, fault, `computed column "`+c.id.name+`"`)
		return false, nil
	}
	tree, err := decodeTree(data)
	if err != nil {
		return false, err
	}
	selects := tree.selects()
	if len(selects) != 1 || len(selects[0].list("select_list")) != 1 ||
		selects[0].object("from_table").text("type") != "EMPTY" {
		p.fault(diag.SQLInvalid, c.expr, `computed column "%s" is not one expression`, c.id.name)
		return false, nil
	}
	walk(selects[0].list("select_list"), func(n node) bool {
		return r.computedNode(p, list, c, n) || n.text("class") == "FUNCTION"
	})
	return true, nil
}

// computedNode reports whether a piece of an expression may stand in a computed column.
func (r *reader) computedNode(p *parser, list *columnList, c *columnDecl, n node) bool {
	span := c.expr
	if at := n.at(); at >= 0 {
		span = p.place(c.expr.Start+at-len(computedBefore), c.expr)
	}
	refuse := func(why string) bool {
		p.fault(diag.FunctionRefused, span, `computed column "%s" %s`, c.id.name, why).
			WithHint("an expression may use the other columns of its row and functions that always give the same " +
				"result")
		return false
	}
	name := n.text("function_name")
	switch n.text("class") {
	case "FUNCTION":
		if strings.HasPrefix(name, "__") {
			return refuse(`calls "` + name + `": names that begin with "__" are reserved`)
		}
		if r.volatileCall(name, len(n.list("children"))) {
			return refuse(`calls "` + name + `", whose result is not the same when a batch runs again`)
		}
	case "WINDOW":
		return refuse("has a window function, which looks at other rows")
	case "SUBQUERY":
		return refuse("has a subquery, which looks at other rows")
	case "STAR":
		return refuse("has a star, which is many columns")
	case "PARAMETER":
		return refuse("has a parameter")
	case "COLUMN_REF":
		names := n.list("column_names")
		if len(names) != 1 {
			break
		}
		if word, ok := names[0].(string); ok && volatileWord(word) && list.find(word) == nil {
			return refuse(`reads "` + word + `", which is not the same when a batch runs again`)
		}
	}
	return true
}

// computedScope is what an expression may name.
type computedScope struct {
	list  *columnList
	plain []stream.Column // those that are not computed
}

// bindComputed has DuckDB bind an expression and its cast to the declared type. It stands in a WHERE, where
// neither aggregates nor UNNEST bind, so that what passes is a scalar.
func (r *reader) bindComputed(ctx context.Context, p *parser, c *columnDecl, scope computedScope) error {
	before := "SELECT 1 FROM (" + emptyRow(scope.plain) + ") AS __row WHERE CAST(("
	after := "\n) AS " + c.column.Type + ") IS NULL"
	_, err := r.env.Typer.Describe(ctx, before+c.column.Expr+after)
	fault, err := sqlFault(err, "bind a computed column")
	if err != nil {
		return err
	}
	if fault == nil {
		return r.castable(ctx, p, c, scope)
	}
	refused := slices.ContainsFunc(*p.faults, func(f *diag.Error) bool { return f.Source != nil && f.Span.Start >= c.expr.Start })
	all, err := r.everyFault(ctx, fault, before+c.column.Expr+after, r.env.Typer.Describe)
	for _, f := range all {
		if _, missing := missingColumn(oneLine(f.Message)); refused && !missing && !strings.Contains(f.Message, "Function with name") {
			continue // it may be about what is refused
		}
		if !p.follows(c, scope, f) && !p.toldAt(c.expr.Start+f.Position-len(before)) {
			p.bindFault(c, scope, f, len(before))
		}
	}
	return err
}

// toldAt reports whether a fault has been recorded at a place.
func (p *parser) toldAt(at int) bool {
	return slices.ContainsFunc(*p.faults, func(f *diag.Error) bool { return f.Source != nil && f.Span.Start == at })
}

// follows reports whether a fault of an expression may be a consequence of those of the columns that it reads.
func (p *parser) follows(c *columnDecl, scope computedScope, fault *duck.Error) bool {
	_, missing := missingColumn(oneLine(fault.Message))
	if missing || fault.Kind == duck.Catalog {
		return missing && !scope.list.complete
	}
	return !scope.list.complete || slices.ContainsFunc(scope.plain, func(col stream.Column) bool {
		return col.Type == planner.UnknownType && planner.Mentions(c.column.Expr, col.Name)
	})
}

// castable refuses a cast of a list, struct or map to a plain type, which DuckDB binds and then fails on
// every row.
func (r *reader) castable(ctx context.Context, p *parser, c *columnDecl, scope computedScope) error {
	sql := "SELECT (" + c.column.Expr + "\n) FROM (" + emptyRow(scope.plain) + ") AS __row"
	cols, err := r.env.Typer.Describe(ctx, sql)
	if err != nil {
		return fmt.Errorf("type a computed column: %w", err)
	}
	if len(cols) != 1 {
		return nil
	}
	to := c.column.Type
	if !nested(cols[0].Type) || nested(to) || to == "VARCHAR" || to == "JSON" {
		return nil
	}
	p.fault(diag.BadType, c.expr, `computed column "%s" is declared %s, but its expression is %s`,
		c.id.name, to, cols[0].Type).
		WithHint("declare the type of the expression, or take an element of it")
	return nil
}

func nested(typ string) bool {
	return strings.HasSuffix(typ, "]") || strings.HasPrefix(typ, "STRUCT(") || strings.HasPrefix(typ, "MAP(") ||
		strings.HasPrefix(typ, "UNION(")
}

// bindFault records why DuckDB does not bind an expression. Before is how many bytes stood before it.
func (p *parser) bindFault(c *columnDecl, scope computedScope, fault *duck.Error, before int) {
	span := c.expr
	if fault.Position >= 0 {
		span = p.place(c.expr.Start+fault.Position-before, c.expr)
	}
	what := `computed column "` + c.id.name + `"`
	message := oneLine(fault.Message)
	if kind, ok := strings.CutPrefix(message, "WHERE clause cannot contain "); ok {
		kind = strings.TrimRight(kind, "!")
		p.fault(diag.FunctionRefused, span, "%s has %s, which look at other rows", what, kind).
			WithHint("aggregate in the query")
		return
	}
	if strings.HasPrefix(message, "UNNEST not supported") {
		p.fault(diag.FunctionRefused, span, "%s has UNNEST, which gives many rows", what).
			WithHint("UNNEST in the query")
		return
	}
	if name, ok := missingColumn(message); ok {
		if other := scope.list.find(name); other != nil && other.expr != (diag.Span{}) {
			p.fault(diag.UnknownColumn, span, `%s reads the computed column "%s"`, what, other.id.name).
				WithHint(`put the expression of "%s" in its place`, other.id.name)
			return
		}
	}
	e := p.binderFault(c.expr, c.expr.Start-before, fault, what)
	if e.Code == diag.UnknownColumn {
		e.WithNote("columns here: %s", strings.Join(columnNames(scope.plain), ", "))
	}
}

func columnNames(columns []stream.Column) []string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return names
}
