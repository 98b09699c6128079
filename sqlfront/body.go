package sqlfront

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// sqlFault tells a fault of the user's SQL from one of DuckDB or of the world. What it was doing goes into
// the latter.
func sqlFault(err error, doing string) (*duck.Error, error) {
	var e *duck.Error
	if !errors.As(err, &e) {
		if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w", doing, err)
	}
	switch e.Kind {
	case duck.OutOfMemory, duck.Interrupt, duck.Fatal, duck.InternalFault:
		return nil, fmt.Errorf("%s: %w", doing, err)
	default:
		return e, nil
	}
}

// place returns the span of the word at a byte offset of the text, within inside.
func (p *parser) place(at int, inside diag.Span) diag.Span {
	if at < inside.Start || at > inside.End {
		return inside
	}
	if at == inside.End {
		return diag.Span{Start: at, End: at}
	}
	for _, t := range p.toks {
		if t.start <= at && at < t.end {
			return diag.Span{Start: at, End: min(t.end, inside.End)}
		}
	}
	return diag.Span{Start: at, End: at + 1}
}

// checkBody has DuckDB parse a body, records its faults and returns its tree, which is nil if there are any.
func (r *reader) checkBody(ctx context.Context, p *parser, body diag.Span, what string) (node, error) {
	if !p.fits(body, what, bodyBytesMax) {
		return nil, nil
	}
	text := p.text.Body[body.Start:body.End]
	data, err := r.env.Typer.Parse(ctx, text)
	fault, err := sqlFault(err, "parse the body")
	if err != nil {
		return nil, err
	}
	if fault != nil {
		p.bodyFault(body, what, fault)
		return nil, nil
	}
	tree, err := decodeTree(data)
	if err != nil {
		return nil, err
	}
	show := false
	walk(tree, func(n node) bool {
		show = show || n.text("type") == "SHOW_REF"
		return !show
	})
	if show || len(tree.selects()) != 1 {
		p.fault(diag.BodyNotSelect, firstWord(p, body), "%s must be exactly one SELECT", what).
			WithHint("write a SELECT behind AS")
		return nil, nil
	}
	return tree, nil
}

// bodyFault records why DuckDB does not take a body. A body that is no SELECT at all has its own code.
func (p *parser) bodyFault(body diag.Span, what string, fault *duck.Error) {
	first := parser{text: p.text, toks: p.tokensFrom(body.Start), faults: p.faults}
	message := oneLine(fault.Message)
	if !startsSelect(&first) || fault.Position < 0 && saysSelect(message) {
		span := firstWord(p, body)
		if fault.Position >= 0 && startsSelect(&first) {
			span = p.place(body.Start+fault.Position, body)
		}
		e := p.fault(diag.BodyNotSelect, span, "%s must be exactly one SELECT", what)
		e.Notes = append(e.Notes, "DuckDB: "+message)
		e.WithHint("write a SELECT, FROM or WITH … SELECT behind AS")
		return
	}
	span := body
	if fault.Position >= 0 {
		span = p.place(body.Start+fault.Position, body)
	}
	p.fault(diag.SQLInvalid, span, "DuckDB refuses %s: %s", what, message)
}

// saysSelect reports whether DuckDB refuses a text because it is not one SELECT.
func saysSelect(message string) bool {
	return strings.Contains(message, "Only SELECT") || strings.Contains(message, "needs a SELECT") ||
		strings.Contains(message, "exactly one SELECT")
}

func firstWord(p *parser, body diag.Span) diag.Span { return p.place(body.Start, body) }

// tokensFrom returns the tokens of the statement from a byte offset on.
func (p *parser) tokensFrom(at int) []token {
	for i, t := range p.toks {
		if t.start >= at {
			return p.toks[i:]
		}
	}
	return p.toks[len(p.toks)-1:]
}

// oneLine puts a message of DuckDB in one line.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// createView reads a CREATE VIEW behind its name.
func (r *reader) createView(ctx context.Context, p *parser, id ident, kept bool) (diag.Span, error) {
	if p.punct(0, '(') {
		p.expected("AS").WithHint("name the columns in the SELECT:  CREATE VIEW %s AS SELECT … AS name", id.name)
		return diag.Span{}, nil
	}
	body, ok := p.asBody("")
	if !ok {
		return body, nil
	}
	tree, err := r.checkBody(ctx, p, body, "the body of a view")
	if tree == nil || err != nil || !kept {
		return body, err
	}
	r.app.Views = append(r.app.Views,
		&planner.View{Name: id.name, Span: id.span, Body: p.text.Body[body.Start:body.End], At: body.Start})
	return body, nil
}

// asBody reads AS and the rest of the statement.
func (p *parser) asBody(hint string) (diag.Span, bool) {
	if !p.accept("AS") {
		p.expected("AS and a SELECT").WithHint("%s", hint)
		return diag.Span{}, false
	}
	return p.body()
}

// createTable reads a CREATE TABLE behind its name.
func (r *reader) createTable(ctx context.Context, p *parser, id ident, kept bool) (diag.Span, error) {
	table := &planner.Table{Name: id.name, Span: id.span}
	if p.accept("REFRESH") && !p.refresh(table) && !p.skipToBody() {
		return diag.Span{}, nil
	}
	body, ok := p.asBody("CREATE TABLE is reference data:  CREATE TABLE " + id.name +
		" AS FROM 'file.parquet';  a stream is declared with CREATE SOURCE")
	if !ok {
		return body, nil
	}
	table.Body, table.At = p.text.Body[body.Start:body.End], body.Start
	tree, err := r.checkBody(ctx, p, body, "the body of a table")
	if tree == nil || err != nil {
		return body, err
	}
	if r.readsSource(p, table, tree) {
		return body, nil
	}
	if err := r.typeTable(ctx, p, table, body); err != nil {
		return body, err
	}
	if kept {
		r.app.Tables = append(r.app.Tables, table)
	}
	return body, nil
}

