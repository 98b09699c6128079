package streamtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// Options say how cases are run.
type Options struct {
	// Parse reads a case's SQL against a registry, as the command line would. Required.
	Parse func(ctx context.Context, text *diag.Text, reg stream.Registry) (*planner.App, error)
	// NoReplay turns the replays off.
	NoReplay bool
	// Verbose gets a line for every batch; nil for none.
	Verbose io.Writer
}

// Result is what became of one case.
type Result struct {
	Name    string  `json:"name"`
	Path    string  `json:"path"`
	OK      bool    `json:"ok"`
	Line    int     `json:"line,omitempty"` // of the step that failed
	Step    string  `json:"step,omitempty"`
	Message string  `json:"message,omitempty"`
	Replays int     `json:"replays"` // replays that were compared
	Millis  float64 `json:"millis"`
}

// Run runs one case, and then its replays.
func Run(ctx context.Context, c Case, o Options) Result {
	start := time.Now()
	res := Result{Name: c.Name, Path: c.Path}
	step, err := runCase(ctx, c, o)
	if err == nil && !o.NoReplay {
		res.Replays, err = replay(ctx, c, o)
		step = Step{Kind: "replay"}
	}
	res.Millis = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		res.Line, res.Step, res.Message = step.Line, step.Kind, message(err)
		return res
	}
	res.OK = true
	return res
}

func message(err error) string {
	if diag.All(err) != nil {
		return diag.Render(err)
	}
	return err.Error()
}

func runCase(ctx context.Context, c Case, o Options) (Step, error) {
	r, err := newRig(o, c)
	if err != nil {
		return Step{}, err
	}
	defer r.close()
	if c.OnlyBatch {
		return r.batchCase(ctx)
	}
	if c.Steps[0].Kind != "fails" {
		if err := r.open(ctx, c.SQL); err != nil {
			return Step{Kind: "sql", Line: c.SQLLine}, err
		}
	} else {
		r.failed = r.open(ctx, c.SQL)
	}
	for i, s := range c.Steps {
		err := r.step(ctx, s)
		if err != nil && i+1 < len(c.Steps) && c.Steps[i+1].Kind == "fails" {
			r.failed = err
			continue
		}
		if err != nil {
			return s, err
		}
	}
	if r.failed != nil {
		return c.Steps[len(c.Steps)-1], r.failed
	}
	return Step{}, nil
}

// rig is one case being run: hubs that outlive restarts, a folder, a clock that stands still.
type rig struct {
	o       Options
	c       Case
	dir     string
	clock   *clock.Manual
	sources *sourcemem.Hub
	sinks   *sinkmem.Hub
	app     *planner.App
	query   *engine.Query
	crash   string // the point at which the next run dies
	crashed bool
	failed  error // what the last step failed with, until a fails step takes it

	last    int64 // number of the last executed batch; -1 for none
	count   engine.StateProgress
	seen    map[string]int // deliveries of each sink that expect has looked at
	dropped bool
	dead    int64 // rows that were dead-lettered
	anytime bool  // ONCE and AVAILABLE NOW do not end the query
}

var errCrash = errors.New("the case kills the engine here") //nolint:gochecknoglobals // a sentinel

func newRig(o Options, c Case) (*rig, error) {
	dir, err := os.MkdirTemp("", "tidemill-case-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the case: %w", err)
	}
	return &rig{o: o, c: c, dir: dir, clock: clock.NewManual(time.Unix(0, 0)), sources: sourcemem.NewHub(),
		sinks: sinkmem.NewHub(), last: -1, seen: map[string]int{}}, nil
}

func (r *rig) close() {
	if r.query != nil {
		_ = r.query.Abandon() // the folder goes too
	}
	_ = os.RemoveAll(r.dir)
}

func (r *rig) registry() stream.Registry {
	return stream.Registry{
		Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(r.sources)},
		Sinks:   map[string]stream.SinkConnector{"memory": sinkmem.Connector(r.sinks)},
	}
}

func (r *rig) parse(ctx context.Context, text *diag.Text) (*planner.App, error) {
	app, err := r.o.Parse(ctx, text, r.registry())
	if err != nil || !r.anytime {
		return app, err
	}
	for _, q := range app.Queries {
		if q.Trigger.Kind == trigger.Once || q.Trigger.Kind == trigger.AvailableNow {
			q.Trigger = trigger.Spec{}
		}
	}
	return app, nil
}

