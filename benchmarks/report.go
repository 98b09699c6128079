package benchmarks

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Report is what one suite measured. Each of its figures is of a result that was verified.
type Report struct {
	Suite       string            `json:"suite"`
	Command     string            `json:"command"`
	Time        time.Time         `json:"time"`
	Target      string            `json:"target"`
	SQL         string            `json:"sql"`
	Seed        uint64            `json:"seed"`
	BytesPerRow float64           `json:"bytes_per_row,omitempty"`
	Durability  string            `json:"durability"`
	Machine     Machine           `json:"machine"`
	Versions    map[string]string `json:"versions"`
	Throughput  []Throughput      `json:"throughput,omitempty"` // one for each run
	Latency     *Latency          `json:"latency,omitempty"`
	Memory      *Memory           `json:"memory,omitempty"`
	State       *State            `json:"state,omitempty"`
	Hop         *Hop              `json:"hop,omitempty"`
	Join        *Join             `json:"join,omitempty"`
	Evict       *Evict            `json:"evict,omitempty"`
	Nexmark     *Nexmark          `json:"nexmark,omitempty"`
	Batch       *Batch            `json:"batch,omitempty"`
	Startup     *Startup          `json:"startup,omitempty"`
	Scale       *Scale            `json:"scale,omitempty"`
}

// Batches describes the batches that had data.
type Batches struct {
	Count  int                `json:"count"`
	Rows   int64              `json:"rows"`
	P50    float64            `json:"ms_p50"`
	P99    float64            `json:"ms_p99"`
	Phases map[string]float64 `json:"mean_ms_by_phase"`
}

// Throughput is one run over a filled stream, from the start of the first batch to the end of the last.
type Throughput struct {
	Rows          int64      `json:"rows"`
	Seconds       float64    `json:"seconds"`
	RowsPerSecond float64    `json:"rows_per_second"`
	RawPerSecond  float64    `json:"raw_rows_per_second"` // a read of the same stream that looks at nothing
	Ratio         float64    `json:"ratio_to_raw"`
	WorkerCPU     float64    `json:"worker_cpu_seconds"` // its start included
	BrokerCPU     float64    `json:"broker_cpu_seconds"`
	PeakBytes     int64      `json:"worker_peak_bytes"`
	Batches       Batches    `json:"batches"`
	Verified      []verified `json:"verified"`
}

// Quantiles are in milliseconds.
type Quantiles struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Latency is from just before a row is published.
type Latency struct {
	Rate      int64      `json:"rate"`
	Achieved  float64    `json:"achieved_rate"`
	Seconds   float64    `json:"seconds"`
	Rows      int64      `json:"rows"`
	Samples   int        `json:"samples"`
	Stored    Quantiles  `json:"stored_ms"` // until the broker has stored the sink's message
	Seen      Quantiles  `json:"seen_ms"`   // until a subscriber of the sink's stream has it
	WorkerCPU float64    `json:"worker_cpu_seconds"`
	BrokerCPU float64    `json:"broker_cpu_seconds"`
	PeakBytes int64      `json:"worker_peak_bytes"`
	Batches   Batches    `json:"batches"`
	Verified  []verified `json:"verified"`
}

