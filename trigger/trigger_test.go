package trigger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/trigger"
)

func at(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		panic(err)
	}
	return t
}

func make1(t *testing.T, spec trigger.Spec) trigger.Trigger {
	t.Helper()
	tr, err := trigger.New(spec)
	require.NoError(t, err)
	return tr
}

func TestEveryKeepsToTheGrid(t *testing.T) {
	t.Parallel()
	tr := make1(t, trigger.Spec{Kind: trigger.Every, Period: 10 * time.Second})
	start := time.Unix(0, 0).UTC()
	sec := func(n float64) time.Time { return start.Add(time.Duration(n * float64(time.Second))) }

	require.Equal(t, sec(3), tr.Next(time.Time{}, sec(3)), "the first batch is due at once")
	require.Equal(t, sec(0), tr.Current(sec(3)))
	require.Equal(t, sec(10), tr.Next(sec(0), sec(3)))
	require.Equal(t, sec(20), tr.Next(sec(10), sec(25)), "an overrun is due at once")
	require.Equal(t, sec(30), tr.Next(tr.Current(sec(25)), sec(25)), "and then the grid holds again")
	require.Equal(t, sec(-10), tr.Current(sec(-3)), "the grid goes on before 1970")
}

func TestCronKeepsToItsZoneOverDaylightSaving(t *testing.T) {
	t.Parallel()
	tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "30 2 * * *", Zone: "Europe/Berlin"})
	// On 2026-03-29 02:30 does not exist in Berlin: the tick of that day is skipped.
	require.Equal(t, at("2026-03-28 01:30:00"), tr.Tick(at("2026-03-27 12:00:00")))
	require.Equal(t, at("2026-03-30 00:30:00"), tr.Tick(at("2026-03-28 12:00:00")))
	require.Equal(t, at("2026-03-28 01:30:00"), tr.Prev(at("2026-03-30 00:30:00")))
}

func TestBadCronSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"*/5 * * *":    "4 fields, expected 5",
		"61 * * * *":   "61",
		"@fortnightly": "@fortnightly",
	} {
		_, err := trigger.New(trigger.Spec{Kind: trigger.Cron, Expr: expr})
		require.Equal(t, diag.BadCron, diag.CodeOf(err))
		require.ErrorContains(t, err, want)
	}
	_, err := trigger.New(trigger.Spec{Kind: trigger.Cron, Expr: "* * * * *", Zone: "Mars/Olympus"})
	require.ErrorContains(t, err, `time zone "Mars/Olympus" is not known`)
}

func TestMissedTicks(t *testing.T) {
	t.Parallel()
	last, now := at("2026-01-01 00:00:00"), at("2026-01-01 03:30:00")
	hour := func(n int) time.Time { return last.Add(time.Duration(n) * time.Hour) }
	for _, c := range []struct {
		missed trigger.Missed
		ticks  []time.Time
		slots  []trigger.Slot
	}{
		{trigger.MissedSkip, []time.Time{hour(3)}, []trigger.Slot{{Start: hour(2), End: hour(3)}}},
		{trigger.MissedOnce, []time.Time{hour(3)}, []trigger.Slot{{Start: hour(0), End: hour(3)}}},
		{trigger.MissedAll, []time.Time{hour(1), hour(2), hour(3)},
			[]trigger.Slot{{Start: hour(0), End: hour(1)}, {Start: hour(1), End: hour(2)}, {Start: hour(2), End: hour(3)}}},
	} {
		tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "0 * * * *", Missed: c.missed})
		require.Equal(t, c.ticks, tr.Due(last, now, 100), c.missed)
		q := tr.Missed(trigger.Queue{Seen: last}, now)
		require.Equal(t, hour(3), q.Seen)
		require.Equal(t, c.slots, popAll(tr, q), c.missed)
		require.Equal(t, q, tr.Missed(q, now), "nothing is due twice")
	}
}

// popAll takes every slot out of q.
func popAll(tr trigger.Trigger, q trigger.Queue) []trigger.Slot {
	var slots []trigger.Slot
	for {
		s, rest, ok := tr.Pop(q)
		if !ok {
			return slots
		}
		slots, q = append(slots, s), rest
	}
}

func TestTheFirstSlotIsTheLastWholeOne(t *testing.T) {
	t.Parallel()
	tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "0 * * * *", Missed: trigger.MissedAll})
	require.Equal(t, []trigger.Slot{{Start: at("2026-01-01 02:00:00"), End: at("2026-01-01 03:00:00")}},
		popAll(tr, tr.Missed(trigger.Queue{}, at("2026-01-01 03:30:00"))))
}

