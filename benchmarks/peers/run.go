package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
		return nil, benchmarks.Known("suite", []string{name}, Suites()) //nolint:wrapcheck // coded
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
