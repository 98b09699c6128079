package trigger

import "time"

// Overlap says what happens to a cron tick that comes due while an earlier slot of the same query runs.
type Overlap string

// The policies.
const (
	OverlapQueue  Overlap = "queue"  // its slot waits and runs next
	OverlapSkip   Overlap = "skip"   // its slot is never run
	OverlapCancel Overlap = "cancel" // its slot takes the place of the running one
)

// Queue is what has been decided on the slots of a query: every tick up to Seen, and which of their slots
// have not begun yet, oldest first. It is a value; the methods that take one return the next.
type Queue struct {
	Seen time.Time // zero: no tick yet
	Runs []Run
}

// Run is slots in a row: one for each tick in (Start, End], or a single one for all of them.
type Run struct {
	Start, End time.Time
	Each       bool
}

// Missed decides on the ticks after Seen up to due, none of which came due while a slot ran. MissedSkip gives
// the slot of the newest, MissedOnce one slot that covers them all, MissedAll one for each. A query that has
// seen no tick begins with the last whole slot. No slot begins before Seen, so that a changed expression
// writes nothing twice.
func (t Trigger) Missed(q Queue, due time.Time) Queue {
	newest, ok := t.newest(q, due)
	if !ok {
		return q
	}
	run := Run{Start: q.Seen, End: newest, Each: t.spec.Missed == MissedAll}
	if q.Seen.IsZero() || t.spec.Missed == MissedSkip || t.spec.Missed == "" {
		run.Each = false
		if prev := t.Prev(newest); prev.After(q.Seen) {
			run.Start = prev
		}
	}
	return q.with(run)
}

// Overlapped decides on the ticks after Seen up to due, all of which came due while a slot ran. It returns
// the slots that are not to run: those of these ticks under OverlapSkip, and under OverlapCancel all but the
// newest, those that waited included.
func (t Trigger) Overlapped(q Queue, due time.Time, policy Overlap) (Queue, []Slot) {
	newest, ok := t.newest(q, due)
	if !ok || q.Seen.IsZero() {
		return q, nil
	}
	run := Run{Start: q.Seen, End: newest, Each: true}
	switch policy {
	case OverlapSkip:
		return Queue{Seen: newest, Runs: q.Runs}, t.slots(run)
	case OverlapCancel:
		var left []Slot
		for _, r := range append(append([]Run{}, q.Runs...), run) {
			left = append(left, t.slots(r)...)
		}
		last := left[len(left)-1]
		return Queue{Seen: newest, Runs: []Run{{Start: last.Start, End: last.End}}}, left[:len(left)-1]
	default:
		return q.with(run), nil
	}
}

// Pop takes the oldest slot that waits out of q.
func (t Trigger) Pop(q Queue) (Slot, Queue, bool) {
	if len(q.Runs) == 0 {
		return Slot{}, q, false
	}
	run := q.Runs[0]
	first := t.first(run)
	rest := append([]Run{}, q.Runs[1:]...)
	if first.End.Before(run.End) {
		rest = append([]Run{{Start: first.End, End: run.End, Each: true}}, rest...)
	}
	return first, Queue{Seen: q.Seen, Runs: rest}, true
}

// newest returns the last tick that is not after due, if q has not seen it.
func (t Trigger) newest(q Queue, due time.Time) (time.Time, bool) {
	newest := t.Prev(due.Add(1))
	return newest, newest.After(q.Seen)
}

func (t Trigger) first(r Run) Slot {
	if tick := t.Tick(r.Start); r.Each && !tick.IsZero() && tick.Before(r.End) {
		return Slot{Start: r.Start, End: tick}
	}
	return Slot{Start: r.Start, End: r.End}
}

func (t Trigger) slots(r Run) []Slot {
	var slots []Slot
	for start := r.Start; start.Before(r.End); {
		s := t.first(Run{Start: start, End: r.End, Each: r.Each})
		slots = append(slots, s)
		start = s.End
	}
	return slots
}

// with returns q with one more run, which ends at the newest tick that is seen.
func (q Queue) with(run Run) Queue {
	runs := append([]Run{}, q.Runs...)
	if n := len(runs); n > 0 && run.Each && runs[n-1].Each && runs[n-1].End.Equal(run.Start) {
		runs[n-1].End = run.End
	} else {
		runs = append(runs, run)
	}
	return Queue{Seen: run.End, Runs: runs}
}
