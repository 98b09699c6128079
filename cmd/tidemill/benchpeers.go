package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/benchmarks/peers"
	"github.com/tidemill/tidemill/internal/diag"
)

// peersFlags are the flags of bench peers.
type peersFlags struct {
	peers.Options
	benchShow
}

// benchPeersCommand is `tidemill bench peers`.
func (e *env) benchPeersCommand() *cobra.Command {
	var f peersFlags
	c := &cobra.Command{
		Use:   "peers [SUITE...]",
		Short: "run Tidemill beside Spark and others on the same files, each result verified first",
		Long: "Suites: " + strings.Join(peers.Suites(), ", ") + "; all of them without a name. Contenders: " +
			strings.Join(peers.Names(), ", ") + ".\nPeers are installed by `make peers`, which needs Python and Java. " +
			"Each contender runs in processes of its own, in turns;\nits output is compared with plain DuckDB's over the " +
			"same files, and one that differs gets no figure.",
		Example: "  make peers\n  tidemill bench peers copy --runs 3 --peers benchmarks/peers\n" +
			"  tidemill bench peers state --keys 1000000 --contenders tidemill,spark-rocksdb",
		RunE: func(c *cobra.Command, suites []string) error {
			f.Command = strings.Join(append([]string{"tidemill"}, os.Args[1:]...), " ")
			if err := ownNumbers(c, []string{"rows", "rate", "for", "limit"}, []string{"queries", "contenders"}); err != nil {
				return err
			}
			return e.benchPeers(c.Context(), suites, f)
		},
	}
	c.Flags().StringVar(&f.Peers, "peers", "benchmarks/peers", "folder of the peers' scripts, with .venv below it")
	c.Flags().StringSliceVar(&f.Contenders, "contenders", nil, "contenders (default Tidemill, DuckDB, Spark, and those of the others that are installed)")
	c.Flags().Uint64Var(&f.Seed, "seed", 1, "seed of the rows")
	c.Flags().Int64Var(&f.Rows, "rows", 0, "rows of a suite, events of nexmark (default: the suite's own)")
	c.Flags().IntVar(&f.Files, "files", 16, "files that the rows are cut into")
	c.Flags().IntVar(&f.BatchFiles, "batch-files", 0, "files that a batch takes; 0 tries a few sizes and takes each contender's best")
	c.Flags().IntVar(&f.Runs, "runs", 3, "rounds in which the contenders take turns")
	c.Flags().Int64Var(&f.Rate, "rate", 0, "rows per second of latency; rows in a second of event time of yahoo and nexmark "+
		"(default 10,000)")
	c.Flags().DurationVar(&f.Duration, "for", 0, "how long latency runs once it has settled (default 30s)")
	c.Flags().DurationVar(&f.Settle, "settle", 10*time.Second, "how long rows of latency arrive before any is counted")
	c.Flags().Int64SliceVar(&f.Keys, "keys", nil, "keys of state (default 100000,1000000) and of latency (default 10000)")
	unsaid(c, "keys")
	c.Flags().StringSliceVar(&f.Queries, "queries", nil, "queries of nexmark (default all)")
	c.Flags().DurationVar(&f.Limit, "limit", 10*time.Minute, "the most that one run may take")
	c.Flags().IntVar(&f.Threads, "threads", 0, "DuckDB threads of Tidemill; 0 for all cores")
	c.Flags().StringVar(&f.out, "out", "", "also write JSON, Markdown and SVG plots for each suite into this folder")
	c.Flags().StringVar(&f.Dir, "dir", "", "where input and output are put for the time of the run (default: a temporary folder)")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object for each suite")
	return c
}

func (f peersFlags) check(suites []string) error {
	if err := benchmarks.Known("suite", suites, peers.Suites()); err != nil {
		return err
	}
	for _, number := range []struct {
		flag  string
		value int64
	}{{"rows", f.Rows}, {"rate", f.Rate}, {"for", int64(f.Duration)}, {"settle", int64(f.Settle)}, {"batch-files", int64(f.BatchFiles)},
		{"threads", int64(f.Threads)}, {"limit", int64(f.Limit)}} {
		if number.value < 0 {
			return diag.New(diag.Usage, "--%s can not be less than nothing", number.flag)
		}
	}
	if f.Files < 1 || f.Runs < 1 || len(f.Keys) > 0 && slices.Min(f.Keys) < 1 {
		return diag.New(diag.Usage, "--files, --runs and --keys must be 1 or more")
	}
	if f.Duration > 0 && f.Duration < time.Second {
		return diag.New(diag.Usage, "--for must be a second or more: rows arrive in files of 50 ms")
	}
	return nil
}

func (e *env) benchPeers(ctx context.Context, suites []string, f peersFlags) error {
	if err := f.check(suites); err != nil {
		return err
	}
	if len(suites) == 0 {
		suites = peers.Suites()
	}
	var err error
	if f.Binary, f.Versions, err = benched(); err != nil {
		return err
	}
	if f.Peers, err = filepath.Abs(f.Peers); err != nil {
		return fmt.Errorf("find the peers: %w", err)
	}
	f.Log = e.stderr
	return e.benchSuites(ctx, suites, f.Dir, f.benchShow, func(ctx context.Context, name, dir string) (benchReport, error) {
		o := f.Options
		o.Dir = dir
		return peers.Run(ctx, name, o) //nolint:wrapcheck // benchSuite does
	})
}

// duckDBCommand is what bench peers starts as plain DuckDB.
func (e *env) duckDBCommand() *cobra.Command {
	return &cobra.Command{Use: peers.DuckDBCommand, Hidden: true, Args: noArgs,
		Short: "run the job that standard input holds in plain DuckDB",
		RunE: func(c *cobra.Command, _ []string) error {
			return peers.RunDuckDB(c.Context(), e.stdin, e.stdout) //nolint:wrapcheck // says what it did
		}}
}
