package exec

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// BenchmarkBatch runs batches of one size through a tumbling count and a filter.
func BenchmarkBatch(b *testing.B) {
	for _, body := range []string{"SELECT k, v FROM src WHERE v > 10",
		"SELECT window_start, k, count(*) AS n FROM " + tumble5 + " GROUP BY ALL"} {
		for _, n := range []int{10, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%.12s/%d", body, n), func(b *testing.B) { benchmark(b, body, n) })
		}
	}
}

func benchmark(b *testing.B, body string, n int) {
	f := newFixture(b)
	p, err := f.plan(stream.Append, body)
	require.NoError(b, err)
	s := f.open(p)
	rows := make([]row, n)
	for i := range rows {
		rows[i] = row{fmt.Sprint(i % 100), i % 1000, 0.5, i * 20 / n}
	}
	rec := record(rows)
	defer rec.Release()
	wm := int64(-1) // no row is late
	batch := int64(0)
	began := cpuTime(b)
	for b.Loop() {
		batch++
		out, err := s.Run(b.Context(), Call{Batch: batch, Watermark: &wm, Late: &wm,
			Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		require.NoError(b, err)
		out.Result.Release()
	}
	b.ReportMetric((cpuTime(b)-began)*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// cpuTime returns the seconds that the process has had of the processor, which other work changes less than the time
// of the clock.
func cpuTime(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkState runs batches of random keys through an update-mode GROUP BY with a million groups.
func BenchmarkState(b *testing.B) {
	const keys = 1_000_000
	f := newFixture(b)
	p, err := f.plan(stream.Update, "SELECT w, count(*) AS n, sum(v) AS s FROM src GROUP BY w")
	require.NoError(b, err)
	for _, n := range []int{100, 1000, 100_000} {
		s := f.open(p)
		run := func(batch int64, rec arrow.Record) {
			out, err := s.Run(b.Context(), Call{Batch: batch, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
			require.NoError(b, err)
			out.Result.Release()
		}
		for i := range 10 {
			rows := make([]row, keys/10)
			for j := range rows {
				rows[j] = row{"k", i*keys/10 + j, 0.5, 1}
			}
			rec := record(rows)
			run(int64(i), rec)
			rec.Release()
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		rows := make([]row, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			batch, making := int64(10), 0.0
			began := cpuTime(b)
			for b.Loop() {
				b.StopTimer()
				paused := cpuTime(b)
				for j := range rows {
					rows[j] = row{"k", rnd.IntN(keys), 0.5, 1}
				}
				rec := record(rows)
				making += cpuTime(b) - paused
				b.StartTimer()
				run(batch, rec)
				batch++
				rec.Release()
			}
			b.ReportMetric((cpuTime(b)-began-making)*1000/float64(b.N), "cpu-ms/op")
		})
		require.NoError(b, s.Close())
	}
}
