// Package diag holds the errors that users read: a stable code, what is wrong, where with a caret, what was
// expected and how to mend it. Everything a user can cause becomes a *diag.Error; wrapped plain errors are for
// operators and panics for programmers.
package diag

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"unicode"
)

// Span is a byte range in a source text, End exclusive. The zero Span means "no place".
type Span struct {
	Start, End int
}

// Text is a named piece of SQL or configuration that spans point into.
type Text struct {
	Name string // file name, "<stdin>", or "<command line>"
	Body string
}

// Error is one fault for a user. Build it with New and the With methods, which return the same *Error.
type Error struct {
	Code    Code
	Message string // one line, lower case, names quoted with "
	Source  *Text  // nil when the fault has no place
	Span    Span
	Label   string   // stands behind the carets
	Notes   []string // facts that help: what is there, what was seen
	Hint    string   // how to mend it, or ""
	Err     error    // what caused it, or nil
	// Option and Column name what of a declaration is at fault, for a caller that knows where that was written; "" for
	// none.
	Option, Column string
}

// New returns an error with a code and a formatted message.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Wrap returns an error with a code that is caused by err. The message ends in err's text.
func Wrap(code Code, err error, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...) + ": " + err.Error(), Err: err}
}

// At places the error at span of text.
func (e *Error) At(text *Text, span Span) *Error {
	e.Source, e.Span = text, span
	return e
}

// WithLabel sets the words behind the carets.
func (e *Error) WithLabel(format string, args ...any) *Error {
	e.Label = fmt.Sprintf(format, args...)
	return e
}

// WithNote adds a fact.
func (e *Error) WithNote(format string, args ...any) *Error {
	e.Notes = append(e.Notes, fmt.Sprintf(format, args...))
	return e
}

// WithHint says how to mend it.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// OfOption names the option of a WITH clause that is at fault.
func (e *Error) OfOption(name string) *Error {
	e.Option = name
	return e
}

// OfColumn names the declared column that is at fault.
func (e *Error) OfColumn(name string) *Error {
	e.Column = name
	return e
}

// Error returns the fault in one line: file:line:column, code and message.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != nil {
		line, col := e.Source.Position(e.Span.Start)
		fmt.Fprintf(&b, "%s:%d:%d: ", e.Source.Name, line, col)
	}
	fmt.Fprintf(&b, "%s: %s", e.Code, e.Message)
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Position returns the line and column of a byte offset, both from 1, the column counted in runes.
func (t *Text) Position(offset int) (line, col int) {
	offset = max(0, min(offset, len(t.Body)))
	before := t.Body[:offset]
	line = strings.Count(before, "\n") + 1
	col = len([]rune(before[strings.LastIndexByte(before, '\n')+1:])) + 1
	return line, col
}

// Render returns the fault in full, with the line and its carets, without a final newline.
func (e *Error) Render() string {
	var b strings.Builder
	fmt.Fprintf(&b, "error[%s]: %s", e.Code, e.Message)
	if e.Source != nil {
		e.Source.excerpt(&b, e.Span, e.Label)
	}
	for _, n := range e.Notes {
		fmt.Fprintf(&b, "\n   = %s", n)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n   = fix: %s", e.Hint)
	}
	return b.String()
}

func (t *Text) excerpt(b *strings.Builder, span Span, label string) {
	start := max(0, min(span.Start, len(t.Body)))
	end := max(start, min(span.End, len(t.Body)))
	line, col := t.Position(start)
	from := strings.LastIndexByte(t.Body[:start], '\n') + 1
	to := len(t.Body)
	if i := strings.IndexByte(t.Body[start:], '\n'); i >= 0 {
		to = start + i
	}
	end = min(end, to)
	runes := []rune(strings.Map(shown, strings.TrimRight(t.Body[from:to], "\r")))
	before := len([]rune(t.Body[from:start]))
	width := max(1, len([]rune(t.Body[start:end])))
	before, width, runes = clip(runes, before, width)
	gutter := fmt.Sprint(line)
	pad := strings.Repeat(" ", len(gutter))
	fmt.Fprintf(b, "\n %s--> %s:%d:%d", pad, t.Name, line, col)
	fmt.Fprintf(b, "\n %s |", pad)
	fmt.Fprintf(b, "\n %s | %s", gutter, string(runes))
	fmt.Fprintf(b, "\n %s | %s%s", pad, strings.Repeat(" ", before), strings.Repeat("^", width))
	if label != "" {
		b.WriteString(" " + label)
	}
}

// shown is the rune that stands for one of the text, so that a line moves no cursor and its carets stand where they belong.
func shown(r rune) rune {
	switch {
	case r == '\t':
		return ' '
	case unicode.In(r, unicode.Cc, unicode.Cf):
		return '·'
	}
	return r
}

// lineMax is how much of a line an excerpt shows, in runes.
const lineMax = 160

// clip cuts a long line down to what surrounds the width runes that follow the first before ones.
func clip(line []rune, before, width int) (int, int, []rune) {
	if len(line) <= lineMax {
		return before, width, line
	}
	width = min(width, lineMax/2)
	from := max(0, min(before-lineMax/4, len(line)-lineMax))
	to := min(len(line), from+lineMax)
	cut := append([]rune(nil), line[from:to]...)
	if to < len(line) {
		cut = append(cut, '…')
	}
	if from > 0 {
		cut = append([]rune{'…'}, cut...)
		before++
	}
	return before - from, width, cut
}

// List is several faults of one text. A nil or empty List is no error; use Err.
type List []*Error

// Err returns l as an error, or nil if it is empty.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}

// Error returns one line per fault.
func (l List) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.Is and errors.As look at each fault.
func (l List) Unwrap() []error {
	errs := make([]error, len(l))
	for i, e := range l {
		errs[i] = e
	}
	return errs
}

// Sort puts the faults in the order of their places.
func (l List) Sort() {
	sort.SliceStable(l, func(i, j int) bool { return l[i].Span.Start < l[j].Span.Start })
}

// Has reports whether the list holds a fault that says the same of the same place.
func (l List) Has(e *Error) bool {
	for _, o := range l {
		if o.Code == e.Code && o.Source == e.Source && o.Span == e.Span && o.Message == e.Message {
			return true
		}
	}
	return false
}

// All returns every *Error in err's tree that a user should see, or nil: of each that others caused, the outermost.
func All(err error) List {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil:
		return nil
	case List:
		return e
	case *Error:
		return List{e}
	case interface{ Unwrap() []error }:
		var l List
		for _, one := range e.Unwrap() {
			l = append(l, All(one)...)
		}
		return l
	}
	return All(errors.Unwrap(err))
}

// Render returns err as a user should see it: in full if it is coded, else its text.
func Render(err error) string {
	l := All(err)
	if l == nil {
		return "error: " + err.Error()
	}
	parts := make([]string, len(l))
	for i, e := range l {
		parts[i] = e.Render()
	}
	return strings.Join(parts, "\n\n")
}

// CodeOf returns the code of the first coded error in err's chain, or "".
func CodeOf(err error) Code {
	if l := All(err); len(l) > 0 {
		return l[0].Code
	}
	return ""
}

// Temporary reports whether anything in err's chain says that a later try may cure it.
func Temporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

// Retry marks err as curable by a later try.
func Retry(err error) error { return temporary{err} }

type temporary struct{ error }

func (temporary) Temporary() bool { return true }
func (t temporary) Unwrap() error { return t.error }
