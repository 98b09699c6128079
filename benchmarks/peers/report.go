package peers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/benchmarks"
)

// Report is what one suite measured. Each of its figures is of a result that equals plain DuckDB's.
type Report struct {
	Suite    string             `json:"suite"`
	Command  string             `json:"command"`
	Time     time.Time          `json:"time"`
	Seed     uint64             `json:"seed"`
	Machine  benchmarks.Machine `json:"machine"`
	Versions map[string]string  `json:"versions"`
	Entries  []Entry            `json:"entries"`
}

// Entry is one contender's answer to one query. Refused, Failed and Differs say why there are no figures.
type Entry struct {
	Query      string    `json:"query"`
	Contender  string    `json:"contender"`
	Guarantee  string    `json:"guarantee"`
	Rows       int64     `json:"rows"`
	Result     int64     `json:"result_rows"` // that are equal
	BatchFiles int       `json:"files_of_a_batch,omitempty"`
	Refused    string    `json:"refused,omitempty"` // the code
	Why        string    `json:"why,omitempty"`     // of the refusal, in the contender's words
	Failed     string    `json:"failed,omitempty"`
	Differs    string    `json:"differs,omitempty"`
	Runs       []Figures `json:"runs,omitempty"`
	Median     *Figures  `json:"median,omitempty"` // the run whose time is the median
}

// Figures are of one run.
type Figures struct {
	Seconds       float64               `json:"seconds"`
	PerSecond     float64               `json:"rows_per_second"`
	CPU           float64               `json:"cpu_seconds"`
	CPUPerMillion float64               `json:"cpu_seconds_per_million_rows"`
	Peak          int64                 `json:"peak_bytes"`
	First         float64               `json:"seconds_to_first_output"` // from the start of the process, warm-up included
	Batches       int                   `json:"batches,omitempty"`
	P50           float64               `json:"batch_ms_p50,omitempty"`
	P99           float64               `json:"batch_ms_p99,omitempty"`
	Latency       *benchmarks.Quantiles `json:"latency_ms,omitempty"`
}

// figures says whether there are, or can be, figures.
func (e *Entry) figures() bool { return e.Refused == "" && e.Failed == "" && e.Differs == "" }

// settle picks the median run, and leaves no figures where one run went wrong.
func (e *Entry) settle() {
	if !e.figures() || len(e.Runs) == 0 {
		e.Runs = nil
		return
	}
	sorted := slices.Clone(e.Runs)
	slices.SortFunc(sorted, func(a, b Figures) int {
		if a.Latency != nil && b.Latency != nil {
			return cmp.Compare(a.Latency.P50, b.Latency.P50)
		}
		return cmp.Compare(a.Seconds, b.Seconds)
	})
	e.Median = &sorted[(len(sorted)-1)/2]
}

// verdict is what became of the last run in few words.
func (e *Entry) verdict() string {
	switch {
	case e.Refused != "":
		return "refused " + e.Refused
	case e.Failed != "":
		return "failed: " + firstLine(e.Failed)
	case e.Differs != "":
		return "differs: " + firstLine(e.Differs)
	case len(e.Runs) == 0:
		return "not run"
	}
	f := e.Runs[len(e.Runs)-1]
	return fmt.Sprintf("%.2f s, %.0f rows/s, %.2f CPU s, verified", f.Seconds, f.PerSecond, f.CPU)
}

func firstLine(s string) string {
	l, _, _ := strings.Cut(s, "\n")
	return strings.ReplaceAll(l, "|", "/")
}

// Fault says of which queries Tidemill or plain DuckDB has no result, or a wrong one. Of the others that is a finding.
func (r *Report) Fault() error {
	var faults []string
	for _, e := range r.Entries {
		own := e.Contender == (tidemill{}).name() || e.Contender == (plainDuck{}).name()
		if own && (e.Failed != "" || e.Differs != "") {
			faults = append(faults, e.Query+" by "+e.Contender)
		}
	}
	return benchmarks.Unverified(r.Suite, faults) //nolint:wrapcheck // says it
}

// Save writes the report as peers-<suite>.json and .md, and its plots as peers-<suite>-<plot>.svg, into a folder, which
// it makes.
func (r *Report) Save(dir string) error {
	return benchmarks.Save(dir, "peers-"+r.Suite, r, r.plots()) //nolint:wrapcheck // says it
}
