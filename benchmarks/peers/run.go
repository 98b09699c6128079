package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tidemill/tidemill/benchmarks"
)

// Options say what is measured and how. Binary, Dir, Peers and Log are required; zero means the suite's own choice.
type Options struct {
	Binary     string    // Tidemill's program
	Dir        string    // an empty folder for input and output; the caller removes it
	Peers      string    // this folder: scripts, and .venv below it
	Log        io.Writer // hears what is going on
	Contenders []string  // names; all if empty
	Seed       uint64
	Rows       int64
	Files      int           // that the rows are cut into
	BatchFiles int           // that a batch takes; 0 lets each contender have the best of a few
	Runs       int           // rounds
	Rate       int64         // rows per second of latency; events in a second of event time of yahoo and nexmark
	Duration   time.Duration // of latency
	Settle     time.Duration // before, which no figure of latency counts
	Keys       []int64       // of state, of latency
	Queries    []string      // of nexmark; all if empty
	Limit      time.Duration // the most that one run may take
	Threads    int           // of Tidemill's DuckDB; 0 for all cores
	Versions   map[string]string
	Command    string
}

// suite makes its input into dir and says what is asked about it.
type suite func(ctx context.Context, r *run, dir string) ([]*workload, error)

func suites() map[string]suite {
	return map[string]suite{"start": startSuite, "copy": copySuite, "yahoo": yahooSuite, "nexmark": nexmarkSuite,
		"state": stateSuite, "latency": latencySuite}
}

// Suites lists all suites in the order in which they run.
func Suites() []string { return []string{"start", "copy", "yahoo", "nexmark", "state", "latency"} }

// Names lists the contenders.
func Names() []string {
	var out []string
	for _, c := range contenders(Options{}) {
		out = append(out, c.name())
	}
	return out
}

func contenders(o Options) []contender {
	list := []contender{tidemill{o.Binary, o.Threads}}
	list = append(list, plainDuck{o.Binary})
	list = append(list, sparkStates(o.Peers)...)
	return append(list, others(o.Peers)...)
}

// run is one suite on its way.
type run struct {
	Options
	plain  *benchmarks.Plain
	list   []contender
	report *Report
}

// Run measures one suite. Of a result that is not that of plain DuckDB there are no figures in the report.
func Run(ctx context.Context, name string, o Options) (_ *Report, err error) {
	list, err := chosen(contenders(o), o.Contenders)
	if err != nil {
		return nil, err
	}
	if len(o.Contenders) == 0 { // Spark is what all are measured against; the rest may be missing
		list = slices.DeleteFunc(list, func(c contender) bool {
			s, ok := c.(script)
			if !ok || s.engine == "spark" {
				return false
			}
			err := s.installed()
			if err != nil {
				fmt.Fprintf(o.Log, "%s: left out: %s\n", name, err)
			}
			return err != nil
		})
	}
	if err := check(list); err != nil {
		return nil, err
	}
	return runWith(ctx, name, o, list)
}

// runWith measures one suite with these contenders.
func runWith(ctx context.Context, name string, o Options, list []contender) (_ *Report, err error) {
	input, ok := suites()[name]
	if !ok {
		return nil, fmt.Errorf("suite %q is not one of %v", name, Suites())
	}
	o.Seed, o.Runs, o.Files = max(o.Seed, 1), max(o.Runs, 1), cmp.Or(o.Files, 16)
	o.Limit = cmp.Or(o.Limit, 10*time.Minute)
	r := &run{Options: o, list: list, report: &Report{Suite: name, Command: o.Command, Seed: o.Seed,
		Time: time.Now().UTC().Truncate(time.Second), Machine: benchmarks.ThisMachine(), Versions: map[string]string{}}}
	for k, v := range o.Versions {
		r.report.Versions[k] = v
	}
	if r.plain, err = benchmarks.OpenPlain(ctx, o.Dir); err != nil {
		return nil, fmt.Errorf("suite %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, r.plain.Close()) }()
	work, err := input(ctx, r, filepath.Join(o.Dir, "input"))
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", name, err)
	}
	for _, w := range work {
		if err := r.ask(ctx, w); err != nil {
			return nil, fmt.Errorf("suite %s: query %s: %w", name, w.name, err)
		}
	}
	r.report.Machine.Done()
	return r.report, nil
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.Log, r.report.Suite+": "+format+"\n", args...)
}

