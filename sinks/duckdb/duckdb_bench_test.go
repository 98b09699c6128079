package duckdb

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

// BenchmarkUpdate writes batches of which half the keys are in the table, as they are of a query that ranks bids.
func BenchmarkUpdate(b *testing.B) {
	for _, rows := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("rows=%d", rows), func(b *testing.B) {
			conn := ducktest.Conn(b, duck.Options{Threads: 2})
			var batches []*duck.Table
			for i := range 4 {
				t, err := conn.Select(b.Context(), fmt.Sprintf(`SELECT i + %d AS id, 'some text of a bid ' || i AS name, i * 7 AS n, repeat('x', 60) || i AS extra
					FROM range(%d) t(i)`, i*rows/2, rows))
				require.NoError(b, err)
				defer t.Release()
				batches = append(batches, t)
			}
			before := cpu(b)
			for b.Loop() {
				cfg := sinktest.Config(stream.Update)
				cfg.Schema, cfg.Keys = batches[0].Schema, []int{0}
				sink, err := connect(testPool(), filepath.Join(b.TempDir(), "s.duckdb"), "t", cfg)
				require.NoError(b, err)
				require.NoError(b, sink.Open(b.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
				for i, t := range batches {
					require.NoError(b, sink.Write(b.Context(), stream.Delivery{
						Marker: sinktest.Marker(sinktest.QueryA, 1, int64(i)), Mode: stream.Update,
						Result: stream.Batch{Schema: t.Schema, Records: t.Records, Keys: []int{0}},
					}))
				}
				require.NoError(b, sink.Close())
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e6, "cpu-ms/4-batches")
		})
	}
}

// cpu is how many nanoseconds the process has had of all cores.
func cpu(b *testing.B) int64 {
	b.Helper()
	var use unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return use.Utime.Nano() + use.Stime.Nano()
}
