package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine/streamtest"
	"github.com/tidemill/tidemill/internal/diag"
)

// testFlags are the flags of test.
type testFlags struct {
	run      string
	verbose  bool
	noReplay bool
	asJSON   bool
}

func (e *env) testCommand() *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use:   "test PATH...",
		Short: "run pipeline cases: files and folders of *_test.yaml",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return nil
			}
			return diag.New(diag.Usage, "%s takes at least one PATH", c.CommandPath()).WithHint("see %s --help", c.CommandPath())
		},
		RunE: func(c *cobra.Command, args []string) error { return e.test(c.Context(), args, f) },
	}
	c.Flags().StringVar(&f.run, "run", "", "only cases whose name matches this regular expression")
	c.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "print every batch")
	c.Flags().BoolVar(&f.noReplay, "no-replay", false, "do not replay append-mode cases in other slicings")
	c.Flags().BoolVar(&f.asJSON, "json", false, "one JSON object per case")
	return c
}

// test runs the cases one after another and fails if any of them does.
func (e *env) test(ctx context.Context, paths []string, f testFlags) error {
	pattern, err := regexp.Compile(f.run)
	if err != nil {
		return diag.New(diag.Usage, "--run is not a regular expression: %s", err)
	}
	cases, broken, err := loadCases(paths)
	if err != nil {
		return err
	}
	opt := streamtest.Options{Parse: e.parse, NoReplay: f.noReplay}
	if f.verbose {
		opt.Verbose = e.stdout
	}
	passed, failed := 0, len(broken)
	for _, res := range broken {
		e.printCase(res, f.asJSON)
	}
	for _, c := range cases {
		if !pattern.MatchString(c.Name) {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		res := streamtest.Run(ctx, c, opt)
		if res.OK {
			passed++
		} else {
			failed++
		}
		e.printCase(res, f.asJSON)
	}
	if passed+failed == 0 {
		return diag.New(diag.Usage, "none of %d cases has a name that matches --run %q", len(cases), f.run)
	}
	if !f.asJSON {
		fmt.Fprintf(e.stdout, "%d passed, %d failed\n", passed, failed)
	}
	if failed > 0 {
		return exitError{diag.ExitFailed}
	}
	return nil
}

// loadCases reads the cases below paths. A file that holds none is a failed result, so that the others still run.
func loadCases(paths []string) (cases []streamtest.Case, broken []streamtest.Result, err error) {
	for _, path := range paths {
		files, err := streamtest.Find(path)
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // coded
		}
		for _, file := range files {
			more, err := streamtest.Load(file)
			if err != nil {
				broken = append(broken, streamtest.Result{Name: filepath.Base(file), Path: file, Step: "file",
					Message: diag.Render(err)})
			}
			cases = append(cases, more...)
		}
	}
	return cases, broken, nil
}

func (e *env) printCase(r streamtest.Result, asJSON bool) {
	switch {
	case asJSON:
		_ = json.NewEncoder(e.stdout).Encode(r) // standard output is gone
	case r.OK:
		fmt.Fprintf(e.stdout, "ok   %s\n", r.Name)
	default:
		at := r.Path
		if r.Line > 0 {
			at = fmt.Sprintf("%s:%d", r.Path, r.Line)
		}
		fmt.Fprintf(e.stdout, "FAIL %s: %s, %s\n    %s\n", r.Name, r.Step, at,
			strings.ReplaceAll(strings.TrimRight(r.Message, "\n"), "\n", "\n    "))
	}
}
