package planner

import (
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// env maps the names of common table expressions to their definitions, innermost first.
type env struct {
	up   *env
	defs map[string]*definition
}

// definition is a CTE or a view: a query and the names it may use. A nil body is a name that DuckDB resolves
// itself, inside a query over reference tables that is left as it is.
type definition struct {
	name    string
	body    tree // the query node
	aliases []any
	env     *env
	rel     *relation // once compiled
	err     error     // why it does not compile
	busy    bool      // being compiled: a second entry is a cycle
	known   bool      // streams is
	streams bool      // reads a source
}

func (e *env) find(name string) *definition {
	for ; e != nil; e = e.up {
		if d := e.defs[strings.ToLower(name)]; d != nil {
			return d
		}
	}
	return nil
}

// within opens a scope for the CTEs of a query node and takes them out of it. Each CTE sees those before it, and a
// recursive one itself.
func (c *compiler) within(node tree, e *env) *env {
	with := node.sub("cte_map").list("map")
	node["cte_map"] = emptyWith()
	for _, entry := range with {
		en := asTree(entry)
		def := &definition{name: en.str("key"), body: en.sub("value").sub("query").sub("node"),
			aliases: en.sub("value").list("aliases"), env: e}
		if def.body.class() == "RECURSIVE_CTE_NODE" {
			def.env = &env{up: e, defs: map[string]*definition{strings.ToLower(def.name): {name: def.name}}}
			if yes, err := c.streaming(def.body, def.env); err == nil && !yes {
				def.body = selectNode([]any{star("")}, baseTable(def.name, "", nil))
				def.body["cte_map"] = tree{"map": []any{entry}}
				def.aliases, def.env = nil, e
			}
		}
		e = &env{up: e, defs: map[string]*definition{strings.ToLower(def.name): def}}
	}
	return e
}

func (c *compiler) sampleFault(t tree) error {
	fault := c.errAt(diag.FunctionRefused, t, "TABLESAMPLE and USING SAMPLE give other rows each time").
		WithHint("filter by a hash of a key instead")
	fault.Err = errSample
	return fault
}

// thing is what a name in FROM stands for: exactly one of its fields is set.
type thing struct {
	def    *definition
	source *Source
	table  *Table
}

// resolve looks a name up: CTEs first, then views, sources and reference tables.
func (c *compiler) resolve(name string, e *env, at tree) (thing, error) {
	if d := e.find(name); d != nil {
		return thing{def: d}, nil
	}
	if d := c.views[strings.ToLower(name)]; d != nil {
		return thing{def: d}, nil
	}
	for _, s := range c.app.Sources {
		if strings.EqualFold(s.Name, name) {
			return thing{source: s}, nil
		}
	}
	for _, t := range c.app.Tables {
		if strings.EqualFold(t.Name, name) {
			c.tables[t.Name] = true
			return thing{table: t}, nil
		}
	}
	if name == unknownTable && c.mended != nil {
		return thing{def: &definition{name: name}}, nil
	}
	fault := c.errAt(diag.UnknownName, at, "%q is no source, table, view or WITH query", name).
		WithHint("declare it with CREATE SOURCE, CREATE TABLE or CREATE VIEW before the query")
	if near := diag.Near(name, c.known()); near != "" {
		fault = fault.WithLabel("did you mean %q?", near)
	}
	return thing{}, fault
}

func (c *compiler) known() []string {
	var names []string
	for _, s := range c.app.Sources {
		names = append(names, s.Name)
	}
	for _, t := range c.app.Tables {
		names = append(names, t.Name)
	}
	for _, v := range c.app.Views {
		names = append(names, v.Name)
	}
	return names
}

// streaming reports whether anything below v reads a source. It resolves every name there.
func (c *compiler) streaming(v any, e *env) (bool, error) {
	switch v := v.(type) {
	case tree:
		return c.streamingTree(v, e)
	case []any:
		found := false
		for _, x := range v {
			yes, err := c.streaming(x, e)
			if err != nil {
				return false, err
			}
			found = found || yes
		}
		return found, nil
	}
	return false, nil
}

func (c *compiler) streamingTree(t tree, e *env) (bool, error) {
	if t == nil {
		return false, nil
	}
	switch t.class() {
	case "BASE_TABLE":
		return c.streamingName(t.str("table_name"), e, t)
	case "TABLE_FUNCTION":
		fn := t.sub("function")
		if kids := fn.trees("children"); isWindow(fn.function()) && len(kids) > 0 {
			if names := kids[0].names("column_names"); len(names) == 1 {
				return c.streamingName(names[0], e, kids[0])
			}
		}
	}
	found := false
	if with := t.sub("cte_map"); with != nil {
		inner := e
		for _, entry := range with.list("map") {
			en := asTree(entry)
			def := &definition{name: en.str("key"), body: en.sub("value").sub("query").sub("node"),
				env: inner}
			if def.body.class() == "RECURSIVE_CTE_NODE" {
				own := &env{up: inner,
					defs: map[string]*definition{strings.ToLower(def.name): {name: def.name}}}
				yes, err := c.streaming(def.body, own)
				if err != nil {
					return false, err
				}
				found = found || yes
				def = &definition{name: def.name}
			}
			inner = &env{up: inner, defs: map[string]*definition{strings.ToLower(def.name): def}}
		}
		e = inner
	}
	for _, k := range sortedKeys(t) {
		if k == "cte_map" {
			continue
		}
		yes, err := c.streaming(t[k], e)
		if err != nil {
			return false, err
		}
		found = found || yes
	}
	return found, nil
}

func (c *compiler) streamingName(name string, e *env, at tree) (bool, error) {
	what, err := c.resolve(name, e, at)
	if err != nil {
		return false, err
	}
	switch {
	case what.source != nil:
		return true, nil
	case what.def == nil || what.def.body == nil:
		return false, nil
	case what.def.busy:
		return false, c.errAt(diag.SQLInvalid, at, "%q is defined by itself", name).
			WithHint("recursive queries can only read reference tables; put them in CREATE TABLE")
	case what.def.known:
		return what.def.streams, nil
	}
	what.def.busy = true
	defer func() { what.def.busy = false }()
	yes, err := c.streaming(what.def.body, what.def.env)
	what.def.known, what.def.streams = err == nil, yes
	return yes, err
}

// copied counts what is written out several times, and stops before it fills the memory.
func (c *compiler) copied(at tree) error {
	const most = 5000
	if c.copies++; c.copies > most {
		return c.errAt(diag.ShapeUnsupported, at, "macros and WITH queries are used more than %d times in this query",
			most).WithHint("put what is used so often in CREATE TABLE")
	}
	return nil
}

// references makes a query over reference tables stand alone, in place: CTEs and views from outside become
// subqueries. Anything that reads a source is refused.
func (c *compiler) references(v any, e *env) error {
	switch v := v.(type) {
	case tree:
		return c.referencesTree(v, e)
	case []any:
		for _, x := range v {
			if err := c.references(x, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compiler) referencesTree(t tree, e *env) error {
	if t == nil {
		return nil
	}
	switch t.class() {
	case "BASE_TABLE":
		return c.referenceName(t, e)
	case "TABLE_FUNCTION":
		if err := c.checkTableFunction(t, e); err != nil {
			return err
		}
	case "PIVOT", "SHOW_REF", "DELIM_GET", "COLUMN_DATA":
		return c.shapeFault(t)
	}
	if t.sub("sample") != nil {
		return c.sampleFault(t)
	}
	if with := t.sub("cte_map"); with != nil {
		for _, entry := range with.list("map") {
			en := asTree(entry)
			hidden := &env{up: e,
				defs: map[string]*definition{strings.ToLower(en.str("key")): {name: en.str("key")}}}
			inner := e
			if en.sub("value").sub("query").sub("node").class() == "RECURSIVE_CTE_NODE" {
				inner = hidden
			}
			if err := c.references(en.sub("value").sub("query"), inner); err != nil {
				return err
			}
			e = hidden
		}
	}
	for _, k := range sortedKeys(t) {
		if k == "cte_map" {
			continue
		}
		if err := c.references(t[k], e); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) referenceName(t tree, e *env) error {
	if err := c.plainName(t); err != nil {
		return err
	}
	name := t.str("table_name")
	what, err := c.resolve(name, e, t)
	if err != nil {
		return err
	}
	switch {
	case what.source != nil:
		return c.errAt(diag.JoinUnsupported, t, "a subquery that reads source %q would join two streams here",
			name).
			WithHint("[NOT] EXISTS and IN run where each is a condition of WHERE by itself, over a stream in FROM; " +
				"otherwise join in FROM, or keep what the subquery needs in a reference table")
	case what.def == nil || what.def.body == nil:
		return nil
	}
	if err := c.copied(t); err != nil {
		return err
	}
	body := clone(what.def.body)
	if err := c.references(body, what.def.env); err != nil {
		return err
	}
	alias, columns := t.str("alias"), t.list("column_name_alias")
	if alias == "" {
		alias = name
	}
	if len(columns) == 0 {
		columns = what.def.aliases
	}
	if columns == nil {
		columns = []any{}
	}
	location := t["query_location"]
	clear(t)
	t["type"], t["alias"], t["sample"], t["query_location"] = "SUBQUERY", alias, nil, location
	t["subquery"], t["column_name_alias"] = tree{"node": body}, columns
	return nil
}

// shapeFault refuses a relation of another kind than those that queries know.
func (c *compiler) shapeFault(t tree) error {
	what := t.class()
	switch what {
	case "PIVOT":
		if len(t.list("unpivot_names")) > 0 {
			return c.errAt(diag.ShapeUnsupported, t, "UNPIVOT can not be used in a query").
				WithHint("write  unnest(['a', 'b']) AS name, unnest([a, b]) AS value  in the SELECT list")
		}
		return c.errAt(diag.ShapeUnsupported, t, "PIVOT can not be used in a query").
			WithHint("write  sum(x) FILTER (WHERE key = 'a') AS a  for each column, with GROUP BY")
	case "SHOW_REF":
		what = "DESCRIBE, SHOW or SUMMARIZE"
	}
	return c.errAt(diag.ShapeUnsupported, t, "%s can not be used in a query", what).
		WithHint("put it in CREATE TABLE over reference data")
}

func (c *compiler) plainName(t tree) error {
	if t.str("schema_name") != "" || t.str("catalog_name") != "" {
		return c.errAt(diag.UnknownName, t, "%q has a schema, but sources, tables and views have none",
			t.str("table_name")).
			WithHint("write the bare name")
	}
	if t.sub("sample") != nil {
		return c.sampleFault(t)
	}
	return nil
}

func isWindow(name string) bool { return name == "tumble" || name == "hop" || name == "session" }

// checkTableFunction admits the few table functions that read nothing, and the application's own table macros
// over reference tables.
func (c *compiler) checkTableFunction(t tree, e *env) error {
	fn := t.sub("function")
	name := fn.function()
	switch name {
	case "range", "generate_series", "unnest":
		return nil
	case "tumble", "hop", "session":
		return c.errAt(diag.ShapeUnsupported, t, "%s() can only stand in the FROM of a query over a stream",
			name).
			WithHint("compute time_bucket() of the reference table's column instead")
	}
	for _, m := range c.cat.macros[name] {
		if !m.table || !c.ownMacros[name] {
			continue
		}
		return c.checkTableMacro(t, m, e)
	}
	return c.errAt(diag.FunctionRefused, t, "table function %q can not be used in a query", name).
		WithHint("read files and other outside data by CREATE SOURCE or CREATE TABLE; " +
			"range, generate_series and unnest are allowed")
}

func (c *compiler) checkTableMacro(t tree, m macro, e *env) error {
	data, err := c.db.Parse(c.ctx, m.body)
	if err != nil {
		return c.errAt(diag.SQLInvalid, t, "the body of macro %q can not be parsed: %v",
			t.sub("function").function(), err)
	}
	body, err := decodeTree(data)
	if err != nil {
		return err
	}
	walk(body, func(n tree) bool {
		if n.at() >= 0 {
			n["query_location"] = t.sub("function")["query_location"]
		}
		return true
	})
	if err := c.useMacros(t.sub("function")); err != nil {
		return err
	}
	if err := c.inlineMacros(c.ctx, body, 0); err != nil {
		return err
	}
	before := c.usesNow
	c.usesNow = false
	err = c.checkFunctions(clone(body))
	clock := c.usesNow
	c.usesNow = before
	if err != nil {
		return err
	}
	if clock { // DuckDB expands the macro's own text, in which the batch's time can not be put
		return c.errAt(diag.FunctionRefused, t, "a table macro can not read the clock").
			WithHint("pass now() to it as an argument")
	}
	yes, err := c.streaming(body, nil)
	if err != nil {
		return err
	}
	if yes {
		return c.errAt(diag.ShapeUnsupported, t, "a table macro can not read a source yet").
			WithHint("use CREATE VIEW, or write its SELECT out")
	}
	return c.references(body, e)
}