// refresh reads EVERY and a length of time behind REFRESH.
func (p *parser) refresh(table *planner.Table) (ok bool) {
	if !p.accept("EVERY") {
		p.expected("EVERY").WithHint("write  REFRESH EVERY '10 minutes'")
		return false
	}
	table.Refresh, ok = p.period()
	return ok
}

// readsSource records that reference data would be read from a stream, which has no end.
func (r *reader) readsSource(p *parser, table *planner.Table, tree node) bool {
	ctes := map[string]bool{}
	walk(tree, func(n node) bool {
		for _, entry := range n.object("cte_map").list("map") {
			if m, ok := entry.(map[string]any); ok {
				ctes[fold(node(m).text("key"))] = true
			}
		}
		return true
	})
	found := false
	walk(tree, func(n node) bool {
		name := n.text("table_name")
		if n.text("type") != "BASE_TABLE" || ctes[fold(name)] || found {
			return !found
		}
		if d := r.names[fold(name)]; d != nil && d.object == SourceObject {
			found = true
			body := diag.Span{Start: table.At, End: table.At + len(table.Body)}
			p.fault(diag.ShapeUnsupported, p.place(table.At+n.at(), body),
				`table "%s" reads source "%s", which has no end`, table.Name, d.name).
				WithHint("a table is reference data that is read whole; use CREATE VIEW for a SELECT over a source")
		}
		return !found
	})
	return found
}

// typeTable finds the columns of a table if that is possible without reading files, and makes an empty
// copy, so that later tables can read it.
func (r *reader) typeTable(ctx context.Context, p *parser, table *planner.Table, body diag.Span) error {
	cols, err := r.env.Typer.Describe(ctx, table.Body)
	fault, err := sqlFault(err, "describe a table")
	if err != nil {
		return err
	}
	if fault != nil {
		return r.tableFaults(ctx, p, table, fault)
	}
	columns := make([]stream.Column, 0, len(cols))
	for _, c := range cols {
		typ, err := duck.ArrowType(c.Type)
		if err != nil {
			p.fault(diag.BadType, body, `column "%s" of the table has the type %s, which can not leave DuckDB`,
				c.Name, c.Type).
				WithHint("cast it in the SELECT, for example to VARCHAR")
			return nil //nolint:nilerr // the fault has been noted
		}
		columns = append(columns, stream.Column{Name: c.Name, Type: c.Type, Arrow: typ})
	}
	table.Columns = columns
	name := duck.QuoteIdent(table.Name)
	_, err = r.exec(ctx,
		"CREATE OR REPLACE TEMP TABLE "+name+" AS FROM ("+emptyRow(columns)+") LIMIT 0",
		"DROP TABLE IF EXISTS temp.main."+name)
	return err
}

// tableFaults records the faults of a table's body that no file can cure. If a file may, the table is unread.
func (r *reader) tableFaults(ctx context.Context, p *parser, table *planner.Table, first *duck.Error) error {
	table.Unread = oneLine(first.Message)
	if !incurable(first) {
		return nil
	}
	all, err := r.everyFault(ctx, first, table.Body, r.env.Typer.Describe)
	body := diag.Span{Start: table.At, End: table.At + len(table.Body)}
	for _, f := range all {
		if incurable(f) {
			p.binderFault(body, body.Start, f, "the body of a table")
		}
	}
	return err
}

// incurable reports whether a fault of a table's body stays, whatever files there are.
func incurable(fault *duck.Error) bool {
	message := oneLine(fault.Message)
	function := strings.HasPrefix(message, "Scalar") || strings.HasPrefix(message, "Aggregate") ||
		strings.HasPrefix(message, "Type")
	return fault.Kind == duck.Binder || fault.Kind == duck.Syntax || fault.Kind == duck.Catalog && function
}

// binderFault records that names or types of a piece of SQL do not fit. From is the offset in the text of the
// SQL's first byte.
func (p *parser) binderFault(inside diag.Span, from int, fault *duck.Error, what string) *diag.Error {
	span := inside
	if fault.Position >= 0 {
		span = p.place(from+fault.Position, inside)
	}
	message := oneLine(fault.Message)
	if name, ok := missingColumn(message); ok {
		e := p.fault(diag.UnknownColumn, span, `column "%s" does not exist`, name)
		var near []string
		for _, c := range fault.Candidates {
			near = append(near, c[strings.LastIndexByte(c, '.')+1:])
		}
		nearHint(e, name, near)
		return e
	}
	e := p.fault(diag.SQLInvalid, span, "DuckDB refuses %s: %s", what, message)
	if strings.HasPrefix(message, "Referenced table") {
		return e.WithHint("name the column alone")
	}
	if len(fault.Candidates) > 0 && !strings.Contains(fault.Candidates[0], "(") {
		nearHint(e, p.text.Body[span.Start:span.End], fault.Candidates)
	}
	return e
}

// missingColumn returns the column that a message of DuckDB says is not there.
func missingColumn(message string) (string, bool) {
	rest, ok := strings.CutPrefix(message, `Referenced column "`)
	if !ok {
		return "", false
	}
	name, _, ok := strings.Cut(rest, `" not found`)
	return name, ok
}

// emptyRow returns a SELECT of one row of NULLs with these columns.
func emptyRow(columns []stream.Column) string {
	items := make([]string, len(columns))
	for i, c := range columns {
		items[i] = "CAST(NULL AS " + c.Type + ") AS " + duck.QuoteIdent(c.Name)
	}
	if len(items) == 0 {
		items = append(items, "NULL AS __none")
	}
	return "SELECT " + strings.Join(items, ", ")
}
