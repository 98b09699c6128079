package sqlfront

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// QuerySpec describes the options of CREATE QUERY … WITH (…).
func QuerySpec() stream.Spec {
	return stream.Spec{
		Name:    "query",
		Summary: "The options of CREATE QUERY.",
		Fields: slices.Concat([]stream.Field{
			{
				Name: "watermark_policy", Type: stream.Enum, Values: []string{"min", "max"}, Default: "min", Fixed: true,
				Summary: "Whether the query's watermark is the least or the greatest of those of its sources.",
			},
			{
				Name: "idle_timeout", Type: stream.Duration, Min: int64(time.Millisecond), Max: int64(365 * 24 * time.Hour),
				Summary: "How long a source must have had nothing new to stop holding the others' watermark back. " +
					"Off unless set.",
			},
			{
				Name: "idle_advance", Type: stream.Duration, Min: int64(time.Millisecond), Max: int64(365 * 24 * time.Hour),
				Summary: "How long all sources must have had nothing new before the watermark goes on with the clock, " +
					"in steps of this length. Off unless set.",
			},
			{
				Name: "late", Type: stream.Enum, Values: []string{"drop", "dead_letter"}, Default: "drop",
				Summary: "What becomes of rows behind the watermark: counted and dropped, or kept as dead letters too.",
			},
			{
				Name: "dedup_horizon", Type: stream.Duration, Min: int64(time.Microsecond), Max: int64(3650 * 24 * time.Hour),
				Fixed: true,
				Summary: "How long DISTINCT remembers a key whose columns hold no watermarked time: until the watermark is " +
					"that much later than the key's first row. For ever unless set.",
			},
			{
				Name: "missed", Type: stream.Enum, Values: []string{"skip", "once", "all"}, Default: "skip",
				Summary: "What becomes of CRON ticks that passed while the process was down.",
			},
			{
				Name: "overlap", Type: stream.Enum, Values: []string{"queue", "skip", "cancel"}, Default: "queue",
				Summary: "What becomes of a CRON tick that comes due while an earlier slot still runs: its slot waits, " +
					"is skipped, or takes the place of the running one.",
			},
			{
				Name: "slot_delay", Type: stream.Duration, Min: 0, Max: int64(365 * 24 * time.Hour), Default: "0",
				Summary: "How long a slot waits after its end for stragglers.",
			},
		}, checkpointFields(), []stream.Field{
			{
				Name: "latency_target", Type: stream.Duration, Min: int64(time.Millisecond), Max: int64(time.Hour),
				Summary: "How long a row may wait and be worked on before its result is in the sinks: batches are kept so small " +
					"that two of them take no longer, within the sources' own limits. Off unless set.",
			},
			{
				Name: "retries", Type: stream.Int, Min: 0, Max: 1_000_000, Default: "10",
				Summary: "How often a temporary fault is tried again before the query fails.",
			},
			{
				Name: "memory_limit", Type: stream.Bytes, Min: 16 << 20, Max: 16 << 40,
				Summary: "Memory of the query: DuckDB's, that of keyed state, and of batches in flight. What has no room is spilled to disk. " +
					"An equal part of --memory-limit unless set.",
			},
		}),
		Example: "CREATE QUERY q INTO out WITH (watermark_policy = 'max') AS SELECT * FROM src;",
	}
}

// checkpointFields are the options that say when a state version is due.
func checkpointFields() []stream.Field {
	return []stream.Field{
		{
			Name: "checkpoint_interval", Type: stream.Duration, Min: int64(10 * time.Millisecond), Max: int64(24 * time.Hour),
			Default: "10 seconds",
			Summary: "How long after a state version the next one is written.",
		},
		{
			Name: "checkpoint_bytes", Type: stream.Bytes, Min: 64 << 10, Max: 64 << 30, Default: "64 MiB",
			Summary: "How much changed state calls for a state version before the interval is over.",
		},
		{
			Name: "checkpoint_work", Type: stream.Duration, Min: int64(10 * time.Millisecond), Max: int64(24 * time.Hour),
			Default: "2 seconds",
			Summary: "How long batches since a state version may have worked before the next one is written, whatever the " +
				"interval: a recovery works as long again. More where batches have to wait for a state version, so that they " +
				"do for no more than a twentieth of it.",
		},
	}
}

