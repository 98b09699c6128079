package trigger

import "time"

// Slot is the half-open stretch of time [Start, End) that one run of a slot-bound query covers.
type Slot struct {
	Start time.Time
	End   time.Time
}

// Prev returns the last cron tick before at, or the zero time if there is none in the eight years before it (a leap
// day's tick may be that far away). The cron library only looks forward, so Prev looks forward from ever further back.
func (t Trigger) Prev(at time.Time) time.Time {
	const day = 24 * time.Hour
	for _, back := range []time.Duration{2 * time.Hour, 2 * day, 35 * day, 370 * day, 8 * 366 * day} {
		var prev time.Time
		for tick := t.Tick(at.Add(-back)); !tick.IsZero() && tick.Before(at); tick = t.Tick(tick) {
			prev = tick
		}
		if !prev.IsZero() {
			return prev
		}
	}
	return time.Time{}
}

// Slots returns the slots that are due at now under the missed-tick policy, oldest first, when the last slot that
// was run ended at last (zero: none yet). A slot is due delay after its end. MissedSkip gives the newest slot only,
// MissedOnce one slot that covers all that were missed, MissedAll each of them, at most limit.
func (t Trigger) Slots(last, now time.Time, delay time.Duration, limit int) []Slot {
	due := now.Add(-delay)
	if last.IsZero() {
		newest := t.Prev(due.Add(1)) // the last tick that is not after due
		if newest.IsZero() {
			return nil
		}
		last = t.Prev(newest)
	}
	ticks := t.Due(last, due, limit)
	if len(ticks) == 0 {
		return nil
	}
	newest := ticks[len(ticks)-1]
	switch t.spec.Missed {
	case MissedAll:
		slots := make([]Slot, len(ticks))
		for i, tick := range ticks {
			slots[i] = Slot{last, tick}
			last = tick
		}
		return slots
	case MissedOnce:
		return []Slot{{last, newest}}
	default:
		return []Slot{{t.Prev(newest), newest}}
	}
}

// Steps cuts [from, to) into slots of the given length. The last one ends at to, shorter if need be.
func Steps(from, to time.Time, every time.Duration) []Slot {
	var slots []Slot
	for start := from; start.Before(to) && every > 0; start = start.Add(every) {
		end := start.Add(every)
		if end.After(to) {
			end = to
		}
		slots = append(slots, Slot{start, end})
	}
	return slots
}
