package benchmarks

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/benchmarks/chart"
	"github.com/tidemill/tidemill/benchmarks/nexmark"
)

// flinkGoal is how many times Flink's events per core and second a query is to do.
const flinkGoal = 3

// NexmarkQuery is one query of Nexmark. Refused, Failed and Differs say why there are no figures.
type NexmarkQuery struct {
	Query     string  `json:"query"`
	Mode      string  `json:"mode"`
	Refused   string  `json:"refused,omitempty"`
	Failed    string  `json:"failed,omitempty"`
	Differs   string  `json:"differs,omitempty"`
	Verified  bool    `json:"verified"`
	Rows      int64   `json:"rows"` // of the result that was compared
	Hash      string  `json:"hash"` // of these rows, in any order
	Out       int64   `json:"rows_out"`
	Seconds   float64 `json:"seconds"` // by the clock on the wall, the last state version included
	CPU       float64 `json:"cpu_seconds"`
	PerSecond float64 `json:"events_per_second"`
	PerCPU    float64 `json:"events_per_cpu_second"`
	Batches   int     `json:"batches"`
	P50       float64 `json:"batch_ms_p50"` // of batches with data
	P99       float64 `json:"batch_ms_p99"`
	Flink     float64 `json:"flink_events_per_core_second,omitempty"` // as published; 0 if there is no figure
	Multiple  float64 `json:"multiple_of_flink,omitempty"`
	PeakBytes int64   `json:"peak_bytes"`
	State     int64   `json:"state_bytes"` // of state versions on disk
}

func (n *NexmarkQuery) measure(o *outcome, events int64) {
	n.Verified = true
	for _, l := range o.Laps {
		n.Batches += l.Batches
		n.Out += l.Out
	}
	n.Seconds = sum(column(o.Laps, func(l lap) float64 { return l.Millis })) / 1000
	n.CPU, n.PeakBytes = o.CPU, o.Peak
	n.PerSecond, n.PerCPU = float64(events)/n.Seconds, float64(events)/max(n.CPU, 1e-3)
	n.Flink = nexmark.FlinkPerCore(n.Query)
	if n.Flink > 0 {
		n.Multiple = n.PerCPU / n.Flink
	}
	n.State = o.State
	n.P50, n.P99 = quantile(o.Data, 0.5), quantile(o.Data, 0.99)
}

// verdict is what became of the query in few words.
func (n *NexmarkQuery) verdict() string {
	switch {
	case n.Refused != "":
		return "refused " + n.Refused
	case n.Failed != "":
		return "failed: " + n.Failed
	case n.Differs != "":
		return "differs"
	}
	return fmt.Sprintf("%.0f events per CPU second, %s times Flink, verified", n.PerCPU, n.multiple())
}

func (n *NexmarkQuery) multiple() string {
	if n.Flink == 0 {
		return "—"
	}
	return fmt.Sprintf("%.1f", n.Multiple)
}

// Nexmark is a run of the suite.
type Nexmark struct {
	Input   string         `json:"input"`
	Events  int64          `json:"events"`
	Rate    int64          `json:"event_rate"` // events in a second of event time
	Batch   int64          `json:"events_of_a_batch"`
	Queries []NexmarkQuery `json:"queries"`
}

func (n *Nexmark) markdown() string {
	var b strings.Builder
	b.WriteString("| query | mode | verified | wall s | CPU s | events/s | events per CPU second | × Flink | " +
		"peak MiB | state MiB | batches | batch p50 ms | p99 | rows out | hash |\n" +
		"|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n")
	verified, goal, known := 0, 0, 0
	for i := range n.Queries {
		q := &n.Queries[i]
		if !q.Verified {
			why := strings.ReplaceAll(q.verdict(), "|", "/")
			fmt.Fprintf(&b, "| %s | %s | %s | | | | | | | | | | | | |\n", q.Query, q.Mode, why)
			continue
		}
		verified++
		if q.Flink > 0 {
			known++
		}
		if q.Multiple >= flinkGoal {
			goal++
		}
		fmt.Fprintf(&b, "| %s | %s | yes | %.2f | %.2f | %.0f | %.0f | %s | %d | %.1f | %d | %.1f | %.1f | %d | %s |\n",
			q.Query, q.Mode, q.Seconds, q.CPU, q.PerSecond, q.PerCPU, q.multiple(), q.PeakBytes>>20,
			float64(q.State)/(1<<20), q.Batches, q.P50, q.P99, q.Out, q.Hash)
	}
	fmt.Fprintf(&b, "\n%d events (%s) at %d events/s of event time, %d in a batch. %d of %d queries verified; %d of %d "+
		"with a figure of Flink's are at least %d times that. Making the events is in neither time, nor is starting the "+
		"process.\n\n", n.Events, n.Input, n.Rate, n.Batch, verified, len(n.Queries), goal, known, flinkGoal)
	for i := range n.Queries {
		if q := &n.Queries[i]; q.Differs != "" {
			fmt.Fprintf(&b, "%s: %s\n\n", q.Query, q.Differs)
		}
	}
	return b.String()
}

// plots compare each query with Flink, and say how many events each does.
func (n *Nexmark) plots() []chart.Chart {
	times, ours, flinks := chart.Series{Name: "tidemill"}, chart.Series{Name: "tidemill"}, chart.Series{Name: "Flink, published"}
	put := func(s *chart.Series, value float64, note string) {
		s.Y, s.Notes = append(s.Y, value), append(s.Notes, note)
	}
	var names []string
	for i := range n.Queries {
		q := &n.Queries[i]
		names = append(names, q.Query)
		put(&times, q.Multiple, cmp.Or(q.trouble(), q.published()))
		put(&ours, q.PerCPU, q.trouble())
		put(&flinks, q.Flink, q.published())
	}
	return []chart.Chart{
		{Name: "flink", Title: "Nexmark: events per CPU second, as a multiple of Flink's per core", Bars: names,
			Y: chart.Axis{Label: "times Flink's published figure"}, Series: []chart.Series{times},
			Goals: []chart.Goal{{Name: "goal", At: flinkGoal}}},
		{Name: "speed", Title: "Nexmark: events per CPU second, and Flink's per core", Bars: names,
			Y: chart.Axis{Label: "events per CPU second"}, Series: []chart.Series{ours, flinks}},
	}
}

// trouble is why a query has no figures, in a word or two, or "".
func (n *NexmarkQuery) trouble() string {
	if n.Verified {
		return ""
	}
	word, _, _ := strings.Cut(n.verdict(), ":")
	return word
}

// published says so where Flink has published no figure.
func (n *NexmarkQuery) published() string {
	if n.Flink > 0 {
		return ""
	}
	return "none published"
}
