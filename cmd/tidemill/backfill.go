package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/trigger"
)

// slotsMost bounds one backfill, so that a mistyped step does not run for ever.
const slotsMost = 100_000

// backfillFlags are the flags of backfill.
type backfillFlags struct {
	runFlags
	query           string
	from, to, every string
	restart         bool
}

func (e *env) backfillCommand() *cobra.Command {
	var f backfillFlags
	c := &cobra.Command{
		Use:   "backfill FILE.sql --from TIME --to TIME --every PERIOD",
		Short: "run a slot-bound query over a stretch of history, slot by slot",
		Long: "Each slot is one batch run whose output replaces, in one commit, what the same slot of the same query wrote\n" +
			"before: running a slot again gives the same. Slots that overlap others of the query, but are not the same, are\n" +
			"refused (SLOT_OVERLAP): their rows would be there twice. A backfill that was stopped, failed or killed goes on with the slot\n" +
			"it was in when the same command is given again; one that was finished begins anew, as with --restart.",
		Example: "  tidemill backfill daily.sql --query daily --from 2026-01-01 --to 2026-02-01 --every 1d",
		Args:    exactArgs("FILE.sql"),
		RunE:    func(c *cobra.Command, args []string) error { return e.backfill(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.query, "query", "", "the query; needed if the file has several")
	c.Flags().StringVar(&f.from, "from", "", "start of the first slot")
	c.Flags().StringVar(&f.to, "to", "", "end of the last slot: a whole number of slots after --from")
	c.Flags().StringVar(&f.every, "every", "", "length of a slot, such as 1d, 6h or '15 minutes'")
	c.Flags().BoolVar(&f.restart, "restart", false, "begin with the first slot, whatever was done before")
	c.Flags().BoolVar(&f.takeOver, "take-over", false, "adopt sinks whatever their markers say")
	c.Flags().StringVar(&f.progress, "progress", "auto",
		"progress on standard output: auto, tty, jsonl or off")
	e.workFlags(c, &f.runFlags)
	return c
}

func (e *env) backfill(ctx context.Context, path string, f backfillFlags) error {
	slots, err := f.slots()
	if err != nil {
		return err
	}
	stopNATS, err := e.embedNATS(f.brokerFlags, f.dataDir)
	if err != nil {
		return err
	}
	defer stopNATS()
	app, q, opt, err := e.oneQuery(ctx, path, f.query, f.runFlags)
	if err != nil {
		return err
	}
	show, err := e.newBars(f.progress, len(slots))
	if err != nil {
		return err
	}
	ctx, stop, done := e.interrupts(ctx)
	defer done()
	job := fillJob{app: app, query: q.Name, slots: slots, show: show, restart: f.restart,
		note: filepath.Join(engine.DataDirOf(f.dataDir, q.Name), "backfill.json"),
		plan: fillNote{Every: f.every, From: slots[0].Start, To: slots[len(slots)-1].End, Query: q.Text}}
	err = e.fill(ctx, opt, job, stop)
	show.end()
	if errors.Is(context.Cause(ctx), errAborted) {
		fmt.Fprintln(e.stderr, "aborted; run the same command again to go on")
		return exitError{diag.ExitAborted}
	}
	return err
}

// slots cuts the range of the flags.
func (f backfillFlags) slots() ([]trigger.Slot, error) {
	for _, flag := range []struct{ name, value string }{{"from", f.from}, {"to", f.to}, {"every", f.every}} {
		if flag.value == "" {
			return nil, diag.New(diag.Usage, "backfill needs --%s", flag.name).
				WithHint("for example --from 2026-01-01 --to 2026-02-01 --every 1d")
		}
	}
	from, to, err := parseRange(f.from, f.to)
	if err != nil {
		return nil, err
	}
	every, err := parsePeriod("every", f.every, time.Second)
	if err != nil {
		return nil, err
	}
	if n := to.Sub(from) / every; n > slotsMost {
		return nil, diag.New(diag.Usage, "--every %s cuts the range into %s slots, more than %s", f.every,
			count(int64(n)), count(slotsMost)).
			WithHint("choose a longer --every or a shorter range")
	}
	if rest := to.Sub(from) % every; rest != 0 {
		return nil, f.unevenRange(from, to, every, rest)
	}
	return trigger.Steps(from, to, every), nil
}

// unevenRange refuses a range that is not a whole number of slots: its last slot would be a short one, whose rows look
// like those of a whole slot and stand in the way of it later.
func (f backfillFlags) unevenRange(from, to time.Time, every, rest time.Duration) error {
	e := diag.New(diag.BadTime, "--every %s does not cut the range into whole slots: %s are left at its end", f.every, rest)
	longer := stamp(to.Add(every - rest))
	if whole := to.Add(-rest); whole.After(from) {
		return e.WithNote("the last whole slot ends at %s", stamp(whole)).
			WithHint("use --to %s or --to %s, or run the rest as a slot of its own", stamp(whole), longer)
	}
	return e.WithHint("use --to %s, or a shorter --every", longer)
}

// bars shows a line with a bar per slot on a terminal, one JSON object per slot otherwise.
type bars struct {
	e     *env
	form  string
	slots int
	width int

	mu    sync.Mutex // guards what follows: the ticker draws beside the query's goroutine
	done  int
	now   *trigger.Slot
	since time.Time
	quit  chan struct{}
	ended chan struct{}
}

func (e *env) newBars(form string, slots int) (*bars, error) {
	form, err := e.progressForm(form)
	if err != nil {
		return nil, err
	}
	b := &bars{e: e, form: form, slots: slots, width: e.width()}
	if form == "tty" {
		b.quit, b.ended = make(chan struct{}), make(chan struct{})
		go b.tick() // ends with end
	}
	return b, nil
}

// tick redraws the running slot's line, so that one sees that it lives.
func (b *bars) tick() {
	defer close(b.ended)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-b.quit:
			return
		case <-ticker.C:
		}
		b.mu.Lock()
		if b.now != nil {
			seconds := b.e.clock.Now().Sub(b.since).Seconds()
			fmt.Fprintf(b.e.stdout, "\r\x1b[K%s %s %6.1f s", b.head(b.now.Start, b.now.End), b.bar("▒"),
				seconds)
		}
		b.mu.Unlock()
	}
}

