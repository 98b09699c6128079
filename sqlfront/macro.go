package sqlfront

import (
	"context"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

const macroBefore = "CREATE OR REPLACE MACRO "

// createMacro reads a CREATE MACRO behind its name.
func (r *reader) createMacro(ctx context.Context, p *parser, id ident, kept bool) error {
	if inWords(" tumble hop session ", id.name) {
		p.fault(diag.BadName, id.span, `"%s" is a time window and can not be defined anew`, id.name).
			WithHint("choose another name")
	}
	if !p.punct(0, '(') {
		p.expected(`"(" and the parameters of the macro`).WithHint("write  CREATE MACRO %s(a, b) AS a + b", id.name)
		return nil
	}
	last := p.toks[len(p.toks)-1]
	if !p.fits(diag.Span{Start: id.span.Start, End: last.end}, "the macro", macroBytesMax) {
		return nil
	}
	m := &planner.Macro{
		Name: id.name,
		Span: id.span,
		Text: macroBefore + p.text.Body[id.span.Start:last.end],
		At:   id.span.Start - len(macroBefore),
	}
	fault, err := r.tryMacro(ctx, m)
	if err != nil {
		return err
	}
	if fault != nil {
		all, err := r.macroFaults(ctx, fault, tempMacro(m))
		if err != nil {
			return err
		}
		inside := diag.Span{Start: id.span.Start, End: last.end}
		for _, f := range all {
			p.binderFault(inside, m.At-len(tempMacroBefore)+len(macroBefore), f, `macro "`+id.name+`"`)
		}
		return nil
	}
	if r.callsVolatile(p) {
		r.volatile[fold(id.name)] = true
	}
	if kept {
		r.app.Macros = append(r.app.Macros, m)
	}
	return nil
}

const tempMacroBefore = "CREATE OR REPLACE TEMP MACRO "

// tryMacro defines a macro on the Typer for as long as Parse runs.
func (r *reader) tryMacro(ctx context.Context, m *planner.Macro) (*duck.Error, error) {
	name := duck.QuoteIdent(m.Name)
	kind := "MACRO "
	if tableMacro(m.Text) {
		kind = "MACRO TABLE "
	}
	return r.exec(ctx, tempMacro(m), "DROP "+kind+"IF EXISTS temp.main."+name)
}

func tempMacro(m *planner.Macro) string {
	return tempMacroBefore + strings.TrimPrefix(m.Text, macroBefore)
}

// defineMacro defines a macro of Env.Base, which has been checked before.
func (r *reader) defineMacro(ctx context.Context, m *planner.Macro) error {
	if _, err := r.tryMacro(ctx, m); err != nil {
		return err
	}
	toks := scan(m.Text)
	if len(toks) > 0 && r.callsVolatile(&parser{text: &diag.Text{Body: m.Text}, toks: toks}) {
		r.volatile[fold(m.Name)] = true
	}
	return nil
}

// tableMacro reports whether the first definition of a macro is AS TABLE.
func tableMacro(text string) bool {
	toks := scan(text)
	p := parser{text: &diag.Text{Body: text}, toks: toks}
	for p.pos < len(toks) && !p.punct(0, '(') {
		p.pos++
	}
	p.pos++
	p.until(func() bool { return false })
	p.acceptPunct(')')
	return p.words("AS", "TABLE")
}

// callsVolatile reports whether any word of the statement is a volatile function. A parameter of such a name
// counts too: that costs no more than a refusal to use the macro in a computed column.
func (r *reader) callsVolatile(p *parser) bool {
	for i, t := range p.toks {
		if t.kind != tokenWord && t.kind != tokenQuoted {
			continue
		}
		name := nameText(p.raw(t))
		called := i+1 < len(p.toks) && p.bracket(p.toks[i+1], "(")
		if called && (r.volatileCall(name, 0) || fold(name) == "age") || volatileWord(name) {
			return true
		}
	}
	return false
}
