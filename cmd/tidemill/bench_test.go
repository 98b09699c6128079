package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/benchmarks/peers"
	"github.com/tidemill/tidemill/internal/diag"
)

// TestBenchChecks asks that what can not be run is refused before anything starts.
func TestBenchChecks(t *testing.T) {
	t.Parallel()
	require.NoError(t, benchFlags{}.check(benchmarks.Suites()))
	for _, c := range []struct {
		options benchmarks.Options
		suites  []string
		fault   string
	}{
		{benchmarks.Options{}, []string{"filter", "nexmrk"}, `there is no suite "nexmrk"; choose of filter`},
		{benchmarks.Options{Input: "file"}, []string{"yahoo"}, `--input "file" of yahoo is not one of packed, packed-lz4, single, files`},
		{benchmarks.Options{Keys: []int64{5, -1}}, []string{"state"}, "--keys can not be less than nothing"},
		{benchmarks.Options{Rates: []int64{10, 0}}, []string{"latency"}, "--rates has 0"},
		{benchmarks.Options{Sink: "foo"}, []string{"packed"}, `there is no sink of packed "foo"; choose of jetstream, duckdb, parquet`},
		{benchmarks.Options{Embedded: true, SyncAlways: true}, []string{"packed"}, "--embedded-nats excludes --sync-always"},
		{benchmarks.Options{Embedded: true, AtomicBatch: 7}, []string{"packed"}, "--embedded-nats excludes --sync-always and --atomic-batch"},
		{benchmarks.Options{Embedded: true}, []string{"sinks", "latency"}, "--embedded-nats is of filter, packed, yahoo"},
		{benchmarks.Options{Duration: -time.Second}, []string{"join"}, "--for can not be less than nothing"},
	} {
		err := benchFlags{Options: c.options}.check(c.suites)
		require.ErrorContains(t, err, c.fault)
		require.Equal(t, diag.Usage, diag.CodeOf(err))
	}
	embedded := benchFlags{Options: benchmarks.Options{Embedded: true}}
	require.NoError(t, embedded.check(nil))
	require.NoError(t, embedded.check([]string{"latency", "packed"}))
	require.Subset(t, benchmarks.Suites(), benchmarks.Usual())
	require.NotContains(t, benchmarks.Usual(), "nexmark", "without a name bench stays short")
}

// TestBenchPeersChecks asks the same of bench peers.
func TestBenchPeersChecks(t *testing.T) {
	t.Parallel()
	fine := peers.Options{Files: 16, Runs: 1}
	require.NoError(t, peersFlags{Options: fine}.check(peers.Suites()))
	for _, c := range []struct {
		change func(*peers.Options)
		suite  string
		fault  string
	}{
		{func(*peers.Options) {}, "nexmrk", `there is no suite "nexmrk"; choose of start`},
		{func(o *peers.Options) { o.Files = 0 }, "copy", "--files, --runs and --keys must be 1 or more"},
		{func(o *peers.Options) { o.Rows = -1 }, "copy", "--rows can not be less than nothing"},
	} {
		o := fine
		c.change(&o)
		err := peersFlags{Options: o}.check([]string{c.suite})
		require.ErrorContains(t, err, c.fault)
		require.Equal(t, diag.Usage, diag.CodeOf(err))
	}
}
