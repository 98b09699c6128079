package planner

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// bodyFaultsMax bounds the faults that are told of one body.
const bodyFaultsMax = 10

// build plans a query once, over a text that is mended as m says; nil for the text as it stands.
func build(ctx context.Context, app *App, q *Query, db Binder, m *mending) (*Plan, error) {
	return newCompiler(ctx, app, q, db, m).build()
}

func newCompiler(ctx context.Context, app *App, q *Query, db Binder, m *mending) *compiler {
	return &compiler{ctx: ctx, app: app, q: q, db: db, mended: m, views: map[string]*definition{},
		ownMacros: map[string]bool{}, usedMacros: map[string]bool{}, changes: map[string]bool{}, wantsOld: map[int]bool{},
		columnNames: map[string]bool{}, tables: map[string]bool{}, sources: map[string]bool{},
		joined: map[string]*names{}, hoisted: map[string][]hoisted{}}
}

// attempt plans a query, or as much of it as is asked for, over a text that is mended as m says.
type attempt func(m *mending) (*Plan, error)

// allFaults returns all faults of a query that does not plan, in the order of their places. Planning stops at the first,
// so what it points at is mended and the query planned again, until nothing is found that can be mended. Faults that
// may be no more than a consequence of those before, or of what is doubtful in the application, are left out.
func allFaults(ctx context.Context, m *mending, try attempt, err error) error {
	var faults diag.List
	for err != nil && len(faults) < bodyFaultsMax+m.unread {
		if plain := plainFault(err); plain != nil {
			if ctx.Err() != nil {
				return plain
			}
			break // the text as mended is our own
		}
		again := m.unread > 0 && faults == nil
		for _, f := range diag.All(err) {
			if !m.follows(f) && !faults.Has(f) {
				faults = append(faults, f)
			}
			again = m.mend(f) || again
		}
		if !again {
			break
		}
		_, err = try(m)
	}
	faults = faults[:min(len(faults), bodyFaultsMax+m.unread)]
	if len(faults) == 1 {
		return faults[0]
	}
	faults.Sort()
	return faults.Err()
}

// both joins what is wrong with two parts of a query that do not depend on each other. An error that is no fault of the
// text comes alone.
func both(a, b error) error {
	for _, err := range []error{a, b} {
		if plain := plainFault(err); plain != nil {
			return plain
		}
	}
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return append(slices.Clone(diag.All(a)), diag.All(b)...)
}

// plainFault returns the part of err that has no code, which is no fault of the text.
func plainFault(err error) error {
	switch e := err.(type) { //nolint:errorlint // the tree is walked here
	case nil, *diag.Error, diag.List:
		return nil
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if plain := plainFault(one); plain != nil {
				return plain
			}
		}
		return nil
	}
	if diag.All(err) != nil {
		return nil //nolint:nilerr // all of it has codes
	}
	return err
}

// follows reports whether a fault of a mended text may be a consequence of what was mended.
func (m *mending) follows(f *diag.Error) bool {
	if len(m.at) == 0 && len(m.dropped) == 0 && m.unread == 0 && !m.doubts(m.roots[0]) {
		return false // nothing was
	}
	path := m.path(f.Span.Start)
	if f.Source == nil || path == nil || f.Code == diag.NoStream {
		return m.followsAll(f)
	}
	if _, again := m.at[f.Span.Start]; again && !errors.Is(f.Err, errSample) && !errors.Is(f.Err, errDistinct) {
		return true // but clauses are told at the place of what they belong to
	}
	last := path[len(path)-1]
	switch {
	case f.Code == diag.UnknownName, f.Code == diag.FunctionRefused, unknownFunction(f), errors.Is(f.Err, errDistinct):
		return false
	case f.Code == diag.UnknownColumn:
		return m.mayExist(path)
	case f.Code == diag.SQLInvalid && last.class() == "COLUMN_REF":
		return m.mayExist(path) || m.within(path) ||
			strings.Contains(f.Message, "GROUP BY") && m.holds(innermostSelect(path), anyRepair)
	case f.Code == diag.SQLInvalid:
		return m.holds(last, anyRepair) || m.within(path) || m.untypedIn(last)
	case f.Code == diag.OrderByUnsupported, f.Code == diag.LimitUnsupported:
		return false
	}
	if last.str("class") != "" && last.str("type") != "SELECT_NODE" && m.holds(last, anyRepair) {
		return true
	}
	return m.holds(innermostSelect(path), func(r repair) bool { return r.taints }) || m.doubts(innermostSelect(path))
}

func anyRepair(repair) bool { return true }

// followsAll is follows for a fault of the query as a whole.
func (m *mending) followsAll(f *diag.Error) bool {
	switch f.Code {
	case diag.ReadFailed:
		return false
	case diag.CompleteNeedsAgg:
		return m.functions
	}
	return true
}

// unknownFunction reports whether a fault is that DuckDB knows no such function or type.
func unknownFunction(f *diag.Error) bool {
	var de *duck.Error
	return errors.As(f.Err, &de) && de.Kind == duck.Catalog
}
