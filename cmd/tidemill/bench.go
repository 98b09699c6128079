package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	benchmarks.Options
	benchShow
	memory string
}

func (e *env) benchCommand() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [SUITE...]",
		Short: "measure throughput, latency and memory end to end, each result verified first",
		Long: "Suites: filter (one JSON row per message, filtered into JetStream), packed (a thousand rows per message,\n" +
			"counted in tumbling windows), latency (counts by key at steady rates, from when a row was due to the sink) and\n" +
			"memory (three queries on a steady stream). Without a name these four run. From a broker too: yahoo (the Yahoo\n" +
			"Streaming Benchmark from packed or single messages, or from files), ingest (formats), sinks (each sink), scale\n" +
			"(cores and queries in a process) and startup (to the first committed batch). The engine alone: state (10,000 to\n" +
			"10 million groups, a kill and a recovery), hop (hopping beside tumbling windows), join (two streams within a\n" +
			"minute), evict (few of many open groups leave), nexmark (q0 to q23 from files) and batch (over Parquet, beside\n" +
			"plain DuckDB). Broker and queries run in processes of their own; nothing needs to be installed.",
		Example: "  tidemill bench filter --runs 3\n  tidemill bench latency --rates 10000,100000 --for 30s\n" +
			"  tidemill bench state --keys 1000000,10000000\n  tidemill bench nexmark --rows 1000000 --queries q0,q5,q7",
		RunE: func(c *cobra.Command, suites []string) error {
			f.Command = strings.Join(append([]string{"tidemill"}, os.Args[1:]...), " ")
			if err := ownNumbers(c, []string{"rows", "runs", "rate", "for", "batch-rows", "batches", "atomic-batch"},
				[]string{"queries", "lanes"}); err != nil {
				return err
			}
			return e.bench(c.Context(), suites, f)
		},
	}
	c.Flags().Uint64Var(&f.Seed, "seed", 1, "seed of the rows")
	c.Flags().Int64Var(&f.Rows, "rows", 0, "rows of filter, packed, ingest, sinks, hop and yahoo (default 1, 4, 1, 1, 4 and 8 million; 2 million single ones), "+
		"of batch and scale (default 50 and 1 million), of startup (default 10,000), of a batch of state (default 100,000, 1,000 and 100 "+
		"in turn), events of nexmark (default 1 million)")
	c.Flags().IntVar(&f.Runs, "runs", 3, "runs of filter, packed, yahoo, batch and startup")
	c.Flags().Int64Var(&f.Rate, "rate", 0, "rows per second of memory (default 5,000), the one rate of latency, "+
		"in a second of event time of hop, of each stream of join, of nexmark and of yahoo (default 50,000 for join, else 10,000)")
	c.Flags().Int64SliceVar(&f.Rates, "rates", nil, "rows per second of latency (default 1000,10000,100000)")
	c.Flags().DurationVar(&f.Duration, "for", 0, "how long latency (each rate), memory and join run (default 20s, 10m and 1m); "+
		"the most that a query of nexmark may take (default 10m)")
	c.Flags().Int64SliceVar(&f.Keys, "keys", nil,
		"keys of each run of state (default 10000 to 10000000), groups that leave with a batch of evict (default 1,000)")
	c.Flags().Int64Var(&f.BatchRows, "batch-rows", 0,
		"rows of a batch of hop, events of a batch of nexmark (default 100,000)")
	c.Flags().Int64Var(&f.BatchCount, "batches", 0,
		"least batches of memory (default none), batches of each run of evict, and of 100,000 rows of state, which has ten times as many of smaller ones (default 30)")
	c.Flags().Int64SliceVar(&f.Groups, "groups", nil,
		"open groups in the runs of evict (default 10000,100000,1000000)")
	c.Flags().StringSliceVar(&f.Queries, "queries", nil, "queries of nexmark (default all)")
	c.Flags().StringVar(&f.memory, "memory-limit", "", "memory of the process that runs the queries: the report says whether it was kept "+
		"(default: 300 MiB of memory, 6 GiB of batch, 3 GiB for each query where the engine runs alone, half of the machine's else)")
	c.Flags().StringSliceVar(&f.Lanes, "lanes", nil, "formats of ingest, or sinks of sinks (default all)")
	c.Flags().StringVar(&f.Sink, "sink", "jetstream", "sink of packed: "+strings.Join(benchmarks.Sinks(), ", "))
	c.Flags().StringVar(&f.Input, "input", "", "input of yahoo: "+strings.Join(benchmarks.Inputs("yahoo"), ", ")+
		"; of nexmark: "+strings.Join(benchmarks.Inputs("nexmark"), ", ")+" (default the first)")
	c.Flags().BoolVar(&f.Embedded, "embedded-nats", false, "let the worker of "+strings.Join(benchmarks.Embeds(), ", ")+" have the broker in its process, "+
		"as run --embedded-nats does; others always have it in one of its own")
	c.Flags().BoolVar(&f.SyncAlways, "sync-always", false, "let the broker sync each write before it acknowledges")
	c.Flags().IntVar(&f.AtomicBatch, "atomic-batch", 0, "messages that the broker takes in an atomic batch (default 10,000, as "+
		"--embedded-nats; a NATS server takes 1,000 unless configured otherwise)")
	c.Flags().IntVar(&f.Threads, "threads", 0, "DuckDB threads of the worker; 0 for all cores")
	c.Flags().StringVar(&f.out, "out", "", "also write JSON, Markdown and SVG plots for each suite into this folder")
	c.Flags().StringVar(&f.Dir, "dir", "", "where streams and checkpoints are put for the time of the run (default: a temporary folder)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object for each suite")
	c.Flags().StringVar(&f.CPUProfile, "cpuprofile", "", "write the worker's CPU profile to this file")
	c.Flags().StringVar(&f.MemProfile, "memprofile", "", "write the worker's allocation profile to this file")
	hide(c, "cpuprofile", "memprofile")
	unsaid(c, "rates", "keys", "groups")
	c.MarkFlagsMutuallyExclusive("rate", "rates")
	c.AddCommand(e.benchPeersCommand())
	return c
}

