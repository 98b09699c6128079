package benchmarks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
)

// EngineCommand is the hidden command of the binary that Engine serves.
const EngineCommand = "bench-engine"

// task is what a process of the engine alone runs: queries over rows that it makes itself, step by step.
// Each step's rows are one batch of each query, and whatever follows it without data belongs to the step.
type task struct {
	SQL     string        `json:"sql"`
	Queries []string      `json:"queries"`
	Dir     string        `json:"dir"` // results are left here, a folder for each sink
	Feed    feedSpec      `json:"feed"`
	Files   bool          `json:"files,omitempty"`   // the sources are of files, and what they hold is one step
	Profile string        `json:"profile,omitempty"` // a file for the CPU profile
	Steps   int           `json:"steps"`             // how many at least
	Filled  int           `json:"filled,omitempty"`  // so many of them are no part of For
	Weigh   bool          `json:"weigh,omitempty"`   // read the memory in use at first and after Filled
	For     time.Duration `json:"for,omitempty"`     // after Filled, steps go on for so long
	Finish  bool          `json:"finish,omitempty"`  // end with the watermark at infinity
	From    int           `json:"from,omitempty"`    // the first step; those before it are another process's
	Results string        `json:"results,omitempty"` // a folder in Dir for results of this process alone
	Kill    bool          `json:"kill,omitempty"`    // end by SIGKILL, between two batches, with the sinks' files whole
	Threads int           `json:"threads,omitempty"`
	Memory  int64         `json:"memory,omitempty"` // limit of a query in bytes
}

// outcome is what became of a task.
type outcome struct {
	Refused string    `json:"refused,omitempty"` // the code of the refusal; only Why is set beside it
	Why     string    `json:"why,omitempty"`
	Steps   int       `json:"steps"`
	Laps    []lap     `json:"laps"` // one for each step and query, in order; the end is step Steps
	Keys    []string  `json:"keys"` // of the first query's result in update mode
	CPU     float64   `json:"cpu_seconds"`
	Opened  int64     `json:"opened_bytes"`     // of memory, when the queries stood open
	Opening float64   `json:"opening_ms"`       // from the text to queries that stand where their logs say
	OpenCPU float64   `json:"open_cpu_seconds"` // of the process, until then
	Reruns  int       `json:"reruns"`           // batches that were run again for it
	Rerun   float64   `json:"rerun_ms"`         // what that took
	Load    float64   `json:"load_ms"`          // what loading the state version before took
	Kept    []kept    `json:"kept"`             // state versions
	Data    []float64 `json:"data_ms"`          // of each batch that had data
	State   int64     `json:"state_bytes"`      // of the state versions on disk, the most that a step left
	Filled  int64     `json:"filled_bytes"`     // after the step of that name
	Peak    int64     `json:"peak_bytes"`
}

// kept is a state version that became durable between two laps.
type kept struct {
	At     float64 `json:"at_ms"`   // since the queries were opened
	Held   float64 `json:"held_ms"` // how long batches waited for it
	Millis float64 `json:"ms"`      // until it was durable
}