// skip counts slots that were done before.
func (b *bars) skip(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = n
}

func (b *bars) begin(s trigger.Slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now, b.since = &s, b.e.clock.Now()
}

// slot notes what became of a slot.
func (b *bars) slot(s engine.SlotState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done++
	b.now = nil
	switch b.form {
	case "jsonl":
		_ = json.NewEncoder(b.e.stdout).Encode(s) // standard output is gone
	case "tty":
		mark, fill := "ok", "█"
		if s.State == engine.SlotFailed {
			mark, fill = "FAILED", "░"
		}
		fmt.Fprintf(b.e.stdout, "\r\x1b[K%s %s %6.1f s  %s  %s\n", b.head(s.Start, s.End), b.bar(fill),
			s.Millis/1000,
			plural(s.Rows, "row"), mark)
	}
}

// head names a slot and how far the backfill has come.
func (b *bars) head(start, end time.Time) string {
	layout := "2006-01-02 15:04:05"
	switch {
	case start.Truncate(24*time.Hour).Equal(start) && end.Truncate(24*time.Hour).Equal(end):
		layout = time.DateOnly
	case start.Second() == 0 && end.Second() == 0:
		layout = "2006-01-02 15:04"
	}
	return fmt.Sprintf("%*d/%d  %s .. %s", len(fmt.Sprint(b.slots)), min(b.slots,
		b.done+map[bool]int{true: 1}[b.now != nil]), b.slots,
		start.Format(layout), end.Format(layout))
}

// bar is as long as the share of the slots that are done.
func (b *bars) bar(fill string) string {
	const longest = 30
	width := max(10, min(longest, b.width-70))
	n := width * b.done / max(1, b.slots)
	return strings.Repeat("█", max(0, n-1)) + fill + strings.Repeat("·", max(0, width-max(1, n)))
}

func (b *bars) end() {
	if b.quit == nil {
		return
	}
	close(b.quit)
	<-b.ended
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now != nil {
		fmt.Fprint(b.e.stdout, "\r\x1b[K")
	}
}

