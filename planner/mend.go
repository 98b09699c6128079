package planner

import (
	"context"
	"errors"
	"fmt"
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

// apply mends a query node in place.
func (m *mending) apply(c *compiler, node tree) error {
	var failed error
	walk(node, func(t tree) bool {
		m.dropModifiers(t)
		if r, ok := m.at[t.at()]; ok && failed == nil {
			failed = c.repair(t, r)
			return failed == nil
		}
		switch columns := m.columns[strings.ToLower(t.str("table_name"))]; {
		case columns != "" && t.str("type") == "BASE_TABLE":
			failed = c.knownRelation(t, columns)
			return false
		case t.str("type") == "TABLE_FUNCTION" && m.coarse(t):
			unknownRelation(t)
		case t.str("type") == "SET_OPERATION_NODE":
			m.evenOut(t)
		}
		return failed == nil
	})
	return failed
}

// evenOut puts one side of a set operation in the place of the other if that has columns that are not known.
func (m *mending) evenOut(t tree) {
	left, right := m.open(t.sub("left"), nil), m.open(t.sub("right"), nil)
	switch {
	case left && !right:
		t["left"] = clone(t.sub("right"))
	case right && !left:
		t["right"] = clone(t.sub("left"))
	}
}

// place is where faults of a node are told.
func place(t tree) int {
	if at := t.at(); at >= 0 {
		return at
	}
	return firstAt(t)
}

// dropModifiers takes out the samples, DISTINCT, ORDER BY and LIMIT that are refused.
func (m *mending) dropModifiers(t tree) {
	if t.sub("sample") != nil && m.dropped[clause{errSample, place(t)}] {
		t["sample"] = nil
	}
	var kept []any
	for _, mod := range t.trees("modifiers") {
		if mod.str("type") == "DISTINCT_MODIFIER" && m.dropped[clause{errDistinct, place(distinctAt(t, mod))}] {
			continue
		}
		kind := mod.str("type")
		ordering := kind == "ORDER_MODIFIER" || kind == "LIMIT_MODIFIER" || kind == "LIMIT_PERCENT_MODIFIER"
		if r, ok := m.at[firstAt(mod)]; !ordering || !ok || r.taints {
			kept = append(kept, mod)
		}
	}
	if len(kept) < len(t.list("modifiers")) {
		t["modifiers"] = append([]any{}, kept...)
	}
}

// coarse reports whether something in an expression is mended by other than a name.
func (m *mending) coarse(t tree) bool {
	found := false
	walk(t, func(n tree) bool {
		found = found || m.at[n.at()].how >= repairHollow
		return !found
	})
	return found
}

// repair mends one node in place.
func (c *compiler) repair(t tree, r repair) error {
	names := t.list("column_names")
	switch {
	case t.str("type") == "BASE_TABLE" && r.how == repairGuess:
		if t.str("alias") == "" {
			t["alias"] = t.str("table_name")
		}
		t["table_name"] = r.name
	case t.str("type") == "BASE_TABLE", t.str("type") == "TABLE_FUNCTION":
		unknownRelation(t)
	case len(names) > 0 && r.how == repairGuess:
		t["column_names"] = append(append([]any{}, names[:len(names)-1]...), r.name)
	case t.function() != "" && r.how == repairGuess:
		t["function_name"] = r.name
	case t.class() == "STAR" && r.how < repairEmpty:
		t["exclude_list"], t["replace_list"] = []any{}, []any{}
	case t.str("class") != "":
		return c.hollow(t, r.how == repairEmpty)
	}
	return nil
}

// unknownRelation puts a table of which nothing is known in the place of a relation.
func unknownRelation(t tree) {
	alias, location := t.str("alias"), t["query_location"]
	if alias == "" {
		alias = t.str("table_name")
	}
	if alias == "" {
		alias = t.sub("function").function()
	}
	clear(t)
	for k, v := range baseTable(unknownTable, alias, nil) {
		t[k] = v
	}
	t["query_location"] = location
}

// hollow puts NULL in the place of an expression. Unless empty, what stands in it is still bound, and an aggregate stays
// one.
func (c *compiler) hollow(t tree, empty bool) error {
	inside := expressions(t)
	if empty {
		inside = nil
	}
	sql := nullSQL
	if len(inside) > 0 {
		sql = "CASE WHEN row(" + strings.TrimSuffix(strings.Repeat("0, ", len(inside)), ", ") + ") IS NULL THEN NULL END"
	}
	if c.isAggregate(t) {
		sql = "any_value(" + sql + ")"
	}
	shell, err := c.made(sql)
	if err != nil {
		return err
	}
	walk(shell, func(n tree) bool {
		if n.function() == "row" {
			for i, e := range inside {
				e["alias"] = ""
				n["children"].([]any)[i] = e //nolint:forcetypeassert // as the template says
			}
			return false
		}
		return true
	})
	shell["alias"], shell["query_location"] = t["alias"], t["query_location"]
	clear(t)
	for k, v := range shell {
		t[k] = v
	}
	return nil
}

// nullSQL is NULL where a literal may mean something else, as in ORDER BY.
const nullSQL = "CASE WHEN NULL THEN NULL END"

func (c *compiler) null() (tree, error) { return c.made(nullSQL) }

// made returns an expression of our own, which stands nowhere in the text.
func (c *compiler) made(sql string) (tree, error) {
	node, err := c.template("SELECT " + sql)
	if err != nil {
		return nil, err
	}
	expr := node.trees("select_list")[0]
	walk(expr, func(n tree) bool {
		n["query_location"] = synthetic
		return true
	})
	return expr, nil
}

// expressions returns the topmost expressions below a node.
func expressions(t tree) []tree {
	var out []tree
	walk(t, func(n tree) bool {
		if n.str("class") == "" || fmt.Sprintf("%p", n) == fmt.Sprintf("%p", t) {
			return true
		}
		out = append(out, n)
		return false
	})
	return out
}
