package benchmarks

import (
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
	feed := feedSpec{Kind: "nexmark", Seed: r.Seed, Rows: or(r.BatchRows, 100_000), Rate: or(r.Rate, 10_000),
		Total: or(r.Rows, 1_000_000)}
	n := steps(feed.Total, feed.Rows)
	r.report.SQL, r.report.Target = "benchmarks/nexmark/queries", "every query verified"
	r.say("%d events in %d batches, %d in a second of event time", feed.Total, n, feed.Rate)
	p, err := openPlain(ctx, r.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := p.load(ctx, feed, n); err != nil {
		return err
	}
	result := &Nexmark{Events: feed.Total, Rate: feed.Rate, Batch: feed.Rows}
	for _, q := range list {
		one, err := r.nexmarkQuery(ctx, p, q, feed, limit)
		if err != nil {
			return fmt.Errorf("query %s: %w", q.Name, err)
		}
		r.say("%s: %s", q.Name, one.verdict())
		result.Queries = append(result.Queries, *one)
	}
	r.report.Result = result
	return nil
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
	for _, name := range r.Queries {
		if slices.Contains(names, name) {
			continue
		}
		err := diag.New(diag.Usage, "there is no query %q; the queries are %s", name, strings.Join(names, ", "))
		if near := diag.Near(name, names); near != "" {
			err = err.WithHint("did you mean %q?", near)
		}
		return nil, err
	}
	return slices.DeleteFunc(list, func(q nexmark.Query) bool {
		return !slices.Contains(r.Queries, q.Name)
	}), nil
}

// nexmarkQuery runs one query. What is not verified has no figures.
func (r *run) nexmarkQuery(
	ctx context.Context, p *plain, q nexmark.Query, feed feedSpec, limit time.Duration,
) (*NexmarkQuery, error) {
	const source = "connector = 'pieces'"
	sql, err := q.Script(nexmark.Connectors{Person: source, Auction: source, Bid: source,
		Sink: "connector = 'kept'"})
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	t := task{SQL: sql, Queries: []string{q.Name}, Dir: q.Name, Feed: feed, Finish: true,
		Steps: steps(feed.Total, feed.Rows)}
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

// NexmarkQuery is one query of Nexmark. Refused, Failed and Differs say why there are no figures.
type NexmarkQuery struct {
	Query     string  `json:"query"`
	Mode      string  `json:"mode"`
	Refused   string  `json:"refused,omitempty"`
	Failed    string  `json:"failed,omitempty"`
	Differs   string  `json:"differs,omitempty"`
	Verified  bool    `json:"verified"`
	Rows      int64   `json:"rows"` // of the result that was compared
	Out       int64   `json:"rows_out"`
	Seconds   float64 `json:"seconds"` // by the clock on the wall, the last state version included
	CPU       float64 `json:"cpu_seconds"`
	PerSecond float64 `json:"events_per_second"`
	PerCPU    float64 `json:"events_per_cpu_second"`
	Batches   int     `json:"batches"`
	P50       float64 `json:"batch_ms_p50"` // of batches with data
	P99       float64 `json:"batch_ms_p99"`
	PeakBytes int64   `json:"peak_bytes"`
}

func (n *NexmarkQuery) measure(o *outcome, events int64) {
	n.Verified = true
	for _, l := range o.Laps {
		n.Batches += l.Batches
		n.Out += l.Out
	}
	n.Seconds = sum(column(o.Laps, func(l lap) float64 { return l.Millis })) / 1000
	n.CPU, n.PeakBytes = o.CPU, o.Peak
	n.PerSecond, n.PerCPU = float64(events)/n.Seconds, float64(events)/max(n.CPU, 1e-3)
	data := column(o.of(0, 0, o.Steps), func(l lap) float64 { return l.Data })
	n.P50, n.P99 = quantile(data, 0.5), quantile(data, 0.99)
}

// verdict is what became of the query in few words.
func (n *NexmarkQuery) verdict() string {
	switch {
	case n.Refused != "":
		return "refused " + n.Refused
	case n.Failed != "":
		return "failed: " + n.Failed
	case n.Differs != "":
		return "differs"
	}
	return fmt.Sprintf("%.0f events/s, verified", n.PerSecond)
}

// Nexmark is a run of the suite.
type Nexmark struct {
	Events  int64          `json:"events"`
	Rate    int64          `json:"event_rate"` // events in a second of event time
	Batch   int64          `json:"events_of_a_batch"`
	Queries []NexmarkQuery `json:"queries"`
}

func (n *Nexmark) markdown() string {
	var b strings.Builder
	b.WriteString("| query | mode | verified | wall s | CPU s | events/s | events per CPU second | rows out | " +
		"batches | batch p50 ms | p99 | peak MiB |\n|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	verified := 0
	for i := range n.Queries {
		q := &n.Queries[i]
		if !q.Verified {
			why := strings.ReplaceAll(q.verdict(), "|", "/")
			fmt.Fprintf(&b, "| %s | %s | %s | | | | | | | | | |\n", q.Query, q.Mode, why)
			continue
		}
		verified++
		fmt.Fprintf(&b, "| %s | %s | yes | %.2f | %.2f | %.0f | %.0f | %d | %d | %.1f | %.1f | %d |\n", q.Query,
			q.Mode, q.Seconds, q.CPU, q.PerSecond, q.PerCPU, q.Out, q.Batches, q.P50, q.P99, q.PeakBytes>>20)
	}
	fmt.Fprintf(&b, "\n%d events at %d events/s of event time, %d in a batch. %d of %d queries verified. "+
		"Making the events is in neither time, nor is starting the process.\n\n",
		n.Events, n.Rate, n.Batch, verified, len(n.Queries))
	for i := range n.Queries {
		if q := &n.Queries[i]; q.Differs != "" {
			fmt.Fprintf(&b, "%s: %s\n\n", q.Query, q.Differs)
		}
	}
	return b.String()
}
