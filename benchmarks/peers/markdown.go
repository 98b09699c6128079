package peers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemill/tidemill/benchmarks"
)

// legend is what a reader of the tables has to know; the README beside this file says more.
const legend = "CPU is that of a contender's processes while the measured query runs; Tidemill's includes its start. Peak is the sum of " +
	"their high-water marks. Start to first output begins with the process and includes a warm-up, which Spark and Flink have in all " +
	"suites but start. Settings: benchmarks/peers/README.md.\n\n"

// queries lists the queries in the order in which they were asked.
func (r *Report) queries() []string {
	var out []string
	for _, e := range r.Entries {
		if !slices.Contains(out, e.Query) {
			out = append(out, e.Query)
		}
	}
	return out
}

func (r *Report) of(query string) []Entry {
	return slices.DeleteFunc(slices.Clone(r.Entries), func(e Entry) bool { return e.Query != query })
}

// Markdown is the report for people.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## peers: %s\n\n`%s`, %s. %s, %d cores, %d GiB, Linux %s; load average %s before, %s after. Seed %d.\n\n",
		r.Suite, r.Command, r.Time.Format("2006-01-02 15:04 UTC"), r.Machine.CPU, r.Machine.Cores, r.Machine.Memory>>30,
		r.Machine.Kernel, r.Machine.Before, r.Machine.After, r.Seed)
	names := slices.Sorted(maps.Keys(r.Versions))
	for i, name := range names {
		names[i] = name + " " + r.Versions[name]
	}
	fmt.Fprintf(&b, "Versions: %s.\n\n", strings.Join(names, ", "))
	for _, q := range r.queries() {
		r.query(&b, q)
	}
	b.WriteString(legend)
	r.guarantees(&b)
	b.WriteString(benchmarks.Pictures("peers-"+r.Suite, r.plots()))
	return b.String()
}

// query is the table of one query. Ratios are to Tidemill: 8 means that Tidemill is 8 times as fast, or needs an eighth
// of the CPU time.
func (r *Report) query(b *strings.Builder, query string) {
	list := r.of(query)
	latency := slices.ContainsFunc(list, func(e Entry) bool { return e.Median != nil && e.Median.Latency != nil })
	fmt.Fprintf(b, "### %s\n\n| contender | rows/s | Tidemill's speed | CPU s per M rows | to Tidemill's | peak MiB | start to "+
		"first output s | batches | batch p50 ms | p99 |", query)
	if latency {
		b.WriteString(" latency p50 ms | p99 | max |")
	}
	fmt.Fprintf(b, "\n|---|%s\n", strings.Repeat("--:|", 9+3*count(latency)))
	var own *Figures
	for _, e := range list {
		if e.Contender == "tidemill" {
			own = e.Median
		}
	}
	for _, e := range list {
		if e.Median == nil {
			fmt.Fprintf(b, "| %s | %s |\n", e.Contender, e.verdict())
			continue
		}
		e.Median.row(b, e.Contender, own)
	}
	b.WriteByte('\n')
	for _, e := range list {
		e.note(b)
	}
	b.WriteByte('\n')
}

// row is one line of the table. own are the figures of Tidemill, or nil.
func (f *Figures) row(b *strings.Builder, name string, own *Figures) {
	speed, cpu := "", ""
	if own != nil {
		speed = fmt.Sprintf("%.2f×", own.PerSecond/f.PerSecond)
		cpu = fmt.Sprintf("%.2f×", f.CPUPerMillion/max(own.CPUPerMillion, 1e-9))
	}
	fmt.Fprintf(b, "| %s | %.0f | %s | %.3f | %s | %d | %.2f |", name, f.PerSecond, speed, f.CPUPerMillion, cpu, f.Peak>>20,
		f.First)
	if f.Batches > 0 {
		fmt.Fprintf(b, " %d | %.1f | %.1f |", f.Batches, f.P50, f.P99)
	} else {
		b.WriteString(" | | |")
	}
	if f.Latency != nil {
		fmt.Fprintf(b, " %.1f | %.1f | %.1f |", f.Latency.P50, f.Latency.P99, f.Latency.Max)
	}
	b.WriteByte('\n')
}

// note says what was compared, or why there was nothing to compare.
func (e *Entry) note(b *strings.Builder) {
	switch {
	case e.Median != nil:
		fmt.Fprintf(b, "%s: %d rows in, %d rows out equal plain DuckDB's; median of %d", e.Contender, e.Rows, e.Result, len(e.Runs))
		if e.BatchFiles > 0 {
			fmt.Fprintf(b, "; %d files in a batch", e.BatchFiles)
		}
		b.WriteString(".\n")
	case e.Why != "":
		fmt.Fprintf(b, "%s refuses it: %s.\n", e.Contender, strings.TrimSuffix(firstLine(e.Why), "."))
	}
}

func count(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// guarantees says once what each contender promises while it is measured.
func (r *Report) guarantees(b *strings.Builder) {
	b.WriteString("What each guarantees while it is measured:\n\n")
	var told []string
	for _, e := range r.Entries {
		text := fmt.Sprintf("- %s: %s.\n", e.Contender, e.Guarantee)
		if !slices.Contains(told, text) {
			told = append(told, text)
			b.WriteString(text)
		}
	}
	b.WriteByte('\n')
}
