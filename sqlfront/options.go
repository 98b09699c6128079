package sqlfront

import (
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/invariant"
	"github.com/tidemill/tidemill/stream"
)

// withClause is a WITH (…) as it was written.
type withClause struct {
	options []optionDecl
	broken  bool // an option was left out because of a fault
}

// optionDecl is one name = value. The value is not expanded yet.
type optionDecl struct {
	id     ident
	value  string // a string's characters, or the text of a number, word or variable
	span   diag.Span
	quoted bool // a string or variable, so it may hold ${…} and be anything
}

// optionOwner says whose options are checked.
type optionOwner struct {
	what      string    // for messages, such as: connector "jetstream"
	at        diag.Span // where a missing option is reported
	connector bool      // takes the option connector too
}

// with reads WITH (name = value, …) if it comes next. It reports whether reading may go on behind it.
func (p *parser) with() (withClause, bool) {
	var w withClause
	if !p.accept("WITH") {
		return w, true
	}
	closed := p.list("options", func() bool {
		o, ok := p.option()
		if !ok {
			w.broken = true
			return false
		}
		for _, other := range w.options {
			if fold(other.id.name) == fold(o.id.name) {
				p.fault(diag.BadOption, o.id.span, `option "%s" is given twice`, o.id.name).WithHint("keep one of them")
				return true
			}
		}
		w.options = append(w.options, o)
		return true
	})
	w.broken = w.broken || !closed
	return w, closed
}

// option reads name = value.
func (p *parser) option() (optionDecl, bool) {
	var o optionDecl
	t := p.peek()
	if t.kind != tokenWord && t.kind != tokenQuoted {
		p.expected("the name of an option").WithHint("options are written  name = value")
		return o, false
	}
	p.pos++
	o.id = ident{nameText(p.raw(t)), t.span()}
	if !p.acceptPunct('=') {
		p.expected(`"=" behind the option's name`).WithHint("options are written  name = value")
		return o, false
	}
	start := p.peek()
	sign := ""
	if p.punct(0, '-') && p.peekAt(1).kind == tokenNumber {
		p.pos++
		sign = "-"
	}
	v := p.peek()
	switch {
	case v.kind == tokenString:
		o.value, o.quoted = stringText(p.raw(v)), true
	case v.kind == tokenVariable:
		o.value, o.quoted = p.raw(v), true
	case v.kind == tokenNumber:
		o.value = sign + p.raw(v)
	case p.word(0, "true"), p.word(0, "false"):
		o.value = strings.ToLower(p.raw(v))
	case v.kind == tokenWord:
		p.expected("a value").WithHint("write text in single quotes:  %s = '%s'", o.id.name, p.raw(v))
		return o, false
	default:
		p.expected("a value").WithHint("a value is text in single quotes, a number, true or false")
		return o, false
	}
	p.pos++
	o.span = diag.Span{Start: start.start, End: v.end}
	return o, p.itemEnd("the value")
}

// find returns the option of a name, or nil.
func (w *withClause) find(name string) *optionDecl {
	for i := range w.options {
		if fold(w.options[i].id.name) == name {
			return &w.options[i]
		}
	}
	return nil
}

// places returns where the values of the options stand, by folded name.
func (w *withClause) places() map[string]diag.Span {
	at := make(map[string]diag.Span, len(w.options))
	for _, o := range w.options {
		at[fold(o.id.name)] = o.span
	}
	return at
}

// connectorName returns the connector = '…' of a statement.
func (r *reader) connectorName(
	p *parser, id ident, with withClause, known []string,
) (string, diag.Span, bool) {
	o := with.connector()
	switch {
	case o == nil && !with.broken:
		p.fault(diag.MissingOption, id.span, `"%s" has no connector`, id.name).
			WithHint("add  WITH (connector = '…')  with one of: %s", strings.Join(known, ", "))
		return "", diag.Span{}, false
	case o == nil:
		return "", diag.Span{}, false
	case fold(o.id.name) != "connector":
		p.fault(diag.UnknownOption, o.id.span, `there is no option "%s"`, o.id.name).
			WithLabel(`did you mean "connector"?`)
	}
	name, ok := r.expand(p, *o)
	return strings.ToLower(name), o.span, ok
}

// connector returns the option connector, or the one that was meant to be it; nil if there is none.
func (w *withClause) connector() *optionDecl {
	if o := w.find("connector"); o != nil {
		return o
	}
	for i, o := range w.options {
		if diag.Near(fold(o.id.name), []string{"connector"}) != "" {
			return &w.options[i]
		}
	}
	return nil
}

// variables checks the variables in options of a connector that is not known, beside its name.
func (r *reader) variables(p *parser, with withClause) {
	connector := with.connector()
	for i := range with.options {
		r.hideUserinfo(with.options[i])
		if &with.options[i] != connector {
			r.expand(p, with.options[i])
		}
	}
}

func (r *reader) sourceConnector(p *parser, id ident, with withClause) (stream.SourceConnector, bool) {
	known := sortedKeys(r.env.Registry.Sources)
	name, span, named := r.connectorName(p, id, with, known)
	conn, ok := r.env.Registry.Sources[name]
	if named && !ok {
		r.noConnector(p, "source", optionDecl{value: name, span: span}, known)
	}
	if !ok {
		r.variables(p, with)
	}
	return conn, ok
}

