package difftest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/letters"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

// Options are what a Play needs.
type Options struct {
	// Parse reads SQL against a registry, as the command line would. Required.
	Parse func(ctx context.Context, text *diag.Text, reg stream.Registry) (*planner.App, error)
	// Dir names a folder that DuckDB may spill to; the log and the state live in memory. Required.
	Dir string
	// MemoryLimit is the memory_limit of the query, in bytes. Default 256 MiB.
	MemoryLimit int64
}

// Row says what became of one row of a source. Rows are in the order they were added.
type Row struct {
	Values []any
	Batch  int64  // that read it; -1 if none did
	Order  int64  // position in the log: batch, then source, then place in the source
	LateBy *int64 // the watermark, in microseconds, that its batch dropped late rows by; nil: none was known
	Late   bool   // it came too late everywhere, and was left out
	Dead   bool   // it was left out as a dead letter
}

// Outcome is what a Script led to.
type Outcome struct {
	App     *planner.App
	Plan    *planner.Plan
	Columns []string         // of the result
	Types   []arrow.DataType // of the result
	Table   [][]any          // what the sink holds for a reader, values as rowenc.Value gives them
	Rows    map[string][]Row // by source
	Batches []engine.Progress
	Starts  int   // times that the engine was started again
	Crashes int   // times that it died inside a batch
	Missed  []int // of the crash steps, counted from 0, those whose point was not reached
	Open    int64 // rows of state that only the last, infinite watermark freed or left

	registry stream.Registry
}

// Late returns how many rows were late.
func (o *Outcome) Late() int64 {
	var n int64
	for _, rows := range o.Rows {
		for _, r := range rows {
			if r.Late {
				n++
			}
		}
	}
	return n
}

// In returns how many rows the sources gave.
func (o *Outcome) In() int64 {
	var n int64
	for _, rows := range o.Rows {
		n += int64(len(rows))
	}
	return n
}

// Refused says that a query was not planned: its shape is one that streams can not run.
type Refused struct{ Err error }

// Error returns what the planner said.
func (r *Refused) Error() string { return r.Err.Error() }

// Unwrap returns the planner's error.
func (r *Refused) Unwrap() error { return r.Err }

// Break is a broken promise of the engine, other than a wrong answer.
type Break struct{ What string }

// Error says which.
func (b *Break) Error() string { return b.What }

func broken(format string, args ...any) error { return &Break{fmt.Sprintf(format, args...)} }

const pause = 11 * time.Second // longer than the checkpoint interval

var errCrash = errors.New("the script kills the engine here") //nolint:gochecknoglobals // a sentinel

// player is a Script being run: everything that outlives the engine, and the engine.
type player struct {
	opt     Options
	script  Script
	disk    vfs.FS
	clock   *clock.Manual
	sources *sourcemem.Hub
	sinks   *sinkmem.Hub
	query   *engine.Query
	crash   string
	crashes int // crash steps so far
	out     *Outcome
	heard   map[int64]int // index in out.Batches by batch
	err     error         // the first broken promise that a batch's report shows
}

// Play runs a script to its end. The error is a *Refused, a *Break, or what failed.
func Play(ctx context.Context, s Script, opt Options) (_ *Outcome, err error) {
	if opt.MemoryLimit == 0 {
		opt.MemoryLimit = 256 << 20
	}
	p := &player{opt: opt, script: s, disk: vfs.NewMem(), clock: clock.NewManual(time.Unix(1_700_000_000, 0)),
		sources: sourcemem.NewHub(), sinks: sinkmem.NewHub(), heard: map[int64]int{},
		out: &Outcome{Rows: map[string][]Row{}}}
	defer p.sources.Release()
	defer func() {
		if p.query != nil {
			err = errors.Join(err, p.query.Abandon())
		}
	}()
	p.out.registry = p.registry()
	if err := p.begin(ctx); err != nil {
		return nil, err
	}
	for _, step := range s.Steps {
		if err := p.step(ctx, step); err != nil {
			return nil, fmt.Errorf("%s: %w", step.Kind, err)
		}
	}
	if err := p.finish(ctx); err != nil {
		return nil, err
	}
	return p.out, p.settle()
}

func (p *player) registry() stream.Registry {
	return stream.Registry{
		Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(p.sources)},
		Sinks:   map[string]stream.SinkConnector{"memory": sinkmem.Connector(p.sinks)},
	}
}

// noLock stands for the lock of a folder that is in this process's memory.
type noLock struct{}

func (noLock) Close() error { return nil }

func (p *player) options() engine.Options {
	return engine.Options{DataDir: p.opt.Dir, FS: p.disk, Clock: p.clock, Registry: p.registry(),
		Parse: func(ctx context.Context, text *diag.Text) (*planner.App, error) {
			return p.opt.Parse(ctx, text, p.registry())
		},
		Listener: engine.Listener{BatchDone: p.batchDone}, MemoryLimit: p.opt.MemoryLimit, Threads: 1,
		Lock: func(string, string) (io.Closer, error) { return noLock{}, nil }, Hook: p.hook}
}

