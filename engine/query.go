package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// Query is one running query. One goroutine owns it: the one that called Open and calls Run, or Step and Idle.
// Stop and Status may be called from anywhere.
type Query struct {
	life
	evolution *evolution // a changed text whose state is being built; nil when there is none
	driven    bool       // by Run or Idle: a batch follows another as long as there is something to do

	stop   chan struct{} // closed by Stop
	stopOn atomic.Bool
	status atomic.Pointer[Status]
}

// life is what a query has open and where it stands. A changed text that had its state built anew begins another one.
type life struct {
	opt     Options
	app     *planner.App
	def     *planner.Query
	plan    *planner.Plan
	trigger trigger.Trigger
	pace    pace
	log     *slog.Logger

	db      *duck.DB
	limit   int64       // of its memory, in bytes
	pool    *spill.Pool // where keyed state lies
	results *overflow   // where results lie that Go has no room for
	session *exec.Session
	ckpt    *checkpoint.Checkpoint
	uuid    string
	epoch   uint64
	lifeID  string // by which sinks tell this life from one of a copied directory
	inputs  []*input
	outputs []*output
	letters *letters.Box
	tables  *tables

	pos      position           // behind the last committed batch
	ledger   ledger             // of the committed batches
	computed *work              // the next batch, computed before its Intent: the session is ahead of the log by it; else nil
	pending  *checkpoint.Replay // a batch that has an Intent but no Commit
	schedule schedule
	snapshot snapshots
	quiet    quiet
	flushAt  time.Time            // when the buffered Commit is to be written alone; zero: nothing buffered
	slots    map[string]SlotState // what is known of each slot, by key; nil until somebody asks
	failed   error                // what broke a batch or a state version off: memory may be ahead of the log, so nothing more runs
	shift    int64                // added to batch numbers where rows are put in order
	rewrite  *rewrite             // what the sinks are to be told of a changed text; nil when the state has nothing of it
}

// output is one sink of the query.
type output struct {
	name string
	sink stream.Sink
}

// Open plans query name of app, takes its directory's lock and brings it to where its log says it stood: state
// loaded, the batches after the state version run again without delivery. The caller ends it with Close, or with
// Abandon as if the process had been killed.
func Open(ctx context.Context, opt Options, app *planner.App, name string) (*Query, error) {
	opt = opt.withDefaults()
	q, err := openAs(ctx, opt, app, name)
	var evolving *evolvingError
	if errors.As(err, &evolving) {
		return openEvolving(ctx, opt, app, name, evolving.meta)
	}
	var other *otherPlanError
	if !errors.As(err, &other) {
		return q, err
	}
	if err := finishAs(ctx, opt, app, other.meta); err != nil {
		return nil, fmt.Errorf("finish query %q as its checkpoint has it: %w", name, err)
	}
	return openAs(ctx, opt, app, name)
}

func openAs(ctx context.Context, opt Options, app *planner.App, name string) (*Query, error) {
	q, err := newQuery(opt, app, name)
	if err != nil {
		return nil, err
	}
	if err := guarded("query "+name, func() error { return q.open(ctx) }); err != nil {
		return nil, errors.Join(q.coded(err), q.release(false))
	}
	return q, nil
}

func newQuery(opt Options, app *planner.App, name string) (*Query, error) {
	def, err := findQuery(app, name)
	if err != nil {
		return nil, err
	}
	q := &Query{life: life{opt: opt, app: app, def: def, log: opt.Log.With("query", name), limit: opt.memoryOf(def),
		pace: newPace(def.Options.Duration("latency_target"))}, stop: make(chan struct{})}
	q.snapshot.batch = -1
	q.setState("starting", nil)
	return q, nil
}

// otherPlanError says that the log holds batches which must run again by the text they were begun with.
type otherPlanError struct{ meta checkpoint.Meta }

func (*otherPlanError) Error() string {
	return "the checkpoint has unfinished batches of an older text"
}

// finishAs runs the unfinished batches of a checkpoint by the text it was written with, up to a state version, where app
// is the new text.
func finishAs(ctx context.Context, opt Options, next *planner.App, meta checkpoint.Meta) error {
	if opt.Parse == nil {
		return diag.New(diag.PlanChanged, "query %q was changed while a batch of it was unfinished", meta.Name).
			WithHint("run the old text once with --available-now, then the new one")
	}
	app, err := opt.Parse(ctx, storedText(meta))
	if err != nil {
		return err
	}
	takeFree(opt.Registry, app, next)
	q, err := openAs(ctx, opt, app, meta.Name)
	var other *otherPlanError
	if errors.As(err, &other) {
		return diag.New(diag.PlanChanged, "this version of Tidemill plans query %q otherwise than the one that left a batch of it unfinished",
			meta.Name).WithHint("run the query once with --available-now by the version that wrote the checkpoint (%s)", meta.Version)
	}
	if err != nil {
		return err
	}
	if q.pending != nil {
		if err := guarded("query "+meta.Name, func() error { return q.runPending(ctx) }); err != nil {
			return errors.Join(err, q.Abandon())
		}
	}
	return q.Close(ctx)
}

