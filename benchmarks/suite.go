package benchmarks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/natsd"
)

// Options say what is measured and how. Binary, Dir and Log are required; zero means the suite's own choice.
type Options struct {
	Binary      string            // this program: broker and worker are processes of it
	Dir         string            // an empty folder for streams, logs and results; the caller removes it
	Log         io.Writer         // hears what is going on
	Seed        uint64            // of the rows
	Rows        int64             // of a throughput suite and of hop; of a batch of state; events of nexmark
	Runs        int               // of a throughput suite, each over the same rows
	Rate        int64             // rows per second of latency and memory; of event time of hop, join and nexmark
	Rates       []int64           // of latency, in the place of Rate
	Duration    time.Duration     // of latency, memory and join; the most that a query of nexmark may take
	Keys        []int64           // of each run of state; groups that leave with a batch of evict
	BatchRows   int64             // rows of a batch of hop, events of one of nexmark
	BatchCount  int64             // batches of each run of evict, and of 100,000 rows of state
	Groups      []int64           // that are open in the runs of evict
	Queries     []string          // of nexmark; all if empty
	Lanes       []string          // formats of ingest and sinks of sinks; all if empty
	Sink        string            // of packed: jetstream, duckdb or parquet
	Memory      int64             // limit of the process that runs the queries, in bytes; the report says whether it was kept
	Input       string            // of yahoo and nexmark: one of Inputs; the first if empty
	Embedded    bool              // the worker has the broker in its process, in suites that are in Embeds
	SyncAlways  bool              // the broker syncs each write to disk before it acknowledges
	AtomicBatch int               // most messages of the broker's atomic batches; 0 is natsd.LargeBatch
	Threads     int               // of DuckDB in the worker; 0 for all cores
	CPUProfile  string            // a file for the worker's CPU profile
	MemProfile  string            // a file for the worker's allocation profile
	Versions    map[string]string // of the libraries, for the report
	Command     string            // what the user typed, for the report
}

// Suites lists all suites.
func Suites() []string {
	return append(Usual(), "ingest", "sinks", "yahoo", "state", "hop", "join", "evict", "nexmark", "batch", "startup", "scale")
}

// Usual lists the suites that run when none is named, in their order: those from broker to broker.
func Usual() []string { return []string{"filter", "packed", "latency", "memory"} }

// Embeds lists the suites whose worker can have the broker in its process.
func Embeds() []string { return []string{"filter", "packed", "yahoo"} }

// Run measures one suite. No report is returned unless every result has been verified, but for nexmark, whose report
// says of each query whether it was.
func Run(ctx context.Context, suite string, o Options) (*Report, error) {
	r := newRun(suite, o)
	piped := map[string]func(*run, context.Context) error{
		"filter": (*run).filter, "packed": (*run).packed, "latency": (*run).latency, "memory": (*run).memory,
		"startup": (*run).startup, "scale": (*run).scale,
		"yahoo": (*run).yahoo, "ingest": (*run).ingest, "sinks": (*run).sinks,
	}
	alone := map[string]func(*run, context.Context) error{
		"state": (*run).state, "hop": (*run).hop, "join": (*run).join, "evict": (*run).evict, "nexmark": (*run).nexmark,
		"batch": (*run).batch,
	}
	var err error
	if suite == "yahoo" && r.Input == "files" {
		r.report.Durability = "exactly once, from files into files; one fdatasync of Tidemill's log per batch, and each file of the sink is synced"
		err = r.yahoo(ctx)
	} else if measure, ok := piped[suite]; ok {
		err = r.piped(ctx, measure)
	} else if measure, ok := alone[suite]; ok {
		r.report.Durability = "One fdatasync of Tidemill's log per batch; rows are made in the process before the clock runs, " +
			"and the sink writes Arrow files that nobody syncs"
		err = measure(r, ctx)
	} else {
		return nil, Known("suite", []string{suite}, Suites())
	}
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", suite, err)
	}
	r.report.Machine.After = loadAverage()
	r.report.Limit = r.limit()
	return r.report, nil
}