// TestOverlappedTicks goes through what becomes of the ticks of a slot that ran for more than two periods.
func TestOverlappedTicks(t *testing.T) {
	t.Parallel()
	begin, ended := at("2026-01-01 01:00:00"), at("2026-01-01 03:30:00")
	slot := func(n int) trigger.Slot {
		end := begin.Add(time.Duration(n) * time.Hour)
		return trigger.Slot{Start: end.Add(-time.Hour), End: end}
	}
	for policy, c := range map[trigger.Overlap]struct{ run, left []trigger.Slot }{
		trigger.OverlapQueue:  {run: []trigger.Slot{slot(1), slot(2)}},
		trigger.OverlapSkip:   {left: []trigger.Slot{slot(1), slot(2)}},
		trigger.OverlapCancel: {run: []trigger.Slot{slot(2)}, left: []trigger.Slot{slot(1)}},
	} {
		for _, missed := range []trigger.Missed{trigger.MissedSkip, trigger.MissedOnce, trigger.MissedAll} {
			tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "0 * * * *", Missed: missed})
			q, left := tr.Overlapped(trigger.Queue{Seen: begin}, ended, policy)
			require.Equal(t, c.left, left, policy)
			require.Equal(t, slot(2).End, q.Seen)
			require.Equal(t, c.run, popAll(tr, q), policy)
			again, left := tr.Overlapped(q, ended, policy)
			require.Equal(t, q, again)
			require.Empty(t, left)
		}
	}
}

// TestMissedBehindWaiting asks that ticks missed while slots waited do not join them under another policy, and that
// many slots in a row take the room of one.
func TestMissedBehindWaiting(t *testing.T) {
	t.Parallel()
	tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "0 * * * *", Missed: trigger.MissedSkip})
	q, _ := tr.Overlapped(trigger.Queue{Seen: at("2026-01-01 00:00:00")}, at("2026-01-01 02:00:00"), trigger.OverlapQueue)
	q = tr.Missed(q, at("2026-01-01 09:00:00"))
	require.Equal(t, []trigger.Slot{
		{Start: at("2026-01-01 00:00:00"), End: at("2026-01-01 01:00:00")},
		{Start: at("2026-01-01 01:00:00"), End: at("2026-01-01 02:00:00")},
		{Start: at("2026-01-01 08:00:00"), End: at("2026-01-01 09:00:00")},
	}, popAll(tr, q))
	_, left := tr.Overlapped(q, at("2026-01-01 10:00:00"), trigger.OverlapCancel)
	require.Len(t, left, 3, "what waited is replaced too")
	tr = make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "* * * * *", Missed: trigger.MissedAll})
	q = tr.Missed(trigger.Queue{Seen: at("2026-01-01 00:00:00")}, at("2026-03-01 00:00:00"))
	q, _ = tr.Overlapped(q, at("2026-03-02 00:00:00"), trigger.OverlapQueue)
	require.Len(t, q.Runs, 1)
	require.Len(t, popAll(tr, q), 60*24*60)
}

// TestChangedExpressionBeginsWhereTheOldEnded asks that the first slot of a longer period does not cover what the
// slots of the shorter one wrote.
func TestChangedExpressionBeginsWhereTheOldEnded(t *testing.T) {
	t.Parallel()
	tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "0 0 * * *", Missed: trigger.MissedSkip})
	require.Equal(t, []trigger.Slot{{Start: at("2026-01-01 13:00:00"), End: at("2026-01-02 00:00:00")}},
		popAll(tr, tr.Missed(trigger.Queue{Seen: at("2026-01-01 13:00:00")}, at("2026-01-02 02:00:00"))))
}

func TestStepsCoverTheRangeOnce(t *testing.T) {
	t.Parallel()
	slots := trigger.Steps(at("2026-01-01 00:00:00"), at("2026-01-02 12:00:00"), 24*time.Hour)
	require.Equal(t, []trigger.Slot{
		{Start: at("2026-01-01 00:00:00"), End: at("2026-01-02 00:00:00")},
		{Start: at("2026-01-02 00:00:00"), End: at("2026-01-02 12:00:00")},
	}, slots)
	require.Empty(t, trigger.Steps(at("2026-01-02 00:00:00"), at("2026-01-01 00:00:00"), time.Hour))
}

func TestADayThatIsInNoYearIsRefused(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{"0 0 30 2 *", "0 0 31 2 *", "*/5 * 31 4,6,9,11 *"} {
		_, err := trigger.New(trigger.Spec{Kind: trigger.Cron, Expr: expr, Zone: "Asia/Tokyo"})
		require.Equal(t, diag.BadCron, diag.CodeOf(err), expr)
		require.ErrorContains(t, err, "never comes due")
	}
	// The 29th is rare, and the day of the week is another way to come due.
	for _, expr := range []string{"0 0 29 2 *", "0 0 31 2 1", "0 0 31 2,3 *", "@every 1h"} {
		make1(t, trigger.Spec{Kind: trigger.Cron, Expr: expr})
	}
}

// TestTooFarAwayIsNever asks for the leap day behind 2100, which is none: the cron library looks five years ahead.
func TestTooFarAwayIsNever(t *testing.T) {
	t.Parallel()
	tr := make1(t, trigger.Spec{Kind: trigger.Cron, Expr: "0 0 29 2 *"})
	require.True(t, tr.Tick(at("2096-03-01 00:00:00")).IsZero())
}
