package main

import (
	"fmt"
	"maps"
	"strings"

	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// whatChanged lists what differs between two texts of one query, in the words of the text.
func whatChanged(was, is *planned) []string {
	changes := changes{}
	a, b := was.def, is.def
	changes.compare("trigger", a.Trigger.String(), b.Trigger.String())
	changes.compare("output mode", a.Mode.String(), b.Mode.String())
	changes.compare("sinks", strings.Join(a.Sinks, ", "), strings.Join(b.Sinks, ", "))
	changes.options("", a.Options, b.Options)
	if a.Body != b.Body {
		changes.add("the SELECT")
	}
	changes.columns("result column", schemaTypes(was.plan.Schema), schemaTypes(is.plan.Schema))
	changes.sources(was.plan.Sources, is.plan.Sources)
	changes.sinks(was, is)
	changes.tables(was.plan.Tables, is.plan.Tables)
	if was.plan.Hash() != is.plan.Hash() {
		changes.helpers(was.app, is.app)
	}
	if len(changes) == 0 && was.shape.Fingerprint != is.shape.Fingerprint {
		changes.add("the plan")
	}
	return changes
}

// changes are the differences that have been found.
type changes []string

func (c *changes) add(format string, args ...any) { *c = append(*c, fmt.Sprintf(format, args...)) }

func (c *changes) compare(what, was, is string) {
	if was != is {
		c.add("%s: %s, was %s", what, orNone(is), orNone(was))
	}
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// options compares options as they are in force and as they may be shown: a stored text has no passwords to compare.
func (c *changes) options(of string, was, is stream.Options) {
	before, now := sqlfront.OptionText(was), sqlfront.OptionText(is)
	both := maps.Clone(before)
	maps.Copy(both, now)
	for _, name := range sortedNames(both) {
		c.compare(of+name, before[name], now[name])
	}
}

// columnList is columns with their types, in order.
type columnList struct {
	names []string
	types map[string]string
}

func schemaTypes(cols []stream.Column) columnList {
	l := columnList{types: map[string]string{}}
	for _, col := range cols {
		l.names, l.types[col.Name] = append(l.names, col.Name), col.Type
	}
	return l
}

func declaredTypes(cols []planner.Column) columnList {
	l := columnList{types: map[string]string{}}
	for _, col := range cols {
		typ := col.Type
		if col.Expr != "" {
			typ += " AS (" + strings.TrimSpace(col.Expr) + ")"
		}
		l.names, l.types[col.Name] = append(l.names, col.Name), typ
	}
	return l
}

func (c *changes) columns(what string, was, is columnList) {
	before := len(*c)
	for _, name := range is.names {
		switch typ, ok := was.types[name]; {
		case !ok:
			c.add("%s %s %s is new", what, name, is.types[name])
		case typ != is.types[name]:
			c.add("%s %s: %s, was %s", what, name, is.types[name], typ)
		}
	}
	for _, name := range was.names {
		if _, ok := is.types[name]; !ok {
			c.add("%s %s is gone", what, name)
		}
	}
	if before == len(*c) && strings.Join(was.names, "\n") != strings.Join(is.names, "\n") {
		c.add("the order of %ss", what)
	}
}

func (c *changes) sources(was, is []*planner.Source) {
	before := map[string]*planner.Source{}
	for _, s := range was {
		before[s.Name] = s
	}
	for _, s := range is {
		old := before[s.Name]
		delete(before, s.Name)
		if old == nil {
			c.add("source %s is new", s.Name)
			continue
		}
		of := "source " + s.Name + ": "
		c.compare(of+"connector", old.Connector, s.Connector)
		c.compare(of+"watermark", watermarkOf(old), watermarkOf(s))
		c.options(of, old.Options, s.Options)
		c.columns(of+"column", declaredTypes(old.Columns), declaredTypes(s.Columns))
	}
	for _, s := range was {
		if before[s.Name] != nil {
			c.add("source %s is gone", s.Name)
		}
	}
}

func watermarkOf(s *planner.Source) string {
	if s.Watermark == nil {
		return ""
	}
	return fmt.Sprintf("%s - %s", s.Watermark.Column, s.Watermark.Delay)
}

// sinks compares the sinks that both texts write to.
func (c *changes) sinks(was, is *planned) {
	for _, name := range is.def.Sinks {
		for _, other := range was.def.Sinks {
			if name != other {
				continue
			}
			a, b := sinkOf(was.app, name), sinkOf(is.app, name)
			c.compare("sink "+name+": connector", a.Connector, b.Connector)
			c.options("sink "+name+": ", a.Options, b.Options)
		}
	}
}

func sinkOf(app *planner.App, name string) *planner.Sink {
	return find(app.Sinks, func(d *planner.Sink) string { return d.Name }, name)
}

func (c *changes) tables(was, is []*planner.Table) {
	before := map[string]*planner.Table{}
	for _, t := range was {
		before[t.Name] = t
	}
	for _, t := range is {
		old := before[t.Name]
		delete(before, t.Name)
		if old == nil {
			c.add("reference table %s is new", t.Name)
			continue
		}
		if old.Body != t.Body {
			c.add("reference table %s: its SELECT", t.Name)
		}
		c.compare("reference table "+t.Name+": refresh", old.Refresh.String(), t.Refresh.String())
	}
	for _, t := range was {
		if before[t.Name] != nil {
			c.add("reference table %s is gone", t.Name)
		}
	}
}

// helpers names the views and macros that differ, of which the query reads some.
func (c *changes) helpers(was, is *planner.App) {
	bodies := map[string]string{}
	for _, v := range was.Views {
		bodies["view "+v.Name] = v.Body
	}
	for _, m := range was.Macros {
		bodies["macro "+m.Name] = m.Text
	}
	differs := func(name, text string) {
		if old, ok := bodies[name]; ok && old != text {
			c.add("%s", name)
		}
	}
	for _, v := range is.Views {
		differs("view "+v.Name, v.Body)
	}
	for _, m := range is.Macros {
		differs("macro "+m.Name, m.Text)
	}
}
