package jetstream_test

import (
	"testing"

	"github.com/tidemill/tidemill/internal/testkit"
	"github.com/tidemill/tidemill/stream"
)

// BenchmarkWrite writes batches of rows; the figure is rows per second.
func BenchmarkWrite(b *testing.B) {
	for name, bench := range map[string]struct {
		options stream.Options
		rows    int64
	}{
		"packed":   {stream.Options{"rows_per_message": int64(1000)}, 100_000},
		"unpacked": {stream.Options{"payload": "json"}, 990},
		"staged":   {stream.Options{"payload": "json"}, 20_000},
		"tiny":     {nil, 1},
	} {
		b.Run(name, func(b *testing.B) {
			srv := testkit.StartNATS(b)
			f := newFixture(b, srv.URL(), bench.options)
			s := f.open()
			d := f.batch(0, upTo(1, bench.rows)...)
			for b.Loop() {
				if err := s.Write(b.Context(), d); err != nil {
					b.Fatal(err)
				}
				d.Marker.Batch++
			}
			b.ReportMetric(float64(b.N)*float64(bench.rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
