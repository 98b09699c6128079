package engine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/trigger"
)

// overlapping is a query with hourly slots whose batch takes as long as the source's reads move the clock.
func overlapping(with string) string {
	return plotSource + `CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' WITH (` + with + `) AS
		SELECT getvariable('slot_start')::VARCHAR AS slot, count(*) AS n FROM src
		WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end');`
}

// slow makes the reads of slots take the given times, in order, and none after that.
func (w *world) slow(took ...time.Duration) {
	w.trouble(func(_ context.Context, call string) error {
		if call == "read" && len(took) > 0 {
			w.manual.Advance(took[0])
			took = took[1:]
		}
		return nil
	})
}

// slotStates shows the slot list: the hour each slot began, its state and its batch.
func (w *world) slotStates() []string {
	slots, err := engine.Slots(w.disk, w.dir, "q")
	require.NoError(w.t, err)
	out := make([]string, len(slots))
	for i, s := range slots {
		out[i] = fmt.Sprintf("%s+%s %s %d", s.Start.Format("02 15h"), s.End.Sub(s.Start), s.State, s.Batch)
	}
	return out
}

// TestOverlap asks what becomes of the ticks at 01:00 and 02:00 that come due while the slot of 00:00 runs, and that a
// restart right after it decides as the same life would have.
func TestOverlap(t *testing.T) {
	p := newParser(t)
	for with, want := range map[string][]string{
		"overlap = 'queue'": {"31 23h+1h0m0s done 0", "01 00h+1h0m0s done 1", "01 01h+1h0m0s done 2"},
		"missed = 'once'":   {"31 23h+1h0m0s done 0", "01 00h+1h0m0s done 1", "01 01h+1h0m0s done 2"},
		"overlap = 'skip'":  {"31 23h+1h0m0s done 0", "01 00h+1h0m0s skipped -1", "01 01h+1h0m0s skipped -1"},
		"overlap = 'skip', missed = 'all'": {
			"31 23h+1h0m0s done 0", "01 00h+1h0m0s skipped -1", "01 01h+1h0m0s skipped -1"},
		"overlap = 'cancel'": {"31 23h+1h0m0s replaced 0", "01 00h+1h0m0s replaced -1", "01 01h+1h0m0s done 1"},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s restart=%t", with, restart), func(t *testing.T) {
				w := newWorld(t, p)
				app := w.app(overlapping(with))
				w.add(app, "src", []any{1, "a", 1, at(-1)}, []any{2, "a", 1, at(1)}, []any{3, "a", 1, at(3601)})
				w.slow(2*time.Hour + time.Minute)
				q := w.mustOpen(app)
				ran, err := q.Step(t.Context())
				require.NoError(t, err)
				require.True(t, ran)
				if restart {
					require.NoError(t, q.Close(t.Context()))
					q = w.mustOpen(app)
				}
				require.NoError(t, q.Idle(t.Context()))
				require.Equal(t, sorted(want), sorted(w.slotStates()))
				require.NoError(t, q.Close(t.Context()))
			})
		}
	}
}

// TestOverlapAndMissed asks that ticks which waited while a slot ran still run after the process was down, and that
// those which passed while it was down go by the missed option.
func TestOverlapAndMissed(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(overlapping("missed = 'skip'"))
	w.slow(2*time.Hour + time.Minute)
	w.add(app, "src", []any{1, "a", 1, at(-1)})
	q := w.mustOpen(app)
	_, err := q.Step(t.Context())
	require.NoError(t, err)
	require.NoError(t, q.Close(t.Context()))
	w.manual.Advance(6 * time.Hour)
	for {
		q = w.mustOpen(app) // a new life for each slot: what waits is in the log
		ran, err := q.Step(t.Context())
		require.NoError(t, err)
		require.NoError(t, q.Close(t.Context()))
		if !ran {
			break
		}
	}
	require.Equal(t, sorted([]string{"31 23h+1h0m0s done 0", "01 00h+1h0m0s done 1", "01 01h+1h0m0s done 2",
		"01 07h+1h0m0s done 3"}), sorted(w.slotStates()))
}

// TestCancelledSlotSurvivesCrashes kills the process at every point of a slot that is given up and asks that it is
// given up for good or run whole, that its rows never come twice, and that the newer slot runs in any case.
func TestCancelledSlotSurvivesCrashes(t *testing.T) {
	p := newParser(t)
	for point, first := range map[string]string{
		engine.BeforeIntent: "31 23h+1h0m0s failed 0", // nothing promised: the restart begins with the newest tick
		engine.AfterIntent:  "31 23h+1h0m0s done 0",   // a sink might have it, for all the log knows
		engine.AfterReplace: "31 23h+1h0m0s done 0",   // the Commit that says replaced was not written
		engine.AfterCommit:  "31 23h+1h0m0s replaced 0",
		"":                  "31 23h+1h0m0s replaced 0",
	} {
		t.Run("kill "+point, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(overlapping("overlap = 'cancel'"))
			w.add(app, "src", []any{1, "a", 1, at(-1)}, []any{2, "a", 1, at(1)})
			w.slow(time.Hour)
			w.hookOnce(point, 1)
			q := w.mustOpen(app)
			err := q.Idle(t.Context())
			if point != "" {
				require.ErrorIs(t, err, errStop)
				require.NoError(t, q.Abandon())
				w.calm()
				w.opt = nil
				if w.manual.Now().Before(start.Add(time.Hour)) {
					w.manual.Advance(time.Hour)
				}
				q = w.mustOpen(app)
				err = q.Idle(t.Context())
			}
			require.NoError(t, err)
			require.NoError(t, q.Close(t.Context()))
			states := w.slotStates()
			require.Len(t, states, 2)
			require.Equal(t, first, states[0])
			require.Contains(t, states[1], "01 00h+1h0m0s done")
			seen := map[string]bool{}
			for _, row := range texts(w.sinks.Rows("mem")) {
				require.False(t, seen[row], "%s is there twice", row)
				seen[row] = true
			}
			require.Len(t, seen, map[bool]int{true: 2, false: 1}[first == "31 23h+1h0m0s done 0"])
		})
	}
}

