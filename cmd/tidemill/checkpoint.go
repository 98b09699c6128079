package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/wal"
)

func (e *env) checkpointCommand() *cobra.Command {
	parent := &cobra.Command{Use: "checkpoint", Short: "look into a query's directory without changing it",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	for _, sub := range []struct {
		name, short string
		run         func(ctx context.Context, dir, form string) error
	}{
		{"inspect", "list what the log, the state versions and the table copies hold", e.checkpointInspect},
		{"verify", "read every byte and compare every checksum; exit code 4 on damage", e.checkpointVerify},
	} {
		c := &cobra.Command{Use: sub.name + " QUERY|DIR", Short: sub.short, Args: exactArgs("QUERY or DIR")}
		dataDir, form := e.reading(c)
		c.RunE = func(c *cobra.Command, args []string) error {
			chosen, err := form()
			if err != nil {
				return err
			}
			dir, err := checkpointDir(*dataDir, args[0])
			if err != nil {
				return err
			}
			return sub.run(c.Context(), dir, chosen)
		}
		parent.AddCommand(c)
	}
	return parent
}

// checkpointDir takes a query of the data dir, or the path of a query's directory itself.
func checkpointDir(dataDir, arg string) (string, error) {
	switch {
	case exists(filepath.Join(arg, metaFile)):
		return arg, nil
	case exists(arg) && !exists(filepath.Join(dataDir, arg, metaFile)):
		return arg, nil // it says itself what it lacks
	}
	return queryDir(dataDir, arg)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkpointInspect lists the files that matter.
func (e *env) checkpointInspect(_ context.Context, dir, form string) error {
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	report, err := wal.Verify(vfs.OS{}, filepath.Join(dir, "log"))
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	l := listing{columns: []string{"kind", "name", "first", "last", "entries", "rows", "bytes"},
		right: set("first", "last", "entries", "rows", "bytes")}
	for _, seg := range report.Segments {
		l.add("log", filepath.Base(seg.Path), seg.First, seg.Last, seg.Entries, nil, seg.Bytes)
	}
	if n := len(s.Batches); n > 0 {
		l.add("batches", s.Meta.Name, s.Batches[0].Intent.Batch, s.Batches[n-1].Intent.Batch, n, nil, nil)
	}
	for _, v := range s.Versions {
		l.add("state", "version", v.Batch(), v.Batch(), nil, nil, nil)
		for _, t := range v.Tables() {
			l.add("table", t.Name, v.Batch(), v.Batch(), len(t.Files), t.Rows-t.Deleted, t.Bytes)
		}
	}
	return l.print(e.stdout, form)
}

// checkpointVerify says what was read, or every damage that it found.
func (e *env) checkpointVerify(ctx context.Context, dir, form string) error {
	held, err := vfs.Held(dir)
	if err != nil {
		return err //nolint:wrapcheck // names the lock
	}
	report, err := wal.Verify(vfs.OS{}, filepath.Join(dir, "log"))
	if err != nil && diag.CodeOf(err) != "" {
		return err //nolint:wrapcheck // coded
	}
	v, err := checkpoint.Verify(ctx, vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	if held == nil {
		if err := logReachesState(dir); err != nil {
			return err
		}
	}
	torn := int64(0)
	if report.Torn != nil && held == nil {
		torn = report.Torn.Bytes
	}
	l := listing{columns: []string{"directory", "ok", "log_entries", "log_bytes", "torn_bytes", "batches",
		"state_versions", "table_copies"},
		right: set("log_entries", "log_bytes", "torn_bytes", "batches", "state_versions", "table_copies")}
	l.add(dir, true, report.Entries, report.Bytes, torn, v.Batches, v.Versions, v.Copies)
	return l.print(e.stdout, form)
}

// logReachesState refuses a log that ends before a state version's batch, as the next start would: what is
// left of such a log reads well, so checksums do not show it. While a query runs, its versions may be newer than
// the log that was just read.
func logReachesState(dir string) error {
	s, err := checkpoint.Inspect(vfs.OS{}, dir)
	if err != nil {
		return err //nolint:wrapcheck // coded
	}
	last := int64(-1)
	for _, b := range s.Batches {
		if b.Commit != nil {
			last = max(last, b.Intent.Batch)
		}
	}
	for _, v := range s.Versions {
		if v.Batch() > last {
			return diag.New(diag.CheckpointUnusable,
				"%s has a state version of batch %d, but the last Commit in its log is of batch %d",
				dir, v.Batch(), last).
				WithNote("the log has lost its end or is an older copy").
				WithHint("restore the whole directory from one copy, or start the query anew in another one")
		}
	}
	return nil
}
