package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/benchmarks"
	"github.com/tidemill/tidemill/internal/diag"
)

// benchDataCommand writes what a suite reads to files, so that other engines can be given the same.
func (e *env) benchDataCommand() *cobra.Command {
	var d benchmarks.Dataset
	c := &cobra.Command{Use: benchmarks.DatasetCommand + " SUITE", Hidden: true, Args: exactArgs("SUITE"),
		Short: "write the input of a suite of bench to files"}
	c.Flags().Int64Var(&d.Rows, "rows", 1_000_000, "rows of each stream; events of nexmark")
	c.Flags().IntVar(&d.Files, "files", 0, "files that the rows of a stream are divided among "+
		"(default 1; of nexmark one for every 100,000 events)")
	c.Flags().StringVar(&d.Dir, "out", "", "the folder, which is made")
	c.Flags().StringVar(&d.Format, "format", "", "of nexmark: parquet or ndjson (default parquet)")
	c.Flags().Uint64Var(&d.Seed, "seed", 1, "seed of the rows")
	c.Flags().Int64Var(&d.Rate, "rate", 0, "rows in a second of event time (default: the suite's)")
	c.RunE = func(_ *cobra.Command, args []string) error {
		switch {
		case d.Dir == "":
			return diag.New(diag.Usage, "--out is needed: the folder that the files are written to")
		case d.Rows < 1 || d.Files < 0 || d.Rate < 0:
			return diag.New(diag.Usage, "--rows must be 1 or more, --files and --rate 0 or more")
		case d.Format != "" && args[0] != "nexmark":
			return diag.New(diag.Usage, "--format is of nexmark").WithHint("leave it out")
		}
		if err := benchmarks.WriteDataset(args[0], d); err != nil {
			return fmt.Errorf("bench-data: %w", err)
		}
		return nil
	}
	return c
}