// queryHead is what stands before the body of a CREATE QUERY.
type queryHead struct {
	id       ident
	start    int // of CREATE
	sinks    []ident
	trigger  trigger.Spec
	when     diag.Span // of the word TRIGGER; zero if absent
	cron     diag.Span // of the cron expression
	mode     stream.Mode
	modeSpan diag.Span
	with     withClause
	withSpan diag.Span
}

// createQuery reads a CREATE QUERY behind its name.
func (r *reader) createQuery(ctx context.Context, p *parser, h queryHead, kept bool) (diag.Span, error) {
	p.directoryName("query", h.id)
	read := p.queryClauses(&h)
	if !read {
		if !p.skipToBody() {
			r.loose = append(r.loose, h.sinks...)
			return diag.Span{}, nil
		}
		kept = false // the body may have faults of its own, but what it runs as is not known
	}
	if read && len(h.sinks) == 0 {
		p.fault(diag.UnexpectedToken, h.id.span, `query "%s" has no sink`, h.id.name).
			WithHint("add  INTO sink  behind the name")
	}
	if h.modeSpan == (diag.Span{}) {
		h.modeSpan = h.id.span
	}
	spec := QuerySpec()
	options := r.options(p, optionOwner{what: "a query", at: h.id.span}, spec.Fields, h.with)
	if read {
		p.checkTrigger(&h, options)
	}
	body, ok := p.asBody("the query itself is a SELECT behind AS")
	if !ok {
		r.loose = append(r.loose, h.sinks...)
		return body, nil
	}
	tree, err := r.checkBody(ctx, p, body, `the body of query "`+h.id.name+`"`)
	if tree == nil || err != nil || !kept {
		r.loose = append(r.loose, h.sinks...)
		return body, err
	}
	q := &planner.Query{
		Name: h.id.name, Span: h.id.span, Trigger: h.trigger, Mode: h.mode, ModeSpan: h.modeSpan, Options: options,
		Body: p.text.Body[body.Start:body.End], At: body.Start, Text: p.text.Body[h.start:body.End],
	}
	for _, s := range h.sinks {
		q.Sinks = append(q.Sinks, s.name)
		q.SinkSpan = append(q.SinkSpan, s.span)
	}
	r.app.Queries = append(r.app.Queries, q)
	return body, nil
}

// queryClauses reads INTO, TRIGGER, OUTPUT MODE and WITH, each at most once and in any order.
func (p *parser) queryClauses(h *queryHead) bool {
	for {
		t := p.peek()
		var ok, seen bool
		switch {
		case p.word(0, "AS"):
			return true
		case p.accept("INTO"):
			seen = len(h.sinks) > 0
			ok = p.into(h)
		case p.accept("TRIGGER"):
			seen = h.when != (diag.Span{})
			h.when = t.span()
			ok = p.trigger(h)
		case p.accept("OUTPUT"):
			seen = h.modeSpan != (diag.Span{})
			ok = p.mode(h)
		case p.word(0, "WITH"):
			seen = h.withSpan != (diag.Span{})
			h.withSpan = t.span()
			h.with, ok = p.with()
		default:
			e := p.expected("INTO, TRIGGER, OUTPUT MODE, WITH or AS")
			if t.kind == tokenWord {
				nearHint(e, p.raw(t), []string{"INTO", "TRIGGER", "OUTPUT", "WITH", "AS"})
			}
			return false
		}
		if seen {
			p.fault(diag.UnexpectedToken, t.span(), "%s is given twice", strings.ToUpper(p.raw(t))).
				WithHint("keep one of them")
		}
		if !ok {
			return false
		}
	}
}

// skipToBody moves behind a clause that can not be read, to the AS of the body.
func (p *parser) skipToBody() bool {
	p.until(func() bool { return p.word(0, "AS") && selectAt(p, 1) })
	return p.word(0, "AS")
}

// into reads the sinks.
func (p *parser) into(h *queryHead) bool {
	for {
		id, ok := p.objectName("sink")
		if !ok {
			return false
		}
		if slices.ContainsFunc(h.sinks, func(s ident) bool { return fold(s.name) == fold(id.name) }) {
			p.fault(diag.DuplicateName, id.span, `sink "%s" is named twice`, id.name).WithHint("name each sink once")
		} else {
			h.sinks = append(h.sinks, id)
		}
		if len(h.sinks) > itemsMax {
			p.fault(diag.UnexpectedToken, id.span, "there are more than %d sinks", itemsMax)
			return false
		}
		if !p.acceptPunct(',') {
			return true
		}
	}
}

