package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/internal/diag"
)

// benchFlags are the flags of bench.
type benchFlags struct {
	benchmarks.Options
	out    string
	asJSON bool
}

func (e *env) benchCommand() *cobra.Command {
	var f benchFlags
	c := &cobra.Command{
		Use:   "bench [SUITE...]",
		Short: "measure throughput, latency and memory end to end, each result verified first",
		Long: "Suites: filter (one JSON row per message, filtered into JetStream), packed (a thousand rows per message, counted\n" +
			"in tumbling windows), latency (publish to sink at a steady rate) and memory (three queries on a steady stream).\n" +
			"Without a name all of them run. Broker and queries run in processes of their own; nothing needs to be installed.",
		Example: "  tidemill bench filter --runs 3\n  tidemill bench latency --rate 10000 --for 30s\n  tidemill bench memory --for 10m",
		RunE: func(c *cobra.Command, suites []string) error {
			f.Command = strings.Join(append([]string{"tidemill"}, os.Args[1:]...), " ")
			return e.bench(c.Context(), suites, f)
		},
	}
	c.Flags().Uint64Var(&f.Seed, "seed", 1, "seed of the rows")
	c.Flags().Int64Var(&f.Rows, "rows", 0, "rows of filter and packed (default 1,000,000 and 4,000,000)")
	c.Flags().IntVar(&f.Runs, "runs", 3, "runs of filter and packed")
	c.Flags().Int64Var(&f.Rate, "rate", 0, "rows per second of latency and memory (default 10,000 and 5,000)")
	c.Flags().DurationVar(&f.Duration, "for", 0, "how long latency and memory run (default 30s and 10m)")
	c.Flags().StringVar(&f.Sink, "sink", "jetstream", "sink of packed: jetstream, duckdb or parquet")
	c.Flags().BoolVar(&f.SyncAlways, "sync-always", false, "let the broker sync each write before it acknowledges")
	c.Flags().IntVar(&f.Threads, "threads", 0, "DuckDB threads of the worker; 0 for all cores")
	c.Flags().StringVar(&f.out, "out", "", "also write a JSON and a Markdown file for each suite into this folder")
	c.Flags().StringVar(&f.Dir, "dir", "", "where streams and checkpoints are put for the time of the run (default: a temporary folder)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object for each suite")
	c.Flags().StringVar(&f.CPUProfile, "cpuprofile", "", "write the worker's CPU profile to this file")
	c.Flags().StringVar(&f.MemProfile, "memprofile", "", "write the worker's allocation profile to this file")
	hide(c, "cpuprofile", "memprofile")
	return c
}

func (e *env) bench(ctx context.Context, suites []string, f benchFlags) error {
	for _, name := range suites {
		if slices.Contains(benchmarks.Suites(), name) {
			continue
		}
		err := diag.New(diag.Usage, "%q is not one of %s", name, strings.Join(benchmarks.Suites(), ", "))
		if near := diag.Near(name, benchmarks.Suites()); near != "" {
			return err.WithHint("did you mean %q?", near)
		}
		return err
	}
	if len(suites) == 0 {
		suites = benchmarks.Suites()
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	f.Binary, f.Log, f.Versions = self, e.stderr, libraries()
	f.Versions["tidemill"] = version()
	ctx, stop, done := interrupts(ctx, func() { fmt.Fprintln(e.stderr, "stopping") })
	defer done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with ctx
		select {
		case <-stop:
			cancel(errors.New("interrupted"))
		case <-ctx.Done():
		}
	}()
	for _, name := range suites {
		if err := e.benchSuite(ctx, name, f); err != nil {
			return err
		}
	}
	return nil
}

// benchSuite runs one suite in a folder that goes away with it.
func (e *env) benchSuite(ctx context.Context, name string, f benchFlags) error {
	dir, err := os.MkdirTemp(f.Dir, "tidemill-bench-")
	if err != nil {
		return diag.New(diag.Usage, "no folder for the run can be made: %s", reasonOf(err))
	}
	defer func() { _ = os.RemoveAll(dir) }() // whatever is left of it
	if f.Dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find the folder of the run: %w", err)
	}
	report, err := benchmarks.Run(ctx, name, f.Options)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if f.out != "" {
		if err := report.Save(f.out); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	if f.asJSON {
		return json.NewEncoder(e.stdout).Encode(report) //nolint:wrapcheck // standard output is gone
	}
	_, err = fmt.Fprint(e.stdout, report.Markdown())
	return err //nolint:wrapcheck // as above
}

// brokerCommand is what bench starts as its broker.
func (e *env) brokerCommand() *cobra.Command {
	c := &cobra.Command{Use: benchmarks.BrokerCommand, Hidden: true, Args: noArgs,
		Short: "run a NATS server until standard input ends"}
	dir := c.Flags().String("dir", "", "where streams are kept")
	syncAlways := c.Flags().Bool("sync-always", false, "sync each write")
	c.RunE = func(*cobra.Command, []string) error {
		// Ctrl-C in a terminal reaches the broker too, but only the driver may end it.
		_, _, done := interrupts(context.Background(), func() {})
		defer done()
		return benchmarks.Broker(*dir, *syncAlways, e.stdin, e.stdout) //nolint:wrapcheck // says what it did
	}
	return c
}

// hide leaves flags out of the help: they are for those who work on Tidemill itself.
func hide(c *cobra.Command, flags ...string) {
	for _, name := range flags {
		if flag := c.Flags().Lookup(name); flag != nil {
			flag.Hidden = true
		}
	}
}
