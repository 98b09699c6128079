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
	busy    bool      // being compiled: a second entry is a cycle
}

func (e *env) find(name string) *definition {
	for ; e != nil; e = e.up {
		if d := e.defs[strings.ToLower(name)]; d != nil {
			return d
		}
	}
	return nil
}

// within opens a scope for the CTEs of a query node and takes them out of it. Each CTE sees those before it.
func (e *env) within(node tree) *env {
	with := node.sub("cte_map").list("map")
	node["cte_map"] = emptyWith()
	for _, entry := range with {
		en := asTree(entry)
		def := &definition{name: en.str("key"), body: en.sub("value").sub("query").sub("node"),
			aliases: en.sub("value").list("aliases"), env: e}
		e = &env{up: e, defs: map[string]*definition{strings.ToLower(def.name): def}}
	}
	return e
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

// streaming reports whether anything below v reads a source.
func (c *compiler) streaming(v any, e *env) (bool, error) {
	switch v := v.(type) {
	case tree:
		return c.streamingTree(v, e)
	case []any:
		for _, x := range v {
			if yes, err := c.streaming(x, e); yes || err != nil {
				return yes, err
			}
		}
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
	if with := t.sub("cte_map"); with != nil {
		inner := e
		for _, entry := range with.list("map") {
			en := asTree(entry)
			def := &definition{name: en.str("key"), body: en.sub("value").sub("query").sub("node"),
				env: inner}
			if def.body.class() == "RECURSIVE_CTE_NODE" {
				own := &env{up: inner,
					defs: map[string]*definition{strings.ToLower(def.name): {name: def.name}}}
				if yes, err := c.streaming(def.body, own); yes || err != nil {
					return yes, err
				}
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
		if yes, err := c.streaming(t[k], e); yes || err != nil {
			return yes, err
		}
	}
	return false, nil
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
	}
	what.def.busy = true
	defer func() { what.def.busy = false }()
	return c.streaming(what.def.body, what.def.env)
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
		return c.errAt(diag.ShapeUnsupported, t, "%s is not supported in a query", t.class()).
			WithHint("put it in CREATE TABLE")
	}
	if t.sub("sample") != nil {
		return c.errAt(diag.FunctionRefused, t, "TABLESAMPLE gives other rows each time").
			WithHint("filter by a hash of a key instead")
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
			WithHint("read the stream in FROM, or keep what the subquery needs in a reference table")
	case what.def == nil || what.def.body == nil:
		return nil
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

func (c *compiler) plainName(t tree) error {
	if t.str("schema_name") != "" || t.str("catalog_name") != "" {
		return c.errAt(diag.UnknownName, t, "%q has a schema, but sources, tables and views have none",
			t.str("table_name")).
			WithHint("write the bare name")
	}
	if t.sub("sample") != nil {
		return c.errAt(diag.FunctionRefused, t, "TABLESAMPLE gives other rows each time").
			WithHint("filter by a hash of a key instead")
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
