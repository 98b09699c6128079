package benchmarks

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
)

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
	l.State, l.Kept = 0, 0
	for _, s := range p.StateOperators {
		l.State += s.NumRowsTotal
		l.Kept += s.MemoryUsed + s.Spilled
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
