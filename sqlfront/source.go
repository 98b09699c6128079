package sqlfront

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// columnDecl is a column as it was written.
type columnDecl struct {
	id       ident
	typ      diag.Span
	metadata bool
	expr     diag.Span // without its parentheses; zero if the column is not computed
	column   planner.Column
	ok       bool // column is filled in
}

// watermarkDecl is a WATERMARK FOR as it was written.
type watermarkDecl struct {
	clause diag.Span // the word WATERMARK
	column ident
	delay  time.Duration
	ok     bool // the delay could be read
}

// columnList is what stands between the parentheses of a CREATE SOURCE.
type columnList struct {
	columns    []*columnDecl
	watermarks []watermarkDecl
	complete   bool // the name of every column could be read
}

// createSource reads a CREATE SOURCE behind its name.
func (r *reader) createSource(ctx context.Context, p *parser, id ident, kept bool) error {
	p.directoryName("source", id)
	list := columnList{complete: true}
	if !p.punct(0, '(') {
		p.expected("the list of columns in parentheses").
			WithHint("declare what the rows look like:  CREATE SOURCE %s (id BIGINT, ts TIMESTAMP) WITH (…)",
				id.name)
		r.unreadSource(id, kept)
		return nil
	}
	before := p.quiet
	closed := p.list("columns", func() bool { return p.sourceItem(&list) })
	list.complete = list.complete && closed
	src := &planner.Source{Name: id.name, Span: id.span}
	if err := r.typeColumns(ctx, p, &list); err != nil {
		return err
	}
	if err := r.typeComputed(ctx, p, &list); err != nil {
		return err
	}
	for _, c := range list.columns {
		src.Columns = append(src.Columns, c.declared())
	}
	src.Watermark = p.checkWatermarks(&list)
	if len(list.columns) == 0 && list.complete {
		p.fault(diag.UnexpectedToken, id.span, `source "%s" has no columns`, id.name)
	}
	src.Open, src.Doubtful = !list.complete, p.quiet > before
	if kept {
		r.app.Sources = append(r.app.Sources, src)
		r.names[fold(id.name)].shaped = true
	}
	if !closed {
		return nil
	}
	with, ok := p.with()
	if ok {
		p.end()
	}
	conn, known := r.sourceConnector(p, id, with)
	if !known {
		return nil
	}
	src.Connector, src.Typed = conn.Spec.Name, conn.Typed
	fields := slices.Concat(conn.Spec.Fields, stream.SourceFields(conn.Typed))
	owner := optionOwner{what: `connector "` + conn.Spec.Name + `"`, at: id.span, connector: true}
	src.Options, src.OptionAt = r.options(p, owner, fields, with), with.places()
	p.checkFormat(conn, with, src.Options)
	return nil
}

// unreadSource notes a source of which no more than the name is known.
func (r *reader) unreadSource(id ident, kept bool) {
	if kept {
		r.app.Sources = append(r.app.Sources, &planner.Source{Name: id.name, Span: id.span, Open: true, Doubtful: true})
		r.names[fold(id.name)].shaped = true
	}
}

// declared is the column as queries see it: without an expression that has a fault, and of an unknown type where that
// could not be read.
func (c *columnDecl) declared() planner.Column {
	col := c.column
	switch {
	case col.Type == "":
		return planner.Column{Span: c.id.span,
			Column: stream.Column{Name: c.id.name, Type: planner.UnknownType, Arrow: arrow.Null}}
	case !c.ok:
		col.Expr = ""
	}
	return col
}

// checkFormat refuses a format that needs whole files where there are messages.
func (p *parser) checkFormat(conn stream.SourceConnector, with withClause, options stream.Options) {
	if conn.Typed || conn.Files || options.String("format") != "parquet" {
		return
	}
	p.fault(diag.BadOption, with.find("format").span, `connector "%s" has no format 'parquet': it gives messages, not files`,
		conn.Spec.Name).WithHint("use json, ndjson, csv, arrow or text; connector = 'file' reads parquet")
}

