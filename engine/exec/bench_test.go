package exec

import (
	"fmt"
	"math/rand/v2"
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
	wm := int64(0)
	batch := int64(0)
	for b.Loop() {
		batch++
		out, err := s.Run(b.Context(), Call{Batch: batch, Watermark: &wm, Late: &wm,
			Inputs: map[string]Input{"src": {Records: []arrow.Record{rec}}}})
		require.NoError(b, err)
		out.Result.Release()
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
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
			batch := int64(10)
			for b.Loop() {
				b.StopTimer()
				for j := range rows {
					rows[j] = row{"k", rnd.IntN(keys), 0.5, 1}
				}
				rec := record(rows)
				b.StartTimer()
				run(batch, rec)
				batch++
				rec.Release()
			}
		})
		require.NoError(b, s.Close())
	}
}