// newRun begins a suite, with the options that it takes.
func newRun(suite string, o Options) *run {
	o.Seed, o.AtomicBatch = cmp.Or(o.Seed, 1), cmp.Or(o.AtomicBatch, natsd.LargeBatch)
	o.Embedded = o.Embedded && slices.Contains(Embeds(), suite)
	o.SyncAlways = o.SyncAlways || suite == "sinks" // what a durable sink costs is what it is about
	return &run{Options: o, report: &Report{Suite: suite, Command: o.Command, Time: time.Now().UTC().Truncate(time.Second),
		Machine: machine(), Versions: o.Versions, Seed: o.Seed}}
}

// piped runs a suite that reads from a broker and writes to one.
func (r *run) piped(ctx context.Context, measure func(*run, context.Context) error) (err error) {
	r.report.Durability = fmt.Sprintf("%s; it takes %d messages in an atomic batch", durability(r.SyncAlways), r.AtomicBatch)
	if r.Embedded {
		r.report.Durability += "; while the query runs the broker is in its process"
	}
	if err := r.startBroker(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stopBroker()) }()
	return measure(r, ctx)
}

func durability(syncAlways bool) string {
	broker := "the broker syncs its streams every 2 minutes (the server's default), so an acknowledgement survives a " +
		"crash of the broker and not of the machine"
	if syncAlways {
		broker = "the broker syncs each write before it acknowledges"
	}
	return "exactly once; one fdatasync of Tidemill's log per batch; " + broker
}

// run is one suite on its way.
type run struct {
	Options
	broker *broker
	client *client
	report *Report

	peak    int64     // of the processes of the engine
	workers []*worker // likewise
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.Log, r.report.Suite+": "+format+"\n", args...)
}

// worker starts `tidemill run` over sql with a data dir of its own.
func (r *run) worker(ctx context.Context, dir, sql string, more ...string) (*worker, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the worker's folder: %w", err)
	}
	file := filepath.Join(dir, "bench.sql")
	if err := os.WriteFile(file, []byte(sql), 0o600); err != nil {
		return nil, fmt.Errorf("write the queries: %w", err)
	}
	if r.Threads > 0 {
		more = append(more, "--threads", fmt.Sprint(r.Threads))
	}
	if r.Memory > 0 {
		more = append([]string{"--memory-limit", fmt.Sprint(r.Memory)}, more...)
	}
	w, err := startWorker(ctx, r.Options, r.brokerURL(), dir, file, more...)
	if err == nil {
		r.workers = append(r.workers, w)
	}
	return w, err
}

// profiles are the flags of a worker that is to be profiled.
func (r *run) profiles() []string {
	var flags []string
	if r.CPUProfile != "" {
		flags = append(flags, "--cpuprofile", r.CPUProfile)
	}
	if r.MemProfile != "" {
		flags = append(flags, "--memprofile", r.MemProfile)
	}
	return flags
}

// drain lets one more worker take what is left, up to the batches that only move the watermark.
func (r *run) drain(ctx context.Context, dir, sql string, flags ...string) error {
	w, err := r.worker(ctx, dir, sql, append(flags, "--available-now")...)
	if err != nil {
		return err
	}
	return w.wait()
}

// quantile returns the q-quantile of values by the nearest rank, or 0. It sorts values.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[max(0, int(math.Ceil(q*float64(len(values))))-1)]
}

// batchStats describes batches that had data.
func batchStats(all []engine.Progress) Batches {
	var b Batches
	var took []float64
	b.Phases = map[string]float64{}
	for _, p := range all {
		if p.NoData {
			continue
		}
		b.Count++
		b.Rows += p.NumInputRows
		took = append(took, p.BatchDuration)
		if p.BatchDuration > b.Max {
			b.Max, b.Worst = p.BatchDuration, p.DurationMs
		}
		for name, ms := range p.DurationMs {
			b.Phases[name] += ms
		}
	}
	for name := range b.Phases {
		b.Phases[name] = math.Round(b.Phases[name]/float64(b.Count)*1000) / 1000
	}
	b.P50, b.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return b
}
