package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/trigger"
)

// The states of a slot.
const (
	SlotRunning  = "running"
	SlotDone     = "done"
	SlotFailed   = "failed"
	SlotDamaged  = "damaged"  // its file can not be read, which Slots finds
	SlotSkipped  = "skipped"  // its tick came due while another slot ran, and overlap = 'skip'
	SlotReplaced = "replaced" // a newer tick came due while it ran or waited, and overlap = 'cancel'
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
	Held     bool      `json:"held,omitempty"` // the sinks hold rows that the slot wrote in this or an earlier attempt
}

// holds reports whether the sinks have rows of the slot.
func (s SlotState) holds() bool { return s.Held || s.State == SlotDone && s.Rows > 0 }

// noteSlot keeps what became of the slot of w. It is not what resume goes by; the log is.
func (q *Query) noteSlot(w *work, state string, cause error) error {
	slot := *w.intent.Slot
	path := filepath.Join(q.slotDir(), slot.Key()+".json")
	s := SlotState{Start: slot.Start, End: slot.End, State: state, Batch: w.intent.Batch, Began: w.began, Attempts: 1,
		Millis: millis(q.opt.Clock.Now().Sub(w.began))}
	old, err := readSlot(q.opt.FS, path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		s.Held = true
	default:
		s.Attempts, s.Held = old.Attempts, old.holds()
		if state == SlotRunning {
			s.Attempts++
		}
	}
	if w.out != nil {
		s.Rows = w.out.Result.NumRows()
	}
	if state == SlotDone {
		s.Held = s.Rows > 0
	}
	if cause != nil {
		s.Error = cause.Error()
	}
	return q.writeSlot(slot.Key(), s)
}

// noteLeft keeps that slots will not run. What is known of a slot that ran before stays.
func (q *Query) noteLeft(slots []trigger.Slot, state string) error {
	for _, slot := range slots {
		key := checkpoint.Slot{Start: slot.Start, End: slot.End}.Key()
		if _, err := readSlot(q.opt.FS, filepath.Join(q.slotDir(), key+".json")); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := q.writeSlot(key, SlotState{Start: slot.Start, End: slot.End, State: state, Batch: -1}); err != nil {
			return err
		}
	}
	return nil
}

func (q *Query) slotDir() string { return filepath.Join(q.opt.DataDir, q.def.Name, "slots") }

func (q *Query) writeSlot(key string, s SlotState) error {
	data, err := json.Marshal(s)
	if err == nil {
		err = q.opt.FS.MkdirAll(q.slotDir())
	}
	if err == nil {
		err = vfs.WriteFile(q.opt.FS, filepath.Join(q.slotDir(), key+".json"), data)
	}
	if err != nil {
		return fmt.Errorf("note slot %s: %w", key, err)
	}
	if q.slots != nil {
		q.slots[key] = s
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

// Slots lists what became of each slot of a query that ever ran in dataDir, oldest first. A slot whose file
// can not be read is SlotDamaged in the list, and STATE_CORRUPT in the error, which comes beside the list.
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
			s = damagedSlot(name, fault.Message)
		}
		slots = append(slots, s)
	}
	return slots, faults.Err()
}

// damagedSlot is what the name of a slot's file says of it. For all we know the sinks hold its rows.
func damagedSlot(name, fault string) SlotState {
	s := SlotState{State: SlotDamaged, Held: true, Error: fault}
	start, end, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "-")
	var err error
	if s.Start, err = time.Parse(checkpoint.SlotTime, start); err == nil {
		s.End, err = time.Parse(checkpoint.SlotTime, end)
	}
	if err != nil { // no slot has such a name
		s.Start, s.End = time.Time{}, time.Time{}
	}
	return s
}

// CheckSlots refuses slots that could not run one after the other from here: the query is not bound to slots,
// a sink can not replace them, or slots that overlap them, but are not the same, hold rows in the sinks
// (SLOT_OVERLAP).
func (q *Query) CheckSlots(slots []trigger.Slot) (err error) {
	defer q.guard(&err)
	if err := q.checkSlots(); err != nil {
		return err
	}
	return q.checkOverlap(slots)
}

// checkOverlap refuses slots whose rows the sinks hold already as those of other slots: a slot replaces only
// what the same slot wrote, so they would be there twice.
func (q *Query) checkOverlap(slots []trigger.Slot) error {
	if q.slots == nil {
		list, err := Slots(q.opt.FS, q.opt.DataDir, q.def.Name)
		if err != nil && list == nil {
			return err
		}
		q.slots = make(map[string]SlotState, len(list))
		for _, s := range list {
			q.slots[checkpoint.Slot{Start: s.Start, End: s.End}.Key()] = s
		}
	}
	var meet []SlotState
	var with trigger.Slot
	for _, slot := range slots {
		key := checkpoint.Slot{Start: slot.Start, End: slot.End}.Key()
		for other, s := range q.slots {
			if other != key && s.holds() && s.Start.Before(slot.End) && slot.Start.Before(s.End) {
				meet, with = append(meet, s), slot
			}
		}
		if len(meet) > 0 {
			break
		}
	}
	if len(meet) == 0 {
		return nil
	}
	return q.overlapError(with, meet)
}

func (q *Query) overlapError(slot trigger.Slot, meet []SlotState) error {
	sort.Slice(meet, func(i, j int) bool { return meet[i].Start.Before(meet[j].Start) })
	e := diag.New(diag.SlotOverlap,
		"slot %s of query %q overlaps others whose rows the sinks hold (%d): their rows would be there twice",
		slotText(slot.Start, slot.End), q.def.Name, len(meet))
	for i, s := range meet {
		if i == overlapShown {
			e = e.WithNote("and %d more: tidemill slots %s", len(meet)-i, q.def.Name)
			break
		}
		e = e.WithNote("%s, rows: %d, batch: %d", slotText(s.Start, s.End), s.Rows, s.Batch)
	}
	length := meet[0].End.Sub(meet[0].Start)
	return e.WithHint("cut the range as before, with --every '%d seconds' from %s; or, for other slots, "+
		"give the query another name and another place in the sink, or remove both the query's directory and the sink's output first",
		int64(length.Seconds()), meet[0].Start.UTC().Format(time.RFC3339))
}

// overlapShown is how many slots an error names.
const overlapShown = 5

func slotText(start, end time.Time) string {
	return start.UTC().Format(time.RFC3339) + " .. " + end.UTC().Format(time.RFC3339)
}
