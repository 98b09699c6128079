package benchmarks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

// Report is what one suite measured. Each of its figures is of a result that was verified.
type Report struct {
	Suite      string            `json:"suite"`
	Command    string            `json:"command"`
	Time       time.Time         `json:"time"`
	Target     string            `json:"target"`
	SQL        string            `json:"sql"`
	Seed       uint64            `json:"seed"`
	Durability string            `json:"durability"`
	Machine    Machine           `json:"machine"`
	Versions   map[string]string `json:"versions"`
	Limit      *Limit            `json:"memory_limit,omitempty"`
	Result     section           `json:"result"`
}

// section is what a suite measured: its fields are the JSON of the report.
type section interface {
	markdown() string
}

// plotted is a section that has pictures.
type plotted interface {
	plots() []chart.Chart
}

// Batches describes the batches that had data.
type Batches struct {
	Count  int                `json:"count"`
	Rows   int64              `json:"rows"`
	P50    float64            `json:"ms_p50"`
	P99    float64            `json:"ms_p99"`
	Phases map[string]float64 `json:"mean_ms_by_phase"`
	Max    float64            `json:"ms_max"`
	Worst  map[string]float64 `json:"slowest_ms_by_phase"` // of the batch that took longest
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
	b.WriteString(r.Result.markdown())
	b.WriteString(r.Limit.markdown())
	b.WriteString(Pictures(r.Suite, r.plots()))
	return b.String()
}

func (r *Report) plots() []chart.Chart {
	if p, ok := r.Result.(plotted); ok {
		return p.plots()
	}
	return nil
}

func batches(b *strings.Builder, s Batches, v []verified) {
	fmt.Fprintf(b, "%d batches, p50 %.1f ms, p99 %.1f ms; mean ms by phase:%s; the slowest took %.1f ms:%s.", s.Count, s.P50,
		s.P99, phases(s.Phases), s.Max, phases(s.Worst))
	for _, one := range v {
		fmt.Fprintf(b, " Verified %s: %d rows equal plain DuckDB.", one.Query, one.Rows)
	}
	b.WriteString("\n\n")
}

func phases(ms map[string]float64) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(ms)) {
		text += fmt.Sprintf(" %s %.2f", name, ms[name])
	}
	return text
}

// Fault says which results of Tidemill's are not plain DuckDB's, or could not be had. A refusal is neither.
func (r *Report) Fault() error {
	n, ok := r.Result.(*Nexmark)
	if !ok {
		return nil // there is no report of others
	}
	var faults []string
	for _, q := range n.Queries {
		if q.Failed != "" || q.Differs != "" {
			faults = append(faults, q.Query)
		}
	}
	return Unverified(r.Suite, faults)
}

// Unverified is the fault of a report that says of these queries that Tidemill has no result, or a wrong one; nil for none.
func Unverified(suite string, queries []string) error {
	if len(queries) == 0 {
		return nil
	}
	return fmt.Errorf("suite %s: no verified result of %s: the report says why", suite, strings.Join(queries, ", "))
}

// Save writes the report as <suite>.json and <suite>.md, and its plots as <suite>-<plot>.svg, into a folder, which it
// makes.
func (r *Report) Save(dir string) error { return Save(dir, r.Suite, r, r.plots()) }