// Engine runs the task that in holds and writes its outcome to out. It is what the process of the engine
// does, and it ends early when in ends, so that it can not outlive the driver.
func Engine(ctx context.Context, in io.Reader, out io.Writer) error {
	var t task
	decoder := json.NewDecoder(in)
	if err := decoder.Decode(&t); err != nil {
		return fmt.Errorf("read the task: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with in, which ends with the driver or the process
		_, _ = io.Copy(io.Discard, in)
		cancel(errors.New("the driver has ended"))
	}()
	result, err := t.run(ctx)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(result); err != nil {
		return fmt.Errorf("write the outcome: %w", err)
	}
	if t.Kill {
		return syscall.Kill(os.Getpid(), syscall.SIGKILL) //nolint:wrapcheck // nobody will read it
	}
	return nil
}

// bench is a task on its way.
type bench struct {
	task
	pieces  *pieces
	queries []*engine.Query
	now     lap // of the query that works
	began   time.Time
	out     outcome
	feedCPU float64
}

func (t task) run(ctx context.Context) (*outcome, error) {
	runtime.LockOSThread() // the thread's own CPU time is that of making rows
	defer runtime.UnlockOSThread()
	makeRows, err := t.feed()
	if err != nil {
		return nil, err
	}
	b := &bench{task: t, pieces: &pieces{make: makeRows}, began: time.Now()}
	stop, err := profileCPU(t.Profile)
	if err != nil {
		return nil, err
	}
	defer stop()
	defer func() {
		for _, q := range b.queries {
			_ = q.Abandon() // does nothing after Close
		}
	}()
	err = b.open(ctx)
	b.out.Opening, b.out.OpenCPU = b.since(time.Now()), processCPU(syscall.RUSAGE_SELF)
	if err != nil {
		if code := diag.CodeOf(err); code != "" {
			return &outcome{Refused: string(code), Why: err.Error()}, nil
		}
		return nil, err
	}
	b.out.Opened = b.weigh()
	began := processCPU(syscall.RUSAGE_SELF)
	if err := b.steps(ctx, makeRows); err != nil {
		return nil, err
	}
	if err := b.finish(ctx); err != nil {
		return nil, err
	}
	b.out.CPU = processCPU(syscall.RUSAGE_SELF) - began - b.feedCPU
	b.out.Peak = peakBytes(os.Getpid())
	return &b.out, nil
}

// finish ends the queries, or leaves them as they are for the process to be killed.
func (b *bench) finish(ctx context.Context) error {
	if b.Kill {
		b.queries = nil // a clean end is what shall not be
		return b.pieces.endSinks()
	}
	for i, q := range b.queries {
		if err := b.lap(i, func() error { return b.end(ctx, q) }); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) since(t time.Time) float64 { return float64(t.Sub(b.began).Microseconds()) / 1000 }

func (b *bench) open(ctx context.Context) error {
	reg := b.pieces.registry(filepath.Join(b.Dir, b.Results))
	app, err := engine.Parse(ctx, reg, "bench.sql", b.SQL)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	for _, name := range b.Queries {
		q, err := engine.Open(ctx, engine.Options{DataDir: filepath.Join(b.Dir, "data"), Registry: reg,
			Threads: b.Threads, MemoryLimit: b.Memory, Parse: engine.Parser(reg),
			Listener: engine.Listener{BatchDone: b.heard, SnapshotDone: b.heardKept,
				QueryStarted: b.heardStarted}}, app, name)
		if err != nil {
			return err //nolint:wrapcheck // coded
		}
		b.queries = append(b.queries, q)
	}
	b.out.Keys = b.pieces.keys
	return nil
}

func (b *bench) heard(p engine.Progress) {
	l := &b.now
	l.Batches++
	l.Execute += p.DurationMs["addBatch"]
	l.Batch += p.BatchDuration
	if !p.NoData {
		l.Data += p.BatchDuration
		b.out.Data = append(b.out.Data, p.BatchDuration)
	}
	l.In += p.NumInputRows
	l.Out += p.Sink.NumOutputRows
	for _, s := range p.Sources {
		l.Late += s.Late
	}
	l.State = 0
	for _, s := range p.StateOperators {
		l.State += s.NumRowsTotal
	}
}

func (b *bench) heardStarted(s engine.Started) {
	b.out.Reruns += s.Replayed
	b.out.Load += float64(s.Load.Microseconds()) / 1000
	b.out.Rerun += float64(s.Rerun.Microseconds()) / 1000
}

func (b *bench) heardKept(s engine.SnapshotDone) {
	b.out.Kept = append(b.out.Kept, kept{At: b.since(s.Began), Held: float64(s.Held.Microseconds()) / 1000,
		Millis: float64(s.Duration.Microseconds()) / 1000})
}

// steps feeds as many steps as the task asks for. The queries take turns in who is first.
func (b *bench) steps(ctx context.Context, makeRows feed) error {
	var worked time.Duration
	b.out.Steps = b.From
	for n := b.From; n < b.Steps || worked < b.For; n++ {
		before := processCPU(threadUsage)
		b.pieces.put(n, makeRows(n))
		b.feedCPU += processCPU(threadUsage) - before
		for i := range b.queries {
			i = (i + n) % len(b.queries)
			if err := b.lap(i, func() error { return b.queries[i].Idle(ctx) }); err != nil {
				return fmt.Errorf("step %d: %w", n, err)
			}
			if n >= b.Filled {
				worked += time.Duration(b.out.Laps[len(b.out.Laps)-1].Millis * float64(time.Millisecond))
			}
		}
		b.out.Steps++
		if n+1 == b.Filled {
			b.pieces.put(n, nil)
			b.out.Filled = b.weigh()
		}
	}
	b.pieces.put(b.out.Steps-1, nil)
	return nil
}

// weigh returns the memory that is in use, or 0 if the task has no need of it: giving back the rest costs
// time later.
func (b *bench) weigh() int64 {
	if !b.Weigh {
		return 0
	}
	debug.FreeOSMemory()
	return residentBytes(os.Getpid())
}

// lap lets one query work and notes what it took.
func (b *bench) lap(query int, work func() error) error {
	start, cpu := time.Now(), processCPU(syscall.RUSAGE_SELF)
	b.now = lap{Step: b.out.Steps, Query: query, At: b.since(start)}
	if err := work(); err != nil {
		return err
	}
	b.now.Millis = float64(time.Since(start).Microseconds()) / 1000
	b.now.CPU = processCPU(syscall.RUSAGE_SELF) - cpu
	b.now.RSS = residentBytes(os.Getpid())
	b.out.State = max(b.out.State, stateBytes(b.Dir))
	b.out.Laps = append(b.out.Laps, b.now)
	return nil
}

func (b *bench) end(ctx context.Context, q *engine.Query) error {
	if b.Finish {
		if err := q.Finish(ctx); err != nil {
			return fmt.Errorf("finish: %w", err)
		}
	}
	if err := q.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

const threadUsage = 1 // RUSAGE_THREAD of Linux

// processCPU is the CPU time, user and system, of whom getrusage knows as who; 0 where it does not.
func processCPU(who int) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(who, &u); err != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