func (r *rig) options() engine.Options {
	return engine.Options{DataDir: filepath.Join(r.dir, "data"), Clock: r.clock, Registry: r.registry(), Parse: r.parse,
		Listener: engine.Listener{BatchDone: r.batchDone}, MemoryLimit: 512 << 20, Threads: 1, Hook: r.hook}
}

func (r *rig) batchDone(p engine.Progress) {
	r.last = p.BatchID
	s := p.StateOperators[0]
	r.count.NumRowsTotal = s.NumRowsTotal
	r.count.NumRowsUpdated += s.NumRowsUpdated
	r.count.NumRowsRemoved += s.NumRowsRemoved
	r.count.NumRowsDropped += s.NumRowsDropped
	r.dropped = r.dropped || s.NumRowsDropped > 0
	for _, src := range p.Sources {
		r.dead += src.Dead
	}
	if r.o.Verbose != nil {
		fmt.Fprintf(r.o.Verbose, "  %s batch %d: %d rows in, %d out, watermark %v, state %+v\n", r.c.Name, p.BatchID,
			p.NumInputRows, p.Sink.NumOutputRows, p.EventTime.Watermark, s)
	}
}

// hook dies once at the point that the case asked for.
func (r *rig) hook(point string) error {
	if point != r.crash {
		return nil
	}
	r.crash = ""
	return errCrash
}

func (r *rig) open(ctx context.Context, sql string) error {
	app, err := r.parse(ctx, &diag.Text{Name: r.c.Name + ".sql", Body: sql})
	if err != nil {
		return err
	}
	if len(app.Queries) != 1 {
		return diag.New(diag.Usage, "a case needs exactly one CREATE QUERY, this one has %d", len(app.Queries))
	}
	query, err := engine.Open(ctx, r.options(), app, app.Queries[0].Name)
	if err != nil {
		return err //nolint:wrapcheck // a coded error for the case's author
	}
	r.app, r.query = app, query
	return nil
}

// run lets fn drive the query; a crash leaves the rig without one until the next restart.
func (r *rig) run(ctx context.Context, fn func(context.Context) error) error {
	if r.query == nil {
		return errors.New("the engine is not running: a restart must come first")
	}
	err := fn(ctx)
	if err == nil && r.crash != "" {
		return fmt.Errorf("the run did not come to %s, where it was to die", r.crash)
	}
	if !errors.Is(err, errCrash) {
		return err
	}
	r.crashed = true
	query := r.query
	r.query = nil
	if err := query.Abandon(); err != nil {
		return fmt.Errorf("abandon the query: %w", err)
	}
	return nil
}

func (r *rig) restart(ctx context.Context, sql string) error {
	if r.query != nil {
		query := r.query
		r.query = nil
		if err := query.Close(ctx); err != nil {
			return fmt.Errorf("stop the query: %w", err)
		}
	}
	r.crash = ""
	return r.open(ctx, sql)
}

func (r *rig) batchCase(ctx context.Context) (Step, error) {
	app, err := r.parse(ctx, &diag.Text{Name: r.c.Name + ".sql", Body: r.c.SQL})
	if err != nil {
		return Step{Kind: "sql", Line: r.c.SQLLine}, err
	}
	r.app = app
	var got table
	for _, s := range r.c.Steps {
		switch s.Kind {
		case "add":
			err = r.add(s)
		case "run":
			got, err = r.runBatchPlan(ctx)
		case "expect":
			err = r.compareBatch(got, s)
		default:
			err = fmt.Errorf("a case with only_batch has add, run and expect, not %s", s.Kind)
		}
		if err != nil {
			return s, err
		}
	}
	return Step{}, nil
}

// runBatchPlan runs the query's batch plan over the added rows.
func (r *rig) runBatchPlan(ctx context.Context) (table, error) {
	res, err := engine.Batch(ctx, r.options(), r.app, r.app.Queries[0].Name, engine.BatchOptions{})
	if err != nil {
		return table{}, err //nolint:wrapcheck // a coded error for the case's author
	}
	defer res.Release()
	return tableOf(res.Result), nil
}

func (r *rig) compareBatch(got table, s Step) error {
	rows, ok := mapOf(s.Value)["all"].([]any)
	if !ok {
		return errors.New("expect needs all: [...] here")
	}
	want, err := got.expected(rows)
	if err != nil {
		return err
	}
	if d := diff(got.rows, want, s.With["ordered"] == true); d != "" {
		return fmt.Errorf("the batch run gives other rows:\n%s", d)
	}
	return nil
}

func mapOf(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}
