package sqlfront

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// reader carries one Parse.
type reader struct {
	env        Env
	text       *diag.Text
	app        *planner.App
	names      map[string]*named // by folded name
	statements []Statement
	faults     diag.List
	secrets    []diag.Span       // secrets that were written out
	types      map[string]string // DuckDB's spelling of a type by its text
	volatile   map[string]bool   // folded names of macros whose result may differ from call to call
	dropped    []string          // statements that undo what was made on the Typer
	loose      []ident           // sinks that queries name which have other faults
	lost       map[string]bool   // folded names that statements which can not be read may have defined
}

// named is what a name stands for.
type named struct {
	object Object
	name   string    // as it was declared
	span   diag.Span // zero if it is of Env.Base
	faulty bool      // its definition has a fault
	shaped bool      // though faulty, its columns are known
	tokens []token   // of its definition
}

func newReader(text *diag.Text, env Env) *reader {
	r := &reader{
		env:      env,
		text:     &diag.Text{Name: text.Name, Body: text.Body},
		names:    map[string]*named{},
		types:    map[string]string{},
		volatile: map[string]bool{},
		lost:     map[string]bool{},
	}
	r.app = &planner.App{}
	if env.Base != nil {
		b := env.Base
		r.app = &planner.App{
			Sources: slices.Clone(b.Sources), Tables: slices.Clone(b.Tables), Views: slices.Clone(b.Views),
			Macros: slices.Clone(b.Macros), Sinks: slices.Clone(b.Sinks), Queries: slices.Clone(b.Queries),
		}
	}
	r.app.Text = r.text
	for object, names := range appNames(r.app) {
		for _, n := range names {
			r.names[fold(n)] = &named{object: object, name: n}
		}
	}
	return r
}

// appNames returns the names that an App declares.
func appNames(app *planner.App) map[Object][]string {
	all := map[Object][]string{}
	for _, d := range app.Sources {
		all[SourceObject] = append(all[SourceObject], d.Name)
	}
	for _, d := range app.Tables {
		all[TableObject] = append(all[TableObject], d.Name)
	}
	for _, d := range app.Views {
		all[ViewObject] = append(all[ViewObject], d.Name)
	}
	for _, d := range app.Macros {
		all[MacroObject] = append(all[MacroObject], d.Name)
	}
	for _, d := range app.Sinks {
		all[SinkObject] = append(all[SinkObject], d.Name)
	}
	for _, d := range app.Queries {
		all[QueryObject] = append(all[QueryObject], d.Name)
	}
	return all
}

func fold(name string) string { return strings.ToLower(name) }

// unreadable records why the text can not be read at all.
func (r *reader) unreadable() bool {
	add := func(at int, format string, args ...any) bool {
		e := diag.New(diag.UnexpectedToken, format, args...)
		if at >= 0 {
			e.At(r.text, diag.Span{Start: at, End: at + 1})
		}
		r.faults = append(r.faults, e)
		return true
	}
	body := r.text.Body
	switch {
	case len(body) > textBytesMax:
		return add(-1, "%s has %d bytes, at most %d are read", r.text.Name, len(body), textBytesMax)
	case strings.IndexByte(body, 0) >= 0:
		return add(strings.IndexByte(body, 0), "the text holds a NUL byte")
	case !utf8.ValidString(body):
		return add(badUTF8(body), "the text is not UTF-8 from here on")
	}
	return false
}

