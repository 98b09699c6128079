package benchmarks

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tidemill/tidemill/benchmarks/yahoo"
)

// rowMaker makes rows of JSON: row n is a function of n and of what the maker was made with.
type rowMaker interface {
	Append(b []byte, n int64) []byte
}

// DatasetCommand is the hidden command of the binary that writes a Dataset.
const DatasetCommand = "bench-data"

// Dataset says which input of a suite is written to files, for other engines to run on.
type Dataset struct {
	Dir   string // the folder, which is made
	Seed  uint64
	Rows  int64 // of each stream
	Files int   // that the rows of a stream are divided among, in their order; 0 for the suite's own
	Rate  int64 // rows in a second of event time; 0 for the suite's own

	Format string // of nexmark: parquet or ndjson; empty for the suite's own
}

// datasets write the input of suites. Who adds a suite adds a line here.
func datasets() map[string]func(Dataset) error {
	return map[string]func(Dataset) error{"yahoo": writeYahoo, "nexmark": writeNexmark}
}

// WriteDataset writes the input of a suite.
func WriteDataset(suite string, d Dataset) error {
	all := datasets()
	if err := Known("data set", []string{suite}, slices.Sorted(maps.Keys(all))); err != nil {
		return err
	}
	return all[suite](d)
}

// writeYahoo writes events/part-NNNNN.ndjson and campaigns.ndjson.
func writeYahoo(d Dataset) error {
	e := yahooEvents(d.Seed, d.Rate)
	if err := writeParts(filepath.Join(d.Dir, "events"), e, d.Rows, max(d.Files, 1)); err != nil {
		return err
	}
	return writeCampaigns(d.Dir, e)
}

// writeParts divides rows [0, n) among files of a folder, which it makes. Names sort as the rows do.
func writeParts(dir string, m rowMaker, n int64, files int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // for everybody
		return fmt.Errorf("make the folder of the rows: %w", err)
	}
	for i := range int64(files) {
		from, to := n*i/int64(files), n*(i+1)/int64(files)
		if err := writeRows(filepath.Join(dir, fmt.Sprintf("part-%05d.ndjson", i)), m, from, to); err != nil {
			return err
		}
	}
	return nil
}

// writeRows writes rows [from, to) to a file, one a line.
func writeRows(path string, m rowMaker, from, to int64) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the rows: %w", err)
	}
	w := bufio.NewWriterSize(f, 1<<20)
	var line []byte
	for i := from; i < to && err == nil; i++ {
		line = append(m.Append(line[:0], i), '\n')
		_, err = w.Write(line)
	}
	if err = errors.Join(err, w.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write the rows: %w", err)
	}
	return nil
}

// writeCampaigns writes the table that the events of yahoo are joined with.
func writeCampaigns(dir string, e *yahoo.Events) error {
	f, err := os.Create(filepath.Join(dir, campaignsFile))
	if err != nil {
		return fmt.Errorf("write the campaigns: %w", err)
	}
	if err := errors.Join(e.WriteCampaigns(f), f.Close()); err != nil {
		return fmt.Errorf("write the campaigns: %w", err)
	}
	return nil
}
