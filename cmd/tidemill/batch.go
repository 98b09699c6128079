package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// batchFlags are the flags of batch.
type batchFlags struct {
	runFlags
	query    string
	from, to string
	form     func() (string, error)
}

func (e *env) batchCommand() *cobra.Command {
	var f batchFlags
	c := &cobra.Command{
		Use:   "batch FILE.sql",
		Short: "run a query's SELECT once over all of history and print the rows",
		Long: "Batch runs the same SELECT as run does, once, over all that the sources hold now. It writes to no sink and\n" +
			"touches no checkpoint, so it may run beside the stream.",
		Args: exactArgs("FILE.sql"),
		RunE: func(c *cobra.Command, args []string) error { return e.batch(c.Context(), args[0], f) },
	}
	c.Flags().StringVar(&f.query, "query", "", "the query; needed if the file has several")
	c.Flags().StringVar(&f.from, "from", "", "only rows whose event time is not before this")
	c.Flags().StringVar(&f.to, "to", "", "only rows whose event time is before this")
	e.workFlags(c, &f.runFlags)
	f.form = e.outputFlags(c)
	return c
}

// workFlags are the flags of every command that runs a query.
func (e *env) workFlags(c *cobra.Command, f *runFlags) {
	c.Flags().StringVar(&f.dataDir, "data-dir", e.defaultDataDir(),
		"directory of logs, checkpoints and dead letters")
	c.Flags().StringVar(&f.memory, "memory-limit", "",
		"memory of the whole process, such as '2 GiB' (default: half of the machine's)")
	c.Flags().IntVar(&f.threads, "threads", 0, "DuckDB threads of each query; 0 for all cores")
	c.Flags().StringVar(&f.logLevel, "log-level", "warn",
		"debug, info, warn or error; the log goes to standard error")
	f.brokerFlags.add(c)
}

func (e *env) batch(ctx context.Context, path string, f batchFlags) (err error) {
	form, err := f.form()
	if err != nil {
		return err
	}
	from, to, err := parseRange(f.from, f.to)
	if err != nil {
		return err
	}
	stopNATS, err := e.embedNATS(f.brokerFlags, f.dataDir)
	if err != nil {
		return err
	}
	defer stopNATS()
	app, q, opt, err := e.oneQuery(ctx, path, f.query, f.runFlags)
	if err != nil {
		return err
	}
	var clean func() error
	if opt.DataDir, clean, err = e.scratch(f.dataDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clean()) }()
	ctx, done := e.cancelled(ctx)
	defer done()
	bo := engine.BatchOptions{From: from, To: to}
	if !from.IsZero() && !to.IsZero() {
		bo.Slot = &[2]time.Time{from, to}
	}
	res, err := engine.Batch(ctx, opt, app, q.Name, bo)
	if err != nil {
		return aborted(ctx, err)
	}
	defer res.Release()
	records := withoutOp(res.Result)
	defer stream.Batch{Records: records}.Release()
	if err := printRows(e.stdout, form, res.Result.Schema, records); err != nil {
		return err
	}
	if form == "table" || res.Faults > 0 {
		e.tellCounts(res)
	}
	return nil
}

// oneQuery loads a file for a command that runs one query of it, which has all the memory.
func (e *env) oneQuery(ctx context.Context, path, name string, f runFlags) (
	app *planner.App, q *planner.Query, opt engine.Options, err error) {
	if app, err = e.load(ctx, path, registry(e)); err != nil {
		return nil, nil, opt, err
	}
	if q, err = one(app, name); err != nil {
		return nil, nil, opt, err
	}
	f.queries = []string{q.Name}
	opt, err = e.engineOptions(f, app)
	return app, q, opt, err
}

// one returns the named query, or the only one.
func one(app *planner.App, name string) (*planner.Query, error) {
	queries, err := pick(app, name)
	if err != nil {
		return nil, err
	}
	if len(queries) > 1 {
		e := diag.New(diag.Usage, "%s defines %d queries", app.Text.Name, len(queries))
		for _, q := range queries {
			e.WithNote("--query %s", q.Name)
		}
		return nil, e.WithHint("choose one with --query")
	}
	return queries[0], nil
}

// withoutOp returns the rows of a batch run without the op column that update mode has for its sinks: a run over all of
// history has nothing to take back. The caller releases them.
func withoutOp(b stream.Batch) []arrow.Record {
	records := make([]arrow.Record, len(b.Records))
	for i, rec := range b.Records {
		records[i] = array.NewRecord(b.Schema, rec.Columns()[:len(b.Schema.Fields())], rec.NumRows())
	}
	return records
}

// tellCounts says what became of the rows that were read.
func (e *env) tellCounts(res *engine.BatchResult) {
	for _, name := range sortedNames(res.Sources) {
		n := res.Sources[name]
		if res.ByDuckDB {
			fmt.Fprintf(e.stderr, "%s: %s in, %s without event time; DuckDB read the files and does not say which rows the "+
				"query used\n", name, count(n.In), count(n.NullTime))
			continue
		}
		fmt.Fprintf(e.stderr, "%s: %s in, %s used, %s filtered, %s without event time, %s dead\n", name,
			count(n.In), count(n.Used),
			count(n.Filtered), count(n.NullTime), count(n.Dead))
	}
	if res.Faults > 0 {
		fmt.Fprintf(e.stderr, "%s did not decode and %s left out; look with tidemill tail\n",
			plural(res.Faults, "payload or row"),
			map[bool]string{true: "was", false: "were"}[res.Faults == 1])
	}
}

// cancelled returns a context that the first interrupt cancels: for commands that leave nothing to finish.
func (e *env) cancelled(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	_, stop, done := interrupts(parent, func() {})
	quit := make(chan struct{})
	go func() { // ends with the returned function
		select {
		case <-stop:
			cancel(errAborted)
		case <-quit:
		}
	}()
	return ctx, func() {
		close(quit)
		done()
		cancel(nil)
	}
}

// aborted turns the error of an interrupted command into its exit code.
func aborted(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errAborted) {
		return exitError{diag.ExitAborted}
	}
	return err
}