// sourceItem reads a column or a WATERMARK FOR.
func (p *parser) sourceItem(list *columnList) bool {
	if p.words("WATERMARK", "FOR") {
		mark, ok := p.watermark()
		if mark.column.name != "" {
			list.watermarks = append(list.watermarks, mark)
		}
		return ok
	}
	id, ok := p.name("a column name")
	if !ok {
		list.complete = false
		return false
	}
	c := &columnDecl{id: id}
	ok = p.columnRest(c)
	if !ok {
		c.typ = diag.Span{}
	}
	for _, other := range list.columns {
		if fold(other.id.name) == fold(id.name) {
			p.fault(diag.DuplicateColumn, id.span, `column "%s" is declared twice`, id.name).
				WithHint("names of columns differ in more than case")
			return ok
		}
	}
	list.columns = append(list.columns, c)
	return ok
}

// columnRest reads a type and what may follow it.
func (p *parser) columnRest(c *columnDecl) bool {
	first := p.pos
	toks := p.until(func() bool {
		return p.punct(0, ',') || p.word(0, "AS") || p.word(0, "METADATA") && p.pos > first
	})
	if len(toks) == 0 {
		p.expected("a type").WithHint("every column has a type, for example  %s BIGINT", c.id.name)
		return false
	}
	if !p.typeTokens(toks) {
		return false
	}
	c.typ = diag.Span{Start: toks[0].start, End: toks[len(toks)-1].end}
	if !p.fits(c.typ, "the type", typeBytesMax) {
		return false
	}
	if p.accept("METADATA") {
		c.metadata = true
		return p.itemEnd("METADATA")
	}
	if !p.accept("AS") {
		return true
	}
	if !p.acceptPunct('(') {
		p.expected(`"(" and the expression of the computed column`).
			WithHint("put the expression in parentheses:  AS (ts::DATE)")
		return false
	}
	expr := p.until(func() bool { return false })
	if len(expr) == 0 {
		p.expected("the expression of the computed column")
		p.acceptPunct(')')
		return false
	}
	c.expr = diag.Span{Start: expr[0].start, End: expr[len(expr)-1].end}
	if !p.acceptPunct(')') {
		p.expected(`")" behind the expression`)
		return false
	}
	return p.fits(c.expr, "the expression", exprBytesMax) && p.itemEnd("the expression")
}

// itemEnd checks that the item of a list is over.
func (p *parser) itemEnd(after string) bool {
	if p.punct(0, ',') || p.punct(0, ')') || p.pos >= len(p.toks) {
		return true
	}
	p.expected(`"," or ")" behind ` + after)
	return false
}

// typeTokens checks that tokens are such as a type is made of; DuckDB decides the rest.
func (p *parser) typeTokens(toks []token) bool {
	for i, t := range toks {
		switch {
		case t.kind == tokenWord && p.typeWord(toks, i):
		case t.kind == tokenQuoted, t.kind == tokenNumber:
		case t.kind == tokenString && i > 0:
		case t.kind == tokenPunct && i > 0 && (p.bracket(t, "()[]") || p.raw(t) == ","):
		default:
			e := p.fault(diag.UnexpectedToken, t.span(), `expected a type, then "," or ")", found %s`, p.shown(t))
			switch {
			case strings.EqualFold(p.raw(t), "WITH"):
				e.WithHint("close the list of columns with  )  before WITH")
			case t.kind == tokenWord:
				e.WithHint("columns of a source take no constraints and no defaults: name, type, then AS (…) or " +
					"METADATA")
			}
			return false
		}
	}
	return true
}

func (p *parser) typeWord(toks []token, i int) bool {
	word := p.raw(toks[i])
	if !duck.Reserved(word) || inWords(typeWords, word) {
		return true
	}
	inside := i > 0 && i+1 < len(toks)
	return inside && strings.EqualFold(word, "WITH") && strings.EqualFold(p.raw(toks[i+1]), "TIME")
}