// TestCancelInterrupts asks that a slot which hangs in a read is interrupted when the next one is due.
func TestCancelInterrupts(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(overlapping("overlap = 'cancel'"))
	w.add(app, "src", []any{1, "a", 1, at(-1)})
	hung := false
	w.trouble(func(ctx context.Context, call string) error {
		if call != "read" || hung {
			return nil
		}
		hung = true
		w.manual.Advance(time.Hour)
		for {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Millisecond): // the sleeper may have begun to wait only after the hour
				w.manual.Advance(10 * time.Millisecond)
			}
		}
	})
	q := w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, []string{"31 23h+1h0m0s replaced 0", "01 00h+1h0m0s done 1"}, w.slotStates())
	require.EqualValues(t, 1, q.Batches(), "a slot that was given up is no batch that was done")
	require.NoError(t, q.Close(t.Context()))

	s, err := checkpoint.Inspect(w.disk, engine.DataDirOf(w.dir, "q"))
	require.NoError(t, err)
	require.True(t, s.Batches[0].Commit.Replaced)
	require.Empty(t, s.Batches[0].Commit.Delivered)
	require.False(t, s.Batches[1].Commit.Replaced)
}

// TestOverlapNeedsSlots asks that the option is refused where it means nothing or contradicts another.
func TestOverlapNeedsSlots(t *testing.T) {
	w := newWorld(t, newParser(t))
	_, err := w.open(w.app(plotSource +
		`CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' WITH (overlap = 'skip') AS SELECT k FROM src;`))
	require.Contains(t, code(t, diag.BadOption, err), "is not bound to a slot")
	for text, want := range map[string]string{
		overlapping("overlap = 'cancel', missed = 'all'"):                                    "missed = 'all' wants every slot",
		plotSource + `CREATE QUERY q INTO mem WITH (overlap = 'skip') AS SELECT k FROM src;`: `option "overlap" is about`,
	} {
		_, err := w.parser.parse(t.Context(), &diag.Text{Name: "q.sql", Body: text}, w.reg)
		require.Contains(t, code(t, diag.BadOption, err), want)
	}
}

// TestOverlappingSlotsAreRefused asks that a slot of another length over rows that a sink holds is refused by name,
// and that slots which hold nothing stand in nobody's way.
func TestOverlappingSlotsAreRefused(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(overlapping("missed = 'skip'"))
	w.add(app, "src", []any{1, "a", 1, at(-1)})
	q := w.mustOpen(app)
	day := trigger.Slot{Start: start.Add(-24 * time.Hour), End: start}
	require.NoError(t, q.RunSlot(t.Context(), day))
	hours := trigger.Steps(day.Start, start.Add(time.Hour), time.Hour)
	for range 2 { // now, and in another life
		require.Contains(t, code(t, diag.SlotOverlap, q.CheckSlots(hours)),
			"2025-12-31T00:00:00Z .. 2026-01-01T00:00:00Z, rows: 1, batch: ")
		text := code(t, diag.SlotOverlap, q.RunSlot(t.Context(), hours[3]))
		require.Contains(t, text, "--every '86400 seconds' from 2025-12-31T00:00:00Z")
		require.NoError(t, q.RunSlot(t.Context(), hours[24]), "a neighbour")
		require.NoError(t, q.RunSlot(t.Context(), day), "the same slot again")
		require.NoError(t, q.Close(t.Context()))
		q = w.mustOpen(app)
	}
	require.Len(t, w.sinks.Rows("mem"), 2)
	require.NoError(t, q.Close(t.Context()))

	path := filepath.Join(w.dir, "q", "slots", "20251231T000000Z-20260101T000000Z.json")
	require.NoError(t, vfs.WriteFile(w.disk, path, []byte("{")))
	q = w.mustOpen(app)
	code(t, diag.SlotOverlap, q.CheckSlots(hours)) // a damaged file may be that of a slot with rows
	require.NoError(t, q.RunSlot(t.Context(), day), "running the slot again mends it")
	list, err := engine.Slots(w.disk, w.dir, "q")
	require.NoError(t, err)
	require.Equal(t, engine.SlotDone, list[0].State)
	require.NoError(t, q.Close(t.Context()))
}
