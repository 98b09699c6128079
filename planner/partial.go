package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/stream"
)

// partials decides for every call how it is kept: as partial columns that merge, or as rows.
func (g *grouping) partials() error {
	for i, k := range g.keys {
		sql, err := g.c.exprSQL(k)
		if err != nil {
			return err
		}
		g.a.keys = append(g.a.keys,
			Column{Column: stream.Column{Name: fmt.Sprintf("__k%d", i+1), Type: g.keyCols[i].Type},
				Expr: sql})
		g.a.marks = append(g.a.marks, g.s.mark(k))
		g.a.shown = append(g.a.shown, "")
		if manyFaced(g.keyCols[i].Type) {
			g.a.shown[i] = g.partial(g.keyCols[i].Type, "("+sql+")", "first("+g.inOrder()+")")
		}
	}
	g.setKey()
	g.sees = !g.c.complete() && len(g.a.keys) > 0 && len(g.emptySets()) == 0
	shown := len(g.a.partials)
	if err := g.keepCalls(); err != nil {
		return err
	}
	if len(g.a.seen) > 0 && g.a.ordered() {
		g.sees, g.a.seen, g.a.rows, g.a.firsts, g.a.values = false, nil, nil, nil, nil
		g.a.partials = g.a.partials[:shown]
		clear(g.kept)
		if err := g.keepCalls(); err != nil {
			return err
		}
	}
	if len(g.a.partials) == 0 && len(g.a.keys) == 0 {
		// A group's row must be there even if nothing is kept in it.
		g.partial("UTINYINT", "CAST(0 AS UTINYINT)", "CAST(coalesce(max(%s), 0) AS UTINYINT)")
	}
	return nil
}

// keepCalls decides for every call.
func (g *grouping) keepCalls() error {
	for i, call := range g.calls {
		sql, err := g.c.exprSQL(call)
		if err != nil {
			return err
		}
		f := value{name: fmt.Sprintf("__a%d", i+1), typ: g.callCols[i].Type, call: sql}
		ok, err := g.algebraic(call, &f)
		if err != nil {
			return err
		}
		if !ok {
			if err := g.keepRows(call, &f); err != nil {
				return err
			}
		}
		g.a.values = append(g.a.values, f)
	}
	return nil
}

// manyFaced reports whether equal values of a type may look different, as 0.0 and -0.0 do, or a day and 24 hours. A
// group then shows that of its first row.
func manyFaced(typ string) bool {
	return strings.Contains(typ, "DOUBLE") || strings.Contains(typ, "FLOAT") || strings.Contains(typ, "INTERVAL")
}

// partial adds a column of the state table, or finds the one that is already there, and returns its
// reference.
// merge has a place for the column.
func (g *grouping) partial(typ, init, merge string) string {
	for _, p := range g.a.partials {
		if !p.counts && p.init == init && p.merge == fmt.Sprintf(merge, duck.QuoteIdent(p.Name)) && p.Type == typ {
			return "g." + duck.QuoteIdent(p.Name)
		}
	}
	name := fmt.Sprintf("__p%d", len(g.a.partials)+1)
	g.a.partials = append(g.a.partials, partial{Column: Column{Column: stream.Column{Name: name, Type: typ}},
		init: init, merge: fmt.Sprintf(merge, duck.QuoteIdent(name))})
	return "g." + duck.QuoteIdent(name)
}

// folded is a partial that a keyed state merges itself.
func (g *grouping) folded(fold keyed.Merge, typ, init, merge string) string {
	ref := g.partial(typ, init, merge)
	for i := range g.a.partials {
		if "g."+duck.QuoteIdent(g.a.partials[i].Name) == ref {
			g.a.partials[i].fold = fold
		}
	}
	return ref
}

// foldOf says how a keyed state merges the values of an aggregate whose result has a type, if it can: exactly, and as
// DuckDB would.
func foldOf(name, typ string) keyed.Merge {
	switch typ {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT":
		switch name {
		case "bit_and":
			return keyed.BitAnd
		case "bit_or":
			return keyed.BitOr
		case "bit_xor":
			return keyed.BitXor
		}
	case "BOOLEAN", "HUGEINT", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
	default:
		if !strings.HasPrefix(typ, "DECIMAL(") || strings.HasSuffix(typ, "]") {
			return keyed.NoMerge
		}
	}
	switch name {
	case "min", "bool_and":
		return keyed.Least
	case "max", "bool_or":
		return keyed.Greatest
	}
	return keyed.NoMerge
}

// sumOf is foldOf for the sum of a type.
func sumOf(typ string) keyed.Merge {
	if typ == "HUGEINT" {
		return keyed.SumDigits
	}
	return keyed.Sum
}

