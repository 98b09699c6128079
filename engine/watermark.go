package engine

import (
	"time"

	"github.com/tidemill/tidemill/checkpoint"
)

// advance returns the query's watermark after what the sources have seen: the least ("min") or greatest
// ("max") of the watermarks of its sources that declare one, never below old (dialect.md, "Semantics of event
// time"). Under min it is not known until every source that is not idle has one.
func (q *Query) advance(old *int64, seen map[string]int64, idle []string) *int64 {
	skip := make(map[string]bool, len(idle))
	for _, name := range idle {
		skip[name] = true
	}
	greatest := q.def.Options.String("watermark_policy") == "max"
	var chosen *int64
	for _, in := range q.inputs {
		if in.def.Watermark == nil || skip[in.def.Name] {
			continue
		}
		wm, known := seen[in.def.Name]
		switch {
		case !known && !greatest:
			return old
		case !known:
		case chosen == nil, greatest && wm > *chosen, !greatest && wm < *chosen:
			chosen = &wm
		}
	}
	if chosen == nil || old != nil && *old >= *chosen {
		return old
	}
	return chosen
}

// observe folds a batch's largest event times into the per-source watermarks before it and returns a new map.
func (q *Query) observe(before map[string]int64, counts map[string]checkpoint.SourceCount) map[string]int64 {
	seen := make(map[string]int64, len(q.inputs))
	for name, wm := range before {
		seen[name] = wm
	}
	for _, in := range q.inputs {
		c := counts[in.def.Name]
		if in.def.Watermark == nil || c.MaxTime == nil {
			continue
		}
		wm := *c.MaxTime - in.def.Watermark.Delay.Microseconds()
		if old, known := seen[in.def.Name]; !known || wm > old {
			seen[in.def.Name] = wm
		}
	}
	return seen
}

// idleSources returns the sources that have been asked with success and had nothing new for the whole
// idle_timeout, so that they do not hold the watermark back. None when the option is not set.
func (q *Query) idleSources(now time.Time) []string {
	timeout := q.def.Options.Duration("idle_timeout")
	if timeout == 0 {
		return nil
	}
	var idle []string
	for _, in := range q.inputs {
		if now.Sub(in.lastNew) >= timeout {
			idle = append(idle, in.def.Name)
		}
	}
	return idle
}

// quiet is a stretch of time in which no source that declares a watermark had anything new.
type quiet struct {
	since time.Time // zero: never yet
	base  *int64    // the watermark when it began
}

// advanceIdle lets the watermark go on with the clock where idle_advance is set and every source that
// declares one has been asked with success and had nothing new for so long: by the time since then, in whole
// steps, from where it stood then, and never past the clock less the greatest delay. In between it moves
// nothing, so that a quiet query does not run a batch at each look. Nothing is advanced before the first
// event time is known. What comes of it is logged as the Intent's watermark, and a restart goes on from
// there.
func (q *Query) advanceIdle(wm *int64, now time.Time) *int64 {
	step := q.def.Options.Duration("idle_advance")
	if step <= 0 {
		return wm
	}
	var since time.Time
	var delay time.Duration
	for _, in := range q.inputs {
		if in.def.Watermark == nil {
			continue
		}
		if in.lastNew.After(since) {
			since = in.lastNew
		}
		delay = max(delay, in.def.Watermark.Delay)
	}
	if since.IsZero() || wm == nil {
		return wm
	}
	if !since.Equal(q.quiet.since) || q.quiet.base == nil {
		q.quiet = quiet{since: since, base: wm}
	}
	passed := now.Sub(since).Truncate(step)
	if passed <= 0 {
		return wm
	}
	next := min(*q.quiet.base, since.Add(-delay).UnixMicro()) + passed.Microseconds()
	if next <= *wm {
		return wm
	}
	return &next
}

func moved(from, to *int64) bool { return to != nil && (from == nil || *to > *from) }
