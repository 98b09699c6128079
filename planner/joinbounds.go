package planner

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
)

// bound says how far the times of two rows that match may be apart: low <= left - right <= high, in microseconds.
type bound struct {
	left, right term
	low, high   *int64
}

// term is a time of one side, without the constant that is added to it.
type term struct {
	side   *joinSide
	expr   tree
	sql    string
	column string // lower case, if it is one
	mark   mark   // as a plain event time
	offset int64
}

// leave says when a row of a side can match no more: time + wait <= watermark.
type leave struct {
	sql    string
	column string
	wait   int64
	mark   mark // of the time
	bounds bool // rows with a time that has passed are late
}

// finish renders the conditions and finds out when rows leave.
func (j *streamJoin) finish(c *compiler, t tree, both []tree) error {
	j.n = len(c.ops) + 1
	s := j.scope(c)
	for _, condition := range both {
		if err := j.comparison(c, s, condition); err != nil {
			return err
		}
	}
	condition := asTree(conjunction(both))
	on, err := c.exprSQL(condition)
	if err != nil {
		return err
	}
	j.on, j.again = on, !slices.ContainsFunc(both, func(t tree) bool { return !j.steady(c, t) })
	j.dropTwins()
	for _, side := range j.sides() {
		j.leaves(side)
		if len(side.frees) == 0 && side.preserv {
			return j.neverLeaves(c, t, side)
		}
	}
	if err := j.takeMade(c, condition); err != nil {
		return err
	}
	for _, side := range j.sides() {
		if len(side.frees) == 0 && side.made == nil {
			c.warnings = append(c.warnings, j.warning(c, side))
		}
		if err := side.input(c, j.n, side.preserv || j.semi() && side == j.left); err != nil {
			return err
		}
	}
	return nil
}

// comparison notes what a condition over both sides says of NULL and of times.
func (j *streamJoin) comparison(c *compiler, s *scope, t tree) error {
	if t.class() != "COMPARISON" || t.str("type") == "COMPARE_NOT_DISTINCT_FROM" ||
		t.str("type") == "COMPARE_DISTINCT_FROM" {
		return nil
	}
	if j.across(t) {
		for _, part := range []tree{t.sub("left"), t.sub("right")} {
			if err := j.needs(c, part); err != nil {
				return err
			}
		}
	}
	op := t.str("type")
	a, b := j.term(s, t.sub("left")), j.term(s, t.sub("right"))
	shift := int64(0)
	if a == nil || b == nil { // x - y <= interval is x <= y + interval
		diff, constant := t.sub("left"), t.sub("right")
		if diff.function() != "-" {
			diff, constant, op = constant, diff, turned(op)
		}
		args := diff.trees("children")
		micros, ok := c.micros(constant)
		if diff.function() != "-" || len(args) != 2 || !ok {
			return nil
		}
		if a, b = j.term(s, args[0]), j.term(s, args[1]); a == nil || b == nil || a.side == b.side {
			return nil
		}
		for _, arg := range args {
			if err := j.needs(c, arg); err != nil {
				return err
			}
		}
		shift = micros
	}
	if a.side == b.side {
		return nil
	}
	// a + a.offset op b + b.offset + shift, so a - b op distance
	distance := b.offset + shift - a.offset
	if a.side == j.right {
		a, b, op, distance = b, a, turned(op), -distance
	}
	j.narrow(a, b, op, distance)
	return nil
}

// turned is a comparison with its sides exchanged.
func turned(op string) string {
	switch op {
	case "COMPARE_LESSTHAN":
		return "COMPARE_GREATERTHAN"
	case "COMPARE_LESSTHANOREQUALTO":
		return "COMPARE_GREATERTHANOREQUALTO"
	case "COMPARE_GREATERTHAN":
		return "COMPARE_LESSTHAN"
	case "COMPARE_GREATERTHANOREQUALTO":
		return "COMPARE_LESSTHANOREQUALTO"
	}
	return op
}

// needs notes that rows in which an expression is NULL match nothing.
func (j *streamJoin) needs(c *compiler, t tree) error {
	l, r := reads(t)
	if l == r {
		return nil
	}
	side := j.left
	if r {
		side = j.right
	}
	sql, err := c.exprSQL(t)
	if err != nil {
		return err
	}
	for _, known := range side.notNull {
		if known == sql {
			return nil
		}
	}
	side.notNull = append(side.notNull, sql)
	return nil
}

