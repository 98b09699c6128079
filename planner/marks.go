package planner

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/duck"
)

// event is a time mark as that of a plain event time: rows with a value at or before watermark - lag come no more. A
// window's start is as late as its end.
func (m mark) event() mark {
	if m.kind == markNone || m.absent {
		return mark{}
	}
	lag := m.lag
	if m.kind == markStart {
		lag += m.size
	}
	return mark{kind: markEvent, lag: lag, source: m.source}
}

// windowLag is the lag of the bounds of windows over an event time: the last time in a window is a microsecond before
// its end.
func (m mark) windowLag() int64 {
	if m.lag > 0 {
		return m.lag - 1
	}
	return m.lag
}

// closes is the time of a group or row by its marked column: the watermark frees it when it has come so far.
func (m mark) closes(column string) string {
	end := column
	if m.kind == markStart {
		end += " + " + m.text
	}
	if m.lag != 0 {
		end += fmt.Sprintf(" + to_microseconds(%d)", m.lag)
	}
	return end
}

// ahead is what closes adds to the column, in microseconds.
func (m mark) ahead() int64 {
	if m.kind == markStart {
		return m.size + m.lag
	}
	return m.lag
}

func (m mark) late(column string) string { return m.closes(column) + " <= " + getVariable(VarLate) }

func (m mark) closed(column string) string {
	return m.closes(column) + " <= " + getVariable(VarWatermark)
}

// note says what the time of a mark is.
func (m mark) note() string {
	note := "the event time itself"
	switch m.kind {
	case markStart:
		note = "the window's end, start + " + m.text
	case markEnd:
		note = "the window's end"
	}
	if m.lag != 0 {
		note += fmt.Sprintf(", held back %s by the operators below", time.Duration(m.lag)*time.Microsecond)
	}
	return note
}

// mark says what is known of an expression: a column's own mark, or that of a time moved by a constant.
func (s *scope) mark(t tree) mark {
	if r, name := s.lookup(t); r != nil {
		return r.marks[strings.ToLower(name)]
	}
	switch t.function() {
	case "+", "-":
		return s.moved(t)
	case "coalesce":
		return s.either(t)
	case "epoch", "epoch_us", "epoch_ms":
		return s.shown(t.trees("children"))
	}
	if t.class() == "CAST" && !t.flag("try_cast") && exactCast(t) {
		return s.shown([]tree{t.sub("child")})
	}
	if t.class() == "OPERATOR" && t.str("type") == "OPERATOR_COALESCE" {
		return s.either(t)
	}
	return mark{}
}

// shown is the mark of a number or text that shows a key: it names it as well, but is no time.
func (s *scope) shown(args []tree) mark {
	if len(args) != 1 {
		return mark{}
	}
	m := s.mark(args[0])
	if (m.kind == markStart || m.kind == markEnd) && m.whole || m.kind == markNone {
		return mark{key: m.key}
	}
	return mark{}
}

// moved is the mark of time + interval or time - interval.
func (s *scope) moved(t tree) mark {
	args := t.trees("children")
	if len(args) != 2 {
		return mark{}
	}
	m := s.mark(args[0]).event()
	if m.kind == markNone {
		return mark{}
	}
	micros, ok := s.c.micros(args[1])
	if !ok {
		return mark{}
	}
	if t.function() == "+" {
		micros = -micros
	}
	m.lag += micros
	return m
}

// either is the mark of coalesce over times that an outer join may have left out.
func (s *scope) either(t tree) mark {
	args := t.trees("children")
	if len(args) == 0 {
		return mark{}
	}
	out := s.mark(args[0])
	for _, a := range args[1:] {
		m := s.mark(a)
		if m.kind != out.kind || m.size != out.size {
			return mark{}
		}
		out.lag, out.absent = max(out.lag, m.lag), out.absent && m.absent
	}
	if len(args) > 1 {
		out.absent = false
	}
	out.key = 0
	return out
}

// micros evaluates a constant interval without months. It is false for anything else.
func (c *compiler) micros(t tree) (int64, bool) {
	constant := true
	walk(t, func(n tree) bool {
		constant = constant && n.class() != "COLUMN_REF" && n.class() != "SUBQUERY" && n.class() != "PARAMETER"
		return constant
	})
	if !constant {
		return 0, false
	}
	sql, err := c.exprSQL(t)
	if err != nil {
		return 0, false
	}
	rows, err := c.db.Rows(c.ctx, "SELECT CASE WHEN typeof(i) = 'INTERVAL' AND datepart('year', i) = 0 AND "+
		"datepart('month', i) = 0 THEN epoch_us(TIMESTAMP '1970-01-01 00:00:00' + CAST(i AS INTERVAL)) END "+
		"FROM (SELECT "+sql+" AS i)")
	if err != nil {
		return 0, false
	}
	n, ok := rows[0][0].(int64)
	return n, ok
}

// add notes a compiled operator that reads rel.
func (c *compiler) add(op stateful, inputs ...*relation) {
	c.ops = append(c.ops, op)
	for _, rel := range inputs {
		if rel.raw {
			c.entries = append(c.entries, rel.sources...)
		}
	}
}

// shared reports whether rows of one source enter operators at several places.
func (c *compiler) shared() bool {
	seen := map[string]bool{}
	for _, s := range c.entries {
		if seen[s] {
			return true
		}
		seen[s] = true
	}
	return false
}

// emptyOut makes the table that an operator gives its rows in, so that what reads it can be typed.
func (c *compiler) emptyOut(name string, cols []duck.Column) error {
	parts := make([]string, len(cols))
	for i, col := range cols {
		parts[i] = duck.QuoteIdent(col.Name) + " " + col.Type
	}
	_, err := c.db.Exec(c.ctx, "CREATE OR REPLACE TEMP TABLE "+name+" ("+strings.Join(parts, ", ")+")")
	if err != nil {
		return fmt.Errorf("bind rows of %s: %w", name, err)
	}
	return nil
}
