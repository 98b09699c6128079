package sqlfront

import (
	"slices"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// writer is a query's use of a sink.
type writer struct {
	query *planner.Query
	sink  *planner.Sink
	span  diag.Span // in INTO
}

// checkShared records that two sinks, or two queries, would write to a place which has one marker: the second would be
// refused when it opens.
func (r *reader) checkShared() {
	first := map[string]writer{}
	for _, q := range r.app.Queries {
		for i, name := range q.Sinks {
			at := slices.IndexFunc(r.app.Sinks, func(s *planner.Sink) bool { return s.Name == name })
			if at < 0 || r.app.Sinks[at].Place == "" {
				continue
			}
			w := writer{query: q, sink: r.app.Sinks[at], span: q.SinkSpan[i]}
			if other, taken := first[w.sink.Place]; taken {
				r.shared(other, w)
				continue
			}
			first[w.sink.Place] = w
		}
	}
}

// shared records the second writer of a place. Those of Env.Base were checked there.
func (r *reader) shared(first, second writer) {
	if !r.here(second.query) {
		return
	}
	p := &parser{text: r.text, faults: &r.faults}
	if first.query == second.query {
		p.fault(diag.SinkShared, second.span, `sink "%s" of query "%s" writes to %s, as its sink "%s" does`,
			second.sink.Name, second.query.Name, second.sink.Place, first.sink.Name).
			WithHint("give each sink a place of its own, or write to one of them only")
		return
	}
	e := p.fault(diag.SinkShared, second.span, `query "%s" writes to %s, as query "%s" does, and only one may`,
		second.query.Name, second.sink.Place, first.query.Name)
	if r.here(first.query) {
		line, col := r.text.Position(first.span.Start)
		e.WithNote(`query "%s" writes there by INTO at %d:%d`, first.query.Name, line, col)
	}
	e.WithHint(`declare another sink with a place of its own for "%s", or make one query of both with UNION ALL`,
		second.query.Name)
}

// here reports whether a query is one of this text, not of Env.Base.
func (r *reader) here(q *planner.Query) bool {
	entry := r.names[fold(q.Name)]
	return entry != nil && entry.span == q.Span && entry.span != (diag.Span{})
}
