package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// historyLimit bounds one Read of a batch run, so that payloads are decoded and dropped as they come.
func historyLimit(until stream.Offset) stream.Limit {
	return stream.Limit{Rows: 200_000, Bytes: 64 << 20, Until: until}
}

// history reads the whole of rng in pieces and decodes it into r. Payloads are dropped once decoded, except those
// that did not decode.
func (in *input) history(ctx context.Context, r *rows, rng stream.Range, retry func(func() error) error) error {
	for from := rng.From; from != rng.To; {
		var got *loaded
		part := stream.Range{From: from, Identity: rng.Identity}
		err := retry(func() error {
			avail, err := in.src.Available(ctx, from, rng.Identity, historyLimit(rng.To))
			if err != nil {
				return fmt.Errorf("ask source %q: %w", in.def.Name, err)
			}
			if avail.To == from {
				return diag.New(diag.DataLoss, "source %q ends at %s, but the batch was to read up to %s", in.def.Name, from, rng.To)
			}
			part.To, part.Identity = avail.To, avail.Identity
			got, err = in.load(ctx, part)
			return err
		})
		if err != nil {
			return err
		}
		if err := in.add(ctx, r, got); err != nil {
			return err
		}
		r.letGo(part)
		from = part.To
	}
	return nil
}

// letGo drops the payloads of the range that was read last, unless a fault is to be cut from them. Those of a row that
// becomes a letter are read again.
func (r *rows) letGo(rng stream.Range) {
	n := len(r.chunks)
	if n == 0 || r.chunks[n-1].again != nil {
		return
	}
	c := &r.chunks[n-1]
	for _, f := range r.faults {
		if f.messages == c.messages {
			return
		}
	}
	c.again, c.messages.Data, c.bytes = &rng, nil, 0
}

// BatchOptions say what a batch run reads.
type BatchOptions struct {
	// From and To bound the event time of the rows that are read, [From, To), where a source has a watermark column;
	// zero for no bound. A source without one is read whole. For a source with history_time = 'published' they bound
	// the time at which it stored the rows instead, and only that stretch is read.
	From, To time.Time
	// Slot binds getvariable('slot_start') and ('slot_end'); nil for none.
	Slot *[2]time.Time
}

// BatchResult is what a batch run gave.
type BatchResult struct {
	Result  stream.Batch
	Sources map[string]*exec.Counts
	Faults  int64 // payloads that did not decode

	// ByDuckDB says that DuckDB has read the files itself: which rows were used and which filtered is not known.
	ByDuckDB bool
}

// Release frees the result.
func (r *BatchResult) Release() { r.Result.Release() }

// Batch runs a query's SELECT once over all its sources hold now, with the batch plan: no state, the watermark at
// infinity, nothing written to any sink or checkpoint. opt.DataDir is scratch space that the caller removes. The caller
// releases the result.
func Batch(ctx context.Context, opt Options, app *planner.App, name string, bo BatchOptions) (res *BatchResult, err error) {
	q, err := newQuery(opt.withDefaults(), app, name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if rerr := q.release(false); err == nil && rerr != nil {
			err = rerr
		}
	}()
	defer q.guard(&err)
	return q.batch(ctx, bo)
}

func (q *Query) batch(ctx context.Context, bo BatchOptions) (*BatchResult, error) {
	spilled := filepath.Join(q.opt.DataDir, "spill-batch")
	err := q.openDuck(ctx, spilled)
	if err != nil {
		return nil, err
	}
	if q.plan, err = buildPlan(ctx, q.db, q.app, q.def); err != nil {
		return nil, err
	}
	if err := q.shareMemory(ctx, spilled); err != nil {
		return nil, err
	}
	if q.plan.SlotBound && bo.Slot == nil {
		return nil, diag.New(diag.Usage, "query %q is bound to a slot", q.def.Name).
			WithHint("say which with --from and --to, or run all of them with tidemill backfill")
	}
	if err := q.checkBounds(bo); err != nil {
		return nil, err
	}
	if res, err := q.native(ctx, bo); !errors.Is(err, errNotNative) {
		return res, err
	}
	if q.session, err = exec.Open(ctx, exec.Options{Plan: q.plan, DB: q.db, Batch: true, Memory: q.pool}); err != nil {
		return nil, fmt.Errorf("prepare the plan: %w", err)
	}
	if err := q.loadTablesOnce(ctx); err != nil {
		return nil, err
	}
	call, faults, err := q.readHistory(ctx, bo)
	defer releaseInputs(call.Inputs)
	if err != nil {
		return nil, err
	}
	out, err := q.session.Run(ctx, call)
	if err != nil {
		return nil, fmt.Errorf("run the batch plan: %w", err)
	}
	return &BatchResult{Result: out.Result, Sources: out.Sources, Faults: faults}, nil
}