func (p *player) hook(point string) error {
	if point != p.crash {
		return nil
	}
	p.crash = ""
	return errCrash
}

func (p *player) begin(ctx context.Context) error {
	app, err := p.opt.Parse(ctx, &diag.Text{Name: p.script.Name + ".sql", Body: p.script.SQL}, p.registry())
	if err != nil {
		return fmt.Errorf("parse: %w", err)
	}
	if len(app.Queries) != 1 {
		return diag.New(diag.Usage, "a script has exactly one query, this one has %d", len(app.Queries))
	}
	p.out.App = app
	if err := p.open(ctx); err != nil {
		if refusal(diag.CodeOf(err)) {
			return &Refused{err}
		}
		return fmt.Errorf("open: %w", err)
	}
	p.out.Plan = p.query.Plan()
	return nil
}

// refusal reports whether a code says that a query which is sound SQL can not run on a stream.
func refusal(code diag.Code) bool {
	switch code {
	case diag.AggregateUnsupported, diag.AppendNeedsWatermark, diag.CompleteNeedsAgg, diag.JoinUnsupported,
		diag.LimitUnsupported, diag.OrderByUnsupported, diag.ShapeUnsupported, diag.UpdateUnsupported:
		return true
	default:
		return false
	}
}

func (p *player) open(ctx context.Context) (err error) {
	p.query, err = engine.Open(ctx, p.options(), p.out.App, p.out.App.Queries[0].Name)
	if err != nil {
		p.query = nil
	}
	return err //nolint:wrapcheck // the caller knows why it opens
}

func (p *player) step(ctx context.Context, s Step) error {
	switch s.Kind {
	case Add:
		return p.add(s)
	case Run:
		return p.run(ctx)
	case Restart:
		return p.restart(ctx)
	case Crash:
		p.crash = s.Point
		p.crashes++
	case Wait:
		p.clock.Advance(pause)
	}
	return nil
}

func (p *player) add(s Step) error {
	for _, src := range p.out.App.Sources {
		if src.Name != s.Source {
			continue
		}
		if err := p.sources.Add(src.Name, given(src), s.Rows); err != nil {
			return fmt.Errorf("add to %s: %w", src.Name, err)
		}
		for _, row := range s.Rows {
			p.out.Rows[src.Name] = append(p.out.Rows[src.Name], Row{Values: row, Batch: -1})
		}
		return nil
	}
	return fmt.Errorf("there is no source %q", s.Source)
}

// given returns the columns that rows bring along.
func given(src *planner.Source) []stream.Column {
	var cols []stream.Column
	for _, c := range src.Columns {
		if c.Expr == "" && !c.Metadata {
			cols = append(cols, c.Column)
		}
	}
	return cols
}

func (p *player) run(ctx context.Context) error {
	if p.query == nil {
		return errors.New("the engine is not running: a restart must come first")
	}
	err := p.query.Idle(ctx)
	if err == nil && p.crash != "" {
		p.out.Missed = append(p.out.Missed, p.crashes-1)
		p.crash = ""
	}
	if errors.Is(err, errCrash) {
		p.out.Crashes++
		query := p.query
		p.query = nil
		err = query.Abandon()
	}
	return errors.Join(err, p.err)
}

