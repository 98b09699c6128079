package benchmarks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
)

// nexmark runs the queries of Nexmark one after the other, each in a process of its own over the same events.
func (r *run) nexmark(ctx context.Context) (err error) {
	list, err := r.chosen()
	if err != nil {
		return err
	}
	limit := r.Duration
	if limit == 0 {
		limit = 10 * time.Minute
	}
	feed := nexmarkFeed(r.Seed, r.Rows, r.BatchRows, r.Rate)
	n := steps(feed.Total, feed.Rows)
	r.report.SQL = "benchmarks/nexmark/queries"
	r.report.Target = "every query verified, and 3 times Flink's published events per core and second"
	in, err := r.nexmarkInput(ctx, feed)
	if err != nil {
		return err
	}
	r.say("%d events in %d batches, %d in a second of event time, %s", feed.Total, n, feed.Rate, in.name)
	p, err := openPlain(ctx, r.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.load(ctx, feed, n); err != nil {
		return err
	}
	result := &Nexmark{Events: feed.Total, Rate: feed.Rate, Batch: feed.Rows, Input: in.name}
	for _, q := range list {
		one, err := r.nexmarkQuery(ctx, p, q, feed, in, limit)
		if err != nil {
			return fmt.Errorf("query %s: %w", q.Name, err)
		}
		r.say("%s: %s", q.Name, one.verdict())
		result.Queries = append(result.Queries, *one)
	}
	r.report.Result = result
	return nil
}

// nexmarkInput is where the queries read the events.
type nexmarkInput struct {
	name       string
	files      bool
	connectors nexmark.Connectors
}

// nexmarkInput makes the events ready to be read, in files unless memory was asked for.
func (r *run) nexmarkInput(ctx context.Context, feed feedSpec) (nexmarkInput, error) {
	in := nexmarkInput{name: cmp.Or(r.Input, inputParquet), connectors: nexmark.Connectors{Sink: "connector = 'kept'"}}
	source := func(nexmark.Kind) string { return "connector = 'pieces'" }
	switch in.name {
	case inputMemory:
	case inputParquet, inputNDJSON:
		dir := filepath.Join(r.Dir, "events")
		r.report.Durability = "Exactly once; one fdatasync of Tidemill's log per batch, and state versions; the sink " +
			"writes Arrow files that nobody syncs"
		in.files = true
		source = func(k nexmark.Kind) string {
			return fmt.Sprintf("connector = 'file', path = %s, format = '%s', max_files_per_batch = 1",
				duck.QuoteLiteral(filepath.Join(dir, k.String(), "*."+in.name)), in.name)
		}
		if err := feed.files(ctx, dir, in.name); err != nil {
			return in, err
		}
	default:
		return in, diag.New(diag.Usage, "input %q is not one of %s, %s and %s", in.name, inputParquet, inputNDJSON,
			inputMemory)
	}
	in.connectors.Person, in.connectors.Auction = source(nexmark.KindPerson), source(nexmark.KindAuction)
	in.connectors.Bid = source(nexmark.KindBid)
	return in, nil
}

// chosen returns the queries that were asked for, or all.
func (r *run) chosen() ([]nexmark.Query, error) {
	list, err := nexmark.Queries()
	if err != nil || len(r.Queries) == 0 {
		return list, err //nolint:wrapcheck // says what
	}
	var names []string
	for _, q := range list {
		names = append(names, q.Name)
	}
	if err := Known("query", r.Queries, names); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(q nexmark.Query) bool {
		return !slices.Contains(r.Queries, q.Name)
	}), nil
}

// nexmarkQuery runs one query. What is not verified has no figures.
func (r *run) nexmarkQuery(
	ctx context.Context, p *plain, q nexmark.Query, feed feedSpec, in nexmarkInput, limit time.Duration,
) (*NexmarkQuery, error) {
	sql, err := q.Script(in.connectors)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	t := task{SQL: sql, Queries: []string{q.Name}, Dir: q.Name, Feed: feed, Finish: true,
		Steps: steps(feed.Total, feed.Rows), Profile: profileOf(r.CPUProfile, q.Name)}
	if in.files {
		t.Files, t.Steps = true, 1
	}
	one := &NexmarkQuery{Query: q.Name, Mode: q.Mode.String()}
	slow := fmt.Errorf("it did not end within %s", limit)
	limited, cancel := context.WithTimeoutCause(ctx, limit, slow)
	o, err := r.engine(limited, &t)
	cancel()
	defer func() { _ = os.RemoveAll(t.Dir) }() // large, and nobody needs it any more
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		one.Refused = refused.code
		return one, nil
	case errors.Is(err, slow), err != nil && ctx.Err() == nil:
		one.Failed = firstLine(err)
		return one, nil
	case err != nil:
		return nil, err
	}
	one.Rows, err = p.nexmark(ctx, q, filepath.Join(t.Dir, "result"), o.Keys)
	var different *differs
	if errors.As(err, &different) {
		one.Differs = firstLine(err)
		return one, nil
	}
	if err != nil {
		return nil, err
	}
	if one.Hash, err = p.hash(ctx); err != nil {
		return nil, err
	}
	one.measure(o, feed.Total)
	return one, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// nexmark compares what a query's sink was given with its result over the events that are loaded.
func (p *plain) nexmark(ctx context.Context, q nexmark.Query, dir string, keys []string) (int64, error) {
	if q.Setup != "" {
		if _, err := p.conn.Exec(ctx, q.Setup); err != nil {
			return 0, fmt.Errorf("prepare plain DuckDB: %w", err)
		}
	}
	if err := p.result(ctx, dir, keys); err != nil {
		return 0, err
	}
	want := q.Body
	if q.Stable != "" {
		stable := "CREATE OR REPLACE TEMP TABLE result AS FROM got; " +
			"CREATE OR REPLACE TEMP TABLE got AS " + q.Stable + "; CREATE OR REPLACE TEMP TABLE result AS " + q.Body
		if _, err := p.conn.Exec(ctx, stable); err != nil {
			return 0, fmt.Errorf("take what does not depend on the clock: %w", err)
		}
		want = q.Stable
	}
	return p.compare(ctx, want)
}