// checkBounds refuses bounds of time that no source of the query could keep to, and says which could not.
func (q *Query) checkBounds(bo BatchOptions) error {
	if bo.From.IsZero() && bo.To.IsZero() || q.plan.SlotBound {
		return nil
	}
	var whole []string
	for _, s := range q.plan.Sources {
		if s.Watermark == nil && !(&input{def: s}).published() {
			whole = append(whole, s.Name)
		}
	}
	if len(whole) < len(q.plan.Sources) {
		for _, name := range whole {
			q.log.Warn("source has no event time: it is read whole, whatever --from and --to say", "source", name)
		}
		return nil
	}
	return diag.New(diag.BadTime, "--from and --to bound event time, and no source of query %q has one: %s", q.def.Name,
		strings.Join(whole, ", ")).
		WithHint("declare it with WATERMARK FOR, set history_time = 'published' on a jetstream source, or leave the bounds out " +
			"and write them in the WHERE")
}

// loadTablesOnce puts the reference tables into the session without keeping copies.
func (q *Query) loadTablesOnce(ctx context.Context) error {
	if len(q.plan.Tables) == 0 {
		return nil
	}
	return eachTable(ctx, q.memory(), q.app, func(def *planner.Table, t *duck.Table) error {
		for _, used := range q.plan.Tables {
			if used.Name == def.Name {
				return q.session.LoadTable(ctx, def.Name, t)
			}
		}
		return nil
	})
}

// readHistory reads every source from its start to where it ends now.
func (q *Query) readHistory(ctx context.Context, bo BatchOptions) (exec.Call, int64, error) {
	call := exec.Call{Time: q.opt.Clock.Now().Truncate(time.Microsecond), Final: true, Slot: bo.Slot,
		Inputs: map[string]exec.Input{}}
	if !q.plan.SlotBound { // a body that is bound to a slot picks its rows itself
		call.From, call.To = bound(bo.From), bound(bo.To)
	}
	var faults int64
	for i, s := range q.plan.Sources {
		in, err := openInput(ctx, q.opt, q.app, s, home{dir: filepath.Join(q.opt.DataDir, "batch-sources", q.def.Name, s.Name)})
		if err != nil {
			return call, faults, err
		}
		q.inputs = append(q.inputs, in)
		in.leave(q.plan.Inputs[i].Unread)
		r, err := q.readAll(ctx, in, bo)
		call.Inputs[s.Name] = exec.Input{Records: r.records, Bounded: in.published()}
		faults += int64(len(r.faults))
		if err != nil {
			return call, faults, err
		}
	}
	return call, faults, nil
}

func (q *Query) readAll(ctx context.Context, in *input, bo BatchOptions) (*rows, error) {
	r := &rows{}
	var start stream.Offset
	var avail stream.Available
	err := q.retryStart(ctx, func() (err error) {
		var identity string
		if start, identity, err = in.src.Start(ctx); err != nil {
			return err
		}
		avail, err = in.src.Available(ctx, start, identity, stream.Limit{})
		return err
	})
	if err != nil {
		return r, fmt.Errorf("start source %q: %w", in.def.Name, err)
	}
	rng := stream.Range{From: start, To: avail.To, Identity: avail.Identity}
	err = q.retryStart(ctx, func() (err error) {
		rng, err = in.stretch(ctx, rng, bo.From, bo.To)
		return err
	})
	if err != nil {
		return r, err
	}
	return r, in.history(ctx, r, rng, func(step func() error) error { return q.retry(ctx, 0, step) })
}

// bound is t in microseconds, or nil for no bound.
func bound(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func releaseInputs(inputs map[string]exec.Input) {
	for _, in := range inputs {
		for _, rec := range in.Records {
			rec.Release()
		}
	}
}
