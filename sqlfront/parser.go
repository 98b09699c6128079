package sqlfront

import (
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// Limits on what one text may hold.
const (
	textBytesMax       = 4 << 20
	bodyBytesMax       = 1 << 20
	macroBytesMax      = 64 << 10
	exprBytesMax       = 16 << 10 // DuckDB takes minutes to bind a conjunction of 100,000 terms
	typeBytesMax       = 4 << 10
	nameBytesMax       = 63
	statementFaultsMax = 10
	textFaultsMax      = 100
	statementsMax      = 10_000
	itemsMax           = 2_000 // columns of a source, options, sinks of a query
)

// parser reads the tokens of one statement. Its methods record a fault and return false when they can not
// go on.
type parser struct {
	text   *diag.Text
	toks   []token
	pos    int
	faults *diag.List
	quiet  int // faults of this statement so far; past statementFaultsMax they are not recorded
}

// ident is a name as it was written, without quotes.
type ident struct {
	name string
	span diag.Span
}

// fault records a fault at span and returns it for its label, notes and hint.
func (p *parser) fault(code diag.Code, span diag.Span, format string, args ...any) *diag.Error {
	e := diag.New(code, format, args...).At(p.text, span)
	p.quiet++
	if p.quiet <= statementFaultsMax && len(*p.faults) < textFaultsMax {
		*p.faults = append(*p.faults, e)
	}
	return e
}

// expected records that something else stands at the next token.
func (p *parser) expected(what string) *diag.Error {
	t := p.peek()
	return p.fault(diag.UnexpectedToken, t.span(), "expected %s, found %s", what, p.shown(t))
}

// peek returns the next token, which is a tokenEnd behind the last one.
func (p *parser) peek() token { return p.peekAt(0) }

func (p *parser) peekAt(n int) token {
	if p.pos+n < len(p.toks) {
		return p.toks[p.pos+n]
	}
	end := p.toks[len(p.toks)-1].end
	return token{kind: tokenEnd, start: end, end: end}
}

// back returns the token that was read last.
func (p *parser) back() token { return p.toks[max(0, p.pos-1)] }

func (p *parser) raw(t token) string { return p.text.Body[t.start:t.end] }

// shown returns a token as messages show it.
func (p *parser) shown(t token) string {
	switch t.kind {
	case tokenEnd:
		return "the end of the statement"
	case tokenString:
		return "a string"
	case tokenQuoted:
		return p.raw(t)
	default:
		return `"` + clip(p.raw(t)) + `"`
	}
}

// clip shortens a piece of text for a message.
func clip(s string) string {
	if runes := []rune(s); len(runes) > 40 {
		return string(runes[:37]) + "..."
	}
	return s
}

// word reports whether the token n places ahead is the keyword.
func (p *parser) word(n int, keyword string) bool {
	t := p.peekAt(n)
	return t.kind == tokenWord && strings.EqualFold(p.raw(t), keyword)
}

// words reports whether the next tokens are these keywords.
func (p *parser) words(keywords ...string) bool {
	for i, k := range keywords {
		if !p.word(i, k) {
			return false
		}
	}
	return true
}

// accept moves past the keywords if they come next.
func (p *parser) accept(keywords ...string) bool {
	if !p.words(keywords...) {
		return false
	}
	p.pos += len(keywords)
	return true
}

// punct reports whether the token n places ahead is the byte c.
func (p *parser) punct(n int, c byte) bool {
	t := p.peekAt(n)
	return t.kind == tokenPunct && t.end == t.start+1 && p.text.Body[t.start] == c
}

func (p *parser) acceptPunct(c byte) bool {
	if !p.punct(0, c) {
		return false
	}
	p.pos++
	return true
}

// name reads a name that DuckDB would take as that of a table or column.
func (p *parser) name(what string) (ident, bool) {
	t := p.peek()
	switch {
	case t.kind == tokenWord && duck.Reserved(p.raw(t)):
		p.fault(diag.UnexpectedToken, t.span(), "expected %s, found the reserved word %s", what, p.shown(t)).
			WithHint(`write it as "%s", in double quotes, to use it as a name`, p.raw(t))
		return ident{}, false
	case t.kind != tokenWord && t.kind != tokenQuoted:
		p.expected(what)
		return ident{}, false
	}
	p.pos++
	id := ident{nameText(p.raw(t)), t.span()}
	switch {
	case id.name == "":
		p.fault(diag.BadName, id.span, "%s is empty", what)
	case strings.HasPrefix(id.name, "__"):
		p.fault(diag.BadName, id.span, `%s "%s" begins with "__", which is reserved`, what, clip(id.name)).
			WithHint("choose a name without the leading underscores")
	case len(id.name) > nameBytesMax:
		p.fault(diag.BadName, id.span, `%s "%s" has %d bytes, at most %d are allowed`, what, clip(id.name),
			len(id.name), nameBytesMax)
	default:
		return id, true
	}
	return id, false
}

// objectName reads the name of what a statement creates, drops or looks at, which takes no schema.
func (p *parser) objectName(what string) (ident, bool) {
	id, ok := p.name("the name of the " + what)
	if ok && p.punct(0, '.') {
		p.fault(diag.BadName, p.peek().span(), "the name of a %s has no schema before it", what).
			WithHint("write the name alone")
		return id, false
	}
	return id, ok
}

// directoryName reports whether a name may become part of a path, and records the fault if not.
func (p *parser) directoryName(what string, id ident) bool {
	for i := range len(id.name) {
		c := id.name[i]
		if c >= 0x80 || !wordStart(c) && (i == 0 || !digit(c)) {
			p.fault(diag.BadName, id.span, `the name of the %s "%s" has characters that are not allowed`,
				what, clip(id.name)).
				WithHint("use letters, digits and underscores, and begin with a letter")
			return false
		}
	}
	return true
}

// list reads "(", items with commas between them and ")". An item that returns false costs only itself:
// reading goes on behind its comma. The list reports whether it was closed.
func (p *parser) list(what string, item func() bool) bool {
	open := p.peek()
	if !p.acceptPunct('(') {
		p.expected(`"(" and ` + what)
		return false
	}
	for n := 1; ; n++ {
		if n > itemsMax {
			p.fault(diag.UnexpectedToken, p.peek().span(), "there are more than %d %s", itemsMax, what)
			return false
		}
		if !item() {
			p.skipItem()
		}
		if p.acceptPunct(',') {
			continue
		}
		if p.acceptPunct(')') {
			return true
		}
		line, col := p.text.Position(open.start)
		p.fault(diag.UnexpectedToken, p.peek().span(), `expected "," or ")" to close "(" opened at %d:%d, found %s`,
			line, col, p.shown(p.peek()))
		p.skipItem()
		if p.acceptPunct(',') {
			continue
		}
		return p.acceptPunct(')')
	}
}

// skipItem moves to the comma or bracket that ends the item.
func (p *parser) skipItem() {
	p.until(func() bool { return p.punct(0, ',') })
}

// until moves to the first token outside of brackets for which stop holds, or that closes what is open around
// it, or to the end. It returns the tokens passed.
func (p *parser) until(stop func() bool) []token {
	from, depth := p.pos, 0
	for p.pos < len(p.toks) {
		if depth == 0 && stop() {
			break
		}
		switch t := p.peek(); {
		case p.bracket(t, "([{"):
			depth++
		case p.bracket(t, ")]}") && depth == 0:
			return p.toks[from:p.pos]
		case p.bracket(t, ")]}"):
			depth--
		}
		p.pos++
	}
	return p.toks[from:p.pos]
}

func (p *parser) bracket(t token, set string) bool {
	return t.kind == tokenPunct && strings.IndexByte(set, p.text.Body[t.start]) >= 0
}

// body reads the rest of the statement, verbatim.
func (p *parser) body() (diag.Span, bool) {
	if p.pos >= len(p.toks) {
		p.expected("a SELECT after AS")
		return diag.Span{}, false
	}
	span := diag.Span{Start: p.peek().start, End: p.toks[len(p.toks)-1].end}
	p.pos = len(p.toks)
	return span, true
}

// fits checks that a piece of SQL is not longer than DuckDB is given.
func (p *parser) fits(span diag.Span, what string, bytesMax int) bool {
	if n := span.End - span.Start; n > bytesMax {
		first := diag.Span{Start: span.Start, End: span.Start + 1}
		p.fault(diag.SQLInvalid, first, "%s has %d bytes, at most %d are allowed", what, n, bytesMax)
		return false
	}
	return true
}

// end checks that nothing is left of the statement.
func (p *parser) end() bool {
	if p.pos < len(p.toks) {
		p.expected("the end of the statement")
		return false
	}
	return true
}

// nearHint proposes the nearest of the candidates, whatever the case it is written in.
func nearHint(e *diag.Error, name string, candidates []string) {
	folded := make([]string, len(candidates))
	for i, c := range candidates {
		folded[i] = strings.ToLower(c)
	}
	near := diag.Near(strings.ToLower(name), folded)
	for i, f := range folded {
		if near != "" && f == near {
			e.WithLabel(`did you mean "%s"?`, candidates[i])
			return
		}
	}
}
