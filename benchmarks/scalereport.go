package benchmarks

import (
	"fmt"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

// Scale is what cores and queries make of the speed.
type Scale struct {
	Rows int64    `json:"rows"`
	Runs []Scaled `json:"runs"`
}

// Scaled is a process of so many queries on so many cores, each over the same rows.
type Scaled struct {
	Cores     int        `json:"cores"`
	Queries   int        `json:"queries"`
	Seconds   float64    `json:"seconds"`                 // from the first batch to the last one with data
	PerSecond float64    `json:"rows_per_second"`         // of all queries together
	CPU       float64    `json:"cpu_seconds_per_million"` // rows of one query, the start included
	PeakBytes int64      `json:"peak_bytes"`
	Verified  []verified `json:"verified"`
}

func (s *Scale) markdown() string {
	text := "| cores | queries | rows/s of all queries | of one | CPU s per million rows and query | peak MiB | MiB a query |\n" +
		"|--:|--:|--:|--:|--:|--:|--:|\n"
	checked := 0
	for _, one := range s.Runs {
		text += fmt.Sprintf("| %d | %d | %.0f | %.0f | %.2f | %d | %d |\n", one.Cores, one.Queries, one.PerSecond,
			one.PerSecond/float64(one.Queries), one.CPU, one.PeakBytes>>20, one.PeakBytes>>20/int64(one.Queries))
		checked += len(one.Verified)
	}
	return text + fmt.Sprintf("\n%d rows in a stream that each query reads by itself. The results of all %d queries equal "+
		"plain DuckDB's.\n\n", s.Rows, checked)
}

// plots are the rows of all queries together, and what a row costs each of them.
func (s *Scale) plots() []chart.Chart {
	speed := chart.Chart{Name: "speed", Title: "More cores, more queries in one process",
		Y: chart.Axis{Label: "rows per second"}, Series: []chart.Series{{Name: "all queries"}, {Name: "each of them"}}}
	cost := chart.Chart{Name: "cpu", Title: "What a row costs each query",
		Y: chart.Axis{Label: "CPU seconds per million rows and query"}, Series: []chart.Series{{Name: "tidemill"}}}
	for _, one := range s.Runs {
		speed.Bars, cost.Bars = append(speed.Bars, one.name()), append(cost.Bars, one.name())
		add(speed.Series, one.PerSecond, one.PerSecond/float64(one.Queries))
		add(cost.Series, one.CPU)
	}
	if len(s.Runs) > 0 {
		cost.Goals = []chart.Goal{{Name: "goal, as one query", At: s.Runs[0].CPU}}
	}
	return []chart.Chart{speed, cost}
}

func (s *Scaled) name() string {
	return counted(s.Cores, "core", "cores") + ", " + counted(s.Queries, "query", "queries")
}

func counted(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}
