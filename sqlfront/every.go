package sqlfront

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// describe has DuckDB bind a SELECT, or a statement around it.
type describe func(ctx context.Context, sql string) ([]duck.Column, error)

// within is a Binder to which SELECTs are parts of another statement.
type within struct {
	planner.Binder
	describe describe
}

func (w within) Describe(ctx context.Context, sql string) ([]duck.Column, error) {
	return w.describe(ctx, sql)
}

// everyFault returns all faults of a SELECT of which DuckDB told the first, without those that follow from definitions
// with faults of their own. Where the Typer is no Binder it is the first alone.
func (r *reader) everyFault(ctx context.Context, first *duck.Error, sql string, bind describe) ([]*duck.Error, error) {
	db, ok := r.env.Typer.(planner.Binder)
	if !ok {
		return []*duck.Error{first}, nil
	}
	all, err := planner.BindFaults(ctx, within{db, bind}, sql, r.lostNames())
	fault, err := sqlFault(err, "find all faults")
	if err != nil {
		return nil, err
	}
	if fault != nil {
		return []*duck.Error{first}, nil //nolint:nilerr // it can not be taken apart
	}
	return all, nil
}

// lostNames are the names whose definitions have had faults so far.
func (r *reader) lostNames() []string { return slices.Sorted(maps.Keys(r.unknowable())) }

// macroFaults returns all faults of a macro of which DuckDB told the first. Positions are those in its definition, define.
func (r *reader) macroFaults(ctx context.Context, first *duck.Error, define string) ([]*duck.Error, error) {
	head, body := macroParts(define)
	if body == "" {
		return []*duck.Error{first}, nil
	}
	shift := func(e *duck.Error, by int) *duck.Error {
		out := *e
		if out.Position >= 0 {
			out.Position = max(-1, out.Position+by)
		}
		return &out
	}
	const before = "SELECT "
	bind := func(ctx context.Context, sql string) ([]duck.Column, error) {
		_, err := r.env.Typer.Exec(ctx, head+strings.TrimPrefix(sql, before))
		if fault, world := sqlFault(err, "define a macro"); world == nil && fault != nil {
			return nil, shift(fault, len(before)-len(head))
		}
		return nil, err //nolint:wrapcheck // the Typer's own
	}
	all, err := r.everyFault(ctx, first, before+body, bind)
	for i, e := range all {
		if e != first {
			all[i] = shift(e, len(head)-len(before))
		}
	}
	return all, err
}

// macroParts takes the definition of a scalar macro apart: what stands before its expression, and that. The expression is
// "" for other macros, and for those with several definitions.
func macroParts(define string) (head, body string) {
	toks := scan(define)
	p := parser{text: &diag.Text{Body: define}, toks: toks, faults: &diag.List{}}
	for p.pos < len(toks) && !p.punct(0, '(') {
		p.pos++
	}
	p.acceptPunct('(')
	p.until(func() bool { return false })
	if !p.acceptPunct(')') || !p.accept("AS") || p.word(0, "TABLE") || p.pos >= len(toks) {
		return define, ""
	}
	at := p.peek().start
	p.until(func() bool { return p.punct(0, ',') })
	if p.pos < len(toks) {
		return define, ""
	}
	return define[:at], define[at:]
}