// algebraic keeps a call as partial columns, if its partials merge exactly. What depends on the order of rows merges
// only if they arrive in that order.
func (g *grouping) algebraic(call tree, f *value) (bool, error) {
	name, args := call.function(), call.trees("children")
	ordered := len(call.sub("order_bys").list("orders")) > 0
	distinct := call.flag("distinct")
	sql := make([]string, len(args))
	for i, a := range args {
		var err error
		if sql[i], err = g.c.exprSQL(a); err != nil {
			return false, err
		}
	}
	filter := ""
	if t := call.sub("filter"); t != nil {
		var err error
		if filter, err = g.c.exprSQL(t); err != nil {
			return false, err
		}
	}
	if distinct && name != "min" && name != "max" {
		return g.distinct(name, sql, filter, f)
	}
	p := &partialCall{g: g, name: name, args: sql, filter: filter, ordered: ordered, f: f}
	return p.keep()
}

// partialCall is one aggregate call on the way to its partial columns.
type partialCall struct {
	g       *grouping
	name    string
	args    []string
	filter  string
	ordered bool // has an ORDER BY of its own
	f       *value
}

// only is the value where the call's FILTER holds, else NULL.
func (p *partialCall) only(value string) string {
	if p.filter == "" {
		return value
	}
	return "CASE WHEN " + p.filter + " THEN " + value + " END"
}

func (p *partialCall) done(expr string) (bool, error) {
	p.f.expr = "CAST(" + expr + " AS " + p.f.typ + ")"
	return true, nil
}

func (p *partialCall) keep() (bool, error) {
	switch p.name {
	case "count_star":
		return p.done(p.count("true"))
	case "count":
		if len(p.args) == 0 {
			return p.done(p.count("true"))
		}
		if len(p.args) == 1 {
			return p.done(p.count("(" + p.args[0] + ") IS NOT NULL"))
		}
		return false, nil
	}
	if len(p.args) == 2 {
		return p.argExtreme()
	}
	if len(p.args) != 1 {
		return false, nil
	}
	switch p.name {
	case "count_if", "countif":
		return p.done(p.count("coalesce((" + p.args[0] + ")::BOOLEAN, false)"))
	case "sum":
		return p.sum()
	case "avg", "mean":
		return p.avg()
	case "product":
		if p.ordered || !p.g.s.main.arrives {
			return false, nil
		}
		return p.done(p.g.partial("DOUBLE", p.only("CAST("+p.args[0]+" AS DOUBLE)"),
			"product("+p.g.inOrder()+")"))
	case "min", "max", "bool_and", "bool_or", "bit_and", "bit_or", "bit_xor":
		typ := p.f.typ
		merge := "CAST(" + p.name + "(%s) AS " + typ + ")"
		if manyFaced(typ) && (p.name == "min" || p.name == "max") {
			// Of equal values the first is shown. DuckDB ignores an ORDER BY in min() and max().
			if !p.g.s.main.arrives {
				return false, nil
			}
			way := map[string]string{"min": " ASC", "max": " DESC"}[p.name]
			merge = "first(%[1]s ORDER BY %[1]s" + way + " NULLS LAST, \"" + PosColumn + "\")"
		}
		return p.done(p.g.folded(foldOf(p.name, typ), typ, p.only("CAST("+p.args[0]+" AS "+typ+")"), merge))
	case "first", "last", "any_value", "arbitrary":
		if p.ordered || p.filter != "" && p.name != "any_value" || !p.g.s.main.arrives {
			return false, nil
		}
		return p.done(p.g.partial(p.f.typ, p.only(p.args[0]), p.name+"("+p.g.inOrder()+")"+p.ofRows()))
	}
	return false, nil
}

// ofRows is what keeps first() and last() from taking the NULL of a group that is there before any row is for the value of one.
func (p *partialCall) ofRows() string {
	seeded := len(p.g.emptySets()) > 0
	if p.name == "any_value" || !seeded && (p.name == "last" || len(p.g.keys) > 0) {
		return ""
	}
	return " FILTER (WHERE " + strings.TrimPrefix(p.count("true"), "g.") + " > 0)"
}

func (p *partialCall) count(cond string) string {
	if p.filter != "" {
		cond = "(" + p.filter + ") AND " + cond
	}
	init := "CAST(1 AS BIGINT)"
	if cond != "true" {
		init = "CAST(coalesce(" + cond + ", false) AS BIGINT)"
	}
	return p.g.folded(keyed.Sum, "BIGINT", init, countMerge)
}

// inOrder is a column in the order of __pos. Rows of one position, which a join makes, are ordered by their
// value.
func (g *grouping) inOrder() string {
	pos := "\"" + PosColumn + "\""
	if g.a.above != "BIGINT" { // what is in the state has none, and comes first
		pos += " NULLS FIRST"
	}
	if g.s.single {
		return "%[1]s ORDER BY " + pos
	}
	return "%[1]s ORDER BY " + pos + ", %[1]s"
}

