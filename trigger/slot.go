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