// mode reads MODE APPEND, UPDATE or COMPLETE behind OUTPUT.
func (p *parser) mode(h *queryHead) bool {
	if !p.accept("MODE") {
		p.expected("MODE behind OUTPUT").WithHint("write  OUTPUT MODE APPEND, UPDATE or COMPLETE")
		return false
	}
	t := p.peek()
	h.modeSpan = t.span()
	for _, m := range []stream.Mode{stream.Append, stream.Update, stream.Complete} {
		if p.accept(strings.ToUpper(m.String())) {
			h.mode = m
			return true
		}
	}
	e := p.expected("APPEND, UPDATE or COMPLETE")
	if t.kind == tokenWord {
		nearHint(e, p.raw(t), []string{"APPEND", "UPDATE", "COMPLETE"})
	}
	return p.passWord(t)
}

// passWord goes on behind a word that is none of those expected, so that it hides nothing of what follows.
func (p *parser) passWord(t token) bool {
	if t.kind != tokenWord || strings.EqualFold(p.raw(t), "AS") || strings.EqualFold(p.raw(t), "WITH") {
		return false
	}
	p.pos++
	if p.peek().kind == tokenString { // which belongs to it
		p.pos++
	}
	return true
}

// trigger reads what stands behind TRIGGER.
func (p *parser) trigger(h *queryHead) bool {
	t := p.peek()
	switch {
	case p.accept("EVERY"):
		at := p.pos
		every, ok := p.period()
		h.trigger = trigger.Spec{Kind: trigger.Every, Period: every}
		return ok || p.pos > at // a period that is wrong hides nothing of what follows
	case p.accept("CONTINUOUS"):
		h.trigger.Kind = trigger.Continuous
	case p.accept("ONCE"):
		h.trigger.Kind = trigger.Once
	case p.accept("AVAILABLE", "NOW"):
		h.trigger.Kind = trigger.AvailableNow
	case p.accept("AS", "AVAILABLE"):
		h.trigger.Kind = trigger.AsAvailable
	case p.accept("CRON"):
		return p.cron(h)
	default:
		e := p.expected("EVERY, CONTINUOUS, ONCE, AVAILABLE NOW or CRON")
		if t.kind == tokenWord {
			nearHint(e, p.raw(t), []string{"EVERY", "CONTINUOUS", "ONCE", "AVAILABLE NOW", "CRON"})
		}
		return p.passWord(t)
	}
	return true
}

// period reads a length of time that is longer than nothing.
func (p *parser) period() (time.Duration, bool) {
	d, span, ok := p.interval(diag.BadOption, true)
	if ok && d < time.Millisecond {
		p.fault(diag.BadOption, span, "the period is %s, at least 1 millisecond is needed", d).
			WithHint(durationExamples)
		return 0, false
	}
	return d, ok
}

// cron reads 'expression' [TIME ZONE 'name'] behind CRON.
func (p *parser) cron(h *queryHead) bool {
	t := p.peek()
	if t.kind != tokenString {
		p.expected("a cron expression in quotes").
			WithHint("write  CRON '*/5 * * * *'  (minute hour day month weekday)")
		return false
	}
	p.pos++
	h.cron = t.span()
	h.trigger = trigger.Spec{Kind: trigger.Cron, Expr: stringText(p.raw(t))}
	if !p.accept("TIME", "ZONE") {
		return true
	}
	z := p.peek()
	if z.kind != tokenString {
		p.expected("the name of a time zone in quotes").WithHint("write  TIME ZONE 'Europe/Berlin'")
		return false
	}
	p.pos++
	h.trigger.Zone = stringText(p.raw(z))
	// The zone is checked alone first, so that the caret stands where the fault is.
	alone := trigger.Spec{Kind: trigger.Cron, Expr: "* * * * *", Zone: h.trigger.Zone}
	if _, err := trigger.New(alone); err != nil {
		p.placed(err, z.span())
		h.trigger.Zone = ""
	}
	return true
}

// placed records a coded error of a lower package at a place.
func (p *parser) placed(err error, span diag.Span) {
	var e *diag.Error
	if !errors.As(err, &e) {
		e = diag.Wrap(diag.Internal, err, "check")
	}
	p.fault(e.Code, span, "%s", e.Message).Hint = e.Hint
}