// sum merges exactly for integers and decimals. A DOUBLE sum is a strict left fold in the order of __pos into
// which the state enters first, so that any slicing gives the same bits.
func (p *partialCall) sum() (bool, error) {
	typ := p.f.typ
	switch {
	case typ == "HUGEINT" || strings.HasPrefix(typ, "DECIMAL"):
		return p.done(p.g.folded(sumOf(typ), typ, p.only("CAST("+p.args[0]+" AS "+typ+")"), "CAST(sum(%s) AS "+typ+")"))
	case typ == "DOUBLE" && !p.ordered && p.g.s.main.arrives:
		return p.done(p.g.partial(typ, p.only("CAST("+p.args[0]+" AS DOUBLE)"), "sum("+p.g.inOrder()+")"))
	}
	return false, nil
}

// avg is sum / count.
func (p *partialCall) avg() (bool, error) {
	if p.ordered || p.f.typ != "DOUBLE" {
		return false, nil
	}
	cols, err := p.g.c.describe("SELECT " + p.args[0] + p.g.fromSQL)
	if err != nil {
		return false, err
	}
	n := p.count("(" + p.args[0] + ") IS NOT NULL")
	sum := ""
	switch typ := cols[0].Type; {
	case (typ == "FLOAT" || typ == "DOUBLE") && !p.g.s.main.arrives:
		return false, nil
	case typ == "FLOAT" || typ == "DOUBLE":
		sum = p.g.partial("DOUBLE", p.only("CAST("+p.args[0]+" AS DOUBLE)"), "sum("+p.g.inOrder()+")")
	case strings.HasPrefix(typ, "DECIMAL"):
		wide := "DECIMAL(38" + typ[strings.IndexByte(typ, ','):]
		sum = p.g.folded(sumOf(wide), wide, p.only("CAST("+p.args[0]+" AS "+wide+")"), "CAST(sum(%s) AS "+wide+")")
		scale := strings.TrimRight(typ[strings.IndexByte(typ, ',')+1:], ")")
		return p.done(decimalAverage(sum, n, scale))
	case strings.HasSuffix(typ, "INT") || strings.HasSuffix(typ, "INTEGER") || typ == "BOOLEAN":
		sum = p.g.folded(sumOf("HUGEINT"), "HUGEINT", p.only("CAST("+p.args[0]+" AS HUGEINT)"), "CAST(sum(%s) AS HUGEINT)")
	default:
		return false, nil
	}
	return p.done(fmt.Sprintf("CASE WHEN %s > 0 THEN CAST(%s AS DOUBLE) / %s END", n, sum, n))
}

// decimalAverage divides the digits of a sum once, as DuckDB does: dividing by the scale first would round twice.
func decimalAverage(sum, n, scale string) string {
	digits := "CAST(CAST(replace(CAST(" + sum + " AS VARCHAR), '.', '') AS HUGEINT) AS DOUBLE)"
	return fmt.Sprintf("CASE WHEN %s > 0 THEN %s / (%s * CAST(1e%s AS DOUBLE)) END", n, digits, n, scale)
}

// argExtreme keeps the value at the extreme and the extreme. Rows in which either is NULL do not take part,
// and
// of equal extremes the first row counts.
func (p *partialCall) argExtreme() (bool, error) {
	extreme := ""
	switch p.name {
	case "arg_min", "argmin", "min_by":
		extreme = "min"
	case "arg_max", "argmax", "max_by":
		extreme = "max"
	default:
		return false, nil
	}
	if p.ordered || !p.g.s.main.arrives {
		return false, nil
	}
	cols, err := p.g.c.describe("SELECT " + p.args[0] + ", " + p.args[1] + p.g.fromSQL)
	if err != nil {
		return false, err
	}
	both := "(" + p.args[0] + ") IS NOT NULL AND (" + p.args[1] + ") IS NOT NULL"
	if p.filter != "" {
		both = "(" + p.filter + ") AND " + both
	}
	by := p.g.partial(cols[1].Type, "CASE WHEN "+both+" THEN "+p.args[1]+" END", extreme+"(%s)")
	column := strings.TrimPrefix(by, "g.")
	return p.done(p.g.partial(cols[0].Type, "CASE WHEN "+both+" THEN "+p.args[0]+" END",
		"arg_"+extreme+"(%[1]s, "+column+strings.TrimPrefix(p.g.inOrder(), "%[1]s")+")"))
}