func chosen(all []contender, names []string) ([]contender, error) {
	if len(names) == 0 {
		return all, nil
	}
	known := map[string]contender{}
	var inOrder []string
	for _, c := range all {
		known[c.name()], inOrder = c, append(inOrder, c.name())
	}
	if err := benchmarks.Known("contender", names, inOrder); err != nil {
		return nil, err //nolint:wrapcheck // coded
	}
	var list []contender
	for _, name := range names {
		list = append(list, known[name])
	}
	return list, nil
}

// ask puts one workload to every contender: first each may try sizes of batches, then they take turns.
func (r *run) ask(ctx context.Context, w *workload) error {
	if err := r.plain.Exec(ctx, w.views()); err != nil {
		return fmt.Errorf("show the input to plain DuckDB: %w", err)
	}
	var entries []*Entry
	sides := map[*Entry]contender{}
	for _, c := range r.list {
		if !c.takes(w) {
			continue
		}
		e := &Entry{Query: w.name, Contender: c.name(), Guarantee: c.guarantee(w), Rows: w.rows}
		if c.batches() {
			if err := r.tune(ctx, w, c, e); err != nil {
				return err
			}
		}
		entries, sides[e] = append(entries, e), c
	}
	for n := range r.Runs {
		for _, e := range entries {
			if !e.figures() {
				continue
			}
			f, err := r.once(ctx, w, sides[e], e)
			if err != nil {
				return err
			}
			if f != nil {
				e.Runs = append(e.Runs, *f)
			}
			r.say("%s: round %d: %s: %s", w.name, n+1, e.Contender, e.verdict())
		}
	}
	for _, e := range entries {
		e.settle()
		r.report.Entries = append(r.report.Entries, *e)
	}
	return nil
}

// tune finds how many files a batch of the contender should take. The runs it needs are not in the figures.
func (r *run) tune(ctx context.Context, w *workload, c contender, e *Entry) error {
	if w.follow || w.cold {
		return nil // a batch takes what is there
	}
	if fixed := cmp.Or(r.BatchFiles, w.files); fixed > 0 {
		e.BatchFiles = fixed
		return nil
	}
	best, files := 0.0, 0
	for _, size := range sizes(r.Files) {
		e.BatchFiles = size
		f, err := r.once(ctx, w, c, e)
		if err != nil || f == nil {
			return err
		}
		r.say("%s: %s with %d files in a batch: %.2f s", w.name, c.name(), size, f.Seconds)
		if files == 0 || f.Seconds < best {
			best, files = f.Seconds, size
		}
	}
	e.BatchFiles = files
	return nil
}

// sizes are the numbers of files of a batch to try: at most a quarter of all, so that it remains a stream.
func sizes(files int) []int {
	var out []int
	for n := max(1, files/4); n > 0 && len(out) < 3; n /= 2 {
		out = append(out, n)
	}
	return out
}

// once runs a contender over the workload. Where it has no figure, e says why and f is nil.
func (r *run) once(ctx context.Context, w *workload, c contender, e *Entry) (f *Figures, err error) {
	scratch, err := os.MkdirTemp(r.Dir, c.name()+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for the run: %w", err)
	}
	defer func() { _ = os.RemoveAll(scratch) }() // large, and nobody needs it any more
	j := job{Suite: w.suite, Query: w.name, Tables: folders(w.tables), Static: folders(w.static),
		Out: filepath.Join(scratch, "out"), Checkpoint: filepath.Join(scratch, "checkpoint"), Scratch: scratch,
		Files: e.BatchFiles, Follow: w.follow, Update: w.update}
	if !w.cold {
		j.Warm = w.warm
	}
	limited, cancel := context.WithTimeoutCause(ctx, r.Limit, fmt.Errorf("it did not end within %s", r.Limit))
	defer cancel()
	f, err = r.watch(limited, w, c, j, e)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		e.Failed = err.Error()
		return nil, nil
	case f == nil:
		return nil, nil
	}
	e.Result, err = r.verify(ctx, w, c, j)
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case benchmarks.Differs(err):
		e.Differs = err.Error()
		return nil, nil
	case err != nil:
		e.Failed = err.Error()
		return nil, nil
	}
	return f, nil
}