// takeFree gives the sources and sinks of a stored text the options of the new one that are free to change at any time:
// how a server is reached and logged in to above all, of which the stored text has no passwords.
func takeFree(reg stream.Registry, stored, next *planner.App) {
	for _, s := range stored.Sources {
		for _, n := range next.Sources {
			if n.Name == s.Name && n.Connector == s.Connector {
				s.Options = freeOf(append(stream.SourceFields(s.Typed), reg.Sources[s.Connector].Spec.Fields...), s.Options, n.Options)
			}
		}
	}
	for _, s := range stored.Sinks {
		if n := findSink(next, s.Name); n != nil && n.Connector == s.Connector {
			s.Options = freeOf(reg.Sinks[s.Connector].Spec.Fields, s.Options, n.Options)
		}
	}
}

// freeOf returns old with the values of next for the fields that are not fixed.
func freeOf(fields []stream.Field, old, next stream.Options) stream.Options {
	out := maps.Clone(old)
	for _, f := range fields {
		if f.Fixed {
			continue
		}
		delete(out, f.Name)
		if v, ok := next[f.Name]; ok {
			out[f.Name] = v
		}
	}
	return out
}

func storedText(meta checkpoint.Meta) *diag.Text {
	return &diag.Text{Name: meta.Name + " (as in the checkpoint)", Body: meta.SQL}
}

func findQuery(app *planner.App, name string) (*planner.Query, error) {
	names := make([]string, len(app.Queries))
	for i, d := range app.Queries {
		if d.Name == name {
			return d, nil
		}
		names[i] = d.Name
	}
	e := diag.New(diag.UnknownName, "query %q is not defined in %s", name, app.Text.Name)
	if near := diag.Near(name, names); near != "" {
		e = e.WithHint("did you mean %q?", near)
	}
	return nil, e
}

func (q *Query) open(ctx context.Context) error {
	if err := q.openTrigger(); err != nil {
		return err
	}
	dir := filepath.Join(q.opt.DataDir, q.def.Name)
	if err := q.openPlan(ctx, dir); err != nil {
		return err
	}
	recovery, err := q.openCheckpoint(ctx, dir)
	if err != nil {
		return err
	}
	if err := q.openInputs(ctx, dir, recovery); err != nil {
		return err
	}
	if q.letters, err = letters.Open(q.opt.FS, filepath.Join(dir, "dead_letters"), letters.Options{}); err != nil {
		return fmt.Errorf("open dead letters: %w", err)
	}
	if err := q.openOutputs(ctx, dir, recovery); err != nil {
		return err
	}
	did, err := q.resume(ctx, recovery)
	if err != nil {
		return err
	}
	if err := q.startSchedule(recovery); err != nil {
		return err
	}
	q.snapshot.last, q.snapshot.work = q.opt.Clock.Now(), did.rerun
	q.setState("running", nil)
	tell(q.opt.Listener.QueryStarted, Started{Query: q.def.Name, UUID: q.uuid, Epoch: q.epoch, New: recovery.New,
		Batch: q.pos.next, Load: did.load, Replayed: did.batches, Rerun: did.rerun, Torn: tornBytes(recovery)})
	return nil
}

func (q *Query) openTrigger() error {
	spec := q.def.Trigger
	if q.opt.Trigger != nil && spec.Kind != trigger.Cron {
		spec = trigger.Spec{Kind: trigger.AvailableNow}
		if *q.opt.Trigger == OverrideOnce {
			spec.Kind = trigger.Once
		}
	}
	t, err := trigger.New(spec)
	q.trigger = t
	if err != nil {
		return fmt.Errorf("query %q: %w", q.def.Name, err)
	}
	return nil
}

// openPlan opens the query's sealed DuckDB and plans the body on it.
func (q *Query) openPlan(ctx context.Context, dir string) error {
	spilled := filepath.Join(dir, "spill")
	if err := q.openDuck(ctx, spilled); err != nil {
		return err
	}
	plan, err := buildPlan(ctx, q.db, q.app, q.def)
	if err != nil {
		return err
	}
	q.plan = plan
	if err := q.shareMemory(ctx, spilled); err != nil {
		return err
	}
	return q.checkLoop()
}

func buildPlan(ctx context.Context, db *duck.DB, app *planner.App, def *planner.Query) (*planner.Plan, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to DuckDB: %w", err)
	}
	plan, err := planner.Build(ctx, app, def, conn)
	if cerr := conn.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("close planning connection: %w", cerr)
	}
	return plan, err //nolint:wrapcheck // a coded error with its own place
}

