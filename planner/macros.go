package planner

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
)

// inlineMacros replaces calls of scalar macros by their bodies, so that what these hold is seen. Two kinds are left to
// DuckDB: a call that leaves an argument out, whose default value is not known here, and a macro with a subquery, whose
// columns would capture those of the arguments.
func (c *compiler) inlineMacros(ctx context.Context, v any, depth int) error {
	var failed error
	rewrite(v, func(t tree) (any, bool) {
		if failed != nil {
			return nil, false
		}
		m, args, ok := c.cat.find(t)
		if !ok {
			failed = c.opaqueMacro(ctx, t, depth)
			return nil, false
		}
		body, err := c.macroBody(ctx, m, t)
		if err != nil {
			failed = err
			return nil, false
		}
		if failed = c.copied(t); failed != nil {
			return nil, false
		}
		if hasSubquery(body) && anyVaries(args) {
			failed = c.opaqueMacro(ctx, t, depth)
			return nil, false
		}
		if depth > 16 {
			failed = c.errAt(diag.FunctionRefused, t, "macro %q calls itself", t.function()).
				WithHint("write it without the cycle")
			return nil, false
		}
		out := rewrite(body, func(n tree) (any, bool) {
			names := n.names("column_names")
			if n.class() != "COLUMN_REF" || len(names) != 1 || args[strings.ToLower(names[0])] == nil {
				return nil, false
			}
			return cloneAny(args[strings.ToLower(names[0])]), true
		})
		holder := tree{"body": out}
		failed = c.inlineMacros(ctx, holder, depth+1)
		result := holder.sub("body")
		if result.str("alias") == "" {
			result["alias"] = t.str("alias")
		}
		return result, true
	})
	return failed
}

// find returns the scalar macro that a call means, with its arguments by lower-case parameter.
func (c *catalogue) find(t tree) (macro, map[string]tree, bool) {
	name := t.function()
	if name == "" || t.flag("distinct") || t.sub("filter") != nil {
		return macro{}, nil, false
	}
	for _, m := range c.macros[name] {
		if args := m.arguments(t.trees("children")); args != nil {
			return m, args, true
		}
	}
	return macro{}, nil, false
}

// arguments gives the arguments of a call to the parameters, those with a name at the end. It is nil if they do not
// fit, or are not all given.
func (m macro) arguments(given []tree) map[string]tree {
	if m.table || len(given) != len(m.params) {
		return nil
	}
	args := map[string]tree{}
	for i, p := range m.params {
		if given[i].str("alias") == "" {
			args[strings.ToLower(p)] = given[i]
		}
	}
	for _, g := range given {
		alias := strings.ToLower(g.str("alias"))
		if alias == "" {
			continue
		}
		if args[alias] != nil {
			return nil
		}
		g = clone(g)
		g["alias"] = ""
		args[alias] = g
	}
	for _, p := range m.params {
		if args[strings.ToLower(p)] == nil {
			return nil
		}
	}
	return args
}

func hasSubquery(v any) bool {
	found := false
	walk(v, func(t tree) bool {
		found = found || t.str("class") == "SUBQUERY"
		return !found
	})
	return found
}

func anyVaries(args map[string]tree) bool {
	for _, a := range args {
		if varies(a) {
			return true
		}
	}
	return false
}

// opaqueMacro looks into a macro of the application that DuckDB will expand, and refuses it if its body has to be seen
// in the query.
func (c *compiler) opaqueMacro(ctx context.Context, t tree, depth int) error {
	name := t.function()
	if !c.ownMacros[name] || depth > 16 {
		return nil
	}
	if err := c.useMacros(t); err != nil {
		return err
	}
	for _, m := range c.cat.macros[name] {
		if m.table {
			continue
		}
		body, err := c.macroBody(ctx, m, t)
		if err != nil {
			return err
		}
		holder := tree{"body": body}
		if err := c.inlineMacros(ctx, holder, depth+1); err != nil {
			return err
		}
		if hidden := c.hiddenBy(holder); hidden != "" {
			return c.errAt(diag.FunctionRefused, t, "macro %q is expanded by DuckDB itself, which hides %s in it", name,
				hidden).WithHint("give every argument, also those with a default value, or write out what the macro does")
		}
		if err := c.checkFunctions(holder); err != nil {
			return err
		}
		if err := c.references(holder, nil); err != nil {
			return err
		}
	}
	return nil
}

// hiddenBy names what a query has to know of a macro's body: the clock, and outside of subqueries what makes groups or
// rows.
func (c *compiler) hiddenBy(body tree) string {
	hidden := ""
	var visit func(v any, inside bool)
	visit = func(v any, inside bool) {
		walk(v, func(t tree) bool {
			fn := t.function()
			switch {
			case t.str("class") == "SUBQUERY" && !inside:
				visit(t.sub("subquery"), true)
				visit(t.sub("child"), false)
				return false
			case clocks()[fn] != "" || fn == "age" || clocks()[c.keyword(t)] != "":
				hidden = "the clock"
			case inside:
			case c.isAggregate(t):
				hidden = "an aggregate"
			case fn == "unnest" || fn == "unlist" || t.str("class") == "WINDOW":
				hidden = fn
			}
			return hidden == ""
		})
	}
	visit(body, false)
	return hidden
}

// macroBody returns the tree of a scalar macro's expression. All of it stands where the call does.
func (c *compiler) macroBody(ctx context.Context, m macro, call tree) (tree, error) {
	data, err := c.db.Parse(ctx, "SELECT "+m.body)
	if err != nil {
		return nil, fmt.Errorf("parse macro body %q: %w", m.body, err)
	}
	root, err := decodeTree(data)
	if err != nil {
		return nil, err
	}
	walk(root, func(t tree) bool {
		if t.at() >= 0 {
			t["query_location"] = call["query_location"]
		}
		return true
	})
	return root.trees("statements")[0].sub("node").trees("select_list")[0], nil
}

// neededMacros lists the macros that DuckDB expands itself when a batch runs.
func (c *compiler) neededMacros() []*Macro {
	var out []*Macro
	for _, m := range c.app.Macros {
		if c.usedMacros[strings.ToLower(m.Name)] {
			out = append(out, m)
		}
	}
	return out
}

// useMacros marks the application's macros that are called below v, and those that these call.
func (c *compiler) useMacros(v any) error {
	var failed error
	walk(v, func(t tree) bool {
		name := t.function()
		if failed != nil || !c.ownMacros[name] || c.usedMacros[name] {
			return failed == nil
		}
		c.usedMacros[name] = true
		for _, m := range c.cat.macros[name] {
			text := m.body
			if !m.table {
				text = "SELECT " + text
			}
			data, err := c.db.Parse(c.ctx, text)
			if err != nil {
				failed = fmt.Errorf("parse macro body %q: %w", m.body, err)
				return false
			}
			body, err := decodeTree(data)
			if err != nil {
				failed = err
				return false
			}
			if err := c.useMacros(body); err != nil {
				failed = err
			}
		}
		return failed == nil
	})
	return failed
}
