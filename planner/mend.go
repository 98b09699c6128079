package planner

import (
	"context"
	"errors"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// unknownTable stands in FROM for what is not known. Nothing of the user's is named like it.
const unknownTable = "__unknown"

const unknownTableSQL = "CREATE OR REPLACE TEMP TABLE " + unknownTable + " (__none INTEGER)"

// mending says what of a query's text is mended, so that planning goes on behind its faults. Places are offsets in the
// application's text.
type mending struct {
	roots     []tree            // the body and the views, as they stand
	named     map[string]tree   // views and WITH queries by lower-case name
	missing   map[string]bool   // lower-case names of reference tables that can not be read: they may have any column
	columns   map[string]string // of those whose columns are known nevertheless, a SELECT of a row of NULLs
	at        map[int]repair
	dropped   map[clause]bool // clauses that are left out
	unread    int             // how many reference tables can not be read
	doubtful  map[string]bool // lower-case names of sources whose declaration has a fault
	untyped   map[string]bool // lower-case names of columns whose type is not known, or made from such
	functions bool            // some of it is functions that do not exist, which may aggregate
}

// repair is how one place is mended.
type repair struct {
	how    repairKind
	name   string // what is written instead, of repairGuess
	taints bool   // plans may differ by what should stand there
}

// repairKind is a way to mend, each coarser than those before it.
type repairKind int

const (
	_            repairKind = iota
	repairGuess             // the name that is near takes the place of the one that does not exist
	repairHollow            // NULL takes the place of the expression, and what stands in it is bound all the same
	repairEmpty             // NULL takes the place of all of it
)

// newMending returns what nothing is mended in yet.
func newMending(ctx context.Context, app *App, q *Query, db Binder) (*mending, error) {
	m := &mending{named: map[string]tree{}, missing: map[string]bool{}, columns: map[string]string{},
		at: map[int]repair{}, dropped: map[clause]bool{}, doubtful: map[string]bool{}, untyped: map[string]bool{}}
	c := &compiler{ctx: ctx, app: app, q: q, db: db}
	for _, t := range app.Tables {
		if t.Unread == "" || t.Columns != nil {
			continue
		}
		m.unread++
		if sql := c.unreadColumns(t.Body); sql != "" {
			m.columns[strings.ToLower(t.Name)] = sql
		} else {
			m.missing[strings.ToLower(t.Name)] = true
		}
	}
	body, err := c.pristine(q.Body, q.At)
	if err != nil {
		return nil, err
	}
	m.roots = append(m.roots, body)
	for _, v := range ViewsRead(app.Views, q.Body, app.Macros) {
		if node, err := c.pristine(v.Body, v.At); err == nil {
			m.roots, m.named[strings.ToLower(v.Name)] = append(m.roots, node), node
		}
	}
	walk(m.roots[0], m.nameQueries)
	for _, root := range m.roots[1:] {
		walk(root, m.nameQueries)
	}
	m.doubt(app)
	return m, nil
}

// pristine returns the query node of a body as it stands.
func (c *compiler) pristine(body string, at int) (tree, error) {
	node, err := c.template(body)
	if err != nil {
		return nil, err
	}
	shift(node, at)
	return node, nil
}

func (m *mending) nameQueries(t tree) bool {
	for _, entry := range t.sub("cte_map").trees("map") {
		m.named[strings.ToLower(entry.str("key"))] = entry.sub("value").sub("query").sub("node")
	}
	return true
}

// mend takes what a fault points at out of the way. It reports false if there is no way to.
func (m *mending) mend(f *diag.Error) bool {
	at := f.Span.Start
	if f.Source == nil {
		return false
	}
	for _, kind := range []error{errSample, errDistinct} {
		if one := (clause{kind, at}); errors.Is(f.Err, kind) {
			again := m.dropped[one]
			m.dropped[one] = true
			return !again
		}
	}
	path := m.path(at)
	if path == nil || !mendable(f.Code) && !overCall(f, path) {
		return false
	}
	r := m.at[at]
	switch near := nearest(f); {
	case r.how == 0 && near != "":
		r = repair{how: repairGuess, name: near}
	case r.how < repairHollow:
		r = repair{how: repairHollow, taints: taints(f.Code)}
		m.functions = m.functions || unknownFunction(f) || overCall(f, path)
	case r.how < repairEmpty:
		r.how = repairEmpty
	default:
		return false
	}
	m.at[at] = r
	return true
}

// clause is a clause of the SELECT or relation at a place.
type clause struct {
	kind error
	at   int
}

// What faults of clauses that can be left out wrap.
var (
	errSample   = errors.New("a sample")
	errDistinct = errors.New("a DISTINCT")
)

// overCall reports whether a fault refuses the OVER call at the end of a path.
func overCall(f *diag.Error, path []tree) bool {
	return f.Code == diag.ShapeUnsupported && path[len(path)-1].str("class") == "WINDOW"
}

// mendable reports whether faults of a kind go away with the word, the expression or the clause that they point at.
func mendable(code diag.Code) bool {
	switch code {
	case diag.UnknownName, diag.UnknownColumn, diag.FunctionRefused, diag.SQLInvalid, diag.WindowInvalid,
		diag.OrderByUnsupported, diag.LimitUnsupported:
		return true
	}
	return false
}

// taints reports whether what is planned may depend on what should stand in the place of a fault. A function that is
// refused has no part in keys, times and groups, nor has an order or the result of an OVER call.
func taints(code diag.Code) bool {
	return code != diag.FunctionRefused && code != diag.ShapeUnsupported && code != diag.OrderByUnsupported && code != diag.LimitUnsupported
}

// nearest returns the name that was meant where another is told of, or "".
func nearest(f *diag.Error) string {
	_, rest, _ := strings.Cut(f.Label, "did you mean \"")
	name, _, _ := strings.Cut(rest, "\"?")
	return name
}
