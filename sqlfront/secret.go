package sqlfront

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// secretBytesMax bounds the file of a file: secret.
const secretBytesMax = 1 << 20

// expand puts the values of variables into an option's value. Only strings have any.
func (r *reader) expand(p *parser, o optionDecl) (string, bool) {
	if !o.quoted {
		return o.value, true
	}
	var b strings.Builder
	rest, ok := o.value, true
	for {
		before, after, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			return b.String(), ok
		}
		inside, behind, closed := strings.Cut(after, "}")
		if !closed {
			p.fault(diag.BadVariable, o.span, `option "%s": "${" is never closed`, o.id.name).
				WithHint("write  ${NAME}  or  ${NAME:-default}")
			return "", false
		}
		value, good := r.variable(p, o, inside)
		ok = ok && good
		b.WriteString(value)
		rest = behind
	}
}

// variable returns what stands for NAME or NAME:-default.
func (r *reader) variable(p *parser, o optionDecl, inside string) (string, bool) {
	name, standby, hasDefault := strings.Cut(inside, ":-")
	if !variableName(name) {
		p.fault(diag.BadVariable, o.span, `option "%s": "${%s}" has no name of a variable`,
			o.id.name, clip(inside)).
			WithHint("write  ${NAME}  or  ${NAME:-default}")
		return "", false
	}
	if r.env.Getenv != nil {
		// As in a shell, an empty variable takes the default too.
		if v, set := r.env.Getenv(name); set && (v != "" || !hasDefault) {
			return v, true
		}
	}
	if hasDefault {
		return standby, true
	}
	p.fault(diag.BadVariable, o.span, `variable "%s" is not set`, name).
		WithHint("set it in the environment, or give a default:  ${%s:-…}", name)
	return "", false
}

func variableName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || !wordStart(c) && (i == 0 || !digit(c)) {
			return false
		}
	}
	return s != ""
}

// secret resolves an option that is env:NAME or file:PATH.
func (r *reader) secret(p *parser, f stream.Field, o optionDecl) (any, bool) {
	ref, ok := r.expand(p, o)
	if !ok {
		r.secrets = append(r.secrets, o.span)
		return nil, false
	}
	kind, at, found := strings.Cut(ref, ":")
	if !o.quoted || !found || at == "" || kind != "env" && kind != "file" {
		r.secrets = append(r.secrets, o.span)
		p.fault(diag.BadOption, o.span, `option "%s" is a secret, which is not written out in SQL`, f.Name).
			WithNote("the text of a pipeline is kept in checkpoints and shown by many commands").
			WithHint("put it in the environment or a file:  %s = 'env:NAME'  or  'file:PATH'", f.Name)
		return nil, false
	}
	// The reference is shown as it was written: a variable in it may hold what should not be seen.
	if r.env.KeepSecrets {
		return stream.NewSecret(o.value, ""), true
	}
	value, reason := r.lookUp(kind, at)
	if reason != "" {
		p.fault(diag.SecretUnavailable, o.span, `secret "%s" of option "%s" %s`, clip(o.value), f.Name, reason)
		return nil, false
	}
	return stream.NewSecret(o.value, value), true
}

// lookUp returns the value of a reference, or the reason why there is none.
func (r *reader) lookUp(kind, at string) (value, reason string) {
	if kind == "env" {
		if r.env.Getenv != nil {
			if v, ok := r.env.Getenv(at); ok && v != "" {
				return v, ""
			}
		}
		return "", "is not set in the environment"
	}
	if r.env.ReadFile == nil {
		return "", "can not be read: there are no files here"
	}
	data, err := r.env.ReadFile(at)
	switch {
	case err != nil:
		return "", "can not be read: " + rootCause(err)
	case len(data) > secretBytesMax:
		return "", fmt.Sprintf("has %d bytes, at most %d are read", len(data), secretBytesMax)
	case strings.TrimRight(string(data), "\r\n") == "":
		return "", "is an empty file"
	}
	return strings.TrimRight(string(data), "\r\n"), ""
}

// rootCause returns the innermost words of an error, which name no path.
func rootCause(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, ": "); i >= 0 {
		return text[i+2:]
	}
	return text
}

// hideUserinfo has the users and passwords of URLs in an option blotted.
func (r *reader) hideUserinfo(o optionDecl) {
	for _, m := range diag.Userinfo(r.text.Body[o.span.Start:o.span.End]) {
		r.secrets = append(r.secrets, diag.Span{Start: o.span.Start + m.Start, End: o.span.Start + m.End})
	}
}

// OptionText returns each option as it may be shown: secrets as their reference, URLs without user and
// password. Every command that shows options takes them from here.
func OptionText(options stream.Options) map[string]string {
	shown := make(map[string]string, len(options))
	for name, v := range options {
		if list, ok := v.([]string); ok {
			v = strings.Join(list, ", ")
		}
		shown[name] = diag.Redact(fmt.Sprint(v))
	}
	return shown
}
