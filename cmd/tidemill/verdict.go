package main

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/stream"
)

// verdict says in a sentence why nothing, or nothing more, has come out.
func (st *stored) verdict(r *whyReport) {
	r.Why, r.Hint = st.reason(r)
	switch {
	case r.State == "running":
	case r.Pending != nil:
		r.Why = fmt.Sprintf("the query does not run, and batch %d is unfinished; ", *r.Pending) + r.Why
	default:
		r.Why = "the query does not run; " + r.Why
	}
}

func (st *stored) reason(r *whyReport) (why, hint string) {
	switch {
	case r.Batch == nil:
		return "no batch has been committed yet", "tidemill tail SOURCE FILE.sql shows what a source holds"
	case st.plan != nil && st.plan.SlotBound:
		return "each slot comes out as a whole when its time is over", "tidemill slots " + r.Query + " shows them"
	case st.stateless():
		return "nothing waits: rows leave with the batch that read them", ""
	case st.conn == nil:
		return "what waits is not known: there is no state version yet",
			"one is written every checkpoint_interval and at a clean stop"
	case st.plan == nil:
		return "what waits is not known: the stored text can not be planned here", ""
	}
	kept := r.kept()
	switch st.plan.Mode {
	case stream.Complete:
		return "nothing waits: complete mode gives the whole result with every batch that has rows", ""
	case stream.Update:
		return "nothing waits: update mode gives every change with its batch" + kept, ""
	case stream.Append:
	}
	if first := r.first(func(t *whyTable) bool { return t.Emits }); first != nil {
		return r.waitReason(st, first)
	}
	return "nothing waits: no row in the state comes out when the watermark moves" + kept, ""
}

// first returns the table of those asked for whose rows are let go next; nil if none has any.
func (r *whyReport) first(which func(*whyTable) bool) *whyTable {
	var first *whyTable
	for _, t := range r.Tables {
		if !which(t) || len(t.Closings) == 0 {
			continue
		}
		if first == nil || t.Closings[0].at < first.Closings[0].at {
			first = t
		}
	}
	return first
}

// kept says what stays in the state for rows to come, although it has come out.
func (r *whyReport) kept() string {
	t := r.first(func(t *whyTable) bool { return t.logical && !t.Emits })
	if t == nil {
		return ""
	}
	n, verb := t.Due+t.Waiting, "are"
	if n == 1 {
		verb = "is"
	}
	return fmt.Sprintf("; %s %s kept for rows to come until the watermark frees them", t.some(n), verb)
}

// some counts rows of a table by what they are.
func (t *whyTable) some(n int64) string {
	if t.Kind == "" {
		return plural(n, "row")
	}
	return plural(n, strings.TrimSuffix(strings.ReplaceAll(t.Kind, "_", " "), "s"))
}

func (r *whyReport) waitReason(st *stored, t *whyTable) (why, hint string) {
	what := t.some(t.Due+t.Waiting) + " wait"
	if t.Due+t.Waiting == 1 {
		what += "s"
	}
	by, hint := r.heldHint(st)
	if r.Watermark == nil {
		return what + " for a watermark, which is not known yet" + by, hint
	}
	if t.Due > 0 {
		return fmt.Sprintf("%s, of which %s come out with the next batch: the watermark has come to their time",
			what, count(t.Due)), ""
	}
	next := t.Closings[0]
	return fmt.Sprintf("%s: the first come out at %s, the watermark is %s short of it%s", what, next.At,
		span(int64(*next.Short*1e6)), by), hint
}

// heldHint names the source that must move for the watermark to move, and what helps.
func (r *whyReport) heldHint(st *stored) (by, hint string) {
	if r.HeldBy == nil {
		return "", ""
	}
	if r.timed() == 1 {
		return "", "only newer rows of source " + *r.HeldBy + " move the watermark"
	}
	if *r.Policy == "max" {
		return fmt.Sprintf("; source %s leads", *r.HeldBy), ""
	}
	by = fmt.Sprintf("; source %s holds it back", *r.HeldBy)
	if r.HeldFor != nil {
		by += " by " + span(int64(*r.HeldFor*1e6))
	}
	if st.query != nil && !st.query.Options.Has("idle_timeout") {
		hint = "newer rows of source " + *r.HeldBy + " move the watermark; with idle_timeout = '1 minute' in the query's " +
			"WITH (…) a source without new rows does not count"
	}
	return by, strings.TrimSpace(hint)
}
