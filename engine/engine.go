package engine

import (
	"context"
	"errors"
	"path/filepath"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// Run opens the named queries of app, all of them if names is empty, and drives each on its own goroutine until its
// trigger ends, stop is closed (every query finishes its batch and closes cleanly), or ctx is cancelled (batches in
// flight are given up). A query that fails leaves the others running; the errors of all are joined.
func Run(ctx context.Context, opt Options, app *planner.App, names []string, stop <-chan struct{}) error {
	if len(names) == 0 {
		for _, d := range app.Queries {
			names = append(names, d.Name)
		}
	}
	opt = opt.withDefaults() // what all share is made once
	queries, failed := openAll(ctx, opt, app, names)
	errs := make([]error, len(queries))
	var running sync.WaitGroup
	for i, q := range queries {
		running.Add(1)
		go func() { // ends when the query does
			defer running.Done()
			errs[i] = q.Run(ctx)
		}()
	}
	ended := make(chan struct{})
	go func() { // ends with running
		running.Wait()
		close(ended)
	}()
	select {
	case <-stop:
		for _, q := range queries {
			q.Stop()
		}
		<-ended
	case <-ended:
	}
	return errors.Join(append(failed, errs...)...)
}

// openAll opens every query that can be opened. What the others failed with is told at once, since the rest may run for
// ever.
func openAll(ctx context.Context, opt Options, app *planner.App, names []string) (queries []*Query, failed []error) {
	for _, name := range names {
		q, err := Open(ctx, opt, app, name)
		if err == nil {
			queries = append(queries, q)
			continue
		}
		failed = append(failed, err)
		if opt.Log != nil && len(names) > 1 {
			opt.Log.Error("query not started; the others run", "query", name, "err", err)
		}
	}
	return queries, failed
}

// planSchema is the Arrow form of the plan's result.
func planSchema(p *planner.Plan) (*arrow.Schema, error) {
	fields := make([]arrow.Field, len(p.Schema))
	for i, c := range p.Schema {
		if c.Arrow == nil {
			return nil, diag.New(diag.BadType, "result column %q of query %q has type %s, which no sink can hold",
				c.Name, p.Query, c.Type).WithHint("cast it, for example to VARCHAR")
		}
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
	}
	return arrow.NewSchema(fields, nil), nil
}

// DataDirOf returns the directory of one query.
func DataDirOf(dataDir, query string) string { return filepath.Join(dataDir, query) }