// width of the terminal, or 100.
func (e *env) width() int {
	columns, _ := e.size()
	return columns
}

// fillJob is what fill works on.
type fillJob struct {
	app     *planner.App
	query   string
	slots   []trigger.Slot
	show    *bars
	restart bool
	note    string // path of the note of how far it has come
	plan    fillNote
}

// fillNote says how far a backfill has come. It is there from its first slot to its last.
type fillNote struct {
	From  time.Time `json:"from"`
	To    time.Time `json:"to"`
	Every string    `json:"every"`
	Query string    `json:"query"` // its text: another text is another backfill
	Done  int       `json:"done"`  // slots
}

// resume returns how many slots an unfinished backfill of the same range and query has done.
func (j fillJob) resume() int {
	data, err := os.ReadFile(j.note)
	var n fillNote
	if j.restart || err != nil || json.Unmarshal(data, &n) != nil {
		return 0
	}
	if !n.From.Equal(j.plan.From) || !n.To.Equal(j.plan.To) || n.Every != j.plan.Every || n.Query != j.plan.Query {
		return 0
	}
	return min(max(0, n.Done), len(j.slots))
}

// keep notes that so many slots are done, or takes the note away when all are.
func (j fillJob) keep(done int) error {
	if done == len(j.slots) {
		if err := os.Remove(j.note); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the note of the backfill: %w", err)
		}
		return nil
	}
	j.plan.Done = done
	data, err := json.Marshal(j.plan)
	if err == nil {
		err = vfs.WriteFile(vfs.OS{}, j.note, data)
	}
	if err != nil {
		return fmt.Errorf("note how far the backfill has come: %w", err)
	}
	return nil
}

// fill runs the slots until one fails, stop is closed or ctx is done. What was written stays in every case.
func (e *env) fill(ctx context.Context, opt engine.Options, job fillJob, stop <-chan struct{}) error {
	q, err := engine.Open(ctx, opt, job.app, job.query)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	first := job.resume()
	if err := q.CheckSlots(job.slots[first:]); err != nil {
		return errors.Join(err, q.Close(context.WithoutCancel(ctx)))
	}
	filled := make(chan struct{})
	defer close(filled)
	go func() { // ends with fill
		select {
		case <-stop:
			q.Stop() // also ends the pauses of a slot that waits for its source
		case <-filled:
		}
	}()
	if first > 0 {
		fmt.Fprintf(e.stderr, "going on after %d of %d slots; --restart begins with the first\n", first,
			len(job.slots))
	}
	job.show.skip(first)
	for i := first; i < len(job.slots); i++ {
		err := job.keep(i)
		select {
		case <-stop:
			fmt.Fprintf(e.stderr, "stopped after %d of %d slots; the same command goes on\n", i,
				len(job.slots))
			return errors.Join(err, q.Close(context.WithoutCancel(ctx)))
		default:
		}
		if err == nil {
			err = e.fillSlot(ctx, q, job.slots[i], job.show)
		}
		if errors.Is(err, engine.ErrStopped) {
			fmt.Fprintf(e.stderr, "stopped in slot %d of %d; the same command goes on\n", i+1, len(job.slots))
			return q.Close(context.WithoutCancel(ctx)) //nolint:wrapcheck // coded
		}
		if err != nil {
			return errors.Join(err, q.Abandon())
		}
	}
	return errors.Join(job.keep(len(job.slots)), q.Close(context.WithoutCancel(ctx)))
}

// fillSlot runs one slot and shows what became of it.
func (e *env) fillSlot(ctx context.Context, q *engine.Query, slot trigger.Slot, show *bars) error {
	show.begin(slot)
	began := e.clock.Now()
	err := q.RunSlot(ctx, slot)
	s := engine.SlotState{Start: slot.Start, End: slot.End, State: engine.SlotDone, Began: began, Attempts: 1,
		Millis: float64(e.clock.Now().Sub(began).Microseconds()) / 1000}
	if last := q.Status().Last; last != nil && err == nil {
		s.Batch, s.Rows = last.BatchID, last.Sink.NumOutputRows
	}
	if err != nil {
		s.State, s.Error = engine.SlotFailed, err.Error()
	}
	show.slot(s)
	return err //nolint:wrapcheck // coded
}
