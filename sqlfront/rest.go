package sqlfront

import (
	"maps"
	"regexp"
	"slices"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// declares reports whether the definition that a statement makes could be read as far as its name.
func (r *reader) declares(p *parser) bool {
	for _, n := range r.names {
		if len(n.tokens) > 0 && n.tokens[0].start == p.toks[0].start {
			return true
		}
	}
	return false
}

// definition finds the name behind CREATE and the kind of object, or behind what was meant to be them.
var definition = regexp.MustCompile( //nolint:gochecknoglobals // a constant pattern
	`(?i)(?:^|\bCREATE\s+)(?:\w+\s+)?(?:OR\s+REPLACE\s+)?\w+\s+(?:IF\s+NOT\s+EXISTS\s+)?("[^"]+"|\w+)`)

// lose notes the names that a statement which can not be read may define: what reads them is not looked at.
func (r *reader) lose(p *parser) {
	text := r.text.Body[p.toks[0].start:p.toks[len(p.toks)-1].end]
	for _, m := range definition.FindAllStringSubmatch(text, -1) {
		if !duck.Reserved(m[1]) { // every query has those
			r.lost[fold(nameText(m[1]))] = true
		}
	}
}

// rest returns what can be looked at though the text has faults, or nil if there is nothing.
func (r *reader) rest() *Rest {
	if len(r.faults) >= textFaultsMax {
		return nil // it was not read to the end
	}
	bad, faulty := r.unknowable(), r.faultyNames()
	for name := range bad {
		faulty[name] = true
	}
	app := &planner.App{Text: r.text, Sinks: r.app.Sinks, Queries: r.app.Queries,
		Lost: slices.Sorted(maps.Keys(bad))}
	sound := func(name string) bool { return !bad[fold(name)] }
	app.Sources = keep(r.app.Sources, func(d *planner.Source) bool { return sound(d.Name) })
	app.Tables = keep(r.app.Tables, func(d *planner.Table) bool { return sound(d.Name) })
	app.Views = keep(r.app.Views, func(d *planner.View) bool { return sound(d.Name) })
	app.Macros = keep(r.app.Macros, func(d *planner.Macro) bool { return sound(d.Name) })
	rest := &Rest{App: app, Whole: map[string]bool{}}
	for _, s := range app.Sources {
		rest.Whole[s.Name] = !faulty[fold(s.Name)]
	}
	for _, q := range app.Queries {
		if entry := r.names[fold(q.Name)]; entry != nil {
			rest.Whole[q.Name] = !entry.faulty && !r.mentions(entry, faulty)
		}
	}
	return rest
}

// unknowable are the names of which nothing is known: definitions that can not be read, and the macros and tables that
// read such.
func (r *reader) unknowable() map[string]bool {
	bad := map[string]bool{}
	for name := range r.lost {
		if r.names[name] == nil || r.names[name].faulty {
			bad[name] = true
		}
	}
	for name, n := range r.names {
		if n.faulty && !n.shaped && n.object != SinkObject && n.object != QueryObject {
			bad[name] = true
		}
	}
	for more := true; more; {
		more = false
		for name, n := range r.names {
			reads := n.object == MacroObject || n.object == TableObject
			if reads && !bad[name] && r.mentions(n, bad) {
				bad[name], more = true, true
			}
		}
	}
	return bad
}

func (r *reader) faultyNames() map[string]bool {
	bad := map[string]bool{}
	for name, n := range r.names {
		bad[name] = n.faulty
	}
	return bad
}

// mentions reports whether a definition has a word that is one of the names, beside its own.
func (r *reader) mentions(n *named, names map[string]bool) bool {
	return slices.ContainsFunc(n.tokens, func(t token) bool {
		if t.kind != tokenWord && t.kind != tokenQuoted {
			return false
		}
		name := fold(nameText(r.text.Body[t.start:t.end]))
		return names[name] && name != fold(n.name)
	})
}

func keep[D any](list []D, good func(D) bool) []D {
	return slices.DeleteFunc(slices.Clone(list), func(d D) bool { return !good(d) })
}