// term takes constant intervals off a time of one side. It is nil for what is no time.
func (j *streamJoin) term(s *scope, t tree) *term {
	l, r := reads(t)
	if l == r {
		return nil
	}
	if name := t.function(); name == "+" || name == "-" {
		args := t.trees("children")
		if len(args) != 2 {
			return nil
		}
		time, interval := args[0], args[1]
		micros, ok := s.c.micros(interval)
		if !ok && name == "+" {
			time, interval = interval, time
			micros, ok = s.c.micros(interval)
		}
		out := j.term(s, time)
		if !ok || out == nil {
			return nil
		}
		if name == "-" {
			micros = -micros
		}
		out.offset += micros
		return out
	}
	out := &term{side: j.left, expr: t, mark: s.mark(t).event()}
	if r {
		out.side = j.right
	}
	rel, name := s.lookup(t)
	if rel != nil {
		out.column = strings.ToLower(name)
		if col, ok := rel.column(name); !ok || col.Type != "TIMESTAMP" {
			return nil
		}
	} else if out.mark.kind == markNone {
		return nil
	}
	sql, err := s.c.exprSQL(t)
	if err != nil {
		return nil
	}
	out.sql = sql
	return out
}

// narrow adds left - right op distance to what is known of two times.
func (j *streamJoin) narrow(l, r *term, op string, distance int64) {
	var b *bound
	for _, known := range j.bounds {
		if known.left.sql == l.sql && known.right.sql == r.sql {
			b = known
		}
	}
	if b == nil {
		b = &bound{left: *l, right: *r}
		j.bounds = append(j.bounds, b)
	}
	low, high := distance, distance
	switch op {
	case "COMPARE_GREATERTHAN":
		low++
	case "COMPARE_LESSTHAN":
		high--
	}
	switch op {
	case "COMPARE_EQUAL", "COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO":
		if b.low == nil || low > *b.low {
			b.low = &low
		}
	}
	switch op {
	case "COMPARE_EQUAL", "COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO":
		if b.high == nil || high < *b.high {
			b.high = &high
		}
	}
}

func (b *bound) fixed() bool { return b.low != nil && b.high != nil && *b.low == *b.high }

// frees reports whether rows of either side leave by the bound.
func (b *bound) frees() bool {
	l, r := b.left.mark.kind != markNone, b.right.mark.kind != markNone
	return b.low != nil && r || b.high != nil && l || b.fixed() && (l || r)
}

// dropTwins leaves the starts of windows out where their ends are compared too: they say the same.
func (j *streamJoin) dropTwins() {
	kind := func(t term) mark { return t.side.marks[t.column] }
	twin := func(a, b term) bool {
		return kind(a).window != "" && kind(a).window == kind(b).window || kind(a).kind == markNone
	}
	var kept []*bound
	for _, b := range j.bounds {
		drop := false
		for _, o := range j.bounds {
			l, r := kind(b.left), kind(b.right)
			ends := kind(o.left).kind == markEnd || kind(o.right).kind == markEnd
			starts := (l.kind == markStart || r.kind == markStart) && l.kind != markEnd && r.kind != markEnd
			drop = drop || starts && ends && b.fixed() && o.fixed() && *b.low == 0 && *o.low == 0 &&
				twin(b.left, o.left) && twin(b.right, o.right)
		}
		if !drop && (b.low != nil || b.high != nil) {
			kept = append(kept, b)
		}
	}
	j.bounds = kept
}

// leaves finds when rows of a side can match no more, and when they are late.
func (j *streamJoin) leaves(s *joinSide) {
	for _, b := range j.bounds {
		mine, other, edge := b.left, b.right, b.low
		if s == j.right {
			mine, other, edge = b.right, b.left, b.high
		}
		if b.fixed() { // a side without a mark takes that of the other
			switch {
			case mine.mark.kind == markNone && other.mark.kind != markNone:
				mine.mark = other.mark
				mine.mark.lag += s.direction(j) * *b.low
			case other.mark.kind == markNone && mine.mark.kind != markNone:
				other.mark = mine.mark
				other.mark.lag -= s.direction(j) * *b.low
			}
		}
		late := ""
		if mine.mark.kind != markNone && b.frees() {
			late = mine.mark.late(s.shown(mine.sql))
			s.entry.Late = either(s.entry.Late, late)
		}
		if edge == nil || other.mark.kind == markNone {
			continue
		}
		wait := other.mark.lag - *edge
		if s == j.right {
			wait = other.mark.lag + *edge
		}
		s.frees = append(s.frees, leave{sql: s.shown(mine.sql), column: mine.column, wait: wait, mark: mine.mark, bounds: late != ""})
	}
}

