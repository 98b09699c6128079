// Package trigger is pure time arithmetic: given when the last batch was due and what time it is, when is the next
// one. It owns no goroutine and reads no clock, so cron, grids and catch-up are table tests. The rules are Spark's
// (TriggerExecutor.nextBatchTime) plus cron, which Spark does not have.
package trigger

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/tidemill/tidemill/internal/diag"
)

// Kind is a kind of trigger.
type Kind int

// The kinds.
const (
	AsAvailable  Kind = iota // a batch as soon as there is data
	Every                    // a batch on each point of a wall-clock grid, if there is data
	Once                     // exactly one batch with everything, limits ignored, then stop
	AvailableNow             // batches up to the end fixed at the start, limits kept, then stop
	Continuous               // lowest latency: batches of whatever has arrived, log writes grouped
	Cron                     // a batch (or a slot) at each tick of a cron expression
)

// Missed says what happens to cron ticks that passed while the process was down.
type Missed string

// The policies.
const (
	MissedSkip Missed = "skip" // forget them
	MissedOnce Missed = "once" // run once for all of them
	MissedAll  Missed = "all"  // run each of them, oldest first
)

// Spec is a TRIGGER clause.
type Spec struct {
	Kind   Kind
	Period time.Duration // of Every
	Expr   string        // of Cron, five fields
	Zone   string        // of Cron, IANA name; "" is UTC
	Missed Missed        // of Cron
}

// String returns the clause as it is written in SQL, without the word TRIGGER.
func (s Spec) String() string {
	switch s.Kind {
	case AsAvailable:
		return "AS AVAILABLE"
	case Every:
		return fmt.Sprintf("EVERY '%s'", s.Period)
	case Once:
		return "ONCE"
	case AvailableNow:
		return "AVAILABLE NOW"
	case Continuous:
		return "CONTINUOUS"
	case Cron:
		if s.Zone != "" {
			return fmt.Sprintf("CRON '%s' TIME ZONE '%s'", s.Expr, s.Zone)
		}
		return fmt.Sprintf("CRON '%s'", s.Expr)
	}
	return fmt.Sprintf("kind(%d)", int(s.Kind))
}

// Trigger says when batches are due. It is a value; methods have no effect.
type Trigger struct {
	spec     Spec
	schedule cron.Schedule
	zone     *time.Location
}

// New checks spec and returns its trigger. It fails with BAD_CRON.
func New(spec Spec) (Trigger, error) {
	t := Trigger{spec: spec, zone: time.UTC}
	if spec.Kind != Cron {
		return t, nil
	}
	if n := len(strings.Fields(spec.Expr)); n != 5 && !strings.HasPrefix(spec.Expr, "@") {
		return t, diag.New(diag.BadCron, "trigger %q has %d fields, expected 5 (minute hour day month weekday)", spec.Expr, n)
	}
	zone, err := time.LoadLocation(spec.Zone)
	if err != nil || spec.Zone == "Local" {
		return t, diag.New(diag.BadCron, "time zone %q is not known", spec.Zone).WithHint("use an IANA name such as 'Europe/Berlin'")
	}
	schedule, err := cron.ParseStandard(spec.Expr)
	if err != nil {
		return t, diag.New(diag.BadCron, "cron expression %q can not be read: %s", spec.Expr, err)
	}
	t.zone, t.schedule = zone, schedule
	// A leap year has all the days there are: what finds none from its beginning on finds none ever.
	if t.Tick(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return t, diag.New(diag.BadCron, "cron expression %q never comes due: no such day is in any year", spec.Expr).
			WithHint("a month has 30 or 31 days, February 29 at most; the fields are minute, hour, day, month, weekday")
	}
	return t, nil
}

// Spec returns the clause.
func (t Trigger) Spec() Spec { return t.spec }

// Next returns when the next batch is due, given the tick that the last batch ran for (zero: none yet) and the
// time now. A time not after now means at once. For Every the answer is a point of the grid of multiples of the
// period since 1970: the first batch is due at once; one that overran its next point is due at once too, then
// the grid holds again. For Cron the first tick is the first one after now.
func (t Trigger) Next(last, now time.Time) time.Time {
	switch t.spec.Kind {
	case Every:
		if last.IsZero() {
			return now
		}
		return grid(last, t.spec.Period).Add(t.spec.Period)
	case Cron:
		if last.IsZero() {
			return t.Tick(now)
		}
		return t.Tick(last)
	default:
		return now
	}
}

// Tick returns the first cron tick after from, in UTC. The zero time means none within five years, which is as far as
// the cron library looks: a 29 February may be eight years away.
func (t Trigger) Tick(from time.Time) time.Time {
	next := t.schedule.Next(from.In(t.zone))
	if next.IsZero() {
		return next
	}
	return next.UTC()
}

// Due returns the cron ticks after last up to now that are to be run under the missed-tick policy, oldest first, at
// most limit of them. The newest due tick always runs; the ones before it are missed ones.
func (t Trigger) Due(last, now time.Time, limit int) []time.Time {
	var ticks []time.Time
	for tick := t.Tick(last); !tick.IsZero() && !tick.After(now); tick = t.Tick(tick) {
		ticks = append(ticks, tick)
		if t.spec.Missed != MissedAll && len(ticks) > 1 {
			ticks = ticks[1:]
		}
		if t.spec.Missed == MissedAll && len(ticks) == limit {
			break
		}
	}
	return ticks
}

// Current returns the point of an Every trigger's grid that now lies on or after; a batch that starts now runs
// for that point. For other kinds it returns now.
func (t Trigger) Current(now time.Time) time.Time {
	if t.spec.Kind == Every {
		return grid(now, t.spec.Period)
	}
	return now
}

// grid returns the last multiple of period since 1970 that is not after at.
func grid(at time.Time, period time.Duration) time.Time {
	since := at.UnixNano() % int64(period)
	if since < 0 {
		since += int64(period)
	}
	return at.Add(-time.Duration(since))
}