// watermark reads WATERMARK FOR column AS column [- interval].
func (p *parser) watermark() (watermarkDecl, bool) {
	mark := watermarkDecl{clause: p.peek().span()}
	p.accept("WATERMARK", "FOR")
	id, ok := p.name("the event-time column")
	if !ok {
		return mark, false
	}
	mark.column = id
	if !p.accept("AS") {
		p.expected("AS and the column again").
			WithHint("write  WATERMARK FOR %s AS %s - INTERVAL '10 seconds'", id.name, id.name)
		return mark, false
	}
	again, ok := p.name("the event-time column")
	if !ok {
		return mark, false
	}
	if fold(again.name) != fold(id.name) {
		p.fault(diag.BadWatermark, again.span, `the watermark of "%s" is computed from "%s"`,
			id.name, clip(again.name)).
			WithHint("write  WATERMARK FOR %s AS %s - INTERVAL '10 seconds'", id.name, id.name)
		return mark, false
	}
	if !p.acceptPunct('-') {
		mark.ok = p.watermarkEnd()
		return mark, mark.ok
	}
	delay, span, ok := p.interval(diag.BadWatermark, false)
	switch {
	case !ok:
		return mark, false
	case delay < 0:
		p.fault(diag.BadWatermark, span, "the delay of a watermark is negative").
			WithHint("a delay says how late rows may come: 0 or more")
		return mark, false
	case delay%time.Microsecond != 0:
		p.fault(diag.BadWatermark, span, "the delay of a watermark is not a whole number of microseconds")
		return mark, false
	}
	mark.delay = delay
	mark.ok = p.watermarkEnd()
	return mark, mark.ok
}

func (p *parser) watermarkEnd() bool {
	if p.punct(0, ',') || p.punct(0, ')') || p.pos >= len(p.toks) {
		return true
	}
	t := p.peek()
	p.fault(diag.BadWatermark, t.span(), "a watermark is the column less a constant delay, found %s", p.shown(t)).
		WithHint("write  column - INTERVAL '10 seconds'; put anything else in a computed column")
	return false
}

// checkWatermarks returns the watermark of a source if it has a right one.
func (p *parser) checkWatermarks(list *columnList) *planner.Watermark {
	if len(list.watermarks) == 0 {
		return nil
	}
	for _, extra := range list.watermarks[1:] {
		p.fault(diag.BadWatermark, extra.clause, "redefining the watermark: a source has at most one WATERMARK").
			WithHint("keep one WATERMARK FOR")
	}
	mark := list.watermarks[0]
	col := list.find(mark.column.name)
	if col == nil {
		if list.complete {
			e := p.fault(diag.BadWatermark, mark.column.span,
				`WATERMARK FOR "%s": the source has no such column, a TIMESTAMP column is needed`, clip(mark.column.name))
			nearHint(e, mark.column.name, list.names())
		}
		return nil
	}
	if !col.ok || !mark.ok {
		return nil
	}
	if typ := col.column.Type; typ != "TIMESTAMP" {
		e := p.fault(diag.BadWatermark, mark.column.span,
			`WATERMARK FOR "%s": the column is %s, event time must be TIMESTAMP`, col.id.name, typ)
		if typ == "TIMESTAMP WITH TIME ZONE" {
			e.WithNote("arithmetic on TIMESTAMPTZ needs DuckDB's ICU extension, which this build does not carry")
			e.WithHint("declare the column as TIMESTAMP; event time is UTC")
		} else {
			e.WithHint("declare it as TIMESTAMP, or add a computed column:  ts TIMESTAMP AS (…)")
		}
		return nil
	}
	return &planner.Watermark{Column: col.id.name, Delay: mark.delay, Span: mark.column.span}
}

func (l *columnList) find(name string) *columnDecl {
	for _, c := range l.columns {
		if fold(c.id.name) == fold(name) {
			return c
		}
	}
	return nil
}

func (l *columnList) names() []string {
	names := make([]string, len(l.columns))
	for i, c := range l.columns {
		names[i] = c.id.name
	}
	return names
}