// direction is the sign of left - right for a side: a time of the other side is this one's minus it.
func (s *joinSide) direction(j *streamJoin) int64 {
	if s == j.left {
		return -1
	}
	return 1
}

func either(a, b string) string {
	if a == "" {
		return b
	}
	return a + " OR " + b
}

// closed is the condition for rows that can match no more, or "".
func (s *joinSide) closed() string {
	parts := make([]string, len(s.frees))
	for i, f := range s.frees {
		parts[i] = f.sql + minus(getVariable(VarWatermark), f.wait)
	}
	if len(parts) > 1 {
		return "(" + strings.Join(parts, " OR ") + ")"
	}
	return strings.Join(parts, "")
}

// until is the time at which a row can match no more.
func (s *joinSide) until() string {
	parts := make([]string, len(s.frees))
	for i, f := range s.frees {
		parts[i] = f.sql
		if f.wait != 0 {
			parts[i] += fmt.Sprintf(" + to_microseconds(%d)", f.wait)
		}
	}
	if len(parts) > 1 {
		return "least(" + strings.Join(parts, ", ") + ")"
	}
	return strings.Join(parts, "")
}

// minus is the comparison with a time a while before another. The column stands alone, so that DuckDB can leave out
// whole stretches of a table.
func minus(until string, wait int64) string {
	if wait == 0 {
		return " <= " + until
	}
	return fmt.Sprintf(" <= %s - to_microseconds(%d)", until, wait)
}

// outMarks says what is known of times in the join's rows: they come out as long as the rows that they are from stay.
func (j *streamJoin) outMarks() map[string]mark {
	marks := map[string]mark{}
	for _, s := range j.sides() {
		if j.semi() && s == j.right {
			break
		}
		for column, m := range s.marks {
			wait, ok := s.wait(column, m)
			if !ok {
				continue
			}
			m.lag, m.key = max(m.lag, wait), 0
			m.absent = m.absent || j.other(s).preserv && !j.semi()
			if m.window != "" {
				m.window = fmt.Sprintf("%s.%s.%s", j.out(), s.name, m.window)
			}
			marks[column] = m
		}
	}
	return marks
}

// wait is how long after the time in a column a row of the side may come out, if that is known.
func (s *joinSide) wait(column string, m mark) (int64, bool) {
	best, found := int64(0), false
	for _, f := range s.frees {
		base := s.marks[f.column]
		wait := f.wait
		switch {
		case f.column == column && m.kind == markStart:
			wait -= m.size
		case f.column == column:
		case m.window == "" || m.window != base.window:
			continue
		case base.kind == markStart:
			wait -= base.size
		}
		if !found || wait < best {
			best, found = wait, true
		}
	}
	return best, found
}

// shown leaves the side's alias out, which its columns are unique without.
func (s *joinSide) shown(sql string) string { return strings.ReplaceAll(sql, s.alias+".", "") }

func duration(micros int64) string { return (time.Duration(micros) * time.Microsecond).String() }