// check refuses what no suite can be run with.
func (f benchFlags) check(suites []string) error {
	if err := benchmarks.Known("suite", suites, benchmarks.Suites()); err != nil {
		return err
	}
	if f.Input != "" && !slices.ContainsFunc(suites, func(name string) bool { return len(benchmarks.Inputs(name)) > 0 }) {
		return diag.New(diag.Usage, "--input is of yahoo and nexmark").WithHint("leave it out")
	}
	for _, name := range suites {
		known := benchmarks.Inputs(name)
		if f.Input != "" && len(known) > 0 && !slices.Contains(known, f.Input) {
			return diag.New(diag.Usage, "--input %q of %s is not one of %s", f.Input, name, strings.Join(known, ", "))
		}
	}
	if f.Embedded && len(suites) > 0 && !slices.ContainsFunc(suites, func(name string) bool { return slices.Contains(benchmarks.Embeds(), name) }) {
		return diag.New(diag.Usage, "--embedded-nats is of %s", strings.Join(benchmarks.Embeds(), ", ")).WithHint("leave it out")
	}
	if f.Embedded && (f.SyncAlways || f.AtomicBatch != 0) {
		return diag.New(diag.Usage, "--embedded-nats excludes --sync-always and --atomic-batch: the broker of a run has neither").
			WithHint("leave one of them out")
	}
	if f.Sink != "" {
		if err := benchmarks.Known("sink of packed", []string{f.Sink}, benchmarks.Sinks()); err != nil {
			return err
		}
	}
	for _, number := range []struct {
		flag  string
		value int64
	}{{"rows", f.Rows}, {"rate", f.Rate}, {"for", int64(f.Duration)}, {"keys", least(f.Keys)}, {"batch-rows", f.BatchRows},
		{"batches", f.BatchCount}, {"runs", int64(f.Runs)}, {"threads", int64(f.Threads)},
		{"atomic-batch", int64(f.AtomicBatch)}} {
		if number.value < 0 {
			return diag.New(diag.Usage, "--%s can not be less than nothing", number.flag)
		}
	}
	for _, rate := range f.Rates {
		if rate <= 0 {
			return diag.New(diag.Usage, "--rates has %d, and a rate is more than nothing", rate)
		}
	}
	return nil
}

// least returns the least of the values, or 0.
func least(values []int64) int64 {
	if len(values) == 0 {
		return 0
	}
	return slices.Min(values)
}

func (e *env) bench(ctx context.Context, suites []string, f benchFlags) error {
	if err := f.check(suites); err != nil {
		return err
	}
	if len(suites) == 0 {
		suites = benchmarks.Usual()
	}
	if f.memory != "" {
		limit, err := memoryLimit(f.memory)
		if err != nil {
			return err
		}
		f.Memory = limit
	}
	var err error
	if f.Binary, f.Versions, err = benched(); err != nil {
		return err
	}
	f.Log = e.stderr
	return e.benchSuites(ctx, suites, f.Dir, f.benchShow, func(ctx context.Context, name, dir string) (benchReport, error) {
		o := f.Options
		o.Dir = dir
		return benchmarks.Run(ctx, name, o) //nolint:wrapcheck // benchSuite does
	})
}

// benched is this program, and the versions that a report states of it.
func benched() (binary string, versions map[string]string, err error) {
	binary, err = os.Executable()
	if err != nil {
		return "", nil, fmt.Errorf("find this program: %w", err)
	}
	versions = libraries()
	versions["tidemill"] = version()
	return binary, versions, nil
}

// brokerCommand is what bench starts as its broker.
func (e *env) brokerCommand() *cobra.Command {
	c := &cobra.Command{Use: benchmarks.BrokerCommand, Hidden: true, Args: noArgs,
		Short: "run a NATS server until standard input ends"}
	dir := c.Flags().String("dir", "", "where streams are kept")
	syncAlways := c.Flags().Bool("sync-always", false, "sync each write")
	batch := c.Flags().Int("batch", 0, "most messages of an atomic batch")
	c.RunE = func(*cobra.Command, []string) error {
		// Ctrl-C in a terminal reaches the broker too, but only the driver may end it.
		_, _, done := interrupts(context.Background(), func() {})
		defer done()
		o := natsd.Options{Dir: *dir, SyncAlways: *syncAlways, Batch: *batch}
		return benchmarks.Broker(o, e.stdin, e.stdout) //nolint:wrapcheck // says what it did
	}
	return c
}

// engineCommand is what bench starts to run the engine alone.
func (e *env) engineCommand() *cobra.Command {
	return &cobra.Command{Use: benchmarks.EngineCommand, Hidden: true, Args: noArgs,
		Short: "run the task that standard input holds, until standard input ends",
		RunE: func(c *cobra.Command, _ []string) error {
			return benchmarks.Engine(c.Context(), e.stdin, e.stdout) //nolint:wrapcheck // says what it did
		}}
}

// hide leaves flags out of the help: they are for those who work on Tidemill itself.
func hide(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if flag := c.Flags().Lookup(name); flag != nil {
			flag.Hidden = true
		}
	}
}