// Memory is the worker's resident memory under a steady stream.
type Memory struct {
	Rate      int64      `json:"rate"`
	Seconds   float64    `json:"seconds"`
	Rows      int64      `json:"rows"`
	Samples   int        `json:"samples"`
	First     int64      `json:"first_quarter_bytes"` // mean, after the warm-up
	Last      int64      `json:"last_quarter_bytes"`
	Most      int64      `json:"most_bytes"`
	PeakBytes int64      `json:"peak_bytes"` // by the kernel's count, from the start on
	WorkerCPU float64    `json:"worker_cpu_seconds"`
	Batches   Batches    `json:"batches"`
	Verified  []verified `json:"verified"`
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n`%s`, %s. Target: %s.\n\n", r.Suite, r.Command, r.Time.Format("2006-01-02 15:04 UTC"), r.Target)
	fmt.Fprintf(&b, "%s, %d cores, %d GiB, Linux %s; load average %s before, %s after. Seed %d. %s.\n\n", r.Machine.CPU,
		r.Machine.Cores, r.Machine.Memory>>30, r.Machine.Kernel, r.Machine.Before, r.Machine.After, r.Seed, r.Durability)
	names := slices.Sorted(maps.Keys(r.Versions))
	for i, name := range names {
		names[i] = name + " " + r.Versions[name]
	}
	fmt.Fprintf(&b, "Versions: %s.\n\n", strings.Join(names, ", "))
	r.throughput(&b)
	if l := r.Latency; l != nil {
		fmt.Fprintf(&b, "| until | p50 ms | p90 | p99 | p99.9 | max |\n|---|--:|--:|--:|--:|--:|\n")
		for _, line := range []struct {
			name string
			q    Quantiles
		}{{"stored in the sink", l.Stored}, {"seen by a subscriber", l.Seen}} {
			fmt.Fprintf(&b, "| %s | %.1f | %.1f | %.1f | %.1f | %.1f |\n", line.name, line.q.P50, line.q.P90, line.q.P99,
				line.q.P999, line.q.Max)
		}
		fmt.Fprintf(&b, "\n%d rows, asked for %d rows/s, sent %.0f rows/s. CPU: worker %.1f s, broker %.1f s. ",
			l.Rows, l.Rate, l.Achieved, l.WorkerCPU, l.BrokerCPU)
		batches(&b, l.Batches, l.Verified)
	}
	if m := r.Memory; m != nil {
		fmt.Fprintf(&b, "| first quarter MiB | last quarter | most | growth |\n|--:|--:|--:|--:|\n| %d | %d | %d | %+.1f %% |\n\n",
			m.First>>20, m.Last>>20, max(m.Most, m.PeakBytes)>>20, 100*(float64(m.Last)/float64(max(1, m.First))-1))
		fmt.Fprintf(&b, "%d rows at %d rows/s over %.0f s, %d samples. CPU: worker %.1f s. ", m.Rows, m.Rate, m.Seconds, m.Samples,
			m.WorkerCPU)
		batches(&b, m.Batches, m.Verified)
	}
	b.WriteString(r.alone())
	return b.String()
}

// alone is the section of a suite that runs the engine without a broker, or "".
func (r *Report) alone() string {
	switch {
	case r.State != nil:
		return r.State.markdown()
	case r.Hop != nil:
		return r.Hop.markdown()
	case r.Join != nil:
		return r.Join.markdown()
	case r.Evict != nil:
		return r.Evict.markdown()
	case r.Nexmark != nil:
		return r.Nexmark.markdown()
	case r.Batch != nil:
		return r.Batch.markdown()
	case r.Startup != nil:
		return r.Startup.markdown()
	case r.Scale != nil:
		return r.Scale.markdown()
	}
	return ""
}

func (r *Report) throughput(b *strings.Builder) {
	if len(r.Throughput) == 0 {
		return
	}
	fmt.Fprintf(b, "| run | rows/s | raw read rows/s | ratio | worker CPU s | broker CPU s | peak MiB |\n|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, t := range r.Throughput {
		fmt.Fprintf(b, "| %d | %.0f | %.0f | %.2f | %.1f | %.1f | %d |\n", i+1, t.RowsPerSecond, t.RawPerSecond, t.Ratio,
			t.WorkerCPU, t.BrokerCPU, t.PeakBytes>>20)
	}
	last := r.Throughput[len(r.Throughput)-1]
	fmt.Fprintf(b, "\n%d rows of %.0f bytes. Last run: ", last.Rows, r.BytesPerRow)
	batches(b, last.Batches, last.Verified)
}

func batches(b *strings.Builder, s Batches, v []verified) {
	fmt.Fprintf(b, "%d batches, p50 %.1f ms, p99 %.1f ms; mean ms by phase:", s.Count, s.P50, s.P99)
	for _, name := range slices.Sorted(maps.Keys(s.Phases)) {
		fmt.Fprintf(b, " %s %.2f", name, s.Phases[name])
	}
	b.WriteString(".")
	for _, one := range v {
		fmt.Fprintf(b, " Verified %s: %d rows equal plain DuckDB.", one.Query, one.Rows)
	}
	b.WriteString("\n\n")
}

// Save writes the report as <suite>.json and <suite>.md into a folder, which it makes.
func (r *Report) Save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // results are for everybody
		return fmt.Errorf("make the folder of results: %w", err)
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the report: %w", err)
	}
	for name, body := range map[string][]byte{".json": append(data, '\n'), ".md": []byte(r.Markdown())} {
		if err := os.WriteFile(filepath.Join(dir, r.Suite+name), body, 0o644); err != nil { //nolint:gosec // as above
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}