// missing says what would let rows of a side leave, and how to write it.
func (j *streamJoin) missing(c *compiler, s *joinSide) (why, hint string) {
	o := j.other(s)
	marked, plain, mine := o.marked, o.plain, "time"
	if own := append(append([]string(nil), s.marked...), s.plain...); len(own) > 0 {
		mine = own[0]
	}
	if len(marked) > 0 {
		return fmt.Sprintf("no condition bounds how much later than a %s row its match may come", s.name),
			fmt.Sprintf("add  AND %s >= %s - INTERVAL '1 hour'  to the join condition, or join on equal windows",
				mine, marked[0])
	}
	sources := strings.Join(o.from.main.sources, ", ")
	theirs := "ts"
	for _, src := range c.app.Sources {
		for _, col := range src.Columns {
			if strings.Join(o.from.main.sources, "") == src.Name && col.Type == "TIMESTAMP" && theirs == "ts" {
				theirs = col.Name
			}
		}
	}
	hint = fmt.Sprintf("add  WATERMARK FOR %s AS %s - INTERVAL '10 seconds'  to CREATE SOURCE %s", theirs, theirs, sources)
	if len(plain) > 0 {
		theirs = plain[0]
	}
	bounded := false
	for _, b := range j.bounds {
		bounded = bounded || s == j.left && b.low != nil || s == j.right && b.high != nil
	}
	if !bounded {
		hint += fmt.Sprintf("  and  AND %s >= %s - INTERVAL '1 hour'  to the join condition", mine, theirs)
	}
	return fmt.Sprintf("the %s side (%s) has no watermark here", o.name, sources), hint
}

// neverLeaves refuses a join whose rows without a match would never come out.
func (j *streamJoin) neverLeaves(c *compiler, t tree, s *joinSide) error {
	why, hint := j.missing(c, s)
	return c.errAt(diag.JoinUnsupported, t, "this %s JOIN of two streams could never tell that a %s row has no match: %s",
		j.kind, s.name, why).WithHint("%s", hint)
}

// warning says that rows of a side stay for ever.
func (j *streamJoin) warning(c *compiler, s *joinSide) string {
	_, hint := j.missing(c, s)
	table := s.table(j.n)
	return fmt.Sprintf("the join keeps every row of its %s side (%s) for ever, about %d bytes each; to free them %s",
		s.name, strings.Join(s.from.main.sources, ", "), table.RowBytes(), hint)
}

// notes say in words when rows leave.
func (j *streamJoin) notes() []string {
	var out []string
	for _, s := range j.sides() {
		switch {
		case s.made != nil:
			out = append(out, fmt.Sprintf("%s rows are made again of what join %d keeps", s.name, s.made.n))
		case len(s.frees) == 0:
			out = append(out, s.name+" rows are never freed")
		default:
			out = append(out, fmt.Sprintf("frees a %s row when %s", s.name, s.closed()))
		}
		if s.entry.Late != "" {
			out = append(out, fmt.Sprintf("drops a %s row as late when %s", s.name, s.entry.Late))
		}
	}
	return out
}

// node describes the join for EXPLAIN.
func (j *streamJoin) node(c *compiler) *Node {
	n := &Node{Op: fmt.Sprintf("join %s on %s", strings.ToLower(j.kind), j.shown(j.on)),
		Below: []*Node{j.left.from.main.node, j.right.from.main.node}}
	for _, s := range j.sides() {
		for _, t := range append(append([]tree(nil), s.where...), s.own...) {
			if sql, err := c.exprSQL(t); err == nil {
				n.Detail = append(n.Detail, s.name+" rows match only if "+s.shown(sql))
			}
		}
	}
	for _, b := range j.bounds {
		n.Detail = append(n.Detail, j.shown(b.words()))
	}
	for _, s := range j.sides() {
		if s.made != nil {
			continue
		}
		if len(s.frees) == 0 {
			n.Detail = append(n.Detail, s.name+" rows are never freed")
			continue
		}
		parts := make([]string, len(s.frees))
		for i, f := range s.frees {
			parts[i] = f.sql
			switch {
			case f.wait > 0:
				parts[i] += " + " + duration(f.wait)
			case f.wait < 0:
				parts[i] += " - " + duration(-f.wait)
			}
		}
		n.Detail = append(n.Detail, fmt.Sprintf("%s rows are freed when the watermark reaches %s", s.name,
			strings.Join(parts, " or ")))
	}
	return n
}

func (j *streamJoin) shown(sql string) string { return j.left.shown(j.right.shown(sql)) }

// words says how far apart two times may be.
func (b *bound) words() string {
	text := fmt.Sprintf("%s - %s is", b.left.sql, b.right.sql)
	switch {
	case b.fixed():
		return text + " " + duration(*b.low)
	case b.low != nil && b.high != nil:
		return fmt.Sprintf("%s from %s to %s", text, duration(*b.low), duration(*b.high))
	case b.low != nil:
		return fmt.Sprintf("%s at least %s", text, duration(*b.low))
	}
	return fmt.Sprintf("%s at most %s", text, duration(*b.high))
}
