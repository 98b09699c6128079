package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/difftest"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// chaosFlags are the flags of chaos.
type chaosFlags struct {
	inputs []string
	source string
	query  string
	runs   int
	seed   uint64
	crash  bool
	memory string
	form   func() (string, error)
}

func (e *env) chaosCommand() *cobra.Command {
	var f chaosFlags
	c := &cobra.Command{
		Use:   "chaos FILE.sql --input SAMPLE",
		Short: "prove on a sample that no slicing, restart or crash changes what a query answers",
		Long: "Chaos feeds the rows of sample files to a query, cut into random batches, with the engine stopped\n" +
			"and killed at random between and inside them, and compares what the sink holds in the end with one batch\n" +
			"run over the same rows. Rows that came too late in a slicing are left out of its batch run, and\n" +
			"counted. Nothing of the query's own is touched: every source is replaced by one in memory with the\n" +
			"same columns, and no sink is written to. The first run takes all rows at once, the second the\n" +
			"smallest pieces. A difference is shown with its rows, its seed and a case for tidemill test, and the exit code\n" +
			"is 1.",
		Example: "  tidemill chaos revenue.sql --input orders.ndjson --runs 50\n" +
			"  tidemill chaos join.sql --query joined --input clicks=clicks.csv --input orders=o.parquet --seed 7",
		Args: exactArgs("FILE.sql"),
		RunE: func(c *cobra.Command, args []string) error { return e.chaos(c.Context(), args[0], f) },
	}
	c.Flags().StringArrayVar(&f.inputs, "input", nil,
		"rows of a source: FILE, or NAME=FILE; ndjson, csv, arrow or parquet by its ending. May be given again")
	c.Flags().StringVar(&f.source, "source", "", "the source that an --input without a name is for")
	c.Flags().StringVar(&f.query, "query", "", "the query; needed if the file has several")
	c.Flags().IntVar(&f.runs, "runs", 20, "how many slicings")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "the same seed gives the same runs")
	c.Flags().BoolVar(&f.crash, "crash", true, "kill the engine inside batches, too")
	c.Flags().StringVar(&f.memory, "memory-limit", "",
		"memory of one query, such as '2 GiB' (default: half of the machine's)")
	f.form = e.outputFlags(c)
	return c
}

func (e *env) chaos(ctx context.Context, path string, f chaosFlags) (err error) {
	form, err := f.form()
	if err != nil {
		return err
	}
	if f.runs < 1 || len(f.inputs) == 0 {
		return diag.New(diag.Usage, "chaos needs --input and at least one of --runs").
			WithHint("give a sample of the source's rows: --input orders.ndjson")
	}
	memory, err := memoryLimit(f.memory)
	if err != nil {
		return err
	}
	app, err := e.load(ctx, path, registry(e))
	if err != nil {
		return err
	}
	q, err := one(app, f.query)
	if err != nil {
		return err
	}
	plan, err := planOf(ctx, app, q)
	if err != nil {
		return err
	}
	// Its sinks are not written to, yet what they refuse never runs.
	if err := engine.Check(ctx, engine.Options{Registry: registry(e), Clock: e.clock}, app, plan); err != nil {
		return err //nolint:wrapcheck // coded
	}
	if err := difftest.Comparable(q, plan); err != nil {
		return err //nolint:wrapcheck // coded
	}
	dir, err := os.MkdirTemp("", "tidemill-chaos-")
	if err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ctx, done := e.cancelled(ctx)
	defer done()
	rows, err := e.samples(ctx, app, plan, f, dir)
	if err != nil {
		return aborted(ctx, err)
	}
	runs, err := difftest.Chaos(ctx, difftest.ChaosOptions{
		Options: difftest.Options{Parse: e.parse, Dir: filepath.Join(dir, "data"), MemoryLimit: memory},
		App:     app, Query: q, Rows: rows, Runs: f.runs, Seed: f.seed, Crash: f.crash,
		Done: func(r difftest.ChaosRun) bool { return r.Diff == "" },
	})
	if err != nil {
		return aborted(ctx, err)
	}
	return e.tellChaos(form, f.seed, runs)
}

// planOf plans a query, as it would be opened.
func planOf(ctx context.Context, app *planner.App, q *planner.Query) (plan *planner.Plan, err error) {
	err = withDuck(ctx, func(conn *duck.Conn) error {
		plan, err = planner.Build(ctx, app, q, conn)
		return err //nolint:wrapcheck // a coded error with its own place
	})
	return plan, err
}

// samples reads the rows of every source that the plan reads.
func (e *env) samples(ctx context.Context, app *planner.App, plan *planner.Plan, f chaosFlags, dir string) (
	map[string][][]any, error,
) {
	files := map[string]string{}
	for _, input := range f.inputs {
		name, file, named := strings.Cut(input, "=")
		if !named {
			name, file = f.source, input
			if name == "" && len(plan.Sources) == 1 {
				name = plan.Sources[0].Name
			}
		}
		if name == "" {
			return nil, diag.New(diag.Usage, "query %q reads %d sources", plan.Query, len(plan.Sources)).
				WithHint("say whose rows %q holds: --input %s=%s", file, plan.Sources[0].Name, file)
		}
		if _, err := sourceOf(app, name); err != nil {
			return nil, err
		}
		if files[name] != "" {
			return nil, diag.New(diag.Usage, "source %q has two inputs, %q and %q", name, files[name], file).
				WithHint("put the rows into one file, in order")
		}
		files[name] = file
	}
	rows := map[string][][]any{}
	for _, src := range plan.Sources {
		file := files[src.Name]
		if file == "" {
			return nil, diag.New(diag.Usage, "query %q reads source %q, which has no input", plan.Query, src.Name).
				WithHint("--input %s=FILE", src.Name)
		}
		sample, err := e.sample(ctx, src, file, filepath.Join(dir, src.Name))
		if err != nil {
			return nil, err
		}
		rows[src.Name] = sample
	}
	return rows, nil
}

