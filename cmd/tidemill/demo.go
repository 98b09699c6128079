package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/natsd"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
)

//go:embed demo.sql
var demoSQL string

// demoFlags are the flags of demo.
type demoFlags struct {
	duration time.Duration
	rate     int
	seed     uint64
	dir      string
	asJSON   bool
}

func (e *env) demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use:   "demo",
		Short: "see it work: three queries over a live stream, a kill in the middle, and the proof at the end",
		Long: "The demo starts a NATS server with JetStream in this process, publishes orders with disorder, late rows and\n" +
			"broken payloads, and runs three queries in a worker process, which it kills with SIGKILL midway and starts\n" +
			"again. At the end it reads the stream once more, runs each query in plain DuckDB over all of it, and compares\n" +
			"the answer with what the sinks hold. It needs nothing installed and removes what it made.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.demo(c.Context(), f) },
	}
	c.Flags().DurationVar(&f.duration, "for", 20*time.Second, "how long orders are published")
	c.Flags().IntVar(&f.rate, "rate", 2000, "orders per second")
	c.Flags().Uint64Var(&f.seed, "seed", 1, "seed of the orders")
	c.Flags().StringVar(&f.dir, "dir", "", "keep everything in this new folder instead of a temporary one")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print one JSON object at the end and nothing else")
	return c
}

// demoQuery is what the demo says of one query.
type demoQuery struct {
	Query        string   `json:"query"`
	Sink         string   `json:"sink"`
	RowsIn       int64    `json:"rows_in"`
	RowsOut      int64    `json:"rows_out"`
	Late         int64    `json:"late"`
	DeadLettered int64    `json:"dead_lettered"`
	StillOpen    int64    `json:"still_open"` // groups that the final watermark has not closed
	Batches      int64    `json:"batches"`
	P50          float64  `json:"batch_ms_p50"`
	P99          float64  `json:"batch_ms_p99"`
	Compared     int64    `json:"rows_compared"`
	Verified     bool     `json:"verified"`
	Samples      []string `json:"samples,omitempty"`
}

// demoReport is the demo's answer.
type demoReport struct {
	Verified  bool        `json:"verified"`
	Published int64       `json:"published"`
	Kills     int         `json:"kills"`
	Seconds   float64     `json:"seconds"`
	Queries   []demoQuery `json:"queries"`
}

func (e *env) demo(ctx context.Context, f demoFlags) (err error) {
	if f.duration < time.Second || f.rate < 1 || f.rate > 100_000 {
		return diag.New(diag.Usage, "--for must be at least 1s and --rate from 1 to 100000")
	}
	dir, remove, err := demoDir(f.dir)
	if err != nil {
		return err
	}
	defer remove()
	server, err := natsd.Start(natsd.Options{Dir: filepath.Join(dir, "nats"), Batch: natsd.LargeBatch})
	if err != nil {
		return diag.Wrap(diag.SourceUnreachable, err, "start the embedded NATS server")
	}
	defer server.Stop()
	d := &demo{env: e, flags: f, dir: dir, url: server.URL(), sql: filepath.Join(dir, "demo.sql"),
		say: func(format string, args ...any) { fmt.Fprintf(e.stdout, format+"\n", args...) }}
	if f.asJSON {
		d.say = func(string, ...any) {}
	}
	if err := os.WriteFile(d.sql, []byte(demoSQL), 0o600); err != nil {
		return fmt.Errorf("write the demo's SQL: %w", err)
	}
	report, err := d.run(ctx)
	if err != nil {
		return err
	}
	return d.print(report)
}

// demoDir makes the demo's folder. remove deletes it unless the user named it.
func demoDir(named string) (dir string, remove func(), err error) {
	if named == "" {
		dir, err = os.MkdirTemp("", "tidemill-demo-")
		if err != nil {
			return "", nil, fmt.Errorf("make the demo's folder: %w", err)
		}
		return dir, func() { _ = os.RemoveAll(dir) }, nil // it is in the temporary folder, whatever is left of it
	}
	if err := os.Mkdir(named, 0o700); err != nil {
		return "", nil, diag.New(diag.Usage, "the folder %q can not be made: %s", named, errors.Unwrap(err)).
			WithHint("--dir wants the name of a folder that is not there yet")
	}
	dir, err = filepath.Abs(named)
	return dir, func() {}, err //nolint:wrapcheck // the working directory is gone
}

// demo is one run.
type demo struct {
	env   *env
	flags demoFlags
	dir   string
	url   string
	sql   string
	say   func(string, ...any)
}

func (d *demo) data() string { return filepath.Join(d.dir, "data") }

// run publishes, kills, drains and verifies.
func (d *demo) run(ctx context.Context) (*demoReport, error) {
	began := d.env.clock.Now()
	orders := &feed{seed: d.flags.seed, rate: d.flags.rate, speed: 30, start: began.Add(-time.Hour).Truncate(time.Minute)}
	d.say("JetStream runs in this process; %d orders a second for %s, event time 30 times as fast as the clock",
		d.flags.rate, d.flags.duration)
	publish, stop := context.WithTimeout(ctx, d.flags.duration)
	defer stop()
	fed := make(chan error, 1)
	go func() { fed <- orders.run(publish, d.url) }() // ends with publish
	kills, err := d.work(publish)
	stop()
	if ferr := <-fed; err == nil {
		err = ferr
	}
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	d.say("published %d orders, %d of them far too late, %d broken; draining", orders.sent, orders.late, orders.broken)
	if err := d.drain(ctx); err != nil {
		return nil, err
	}
	report := &demoReport{Published: orders.sent, Kills: kills, Verified: true}
	if err := d.verify(ctx, report); err != nil {
		return nil, err
	}
	report.Seconds = d.env.clock.Now().Sub(began).Seconds()
	return report, nil
}

