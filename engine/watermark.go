package engine

import (
	"time"

	"github.com/tidemill/tidemill/checkpoint"
)

// advance returns the query's watermark after what the sources have seen: the least ("min") or greatest ("max")
// of the watermarks of its sources that declare one, never below old (dialect.md, "Semantics of event time"). Under
// min it is not known until every source that is not idle has one.
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

// observe folds a batch's largest event times into the per-source watermarks and returns a new map.
func (q *Query) observe(counts map[string]checkpoint.SourceCount) map[string]int64 {
	seen := make(map[string]int64, len(q.inputs))
	for name, wm := range q.pos.watermarks {
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

func moved(from, to *int64) bool { return to != nil && (from == nil || *to > *from) }
