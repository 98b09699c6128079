package planner

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// compiler turns one query's tree into a plan. It lives for one Build.
type compiler struct {
	ctx context.Context //nolint:containedctx // lives for one call of Build
	app *App
	q   *Query
	db  Binder
	cat *catalogue

	mended *mending // nil while the text is planned as it stands

	views       map[string]*definition
	ownMacros   map[string]bool
	waiting     []*Macro        // those that could not be made before the views
	usedMacros  map[string]bool // those of ownMacros that DuckDB expands itself
	columnNames map[string]bool // of all sources and tables: they hide current_date and its like
	tables      map[string]bool
	sources     map[string]bool
	windows     []windowUse

	mentioned map[string]bool      // names that the query mentions, see mentions
	hoisted   map[string][]hoisted // by source

	joined map[string]*names // what joins of streams show, by the names of their out tables
	wanted map[string]bool   // names that the SELECT being compiled mentions; nil: it may mean any
	take   *filter           // the WHERE clause whose conditions a join may take

	with      []cte // generated, in order
	names     int
	copies    int // of macros and WITH queries, written out where they are used
	depth     int // of the query node that is compiled
	ops       []stateful
	changes   map[string]bool // out tables of operators whose rows change: what they were is in the old table
	wantsOld  map[int]bool    // numbers of operators whose rows as they were somebody above reads
	entries   []string        // the sources of each place where rows enter an operator
	warnings  []string
	naming    string          // what would name the rows of an operator that is hard to name rows of
	horizons  []time.Duration // of DISTINCT that dedup_horizon bounds
	nulls     []string        // the sources whose rows without event time an operator uses
	results   bool            // something aggregates or ranks
	usesNow   bool
	slotBound bool
}

// stateful is an operator as it is compiled; with old, what its rows were before the batch is wanted too.
type stateful interface {
	operator(old bool) *Operator
}

// cte is a generated common table expression.
type cte struct {
	name, sql string
	uses      []string // the generated names that it reads
}

// windowUse is one tumble or hop call, kept for messages.
type windowUse struct {
	name, source, column string
	marked               bool
	at                   tree
}

// relation is something in FROM that carries rows of sources.
type relation struct {
	name     string // table or generated CTE
	cols     []duck.Column
	marks    map[string]mark     // by lower-case column name
	tags     map[string][]string // the constants of columns that have nothing else, with their type, by lower-case name
	stream   bool                // reads a source
	tables   []string            // the batch's tables that its rows are made from
	pos      bool                // has __pos
	posType  string              // its type, "" for BIGINT
	raw      bool                // __pos is that of a source's row
	change   bool                // rows replace earlier ones with the same __pos, which the old tables have
	arrives  bool                // __pos grows with arrival, whatever the batches are
	keyed    []mark              // of a changing relation: the keys that name its rows
	many     bool                // a row that the keys name may be there more than once
	retracts bool                // rows may be taken back
	lasts    bool                // though of each name there is a row for ever, once there is one
	single   bool                // a source's row comes out at most once
	ordered  bool                // rows come out in the order of __pos
	mixed    bool                // though ordered, DuckDB may change the order of rows
	sorted   bool                // rows come out as an ORDER BY of the query wants
	filtered bool                // a WHERE, HAVING or join may drop rows
	collated bool                // a column may have a collation
	sources  []string
	nulls    []string // those of sources whose rows may come out without event time
	node     *Node
	hop      *hopWindows // set where the rows are those of hop() itself
	join     *streamJoin // set where they are those of a join that can be made again
}

// mark says what is known of a column.
type mark struct {
	kind   markKind
	size   int64  // of the window, microseconds
	step   int64  // between window starts, microseconds
	text   string // of the size
	lag    int64  // microseconds: rows come until the watermark is that much later
	key    int    // this is key number key of the operator below, from 1; 0: of none
	absent bool   // an outer join may have put NULL here
	window string // which windows: start and end of one window share it
	whole  bool   // the window's bounds are whole seconds
	source string // of markEvent: whose column it is, "" if several
}

type markKind int

const (
	markNone  markKind = iota
	markEvent          // the watermarked column itself
	markStart          // window_start over a watermarked column
	markEnd            // window_end
)

func (r *relation) column(name string) (duck.Column, bool) {
	for _, c := range r.cols {
		if strings.EqualFold(c.Name, name) {
			return c, true
		}
	}
	return duck.Column{}, false
}

// errAt is a fault at the place of a node.
func (c *compiler) errAt(code diag.Code, at tree, format string, args ...any) *diag.Error {
	pos := at.at()
	if pos < 0 {
		pos = firstAt(at)
	}
	e := diag.New(code, format, args...)
	if pos < 0 {
		return e.At(c.app.Text, c.q.Span)
	}
	return e.At(c.app.Text, wordAt(c.app.Text.Body, pos))
}