// keepRows keeps the arguments of a call, row by row, and evaluates the call itself when the group is
// emitted.
func (g *grouping) keepRows(call tree, f *value) error {
	held := clone(call)
	distinct := held.flag("distinct")
	if held.function() == "bitstring_agg" && len(held.trees("children")) == 1 {
		return g.c.errAt(diag.AggregateUnsupported, call, "bitstring_agg needs to know the range of its values").
			WithHint("write bitstring_agg(x, least, greatest)")
	}
	if held.function() == "count" {
		nameRows(held)
	}
	for i, a := range held.trees("children") {
		n, err := g.keepArgument(a)
		if err != nil {
			return err
		}
		held.list("children")[i] = n
	}
	if t := held.sub("filter"); t != nil {
		n, err := g.keepArgument(t)
		if err != nil {
			return err
		}
		held["filter"] = n
	}
	orders := held.sub("order_bys").trees("orders")
	for _, o := range orders {
		n, err := g.keepArgument(o.sub("expression"))
		if err != nil {
			return err
		}
		o["expression"] = n
	}
	position := []any{orderBy("ASCENDING", "ORDER_DEFAULT", columnRef("", PosColumn))}
	if !g.s.single {
		for _, a := range held.trees("children") {
			if a.class() == "COLUMN_REF" {
				position = append(position, orderBy("ASCENDING", "ORDER_DEFAULT", clone(a)))
			}
		}
	}
	switch {
	case distinct && len(orders) > 0, distinct && held.function() == "count":
	case distinct:
		g.firstOnly(held)
		held.sub("order_bys")["orders"] = position
	case !orderFree(held.function()):
		held.sub("order_bys")["orders"] = append(held.sub("order_bys").list("orders"), position...)
	}
	sql, err := g.c.exprSQL(held)
	if err != nil {
		return err
	}
	f.held = sql
	f.expr = "CAST(h." + duck.QuoteIdent(f.name) + " AS " + f.typ + ")"
	if strings.Contains(held.function(), "count") {
		f.expr = "coalesce(" + f.expr + ", 0)" // of a group without rows
	}
	return nil
}

// nameRows gives the fields of each (x, y) that is counted names, so that it can be kept.
func nameRows(call tree) {
	for _, arg := range call.trees("children") {
		if arg.function() != "row" {
			continue
		}
		arg["function_name"] = "struct_pack"
		for i, field := range arg.trees("children") {
			field["alias"] = fmt.Sprintf("v%d", i+1)
		}
	}
}

// orderFree names the aggregates that keep rows but do not depend on their order, so that they need not be
// sorted.
func orderFree(name string) bool {
	switch name {
	case "median", "quantile", "quantile_cont", "quantile_disc", "count", "min", "max",
		"approx_count_distinct",
		"histogram":
		return true
	}
	return false
}

// firstOnly turns DISTINCT into a filter on the first row of each value, which has a fixed order.
func (g *grouping) firstOnly(held tree) {
	held["distinct"] = false
	over := make([]any, 0, len(g.a.keys)+2)
	for _, k := range g.a.keys {
		over = append(over, columnRef("", k.Name))
	}
	for _, a := range held.trees("children") {
		if a.class() == "COLUMN_REF" {
			over = append(over, clone(a))
		}
	}
	if t := held.sub("filter"); t != nil {
		over = append(over, clone(t))
	}
	names := make([]string, len(over))
	for i, o := range over {
		names[i] = duck.QuoteIdent(asTree(o).names("column_names")[0])
	}
	expr := fmt.Sprintf("row_number() OVER (PARTITION BY %s ORDER BY \"%s\") = 1", strings.Join(names, ", "),
		PosColumn)
	column := fmt.Sprintf("__f%d", len(g.a.firsts)+1)
	g.a.firsts = append(g.a.firsts, expr+" AS "+duck.QuoteIdent(column))
	cond := columnRef("", column)
	if t := held.sub("filter"); t != nil {
		cond = tree{"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "alias": "",
			"query_location": synthetic,
			"children":       []any{clone(t), cond}}
	}
	held["filter"] = cond
}

// varies reports whether an expression may differ from row to row.
func varies(expr tree) bool {
	found := false
	walk(expr, func(t tree) bool {
		found = found || t.class() == "COLUMN_REF" || t.class() == "SUBQUERY"
		return !found
	})
	return found
}

// keepArgument adds a column to the kept rows for an argument that is not constant, and returns what stands
// for
// it.
func (g *grouping) keepArgument(arg tree) (tree, error) {
	if !varies(arg) || arg.class() == "LAMBDA" {
		return arg, nil
	}
	sql, err := g.c.exprSQL(arg)
	if err != nil {
		return nil, err
	}
	name, ok := g.kept[sql]
	if !ok {
		cols, err := g.c.describe("SELECT " + sql + g.fromSQL)
		if err != nil {
			return nil, err
		}
		if err := g.storable(arg, cols[0].Type); err != nil {
			return nil, err
		}
		name = fmt.Sprintf("__v%d", len(g.kept)+1)
		g.kept[sql] = name
		g.a.keep(Column{Column: stream.Column{Name: name, Type: cols[0].Type}, Expr: sql})
	}
	return columnRef("", name), nil
}