func badUTF8(s string) int {
	for i := 0; i < len(s); {
		c, n := utf8.DecodeRuneInString(s[i:])
		if c == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return 0
}

// read reads all statements. Its error ends the reading; faults of the text do not.
func (r *reader) read(ctx context.Context) (err error) {
	defer func() { err = r.undo(ctx, err) }()
	for _, m := range r.app.Macros {
		if err := r.defineMacro(ctx, m); err != nil {
			return err
		}
	}
	for i, toks := range statements(scan(r.text.Body), r.text.Body) {
		if len(r.faults) >= textFaultsMax {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // the context's own error is the contract
		}
		p := &parser{text: r.text, toks: toks, faults: &r.faults}
		if i == statementsMax {
			p.fault(diag.UnexpectedToken, toks[0].span(), "the text has more than %d statements", statementsMax)
			return nil
		}
		if last := toks[len(toks)-1]; last.kind == tokenBroken {
			p.broken(last)
			r.lose(p)
			continue
		}
		if err := r.statement(ctx, p); err != nil {
			return err
		}
		if p.quiet > 0 && !r.declares(p) {
			r.lose(p)
		}
	}
	r.resolveQueries()
	return nil
}

// broken records that a string, quoted name or comment is never closed.
func (p *parser) broken(t token) {
	what, closer := "comment", "*/"
	switch c := p.text.Body[t.start]; c {
	case '"':
		what, closer = "quoted name", `"`
	case '\'', 'e', 'E':
		what, closer = "string", "'"
	case '$':
		what, closer = "string", dollarTag(p.raw(t))
	}
	p.fault(diag.UnexpectedToken, diag.Span{Start: t.start, End: t.start + 1}, "%s is never closed", what).
		WithLabel("opened here").WithHint("close it with  %s", closer)
}

// blot covers the secrets that were written out, so that no excerpt shows them.
func (r *reader) blot() {
	body := []byte(r.text.Body)
	for _, s := range r.secrets {
		for i := s.Start; i < s.End; i++ {
			if body[i] != '\n' && body[i] != '\r' {
				body[i] = '*'
			}
		}
	}
	r.text.Body = string(body)
}

// declare takes a name into use and reports whether the definition is to be kept.
func (r *reader) declare(p *parser, object Object, id ident, head createHead) bool {
	old := r.names[fold(id.name)]
	if old == nil {
		r.names[fold(id.name)] = &named{object: object, name: id.name, span: id.span}
		return true
	}
	switch {
	case old.object == object && head.replace:
		r.remove(old)
		r.names[fold(id.name)] = &named{object: object, name: id.name, span: id.span}
		return true
	case old.object == object && head.ifNotExists:
		return false
	}
	e := p.fault(diag.DuplicateName, id.span, `the name "%s" is in use by a %s`, clip(id.name), old.object)
	if old.span != (diag.Span{}) {
		line, col := r.text.Position(old.span.Start)
		e.WithNote("it is defined at %d:%d", line, col)
	}
	if old.object == object {
		e.WithHint("choose another name, or write CREATE OR REPLACE %s", object)
	} else {
		e.WithHint("choose another name: sources, tables, views, macros, sinks and queries share one space of " +
			"names")
	}
	return false
}

// remove takes what a name stands for out of the App.
func (r *reader) remove(n *named) {
	delete(r.names, fold(n.name))
	app := r.app
	switch n.object {
	case SourceObject:
		app.Sources = slices.DeleteFunc(app.Sources, func(d *planner.Source) bool { return d.Name == n.name })
	case TableObject:
		app.Tables = slices.DeleteFunc(app.Tables, func(d *planner.Table) bool { return d.Name == n.name })
	case ViewObject:
		app.Views = slices.DeleteFunc(app.Views, func(d *planner.View) bool { return d.Name == n.name })
	case MacroObject:
		app.Macros = slices.DeleteFunc(app.Macros, func(d *planner.Macro) bool { return d.Name == n.name })
		delete(r.volatile, fold(n.name))
	case SinkObject:
		app.Sinks = slices.DeleteFunc(app.Sinks, func(d *planner.Sink) bool { return d.Name == n.name })
	case QueryObject:
		app.Queries = slices.DeleteFunc(app.Queries, func(d *planner.Query) bool { return d.Name == n.name })
	}
}

// namesOf returns the names of the given objects in ascending order, all if none is given.
func (r *reader) namesOf(objects ...Object) []string {
	var names []string
	for _, n := range r.names {
		if len(objects) == 0 || slices.Contains(objects, n.object) {
			names = append(names, n.name)
		}
	}
	slices.Sort(names)
	return names
}

// unknown records that a name stands for nothing of the kind.
func (r *reader) unknown(p *parser, object Object, id ident) *diag.Error {
	lower := strings.ToLower(string(object))
	if other := r.names[fold(id.name)]; other != nil {
		is := strings.ToLower(string(other.object))
		return p.fault(diag.UnknownName, id.span, `"%s" is a %s, not a %s`, id.name, is, lower)
	}
	e := p.fault(diag.UnknownName, id.span, `%s "%s" does not exist`, lower, clip(id.name))
	names := r.namesOf(object)
	nearHint(e, id.name, names)
	if len(names) > 0 {
		e.WithNote("there are: %s", strings.Join(names, ", "))
	} else {
		e.WithNote("there are none")
	}
	return e
}

// exec runs a statement on the Typer and remembers how to undo it. The *duck.Error is a fault of the text.
func (r *reader) exec(ctx context.Context, sql, undo string) (*duck.Error, error) {
	_, err := r.env.Typer.Exec(ctx, sql)
	r.dropped = append(r.dropped, undo) // also after a fault: the search for others may define it
	return sqlFault(err, "define for checking")
}

// undo drops what was made on the Typer, also after a cancellation.
func (r *reader) undo(ctx context.Context, err error) error {
	ctx = context.WithoutCancel(ctx)
	for _, sql := range slices.Backward(r.dropped) {
		if _, dropErr := r.env.Typer.Exec(ctx, sql); dropErr != nil && err == nil {
			err = fmt.Errorf("drop what was defined for checking: %w", dropErr)
		}
	}
	return err
}
