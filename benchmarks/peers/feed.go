package peers

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidemill/tidemill/benchmarks"
)

// feed lets files appear in a folder one after another, each as a whole.
type feed struct {
	from, to string
	names    []string // in order
	files    int
	perFile  int64 // rows
	every    time.Duration
	ignored  int // files at the start that no figure counts

	sent int
	at   []time.Time // when each was about to appear: nobody has seen it before
}

// feed prepares the arrival of the files of the workload's only table.
func (w *workload) feed() (*feed, error) {
	entries, err := os.ReadDir(w.tables[0].staged)
	if err != nil {
		return nil, fmt.Errorf("list what is to arrive: %w", err)
	}
	f := &feed{from: w.tables[0].staged, to: w.tables[0].dir, files: len(entries), every: fileEvery, ignored: w.ignored,
		perFile: w.rows / int64(len(entries))}
	for _, e := range entries {
		f.names = append(f.names, e.Name())
	}
	slices.Sort(f.names)
	return f, os.MkdirAll(f.to, 0o700)
}

// next lets the next file appear, with the present as the time of its change: some go by that.
func (f *feed) next() error {
	from, to := filepath.Join(f.from, f.names[f.sent]), filepath.Join(f.to, f.names[f.sent])
	now := time.Now()
	if err := os.Chtimes(from, now, now); err != nil {
		return fmt.Errorf("let a file appear: %w", err)
	}
	if err := os.Rename(from, to); err != nil {
		return fmt.Errorf("let a file appear: %w", err)
	}
	f.sent++
	f.at = append(f.at, now)
	return nil
}

// counted is how many rows figures count.
func (f *feed) counted() int64 { return f.perFile * int64(f.files-f.ignored) }

// reset takes all files back for the next contender.
func (f *feed) reset() {
	for _, name := range f.names[:f.sent] {
		_ = os.Rename(filepath.Join(f.to, name), filepath.Join(f.from, name)) // a later read would fail to find it
	}
}

// latency is that of all rows but the first ones, from the moment when their file appeared to the commit of the batch
// that took it. Batches take files in the order of their appearance, so their counts of rows tell which.
func (f *feed) latency(batches []line) *benchmarks.Quantiles {
	var ms []float64
	read, next := int64(0), 0
	for _, b := range batches {
		read += b.Rows
		for ; next < f.sent && f.perFile*int64(next+1) <= read; next++ {
			if next >= f.ignored {
				ms = append(ms, float64(b.end().Sub(f.at[next]).Microseconds())/1000)
			}
		}
	}
	return &benchmarks.Quantiles{P50: quantile(ms, 0.5), P90: quantile(ms, 0.9), P99: quantile(ms, 0.99),
		P999: quantile(ms, 0.999), Max: quantile(ms, 1)}
}

func quantile(values []float64, q float64) float64 { return benchmarks.Quantile(values, q) }