// Name returns the query's name.
func (q *Query) Name() string { return q.def.Name }

// Plan returns what the query runs. It is not to be changed.
func (q *Query) Plan() *planner.Plan { return q.plan }

// Watermark returns the query's watermark in microseconds since 1970, or nil when it is not known yet.
func (q *Query) Watermark() *int64 { return q.pos.watermark }

// Batches returns how many batches have been committed in the life of the query.
func (q *Query) Batches() int64 { return q.ledger.totals.Batches }

// Status returns an immutable picture of the query. It may be called concurrently.
func (q *Query) Status() Status { return *q.status.Load() }

// Stop asks Run to return after the batch it is in. It may be called concurrently and more than once.
func (q *Query) Stop() {
	if q.stopOn.CompareAndSwap(false, true) {
		close(q.stop)
	}
}

// stopping reports that Stop was called.
func (q *Query) stopping() bool {
	select {
	case <-q.stop:
		return true
	default:
		return false
	}
}

func (q *Query) setState(state string, err error) {
	s := Status{Query: q.def.Name, UUID: q.uuid, State: state, Batch: q.pos.next, Watermark: q.pos.watermark, Err: err}
	if old := q.status.Load(); old != nil {
		s.Last = old.Last
	}
	q.status.Store(&s)
}

// Close ends the query cleanly: the last Commit and a state version become durable, so that the next start runs
// nothing again. After a failure it writes nothing, as Abandon. It is idempotent.
func (q *Query) Close(ctx context.Context) error {
	if q.ckpt == nil {
		return nil
	}
	if q.failed != nil {
		return q.release(false)
	}
	err := q.finalSnapshot(ctx)
	return q.coded(errors.Join(err, q.release(err == nil)))
}

// Abandon frees memory, connections and the lock and writes nothing: what a kill would leave behind.
func (q *Query) Abandon() error { return q.release(false) }

func (q *Query) release(clean bool) error {
	q.snapshot.wait()
	q.snapshot.drop()
	if q.computed != nil { // its Intent was never written, so it never was
		q.computed.release()
		q.computed = nil
	}
	errs := []error{q.evolution.close()}
	q.evolution = nil
	q.rewrite.release()
	for _, in := range q.inputs {
		errs = append(errs, in.close())
	}
	for _, out := range q.outputs {
		errs = append(errs, out.sink.Close())
	}
	q.inputs, q.outputs = nil, nil
	if q.session != nil {
		errs = append(errs, q.session.Close())
		q.session = nil
	}
	q.pool.Close()
	q.results.close()
	if q.tables != nil {
		errs = append(errs, q.tables.close())
		q.tables = nil
	}
	if q.db != nil {
		errs = append(errs, q.db.Close())
		q.db = nil
	}
	if q.ckpt != nil {
		errs = append(errs, q.ckpt.Close(clean))
		q.ckpt = nil
	}
	return errors.Join(errs...)
}

// guard turns a panic of the query's goroutine into a coded error, so that other queries live on.
func (q *Query) guard(err *error) {
	if r := recover(); r != nil {
		*err = q.fail(panicError("query "+q.def.Name, r))
	}
	*err = q.coded(*err)
}

// coded gives the faults that any step can meet their code where nobody below has: a full disk, and memory that does
// not suffice.
func (q *Query) coded(err error) error {
	var e *duck.Error
	switch {
	case err == nil || diag.CodeOf(err) != "":
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return diag.Wrap(diag.DiskFull, err, "query %q", q.def.Name).
			WithNote("what was acknowledged is safe").WithHint("free some space and start again")
	case errors.As(err, &e) && e.Kind == duck.OutOfMemory:
		return diag.Wrap(diag.OutOfMemory, err, "query %q", q.def.Name).
			WithNote("DuckDB may use %d MiB for it; what was committed is safe", q.memory()>>20).
			WithHint("raise --memory-limit or the query's memory_limit, or lower max_rows_per_batch or max_bytes_per_batch of its sources")
	}
	return err
}

// fail notes that the query can not go on in this life.
func (q *Query) fail(err error) error {
	if q.failed == nil {
		q.failed = err
	}
	return err
}

// guarded runs step for who and turns a panic into a coded error.
func guarded(who string, step func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = panicError(who, r)
		}
	}()
	return step()
}

func panicError(who string, r any) error {
	return diag.New(diag.Internal, "%s: %v", who, r).WithNote("%s", debug.Stack()).
		WithHint("this is a fault of Tidemill; nothing was committed by the batch in flight")
}

func tornBytes(r *checkpoint.Recovery) int64 {
	if r.Torn == nil {
		return 0
	}
	return r.Torn.Bytes
}
