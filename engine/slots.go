package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// The states of a slot.
const (
	SlotRunning = "running"
	SlotDone    = "done"
	SlotFailed  = "failed"
	SlotDamaged = "damaged" // its file can not be read, which Slots finds
)

// SlotState is what became of one slot of a query; a file of its own, so that the list outlives the log.
type SlotState struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	State    string    `json:"state"`
	Batch    int64     `json:"batch"`
	Rows     int64     `json:"rows"`
	Attempts int       `json:"attempts"`
	Began    time.Time `json:"began"`
	Millis   float64   `json:"millis"`
	Error    string    `json:"error,omitempty"`
}

// slotsMax bounds the slots that one turn of a cron trigger makes due under missed = 'all'.
const slotsMax = 10_000

// cronTurn runs what the cron trigger makes due: for a slot-bound body one slot, else batches up to where the
// sources ended when the tick was seen.
func (q *Query) cronTurn(ctx context.Context, now time.Time, force bool) (bool, error) {
	s := &q.schedule
	if q.plan.SlotBound {
		slots := q.trigger.Slots(s.last, now, q.def.Options.Duration("slot_delay"), slotsMax)
		if len(slots) == 0 {
			return false, nil
		}
		s.tick = &slots[0].End
		err := q.RunSlot(ctx, slots[0])
		s.tick = nil
		return true, err
	}
	if s.tick == nil {
		ticks := q.trigger.Due(s.last, now, slotsMax)
		switch {
		case len(ticks) > 0:
			s.tick = &ticks[len(ticks)-1] // the rows of missed ticks are all there now: one run takes them
		case !force:
			return false, nil
		default:
			s.tick = &now
		}
	}
	return q.untilEnd(ctx, func() { s.last, s.tick = *s.tick, nil })
}

// RunSlot runs one slot as a batch of its own over all that the sources hold now, or over what they stored during the
// slot where history_time = 'published'. Its output replaces, in one commit,
// exactly what the same slot wrote before. A crash leaves the slot's Intent, and the next start runs it first.
func (q *Query) RunSlot(ctx context.Context, slot trigger.Slot) (err error) {
	defer q.guard(&err)
	if q.failed != nil {
		return q.failed
	}
	if err := q.checkSlots(); err != nil {
		return err
	}
	if q.pending != nil {
		if err := q.runPending(ctx); err != nil {
			return err
		}
	}
	if err := q.refreshTables(ctx); err != nil {
		return err
	}
	in := checkpoint.Intent{Batch: q.pos.next, Time: q.opt.Clock.Now().Truncate(time.Microsecond),
		Sources: map[string]stream.Range{}, Tables: q.tables.versions(), Plan: q.plan.Hash(), Final: true,
		Slot: &checkpoint.Slot{Start: slot.Start, End: slot.End}, Tick: q.schedule.slotTick()}
	for _, s := range q.inputs {
		name := s.def.Name
		s.dropAhead()
		rng, err := q.admitSource(ctx, s, true, nil)
		if err != nil {
			return err
		}
		err = q.retry(ctx, in.Batch, func() (err error) {
			rng, err = s.stretch(ctx, rng, slot.Start, slot.End)
			return err
		})
		if err != nil {
			return err
		}
		in.Sources[name] = rng
	}
	w := q.newWork(in)
	if err := q.noteSlot(w, SlotRunning, nil); err != nil {
		return err
	}
	if err := q.finishBatch(ctx, w, false); err != nil {
		return errors.Join(err, q.noteSlot(w, SlotFailed, err))
	}
	return nil
}

// checkSlots refuses to run slots where their output could not be replaced.
func (q *Query) checkSlots() error {
	if !q.plan.SlotBound {
		return diag.New(diag.ShapeUnsupported, "query %q is not bound to a slot", q.def.Name).
			At(q.app.Text, q.def.Span).
			WithHint("let the body read getvariable('slot_start') and getvariable('slot_end'), " +
				"for example WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end')")
	}
	for i, name := range q.def.Sinks {
		if sink := findSink(q.app, name); !sink.Slots {
			return diag.New(diag.SinkMode, "sink %q (%s) can not replace what a slot wrote before", name, sink.Connector).
				At(q.app.Text, q.def.SinkSpan[i]).WithHint("use a parquet, json, csv or duckdb sink")
		}
	}
	return nil
}

// noteSlot keeps what became of the slot of w. It is not what resume goes by; the log is.
func (q *Query) noteSlot(w *work, state string, cause error) error {
	slot := *w.intent.Slot
	dir := filepath.Join(q.opt.DataDir, q.def.Name, "slots")
	path := filepath.Join(dir, slot.Key()+".json")
	s := SlotState{Start: slot.Start, End: slot.End, State: state, Batch: w.intent.Batch, Began: w.began, Attempts: 1,
		Millis: millis(q.opt.Clock.Now().Sub(w.began))}
	if old, err := readSlot(q.opt.FS, path); err == nil {
		s.Attempts = old.Attempts
		if state == SlotRunning {
			s.Attempts++
		}
	}
	if w.out != nil {
		s.Rows = w.out.Result.NumRows()
	}
	if cause != nil {
		s.Error = cause.Error()
	}
	data, err := json.Marshal(s)
	if err == nil {
		err = q.opt.FS.MkdirAll(dir)
	}
	if err == nil {
		err = vfs.WriteFile(q.opt.FS, path, data)
	}
	if err != nil {
		return fmt.Errorf("note slot %s: %w", slot.Key(), err)
	}
	return nil
}

func readSlot(fsys vfs.FS, path string) (SlotState, error) {
	var s SlotState
	data, err := vfs.ReadFile(fsys, path)
	if err != nil {
		return s, err //nolint:wrapcheck // the caller branches on it
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("it is no JSON object of a slot: %w", err)
	}
	return s, nil
}

// Slots lists what became of each slot of a query that ever ran in dataDir, oldest first. A slot whose file can not be
// read is SlotDamaged in the list, and STATE_CORRUPT in the error, which comes beside the list.
func Slots(fsys vfs.FS, dataDir, query string) ([]SlotState, error) {
	dir := filepath.Join(dataDir, query, "slots")
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list slots of %q: %w", query, err)
	}
	slots := []SlotState{}
	var faults diag.List
	for _, name := range names {
		if filepath.Ext(name) != ".json" {
			continue
		}
		path := filepath.Join(dir, name)
		s, err := readSlot(fsys, path)
		if err != nil {
			fault := diag.New(diag.StateCorrupt, "%s can not be read: %s", path, err).
				WithHint("the file says only what became of the slot: remove it, or run the slot again")
			faults = append(faults, fault)
			s = SlotState{State: SlotDamaged, Error: fault.Message}
		}
		slots = append(slots, s)
	}
	return slots, faults.Err()
}