func (p *player) restart(ctx context.Context) error {
	if p.query != nil {
		query := p.query
		p.query = nil
		if err := query.Close(ctx); err != nil {
			return fmt.Errorf("stop: %w", err)
		}
	}
	p.crash = ""
	p.out.Starts++
	if err := p.open(ctx); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

func (p *player) finish(ctx context.Context) error {
	if p.query == nil {
		if err := p.restart(ctx); err != nil {
			return err
		}
	}
	p.crash = ""
	if err := p.query.Idle(ctx); err != nil {
		return fmt.Errorf("run what is left: %w", err)
	}
	if n := len(p.out.Batches); n > 0 {
		p.out.Open = p.out.Batches[n-1].StateOperators[0].NumRowsTotal
	}
	if err := p.query.Finish(ctx); err != nil {
		return fmt.Errorf("finish: %w", err)
	}
	query := p.query
	p.query = nil
	if err := query.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return p.err
}

// batchDone notes a batch. Every row must be accounted for, and a batch that runs again must be the same.
func (p *player) batchDone(b engine.Progress) {
	for i, s := range b.Sources {
		if s.In != s.Used+s.Filtered+s.Late+s.NullTime+s.Dead {
			p.fault(broken("batch %d: source %s gave %d rows, but "+
				"%d used, %d filtered, %d late, %d without time, %d dead",
				b.BatchID, s.Name, s.In, s.Used, s.Filtered, s.Late, s.NullTime, s.Dead))
		}
		b.Sources[i].Behind = 0
	}
	if at, again := p.heard[b.BatchID]; again {
		old := p.out.Batches[at]
		if fmt.Sprint(old.Sources) != fmt.Sprint(b.Sources) ||
			!sameTime(old.EventTime.Watermark, b.EventTime.Watermark) {
			p.fault(broken("batch %d was committed twice, and differs: %+v, then %+v", b.BatchID, old.Sources,
				b.Sources))
		}
		return
	}
	p.heard[b.BatchID] = len(p.out.Batches)
	p.out.Batches = append(p.out.Batches, b)
}

func sameTime(a, b *time.Time) bool {
	return a == nil && b == nil || a != nil && b != nil && a.Equal(*b)
}

func (p *player) fault(err error) {
	if p.err == nil {
		p.err = err
	}
}

// settle reads the sink, and where each row went.
func (p *player) settle() error {
	if err := p.assign(); err != nil {
		return err
	}
	if err := p.readLetters(); err != nil {
		return err
	}
	p.out.Table = p.table()
	var late int64
	for _, b := range p.out.Batches {
		for _, s := range b.Sources {
			late += s.Late
		}
	}
	if p.out.App.Queries[0].Options.String("late") == "dead_letter" && late != p.out.Late() {
		return broken("%d rows were counted as late, but %d are kept as late", late, p.out.Late())
	}
	return nil
}

// assign says of each row which batch read it.
func (p *player) assign() error {
	next := map[string]int64{}
	for i, b := range p.out.Batches {
		if b.BatchID != int64(i) {
			return broken("batch %d was heard of as the %dth", b.BatchID, i)
		}
		ordinal := int64(0)
		for _, s := range b.Sources {
			from, err1 := strconv.ParseInt(s.StartOffset, 10, 64)
			to, err2 := strconv.ParseInt(s.EndOffset, 10, 64)
			if err1 != nil || err2 != nil || from != next[s.Name] {
				return broken("batch %d reads source %s from %s to %s, the one before ended at %d", b.BatchID, s.Name,
					s.StartOffset, s.EndOffset, next[s.Name])
			}
			for at := from; at < to; at++ {
				row := &p.out.Rows[s.Name][at]
				row.Batch, row.Order = b.BatchID, b.BatchID<<31|ordinal
				if i > 0 {
					if wm := p.out.Batches[i-1].EventTime.Watermark; wm != nil {
						us := wm.UnixMicro()
						row.LateBy = &us
					}
				}
				ordinal++
			}
			next[s.Name] = to
		}
	}
	for _, src := range p.out.Plan.Sources {
		if n := int64(len(p.out.Rows[src.Name])); next[src.Name] != n {
			return broken("source %s gave %d rows, but only %d were read", src.Name, n, next[src.Name])
		}
	}
	return nil
}

// readLetters marks the rows that the engine left out.
func (p *player) readLetters() error {
	dir := filepath.Join(p.opt.Dir, p.out.App.Queries[0].Name, "dead_letters")
	files, err := letters.List(p.disk, dir)
	if err != nil {
		return fmt.Errorf("list dead letters: %w", err)
	}
	for _, f := range files {
		list, err := letters.Read(p.disk, dir, f.Batch)
		if err != nil {
			return fmt.Errorf("read dead letters: %w", err)
		}
		for _, l := range list {
			rows := p.out.Rows[l.Source]
			first := 0
			for first < len(rows) && rows[first].Batch != l.Batch {
				first++
			}
			at := first + int(l.Ordinal)
			if l.Ordinal < 0 || at >= len(rows) || rows[at].Batch != l.Batch {
				return broken("a letter names row %d of source %s in batch %d, which is not there", l.Ordinal,
					l.Source, l.Batch)
			}
			if twice := rows[at].Late || rows[at].Dead; twice {
				return broken("row %d of source %s in batch %d was left out twice", l.Ordinal, l.Source, l.Batch)
			}
			rows[at].Late, rows[at].Dead = l.Kind == letters.Late, l.Kind == letters.Dead
		}
	}
	return nil
}

// table is what the sink holds for a reader: in update mode the last row of each key.
func (p *player) table() [][]any {
	query := p.out.App.Queries[0]
	for _, c := range p.out.Plan.Schema {
		p.out.Columns = append(p.out.Columns, c.Name)
		p.out.Types = append(p.out.Types, c.Arrow)
	}
	if query.Mode == stream.Update && p.out.Plan.Stateful() {
		return p.sinks.Table(query.Sinks[0])
	}
	return p.sinks.Rows(query.Sinks[0])
}

// Memory returns a registry of the memory connectors over hubs of their own, to read texts against.
func Memory() stream.Registry {
	return stream.Registry{
		Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(sourcemem.NewHub())},
		Sinks:   map[string]stream.SinkConnector{"memory": sinkmem.Connector(sinkmem.NewHub())},
	}
}