func sourceOf(app *planner.App, name string) (*planner.Source, error) {
	return named(app.Sources, func(s *planner.Source) string { return s.Name }, "source", name, app.Text.Name)
}

// sample reads a file as a file source with the columns of src would.
func (e *env) sample(ctx context.Context, src *planner.Source, file, dir string) ([][]any, error) {
	if info, err := os.Stat(file); err != nil || info.IsDir() {
		return nil, diag.New(diag.Usage, "--input %q is not a file that can be read", file)
	}
	options := []string{"connector = 'file'", "path = '" + strings.ReplaceAll(file, "'", "''") + "'"}
	if format := formatOf(file); format != "" {
		options = append(options, "format = '"+format+"'")
		if format == "csv" {
			header := src.Options.Bool("csv_header") || hasHeader(file, src)
			options = append(options, fmt.Sprintf("csv_header = %t", header))
		}
	}
	for _, name := range []string{"timestamp_format", "csv_delimiter", "csv_null"} {
		if value := src.Options.String(name); value != "" && formatOf(file) != "" {
			options = append(options, name+" = '"+strings.ReplaceAll(value, "'", "''")+"'")
		}
	}
	var transport []string
	for _, c := range src.Columns {
		if c.Metadata {
			transport = append(transport, c.Name)
		}
	}
	sql := difftest.DeclareSource(src, strings.Join(options, ", "), transport...)
	app, err := e.parse(ctx, &diag.Text{Name: "source " + src.Name + " over " + file, Body: sql}, registry(e))
	if err != nil {
		return nil, err
	}
	var rows [][]any
	faults := 0
	opt := engine.Options{DataDir: dir, Registry: registry(e), Clock: e.clock}
	err = engine.Scan(ctx, opt, app, src.Name, engine.ScanOptions{}, func(p engine.Piece) (bool, error) {
		faults += len(p.Faults)
		more, err := looseRows(p.Records)
		rows = append(rows, more...)
		return true, err
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // coded errors that name the source
	}
	if faults > 0 {
		fmt.Fprintf(e.stderr, "%s of %s did not decode and take no part\n",
			plural(int64(faults), "payload or row"), file)
	}
	return rows, nil
}

// formatOf is what the ending of a file says of its format; "" leaves it to the source.
func formatOf(file string) string {
	switch filepath.Ext(strings.TrimSuffix(file, ".gz")) {
	case ".csv":
		return "csv"
	case ".arrow":
		return "arrow"
	case ".json":
		return "json"
	case ".parquet":
		return ""
	}
	return "ndjson"
}

// hasHeader reports whether the first line of a csv file names columns of the source.
func hasHeader(file string, src *planner.Source) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // it was only read
	r := csv.NewReader(f)
	if d := src.Options.String("csv_delimiter"); len(d) == 1 {
		r.Comma = rune(d[0])
	}
	cells, err := r.Read()
	if err != nil || len(cells) == 0 {
		return false
	}
	for _, cell := range cells {
		found := false
		for _, c := range src.Columns {
			found = found || c.Name == cell
		}
		if !found {
			return false
		}
	}
	return true
}

// looseRows brings records to the values that a memory source takes.
func looseRows(records []arrow.Record) ([][]any, error) {
	rows := difftest.Values(records)
	for _, row := range rows {
		for i, v := range row {
			switch x := v.(type) {
			case []byte:
				row[i] = base64.StdEncoding.EncodeToString(x)
			case json.RawMessage:
				dec := json.NewDecoder(bytes.NewReader(x))
				dec.UseNumber()
				var nested any
				if err := dec.Decode(&nested); err != nil {
					return nil, fmt.Errorf("read a nested value: %w", err)
				}
				row[i] = nested
			}
		}
	}
	return rows, nil
}

// tellChaos prints the runs, and fails if one of them differs.
func (e *env) tellChaos(form string, seed uint64, runs []difftest.ChaosRun) error {
	counts := []string{"run", "batches", "restarts", "crashes", "in", "out", "late", "dead", "open"}
	l := listing{columns: append(counts[:len(counts):len(counts)], "result"), right: set(counts...)}
	if form != "table" {
		l.columns = append(l.columns, "seed", "reason", "diff", "case")
	}
	var bad *difftest.ChaosRun
	for i, r := range runs {
		result := "ok"
		switch {
		case r.Diff != "":
			result, bad = "differs", &runs[i]
		case r.Skipped != "":
			result = "not compared"
		}
		row := []any{r.Run, r.Batches, r.Restarts, r.Crashes, r.In, r.Out, r.Late, r.Dead, r.Open, result}
		if form != "table" {
			row = append(row, seed, r.Skipped, r.Diff, r.Case)
		}
		l.add(row...)
	}
	if err := l.print(e.stdout, form); err != nil {
		return err
	}
	talk := e.stdout
	if form != "table" {
		talk = e.stderr
	}
	fmt.Fprintln(talk, difftest.Summary(runs))
	if bad == nil {
		return nil
	}
	if form == "table" {
		fmt.Fprintf(talk, "%s\nAgain: --seed %d --runs %d. As a case for tidemill test:\n\n%s",
			bad.Diff, seed, bad.Run, bad.Case)
	}
	return exitError{diag.ExitFailed}
}