// wordAt is the span of the word or quoted name at an offset, or of one byte.
func wordAt(body string, pos int) diag.Span {
	pos = max(0, min(pos, len(body)))
	end := pos
	if end < len(body) && (body[end] == '"' || body[end] == '\'') {
		if i := strings.IndexByte(body[end+1:], body[end]); i >= 0 {
			return diag.Span{Start: pos, End: end + i + 2}
		}
	}
	for end < len(body) && isWordByte(body[end]) {
		end++
	}
	if end == pos {
		end = min(pos+1, len(body))
	}
	return diag.Span{Start: pos, End: end}
}

func isWordByte(b byte) bool {
	return b == '_' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// template returns the node of a SELECT of our own.
func (c *compiler) template(sql string) (tree, error) {
	data, err := c.db.Parse(c.ctx, sql)
	if err != nil {
		return nil, err
	}
	root, err := decodeTree(data)
	if err != nil {
		return nil, err
	}
	return root.trees("statements")[0].sub("node"), nil
}

// parse returns the query node of a body whose first byte stands at offset at of the text. Clocks are pinned and macros
// that matter inlined.
func (c *compiler) parse(body string, at int) (tree, error) {
	data, err := c.db.Parse(c.ctx, body)
	if err != nil {
		return nil, c.bodyFault(err, body, at)
	}
	root, err := decodeTree(data)
	if err != nil {
		return nil, err
	}
	statements := root.trees("statements")
	if len(statements) != 1 {
		return nil, diag.New(diag.BodyNotSelect, "the body is not exactly one SELECT").At(c.app.Text,
			c.q.Span)
	}
	node := statements[0].sub("node")
	shift(node, at)
	walk(node, func(t tree) bool {
		if strings.EqualFold(t.str("alias"), "rowid") {
			c.columnNames["rowid"] = true
		}
		return true
	})
	named := unnamedItems(node)
	if c.mended != nil {
		if err := c.mended.apply(c, node); err != nil {
			return nil, err
		}
	}
	if err := c.inlineMacros(c.ctx, node, 0); err != nil {
		return nil, err
	}
	if err := c.checkFunctions(node); err != nil {
		return nil, err
	}
	for _, n := range named {
		if err := c.keepName(n); err != nil {
			return nil, err
		}
	}
	return node, nil
}

// unnamedItem is an item of a select list without an alias, which DuckDB names after its text.
type unnamedItem struct {
	list   []any
	at     int
	before tree
}

func unnamedItems(node tree) []unnamedItem {
	var out []unnamedItem
	walk(node, func(t tree) bool {
		list := t.list("select_list")
		for i, item := range list {
			if e := asTree(item); e != nil && e.str("alias") == "" && e.class() != "STAR" {
				out = append(out, unnamedItem{list, i, clone(e)})
			}
		}
		return true
	})
	return out
}

// keepName gives an item that has been rewritten the name that it had.
func (c *compiler) keepName(n unnamedItem) error {
	now := asTree(n.list[n.at])
	if now == nil || reflect.DeepEqual(now, n.before) {
		return nil
	}
	if names := n.before.names("column_names"); len(names) > 0 {
		now["alias"] = names[len(names)-1]
		return nil
	}
	name, err := c.exprSQL(n.before)
	if err != nil {
		return err
	}
	now["alias"] = name
	return nil
}

// bodyFault turns DuckDB's refusal of a body into a fault at its place.
func (c *compiler) bodyFault(err error, body string, at int) error {
	de := asDuckError(err)
	if de == nil {
		return fmt.Errorf("bind query %q: %w", c.q.Name, err)
	}
	code := diag.SQLInvalid
	switch {
	case de.Kind == duck.Syntax && strings.Contains(strings.ToLower(de.Message), "select"):
		code = diag.BodyNotSelect
	case de.Kind == duck.Binder && (strings.HasPrefix(de.Message, "Referenced column") || noColumn.MatchString(de.Message)):
		code = diag.UnknownColumn
	}
	span := diag.Span{Start: at, End: at + len(firstLine(body))}
	if de.Position >= 0 && de.Position <= len(body) {
		span = wordAt(c.app.Text.Body, at+de.Position)
	}
	message := firstLine(de.Message)
	if strings.Contains(message, "serialized to json") {
		message = "the body is not a plain SELECT"
	}
	fault := diag.New(code, "%s", message).At(c.app.Text, span)
	fault.Err = err
	if len(de.Candidates) > 0 && de.Kind != duck.Catalog && !operators(de.Candidates) {
		fault = fault.WithNote("there is: %s", strings.Join(de.Candidates, ", "))
	}
	switch code {
	case diag.UnknownColumn:
		c.suggest(fault, de.Candidates)
	case diag.SQLInvalid:
		c.suggestFunction(fault, de)
	case diag.BodyNotSelect:
		fault = fault.WithHint("the body of a query, after AS, is exactly one SELECT")
	}
	return fault
}

// suggest says which column was meant, if one is near.
func (c *compiler) suggest(fault *diag.Error, candidates []string) {
	if m := noColumn.FindStringSubmatch(fault.Message); m != nil {
		fault.Message = fmt.Sprintf("%q has no column %q", m[1], m[2])
		return
	}
	name := strings.Trim(c.app.Text.Body[fault.Span.Start:fault.Span.End], `"`)
	var bare []string
	for _, cand := range candidates {
		bare = append(bare, cand[strings.LastIndexByte(cand, '.')+1:])
	}
	fault.Message = fmt.Sprintf("column %q does not exist", name)
	if near := diag.Near(name, bare); near != "" {
		fault.Label = fmt.Sprintf("did you mean %q?", near)
	}
}

// operators reports whether candidates are overloads of an operator, which has too many of them to help.
func operators(candidates []string) bool {
	return strings.Contains(candidates[0], "(") && !isWordByte(candidates[0][0])
}

// suggestFunction says which function or type was meant where DuckDB knows none of the name, if one is near.
func (c *compiler) suggestFunction(fault *diag.Error, de *duck.Error) {
	if de.Kind != duck.Catalog || fault.Span.End > len(c.app.Text.Body) {
		return
	}
	if near := diag.Near(c.app.Text.Body[fault.Span.Start:fault.Span.End], de.Candidates); near != "" {
		fault.Label = fmt.Sprintf("did you mean %q?", near)
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

const emptyFrom = "EMPTY"

// exprSQL returns the SQL of one expression.
func (c *compiler) exprSQL(expr tree) (string, error) {
	e := clone(expr)
	e["alias"] = ""
	from := tree{"type": emptyFrom, "alias": "", "sample": nil, "query_location": synthetic}
	sql, err := c.render(selectNode([]any{e}, from))
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(strings.TrimPrefix(sql, "SELECT")), nil
}

var (
	noColumn  = regexp.MustCompile(`^[A-Za-z ]+ "(.*)" does not have a column named "(.*)"$`)
	generated = regexp.MustCompile(`__[0-9]+_[a-z0-9_]+`)
	outName   = regexp.MustCompile(`__out[0-9]+`)
	unfit     = regexp.MustCompile(`[^a-z0-9_]+`)
)

// fresh returns a new name for a generated CTE.
func (c *compiler) fresh(hint string) string {
	c.names++
	return fmt.Sprintf("__%d_%s", c.names, unfit.ReplaceAllString(strings.ToLower(hint), "_"))
}

// define adds a generated CTE.
func (c *compiler) define(name, sql string) {
	c.with = append(c.with, cte{name: name, sql: sql, uses: generated.FindAllString(sql, -1)})
}

// chain puts the generated CTEs that a SELECT reads before it.
func (c *compiler) chain(sql string) string {
	need := map[string]bool{}
	for _, name := range generated.FindAllString(sql, -1) {
		need[name] = true
	}
	var with []string
	for i := len(c.with) - 1; i >= 0; i-- {
		w := c.with[i]
		if !need[w.name] {
			continue
		}
		for _, name := range w.uses {
			need[name] = true
		}
		with = append(with, duck.QuoteIdent(w.name)+" AS (\n"+w.sql+"\n)")
	}
	if len(with) == 0 {
		return sql
	}
	slices.Reverse(with)
	return "WITH " + strings.Join(with, ",\n") + "\n" + sql
}

// before turns SQL over the rows of operators into the same SQL over what they were before the batch.
func (c *compiler) before(sql string) string {
	return outName.ReplaceAllStringFunc(sql, func(name string) string {
		if c.changes[name] {
			return "__old" + strings.TrimPrefix(name, "__out")
		}
		return name
	})
}

// describe types a SELECT over the generated CTEs.
func (c *compiler) describe(sql string) ([]duck.Column, error) {
	cols, err := c.db.Describe(c.ctx, c.chain(sql))
	if fault := asDuckError(err); fault != nil && (fault.Kind == duck.Binder || fault.Kind == duck.Syntax) {
		// The body itself has been bound: it is what it becomes that can not be.
		refused := diag.New(diag.ShapeUnsupported, "this query is not supported on a stream: %s",
			firstLine(fault.Message)).At(c.app.Text, c.q.Span).
			WithHint("write it in a simpler way, for example without references out of a subquery")
		refused.Err = err
		return nil, refused
	}
	if err != nil {
		return nil, fmt.Errorf("describe generated SQL of query %q: %w", c.q.Name, err)
	}
	return cols, nil
}

// subqueries makes every subquery in expressions stand alone. Streams are refused there.
func (c *compiler) subqueries(v any, e *env) error {
	var first error
	walk(v, func(t tree) bool {
		if t.class() != "SUBQUERY" || t.str("class") == "" {
			return first == nil
		}
		if first == nil {
			first = c.subqueries(t.sub("child"), e)
		}
		if first == nil {
			first = c.references(t.sub("subquery"), e)
		}
		return false
	})
	return first
}

// appMode is the output mode in capitals, as users write it.
func (c *compiler) appMode() string { return strings.ToUpper(c.q.Mode.String()) }

// mode is the output mode to plan for. A slot is a batch run of its own, whose result is complete by nature.
func (c *compiler) mode() stream.Mode {
	if c.slotBound && c.q.Mode == stream.Append {
		return stream.Complete
	}
	return c.q.Mode
}

func (c *compiler) complete() bool { return c.mode() == stream.Complete }