// work runs the worker process while orders are published, and kills it once in the middle.
func (d *demo) work(publish context.Context) (kills int, err error) {
	half, stop := context.WithTimeout(publish, d.flags.duration/2)
	defer stop()
	w, err := d.startWorker(publish)
	if err != nil {
		return 0, err
	}
	if err := w.watch(half, d); err != nil {
		return 0, err
	}
	d.say("kill -9 of the worker, process %d, in the middle of a batch or not", w.pid())
	if err := w.kill(); err != nil {
		return 0, err
	}
	w, err = d.startWorker(publish)
	if err != nil {
		return 1, err
	}
	d.say("a new worker, process %d, goes on where the log stands", w.pid())
	if err := w.watch(publish, d); err != nil {
		return 1, err
	}
	return 1, w.interrupt()
}

// drain lets one more worker take all that is left, up to the no-data batch that closes the last windows.
func (d *demo) drain(ctx context.Context) error {
	w, err := d.startWorker(ctx, "--available-now")
	if err != nil {
		return err
	}
	return w.wait()
}

// verify compares every sink with plain DuckDB over the stream.
func (d *demo) verify(ctx context.Context, report *demoReport) error {
	env := *d.env
	outer := env.getenv
	env.getenv = func(name string) (string, bool) {
		switch name {
		case "NATS_URL":
			return d.url, true
		case "DEMO_DIR":
			return d.dir, true
		}
		return outer(name)
	}
	app, err := env.load(ctx, d.sql, registry(&env))
	if err != nil {
		return err
	}
	plans, err := env.plans(ctx, app, app.Queries)
	if err != nil {
		return err
	}
	for i, q := range app.Queries {
		d.say("verifying %s: the same SQL in plain DuckDB over the whole stream", q.Name)
		one, err := d.verifyQuery(ctx, &env, app, q, plans[i])
		if err != nil {
			return err
		}
		report.Queries = append(report.Queries, *one)
		report.Verified = report.Verified && one.Verified
	}
	return nil
}

func (d *demo) verifyQuery(
	ctx context.Context, env *env, app *planner.App, q *planner.Query, plan *planner.Plan,
) (*demoQuery, error) {
	var sink *planner.Sink
	for _, s := range app.Sinks {
		if s.Name == q.Sinks[0] {
			sink = s
		}
	}
	read, err := env.sinkReader(sink, plan)
	if err != nil {
		return nil, err
	}
	opt := engine.Options{DataDir: d.data(), Registry: registry(env), Parse: env.parser()}
	v, err := engine.Verify(ctx, opt, app, q.Name, read)
	if err != nil {
		return nil, fmt.Errorf("verify query %q: %w", q.Name, err)
	}
	summary, err := checkpoint.Inspect(vfs.OS{}, filepath.Join(d.data(), q.Name))
	if err != nil {
		return nil, err //nolint:wrapcheck // a coded error
	}
	one := &demoQuery{Query: q.Name, Sink: sink.Connector, Compared: v.Rows, Verified: v.Verified,
		Samples: append(v.NotComparable, v.Samples...)}
	if last := summary.Last; last != nil {
		one.RowsIn, one.RowsOut, one.Late = last.Totals.In, last.Totals.Out, last.Totals.Late
		one.DeadLettered, one.Batches, one.StillOpen = last.Totals.Dead, last.Totals.Batches, last.State.Rows
	}
	var took []float64
	for _, b := range summary.Batches {
		if b.Commit != nil {
			took = append(took, b.Commit.Millis)
		}
	}
	one.P50, one.P99 = quantile(took, 0.5), quantile(took, 0.99)
	return one, nil
}

// print shows the report and fails the process if anything differs.
func (d *demo) print(r *demoReport) error {
	if d.flags.asJSON {
		if err := json.NewEncoder(d.env.stdout).Encode(r); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	} else {
		l := listing{columns: []string{"query", "sink", "rows_in", "out", "late", "dead", "open", "batches", "p50_ms", "p99_ms", "result"},
			right: map[string]bool{"rows_in": true, "out": true, "late": true, "dead": true, "open": true, "batches": true,
				"p50_ms": true, "p99_ms": true}}
		for _, q := range r.Queries {
			result := fmt.Sprintf("verified: stream = batch (%s rows)", count(q.Compared))
			if !q.Verified {
				result = "DIFFERS"
			}
			l.add(q.Query, q.Sink, count(q.RowsIn), count(q.RowsOut), count(q.Late), count(q.DeadLettered), count(q.StillOpen),
				count(q.Batches), q.P50, q.P99, result)
		}
		d.say("\n%s", strings.TrimRight(l.table(), "\n"))
		for _, q := range r.Queries {
			for _, s := range q.Samples {
				d.say("  %s: %s", q.Query, s)
			}
		}
		if r.Verified {
			d.say("\n%s orders, %d kill -9, every sink holds every result exactly once; groups still open behind the\n"+
				"watermark, late and dead-lettered rows are counted above and left out of the comparison", count(r.Published), r.Kills)
		}
	}
	if !r.Verified {
		return exitError{diag.ExitFailed}
	}
	return nil
}
