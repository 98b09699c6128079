package benchmarks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/benchmarks/chart"
)

// Lanes are runs that differ in one thing: the format that comes in, or the sink.
type Lanes struct {
	By    string `json:"by"`
	Lanes []Lane `json:"lanes"`
}

// Lane is one of them. RowsIn of Throughput may be more than the rows that come out.
type Lane struct {
	Throughput

	Name   string  `json:"name"`
	Goal   float64 `json:"goal_rows_per_second,omitempty"`
	Out    int64   `json:"rows_out"`
	Source float64 `json:"source_seconds"` // reading and decoding that the batches waited for
	Engine float64 `json:"engine_seconds"` // the phase addBatch
	Sink   float64 `json:"sink_seconds"`   // the phase sink

	RawWrite   float64 `json:"raw_write_rows_per_second,omitempty"` // of the same messages, see rawWrite
	OfRawWrite float64 `json:"ratio_to_raw_write,omitempty"`
}

// chosenLanes returns the lanes that were asked for, or all.
func chosenLanes[T any](asked []string, all []T, name func(T) string) ([]T, error) {
	if len(asked) == 0 {
		return all, nil
	}
	var names []string
	var chosen []T
	for _, lane := range all {
		if names = append(names, name(lane)); slices.Contains(asked, name(lane)) {
			chosen = append(chosen, lane)
		}
	}
	if err := Known("lane", asked, names); err != nil {
		return nil, err
	}
	return chosen, nil
}

func newLane(name string, t *Throughput) Lane {
	spent := func(phase string) float64 { return t.Batches.Phases[phase] * float64(t.Batches.Count) / 1000 }
	return Lane{Throughput: *t, Name: name, Out: t.Verified[0].Rows, Source: spent("getBatch"), Engine: spent("addBatch"),
		Sink: spent("sink")}
}

func (l *Lanes) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | rows/s | goal | raw read rows/s | ratio | worker CPU s per million rows | broker | "+
		"batches waited for the source s | engine | sink | rows out | peak MiB |\n"+
		"|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", l.By)
	for i := range l.Lanes {
		lane := &l.Lanes[i]
		goal := ""
		if lane.Goal > 0 {
			goal = fmt.Sprintf("%.0f", lane.Goal)
		}
		million := float64(lane.Rows) / 1e6
		fmt.Fprintf(&b, "| %s | %.0f | %s | %.0f | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f | %d | %d |\n", lane.Name,
			lane.RowsPerSecond, goal, lane.RawPerSecond, lane.Ratio, lane.WorkerCPU/million, lane.BrokerCPU/million, lane.Source,
			lane.Engine, lane.Sink, lane.Out, lane.PeakBytes>>20)
	}
	fmt.Fprintf(&b, "\n%d rows each; in %.2f to %.2f s.", l.Lanes[0].Rows, l.least(), l.most())
	for i := range l.Lanes {
		fmt.Fprintf(&b, " Verified %s: %d rows equal plain DuckDB.", l.Lanes[i].Name, l.Lanes[i].Out)
		if l.Lanes[i].RawWrite > 0 {
			fmt.Fprintf(&b, " A raw write of the same messages to the same broker did %.0f rows/s, of which %s is %.2f.",
				l.Lanes[i].RawWrite, l.Lanes[i].Name, l.Lanes[i].OfRawWrite)
		}
	}
	return b.String() + "\n\n"
}

func (l *Lanes) least() float64 {
	least := 0.0
	for i := range l.Lanes {
		least = min(cmp.Or(least, l.Lanes[i].Seconds), l.Lanes[i].Seconds)
	}
	return least
}

func (l *Lanes) most() float64 {
	most := 0.0
	for i := range l.Lanes {
		most = max(most, l.Lanes[i].Seconds)
	}
	return most
}

func (l *Lanes) plots() []chart.Chart {
	rate := chart.Chart{Name: "rate", Title: "Rows through the query by " + l.By, Y: chart.Axis{Label: "rows per second"},
		Series: []chart.Series{{Name: "tidemill"}, {Name: "raw read"}}}
	cpu := chart.Chart{Name: "cpu", Title: "Processor time by " + l.By, Y: chart.Axis{Label: "CPU seconds per million rows"},
		Series: []chart.Series{{Name: "worker"}, {Name: "broker"}}}
	add := func(p *chart.Chart, name string, a, b float64) {
		p.Bars = append(p.Bars, name)
		p.Series[0].Y, p.Series[1].Y = append(p.Series[0].Y, a), append(p.Series[1].Y, b)
	}
	for i := range l.Lanes {
		lane := &l.Lanes[i]
		million := float64(lane.Rows) / 1e6
		add(&rate, lane.Name, lane.RowsPerSecond, lane.RawPerSecond)
		add(&cpu, lane.Name, lane.WorkerCPU/million, lane.BrokerCPU/million)
		if lane.Goal > 0 {
			rate.Goals = append(rate.Goals, chart.Goal{Name: "goal, " + lane.Name, At: lane.Goal})
		}
	}
	if strings.HasPrefix(l.By, "sink") { // a packed raw read is far above what any sink does
		rate.Series = rate.Series[:1]
	}
	return []chart.Chart{rate, cpu}
}
