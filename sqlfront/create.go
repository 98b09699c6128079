package sqlfront

import (
	"context"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

const statementWords = "CREATE, DROP, SHOW, DESCRIBE, EXPLAIN or a SELECT"

// createHead is what stands between CREATE and the kind of object, and before the name.
type createHead struct {
	start       int // byte offset of CREATE
	replace     bool
	ifNotExists bool
	object      Object
	objectSpan  diag.Span
}

// statement reads one statement. Its error ends the reading.
func (r *reader) statement(ctx context.Context, p *parser) error {
	span := diag.Span{Start: p.toks[0].start, End: p.toks[len(p.toks)-1].end}
	switch {
	case p.accept("CREATE"):
		return r.create(ctx, p, span)
	case p.accept("DROP"):
		r.drop(p, span)
	case p.accept("SHOW"):
		r.show(p, span)
	case p.accept("DESCRIBE"), p.accept("DESC"):
		r.describe(p, span)
	case p.accept("EXPLAIN"):
		r.explain(p, span)
	case startsSelect(p):
		if _, err := r.checkBody(ctx, p, span, "a statement"); err != nil {
			return err
		}
		r.statements = append(r.statements, Statement{Kind: Select, Span: span, Body: span})
	default:
		t := p.peek()
		e := p.expected(statementWords)
		if t.kind == tokenWord {
			nearHint(e, p.raw(t), []string{"CREATE", "DROP", "SHOW", "DESCRIBE", "EXPLAIN", "SELECT", "FROM", "WITH"})
		}
	}
	return nil
}

func startsSelect(p *parser) bool { return selectAt(p, 0) }

// selectAt reports whether a SELECT may begin n tokens ahead.
func selectAt(p *parser, n int) bool {
	return p.word(n, "SELECT") || p.word(n, "FROM") || p.word(n, "WITH") || p.word(n, "VALUES") ||
		p.word(n, "TABLE") || p.punct(n, '(')
}

// create reads a CREATE statement behind its first word.
func (r *reader) create(ctx context.Context, p *parser, span diag.Span) error {
	head := createHead{start: span.Start, replace: p.accept("OR", "REPLACE")}
	if t := p.peek(); p.accept("TEMP") || p.accept("TEMPORARY") {
		p.fault(diag.UnexpectedToken, t.span(), "nothing is temporary in a pipeline").
			WithHint("leave %s out", p.raw(t))
	}
	if !p.object(&head) {
		return nil
	}
	if at := p.peek(); p.accept("IF", "NOT", "EXISTS") {
		head.ifNotExists = true
		if head.replace {
			p.fault(diag.UnexpectedToken, at.span(), "OR REPLACE and IF NOT EXISTS exclude each other").
				WithHint("leave one of them out")
		}
	}
	id, ok := p.objectName(strings.ToLower(string(head.object)))
	if !ok {
		return nil
	}
	kept := r.declare(p, head.object, id, head)
	entry := r.names[fold(id.name)]
	before := p.quiet
	st := Statement{Kind: Create, Object: head.object, Name: id.name, Span: span}
	var err error
	switch head.object {
	case SourceObject:
		err = r.createSource(ctx, p, id, kept)
	case TableObject:
		st.Body, err = r.createTable(ctx, p, id, kept)
	case ViewObject:
		st.Body, err = r.createView(ctx, p, id, kept)
	case MacroObject:
		err = r.createMacro(ctx, p, id, kept)
	case SinkObject:
		r.createSink(p, id, kept)
	case QueryObject:
		st.Body, err = r.createQuery(ctx, p, queryHead{id: id, start: head.start}, kept)
	}
	if kept {
		entry.faulty, entry.tokens = p.quiet > before, p.toks
	}
	r.statements = append(r.statements, st)
	return err
}

// object reads the kind of object behind CREATE or DROP.
func (p *parser) object(head *createHead) bool {
	t := p.peek()
	head.objectSpan = t.span()
	for _, o := range []Object{SourceObject, TableObject, ViewObject, MacroObject, SinkObject, QueryObject} {
		if p.accept(string(o)) {
			head.object = o
			return true
		}
	}
	if p.accept("FUNCTION") {
		head.object = MacroObject
		return true
	}
	e := p.expected("SOURCE, TABLE, VIEW, MACRO, SINK or QUERY")
	if t.kind == tokenWord {
		nearHint(e, p.raw(t), []string{"SOURCE", "TABLE", "VIEW", "MACRO", "FUNCTION", "SINK", "QUERY"})
	}
	return false
}

// drop reads DROP object [IF EXISTS] name.
func (r *reader) drop(p *parser, span diag.Span) {
	var head createHead
	if !p.object(&head) {
		return
	}
	if head.object == MacroObject {
		p.accept("TABLE")
	}
	ifExists := p.accept("IF", "EXISTS")
	id, ok := p.objectName(strings.ToLower(string(head.object)))
	if !ok {
		return
	}
	ended := p.end()
	entry := r.names[fold(id.name)]
	if entry == nil && ifExists {
		r.statements = append(r.statements, Statement{Kind: Drop, Object: head.object, Name: id.name, Span: span,
			Absent: true})
		return
	}
	if entry == nil || entry.object != head.object {
		r.unknown(p, head.object, id)
		return
	}
	if !ended {
		return
	}
	r.remove(entry)
	st := Statement{Kind: Drop, Object: head.object, Name: entry.name, Span: span}
	r.statements = append(r.statements, st)
}

// show reads SHOW SOURCES and its like.
func (r *reader) show(p *parser, span diag.Span) {
	plurals := []struct {
		word   string
		object Object
	}{
		{"SOURCES", SourceObject}, {"SINKS", SinkObject}, {"QUERIES", QueryObject},
		{"TABLES", TableObject}, {"VIEWS", ViewObject}, {"MACROS", MacroObject},
	}
	t := p.peek()
	var words []string
	for _, pl := range plurals {
		if p.accept(pl.word) {
			if p.end() {
				r.statements = append(r.statements, Statement{Kind: Show, Object: pl.object, Span: span})
			}
			return
		}
		words = append(words, pl.word)
	}
	e := p.expected("SOURCES, SINKS, QUERIES, TABLES, VIEWS or MACROS")
	if t.kind == tokenWord {
		nearHint(e, p.raw(t), words)
	}
}

// describe reads DESCRIBE name.
func (r *reader) describe(p *parser, span diag.Span) {
	id, ok := p.objectName("source, sink, table, view, macro or query")
	if !ok {
		return
	}
	p.end()
	entry := r.names[fold(id.name)]
	if entry == nil {
		e := p.fault(diag.UnknownName, id.span, `"%s" is not defined`, clip(id.name))
		nearHint(e, id.name, r.namesOf())
		return
	}
	st := Statement{Kind: Describe, Object: entry.object, Name: entry.name, Span: span}
	r.statements = append(r.statements, st)
}

// explain reads EXPLAIN [BATCH] query.
func (r *reader) explain(p *parser, span diag.Span) {
	batch := p.word(0, "BATCH") && p.peekAt(1).kind != tokenEnd && p.accept("BATCH")
	id, ok := p.objectName("query")
	if !ok {
		return
	}
	p.end()
	entry := r.names[fold(id.name)]
	if entry == nil || entry.object != QueryObject {
		r.unknown(p, QueryObject, id)
		return
	}
	st := Statement{Kind: Explain, Object: QueryObject, Name: entry.name, Span: span, Batch: batch}
	r.statements = append(r.statements, st)
}
