package benchmarks

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/engine"
)

// measure takes the time from the start of the first batch to the end of the last one that had data.
func (t *Throughput) measure(all []engine.Progress) {
	var end time.Time
	for _, p := range all {
		if !p.NoData {
			end = p.Timestamp.Add(time.Duration(p.BatchDuration * float64(time.Millisecond)))
		}
	}
	t.Batches = batchStats(all)
	t.Seconds = end.Sub(all[0].Timestamp).Seconds()
	t.RowsPerSecond = float64(t.Rows) / t.Seconds
	if t.RawPerSecond > 0 {
		t.Ratio = t.RowsPerSecond / t.RawPerSecond
	}
	cpu := t.WorkerCPU + t.BrokerCPU
	t.CPUPerMillion = cpu / float64(t.Rows) * 1e6
	if cpu > 0 {
		t.RowsPerCPUSecond = float64(t.Rows) / cpu
	}
}

// Throughputs are runs over the same filled stream.
type Throughputs struct {
	BytesPerRow float64      `json:"bytes_per_row"`
	Target      float64      `json:"target_rows_per_second"`
	Runs        []Throughput `json:"runs"`
}

// Throughput is one run over a filled stream, from the start of the first batch to the end of the last.
type Throughput struct {
	Rows             int64      `json:"rows"`
	Seconds          float64    `json:"seconds"`
	RowsPerSecond    float64    `json:"rows_per_second"`
	RawPerSecond     float64    `json:"raw_rows_per_second"` // a read of the same stream that looks at nothing
	Ratio            float64    `json:"ratio_to_raw"`
	WorkerCPU        float64    `json:"worker_cpu_seconds"` // its start included
	BrokerCPU        float64    `json:"broker_cpu_seconds"`
	CPUPerMillion    float64    `json:"cpu_seconds_per_million_rows"` // of worker and broker
	RowsPerCPUSecond float64    `json:"rows_per_cpu_second"`
	PeakBytes        int64      `json:"worker_peak_bytes"`
	Batches          Batches    `json:"batches"`
	Verified         []verified `json:"verified"`
}

func (t *Throughputs) markdown() string {
	var b strings.Builder
	b.WriteString("| run | rows/s | raw read rows/s | ratio | worker CPU s | broker CPU s | CPU s per million rows " +
		"| rows per CPU second | peak MiB |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, run := range t.Runs {
		raw, ratio := "—", "—" // files are not read from a broker
		if run.RawPerSecond > 0 {
			raw, ratio = fmt.Sprintf("%.0f", run.RawPerSecond), fmt.Sprintf("%.2f", run.Ratio)
		}
		fmt.Fprintf(&b, "| %d | %.0f | %s | %s | %.1f | %.1f | %.3f | %.0f | %d |\n", i+1, run.RowsPerSecond, raw, ratio,
			run.WorkerCPU, run.BrokerCPU, run.CPUPerMillion, run.RowsPerCPUSecond, run.PeakBytes>>20)
	}
	last := t.Runs[len(t.Runs)-1]
	fmt.Fprintf(&b, "\n%d rows of %.0f bytes. Last run: ", last.Rows, t.BytesPerRow)
	batches(&b, last.Batches, last.Verified)
	return b.String()
}

func (t *Throughputs) plots() []chart.Chart {
	rows, raw := chart.Series{Name: "tidemill"}, chart.Series{Name: "raw read"}
	p := chart.Chart{Name: "throughput", Title: "Rows through the query", Y: chart.Axis{Label: "rows per second"},
		Goals: []chart.Goal{{Name: "target", At: t.Target}}}
	for i, run := range t.Runs {
		p.Bars = append(p.Bars, fmt.Sprintf("run %d", i+1))
		rows.Y, raw.Y = append(rows.Y, run.RowsPerSecond), append(raw.Y, run.RawPerSecond)
	}
	p.Series = []chart.Series{rows}
	if t.Runs[0].RawPerSecond > 0 {
		p.Title += ", beside a raw read of the same stream"
		p.Series = append(p.Series, raw)
	}
	return []chart.Chart{p}
}
