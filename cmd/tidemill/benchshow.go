package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/internal/diag"
)

// ownNumbers refuses a nought that was typed: in these flags it means the suite's own number, which is what a suite has without
// the flag. A list that was typed must have something in it.
func ownNumbers(c *cobra.Command, numbers, lists []string) error {
	for _, name := range numbers {
		if f := c.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
			return diag.New(diag.Usage, "--%s must be more than nothing", name).WithHint("leave it out for the suite's own number")
		}
	}
	for _, name := range lists {
		if f := c.Flags().Lookup(name); f.Changed && f.Value.String() == "[]" {
			return diag.New(diag.Usage, "--%s is empty", name).WithHint("leave it out for all")
		}
	}
	return nil
}

// unsaid keeps "(default [])" out of the help of lists whose text names a default.
func unsaid(c *cobra.Command, lists ...string) {
	for _, name := range lists {
		c.Flags().Lookup(name).DefValue = ""
	}
}

// benchSuites runs suites, each in a folder of its own below dir, until one fails or the user interrupts.
func (e *env) benchSuites(
	ctx context.Context, suites []string, dir string, show benchShow,
	run func(ctx context.Context, suite, dir string) (benchReport, error),
) error {
	if err := show.prepare(); err != nil {
		return err
	}
	ctx, done := e.untilInterrupted(ctx)
	defer done()
	for _, name := range suites {
		err := e.benchSuite(ctx, dir, show, func(dir string) (benchReport, error) { return run(ctx, name, dir) })
		if err != nil {
			return err
		}
	}
	return nil
}

var errInterrupted = errors.New("interrupted") //nolint:gochecknoglobals // a sentinel

// untilInterrupted is ctx until the user interrupts. The caller calls done.
func (e *env) untilInterrupted(ctx context.Context) (_ context.Context, done func()) {
	ctx, stop, end := interrupts(ctx, func() { fmt.Fprintln(e.stderr, "stopping") })
	ctx, cancel := context.WithCancelCause(ctx)
	go func() { // ends with ctx
		select {
		case <-stop:
			cancel(errInterrupted)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); end() }
}

// benchReport is what a suite measured.
type benchReport interface {
	Save(dir string) error
	Markdown() string
	Fault() error // of results of Tidemill's own that were not verified
}

// benchShow says where the reports of a bench command go.
type benchShow struct {
	out    string // a folder for its files as well; "" for none
	asJSON bool
}

// prepare makes the folder for the reports and asks whether they can be written, before hours are spent on them.
func (s benchShow) prepare() error {
	if s.out == "" {
		return nil
	}
	err := os.MkdirAll(s.out, 0o755) //nolint:gosec // results are for everybody
	if err == nil {
		var probe *os.File
		if probe, err = os.CreateTemp(s.out, ".tidemill-*"); err == nil {
			err = errors.Join(probe.Close(), os.Remove(probe.Name()))
		}
	}
	if err != nil {
		return diag.New(diag.Usage, "--out %q can not be written to: %s", s.out, reasonOf(err)).WithHint("give it a folder of yours")
	}
	return nil
}

// benchSuite runs one suite in a folder below parent that goes away with it, and shows what it measured.
func (e *env) benchSuite(ctx context.Context, parent string, show benchShow, run func(dir string) (benchReport, error)) error {
	dir, err := os.MkdirTemp(parent, "tidemill-bench-")
	if err != nil {
		return diag.New(diag.Usage, "no folder for the run can be made in %q: %s", cmp.Or(parent, os.TempDir()), reasonOf(err)).
			WithHint("give --dir a folder that exists and may be written to")
	}
	defer func() { _ = os.RemoveAll(dir) }() // whatever is left of it
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find the folder of the run: %w", err)
	}
	report, err := run(dir)
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted // whatever it broke off
	}
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if show.out != "" {
		if err := report.Save(show.out); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		fmt.Fprintf(e.stderr, "the report is in %s\n", show.out)
	}
	if show.asJSON {
		err = json.NewEncoder(e.stdout).Encode(report)
	} else {
		_, err = fmt.Fprint(e.stdout, report.Markdown())
	}
	if err != nil {
		return err //nolint:wrapcheck // standard output is gone
	}
	if err := report.Fault(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}
