package engine

import (
	"context"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
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

// checkLoop refuses a query whose sink feeds one of its own sources.
func (q *Query) checkLoop() error {
	for _, s := range q.plan.Sources {
		for _, read := range s.Options.List("subject") {
			if dead := s.Options.String("dead_letter_subject"); dead != "" && subjectsMeet(read, dead) {
				return diag.New(diag.SinkLoop, "source %q would read its own dead letters: its subject %q takes %q",
					s.Name, read, dead).At(q.app.Text, s.Span).WithHint("publish dead letters to a subject the source does not read")
			}
		}
	}
	for i, name := range q.def.Sinks {
		sink := findSink(q.app, name)
		if sink == nil {
			return diag.New(diag.UnknownName, "sink %q is not defined", name).At(q.app.Text, q.def.SinkSpan[i])
		}
		for _, s := range q.plan.Sources {
			if feeds(sink, s) {
				return diag.New(diag.SinkLoop, "sink %q writes into what source %q reads: query %q would read its own output",
					name, s.Name, q.def.Name).At(q.app.Text, q.def.SinkSpan[i]).
					WithHint("write to another stream or folder, or narrow the source's subject")
			}
		}
	}
	return nil
}

// feeds reports whether what sink writes is among what source reads.
func feeds(sink *planner.Sink, source *planner.Source) bool {
	switch {
	case sink.Connector == "jetstream" && source.Connector == "jetstream":
		to, from := sink.Options.String("stream"), source.Options.String("stream")
		if !sameServer(sink.Options.String("url"), source.Options.String("url")) || to != "" && from != "" && to != from {
			return false
		}
		// A subject belongs to one stream of a server: where subjects meet, so do the streams.
		subjects := source.Options.List("subject")
		if len(subjects) == 0 {
			return to == from
		}
		for _, s := range subjects {
			if subjectsMeet(s, sink.Options.String("subject")) {
				return true
			}
		}
		return false
	case source.Connector == "file":
		return underPath(sink.Options.String("path"), source.Options.String("path"))
	}
	return false
}

// sameServer reports whether two texts name one NATS server: a host may be written in several ways.
func sameServer(a, b string) bool {
	plain := func(text string) string {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" {
			return text
		}
		host, port := strings.ToLower(u.Hostname()), u.Port()
		if host == "localhost" || host == "::1" {
			host = "127.0.0.1"
		}
		if port == "" {
			port = "4222"
		}
		return host + ":" + port
	}
	return plain(a) == plain(b)
}

func underPath(sink, source string) bool {
	if sink == "" || source == "" {
		return false
	}
	dir := source
	for hasGlob(dir) {
		dir = filepath.Dir(dir)
	}
	rel, err := filepath.Rel(filepath.Clean(dir), filepath.Clean(sink))
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return false
	}
	return rel == "." || strings.Contains(source, "**") // which takes what lies in folders below
}

func hasGlob(path string) bool {
	for _, r := range path {
		if r == '*' || r == '?' || r == '[' {
			return true
		}
	}
	return false
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