func (r *reader) sinkConnector(p *parser, id ident, with withClause) (stream.SinkConnector, bool) {
	known := sortedKeys(r.env.Registry.Sinks)
	name, span, named := r.connectorName(p, id, with, known)
	conn, ok := r.env.Registry.Sinks[name]
	if named && !ok {
		r.noConnector(p, "sink", optionDecl{value: name, span: span}, known)
	}
	if !ok {
		r.variables(p, with)
	}
	return conn, ok
}

func (r *reader) noConnector(p *parser, what string, o optionDecl, known []string) {
	shown := o.value
	if strings.Contains(p.text.Body[o.span.Start:o.span.End], "${") {
		shown = p.text.Body[o.span.Start:o.span.End] // What a variable holds is not printed.
	}
	e := p.fault(diag.UnknownConnector, o.span, `there is no %s connector "%s"`, what, clip(shown))
	nearHint(e, o.value, known)
	e.WithNote("connectors of a %s: %s", what, strings.Join(known, ", "))
	if other := r.env.Registry.Sinks; what == "source" && hasKey(other, o.value) {
		e.WithHint(`"%s" is a connector of sinks only`, o.value)
	}
	if other := r.env.Registry.Sources; what == "sink" && hasKey(other, o.value) {
		e.WithHint(`"%s" is a connector of sources only`, o.value)
	}
}

func hasKey[V any](m map[string]V, key string) bool { _, ok := m[key]; return ok }

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// options checks a WITH clause against the fields and returns the values, defaults filled in.
func (r *reader) options(
	p *parser, owner optionOwner, fields []stream.Field, with withClause,
) stream.Options {
	out := stream.Options{}
	for _, o := range with.options {
		r.hideUserinfo(o)
		if c := with.connector(); owner.connector && c != nil && o.id.span == c.id.span {
			continue
		}
		i := slices.IndexFunc(fields, func(f stream.Field) bool { return f.Name == fold(o.id.name) })
		if i < 0 {
			p.unknownOption(owner, o, fields)
			continue
		}
		if v, ok := r.optionValue(p, fields[i], o); ok {
			out[fields[i].Name] = v
		}
	}
	for _, f := range fields {
		switch {
		case with.find(f.Name) != nil:
		case f.Required && !with.broken:
			p.fault(diag.MissingOption, owner.at, `%s needs the option "%s"`, owner.what, f.Name).
				WithNote("%s: %s", f.Name, f.Summary).WithHint("add  %s = …  to WITH", f.Name)
		case f.Default != "":
			v, reason := fieldValue(f, f.Default)
			invariant.Check(reason == "", "default of option %q of %s %s", f.Name, owner.what, reason)
			out[f.Name] = v
		}
	}
	return out
}

func (p *parser) unknownOption(owner optionOwner, o optionDecl, fields []stream.Field) {
	var names []string
	if owner.connector {
		names = append(names, "connector")
	}
	for _, f := range fields {
		names = append(names, f.Name)
	}
	e := p.fault(diag.UnknownOption, o.id.span, `%s has no option "%s"`, owner.what, clip(o.id.name))
	nearHint(e, o.id.name, names)
	slices.Sort(names)
	e.WithNote("options: %s", strings.Join(names, ", "))
}

// optionValue converts one value. Messages show it as it was written, never what a variable holds.
func (r *reader) optionValue(p *parser, f stream.Field, o optionDecl) (any, bool) {
	if f.Type == stream.Secret {
		return r.secret(p, f, o)
	}
	text, ok := r.expand(p, o)
	if !ok {
		return nil, false
	}
	if o.quoted && (f.Type == stream.Int || f.Type == stream.Bool) {
		text = strings.TrimSpace(text)
	}
	v, reason := fieldValue(f, text)
	if !o.quoted && wantsText(f.Type) && (!f.Numbers || !isNumber(text)) {
		e := p.fault(diag.BadOption, o.span, `option "%s" is %s, not %s`, f.Name, typeName(f.Type), clip(o.value))
		if reason == "" {
			e.WithHint("write it in single quotes:  %s = '%s'", f.Name, clip(o.value))
		} else if f.Type == stream.Enum {
			e.WithHint("write one of: '%s'", strings.Join(f.Values, "', '"))
		}
		return nil, false
	}
	if reason == "" {
		return v, true
	}
	e := p.fault(diag.BadOption, o.span, `option "%s" is '%s', which %s`, f.Name, clip(diag.Redact(o.value)), reason)
	if f.Type == stream.Enum {
		nearHint(e, o.value, f.Values)
	}
	if hint := typeHint(f.Type); hint != "" {
		e.WithHint("%s", hint)
	}
	return nil, false
}

// isNumber reports whether an option that was written without quotes is a number and not true or false.
func isNumber(text string) bool { return text != "true" && text != "false" }

func wantsText(t stream.FieldType) bool {
	return t == stream.String || t == stream.Enum || t == stream.List
}
