package benchmarks

import (
	"fmt"
	"math"
	"strings"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

// Quantiles are in milliseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Latencies is from when a row was to be published, at several rates.
type Latencies struct {
	Keys  int64     `json:"keys"`
	Rates []Latency `json:"rates"`
}

// Latency is of one rate.
type Latency struct {
	Rate      int64      `json:"rate"`
	Pack      int64      `json:"rows_per_message"`
	Behind    float64    `json:"publisher_behind_ms"` // at most
	Seconds   float64    `json:"seconds"`
	Rows      int64      `json:"rows"`
	Samples   int64      `json:"samples"`
	Stored    Quantiles  `json:"stored_ms"`       // until the broker has stored the sink's message
	Seen      Quantiles  `json:"seen_ms"`         // until a subscriber of the sink's stream has it
	Curve     []float64  `json:"stored_ms_curve"` // at the quantiles of curveAbove
	WorkerCPU float64    `json:"worker_cpu_seconds"`
	BrokerCPU float64    `json:"broker_cpu_seconds"`
	PeakBytes int64      `json:"worker_peak_bytes"`
	Batches   Batches    `json:"batches"`
	Verified  []verified `json:"verified"`
}

// curveAbove are the quantiles of a curve: x stands for 1 - 1/x, and one row in x is slower.
func curveAbove() []float64 {
	var all []float64
	for i := range 41 {
		all = append(all, math.Pow(10, float64(i)/10))
	}
	return all
}

func (l *Latencies) markdown() string {
	var b strings.Builder
	b.WriteString("| rows/s | in a message | until | p50 ms | p90 | p99 | p99.9 | max | worker CPU s | broker CPU s | peak MiB |\n" +
		"|--:|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, at := range l.Rates {
		q := at.Stored
		fmt.Fprintf(&b, "| %d | %d | stored in the sink | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %.1f | %d |\n", at.Rate, at.Pack,
			q.P50, q.P90, q.P99, q.P999, q.Max, at.WorkerCPU, at.BrokerCPU, at.PeakBytes>>20)
		q = at.Seen
		fmt.Fprintf(&b, "| | | seen by a subscriber | %.1f | %.1f | %.1f | %.1f | %.1f | | | |\n", q.P50, q.P90, q.P99, q.P999, q.Max)
	}
	fmt.Fprintf(&b, "\n%d keys. Each row counts once, from when it was to be sent.\n\n", l.Keys)
	for _, at := range l.Rates {
		fmt.Fprintf(&b, "%d rows/s: %d rows in %.0f s, %d of them counted; the publisher was behind by %.1f ms at most. ",
			at.Rate, at.Rows, float64(at.Rows)/float64(at.Rate), at.Samples, at.Behind)
		batches(&b, at.Batches, at.Verified)
	}
	return b.String()
}

func (l *Latencies) plots() []chart.Chart {
	p := chart.Chart{Name: "quantiles", Title: "From when a row was to be sent until the sink has stored it",
		X: chart.Axis{Label: "quantile of rows", Log: true, Ticks: []chart.Tick{{At: 1, Label: "0"}, {At: 2, Label: "50 %"},
			{At: 10, Label: "90 %"}, {At: 100, Label: "99 %"}, {At: 1000, Label: "99.9 %"}, {At: 10_000, Label: "99.99 %"}}},
		Y: chart.Axis{Label: "latency, ms", Log: true},
		Goals: []chart.Goal{{Name: "goal, p50 at 10k rows/s", At: 5}, {Name: "goal, p99 at 10k rows/s", At: 15},
			{Name: "goal, p99 at 100k rows/s", At: 50}}}
	for _, at := range l.Rates {
		p.Series = append(p.Series, chart.Series{Name: chart.Short(float64(at.Rate)) + " rows/s", X: curveAbove(), Y: at.Curve})
	}
	return []chart.Chart{p}
}