// checkTrigger checks the trigger with the options that belong to it.
func (p *parser) checkTrigger(h *queryHead, options stream.Options) {
	if o := h.with.find("latency_target"); o != nil && !batchesFollow(h.trigger.Kind) {
		p.fault(diag.BadOption, o.id.span, `option "latency_target" asks for small batches one after another, `+
			"but this trigger decides itself when a batch is due").
			WithHint("leave it out, or use TRIGGER CONTINUOUS")
	}
	if h.trigger.Kind != trigger.Cron {
		for _, name := range []string{"missed", "overlap"} {
			if o := h.with.find(name); o != nil {
				p.fault(diag.BadOption, o.id.span,
					`option "%s" is about the ticks of TRIGGER CRON, which the query has not`, name).
					WithHint("leave it out")
			}
		}
		return
	}
	h.trigger.Missed = trigger.Missed(options.String("missed"))
	if o := h.with.find("overlap"); o != nil && h.trigger.Missed == trigger.MissedAll &&
		options.String("overlap") == string(trigger.OverlapCancel) {
		p.fault(diag.BadOption, o.id.span,
			"missed = 'all' wants every slot, but overlap = 'cancel' gives older ones up").
			WithHint("use overlap = 'queue', or missed = 'once' or 'skip'")
	}
	if _, err := trigger.New(h.trigger); err != nil {
		p.placed(err, h.cron)
	}
}

// batchesFollow reports whether a trigger of this kind runs batches one after another while there is data.
func batchesFollow(k trigger.Kind) bool {
	return k == trigger.AsAvailable || k == trigger.Continuous || k == trigger.AvailableNow
}

// createSink reads a CREATE SINK behind its name.
func (r *reader) createSink(p *parser, id ident, kept bool) {
	p.directoryName("sink", id)
	if p.punct(0, '(') {
		p.expected("WITH").WithHint("a sink has no columns: it takes those of the query")
		return
	}
	with, ok := p.with()
	if ok {
		p.end()
	}
	conn, known := r.sinkConnector(p, id, with)
	if !known {
		return
	}
	sink := &planner.Sink{
		Name: id.name, Span: id.span, Connector: conn.Spec.Name, Modes: conn.Modes, Slots: conn.Slots,
	}
	owner := optionOwner{what: `connector "` + conn.Spec.Name + `"`, at: id.span, connector: true}
	sink.Options, sink.OptionAt = r.options(p, owner, conn.Spec.Fields, with), with.places()
	if conn.Place != nil {
		sink.Place = conn.Place(id.name, sink.Options)
	}
	if kept {
		r.app.Sinks = append(r.app.Sinks, sink)
	}
}

// resolveQueries checks the sinks of each query of this text once everything is declared, so that the order
// of statements does not matter.
func (r *reader) resolveQueries() {
	for _, sink := range r.loose {
		r.sink(&parser{text: r.text, faults: &r.faults}, sink)
	}
	for _, q := range r.app.Queries {
		if !r.here(q) {
			continue // Env.Base has it, and it was checked there.
		}
		p := &parser{text: r.text, faults: &r.faults}
		for i, name := range q.Sinks {
			entry := r.sink(p, ident{name, q.SinkSpan[i]})
			if entry == nil {
				continue
			}
			q.Sinks[i] = entry.name
			r.checkMode(p, q, entry)
		}
		if p.quiet > 0 {
			r.names[fold(q.Name)].faulty = true
		}
	}
	r.checkShared()
}

// sink returns what the name of a sink stands for. It is nil where there is none, which is recorded unless a statement
// that can not be read may define it.
func (r *reader) sink(p *parser, id ident) *named {
	entry := r.names[fold(id.name)]
	if entry != nil && entry.object == SinkObject {
		return entry
	}
	if entry != nil || !r.lost[fold(id.name)] {
		r.unknown(p, SinkObject, id)
	}
	return nil
}

// checkMode records that a sink can not hold results of the query's mode.
func (r *reader) checkMode(p *parser, q *planner.Query, entry *named) {
	i := slices.IndexFunc(r.app.Sinks, func(s *planner.Sink) bool { return s.Name == entry.name })
	if i < 0 || slices.Contains(r.app.Sinks[i].Modes, q.Mode) {
		return
	}
	var modes []string
	for _, m := range r.app.Sinks[i].Modes {
		modes = append(modes, strings.ToUpper(m.String()))
	}
	p.fault(diag.SinkMode, q.ModeSpan, `sink "%s" (connector "%s") can not hold results of OUTPUT MODE %s`,
		entry.name, r.app.Sinks[i].Connector, strings.ToUpper(q.Mode.String())).
		WithHint("use OUTPUT MODE %s, or another sink", strings.Join(modes, " or "))
}
