package difftest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// ChaosOptions say what Chaos runs.
type ChaosOptions struct {
	Options
	App   *planner.App
	Query *planner.Query      // of App
	Rows  map[string][][]any  // by source: a value per column that is not computed, those from the transport too
	Runs  int                 // how often; at least 1
	Seed  uint64              // the same seed gives the same runs
	Crash bool                // kill the engine inside batches, too
	Done  func(ChaosRun) bool // hears of each run; returns false to stop. Nil for none
}

// ChaosRun is what became of one random slicing.
type ChaosRun struct {
	Run      int
	Batches  int
	Early    int // of them, computed while the one before was delivered
	Restarts int
	Crashes  int
	In       int64  // rows that the sources gave
	Out      int64  // rows that the sink holds in the end
	Late     int64  // rows that came too late in this slicing; the batch plan does not get them either
	Dead     int64  // rows that were dead-lettered, likewise
	Open     int64  // rows of state that only the end closed
	Skipped  string // why the answers were not compared; "" if they were
	Diff     string // the rows that only one of the answers has; "" if they are the same
	Case     string // a case for tidemill test that fails the same way, when there is a Diff
}

// Comparable says why no stream of a query can be compared with a batch run, as a coded error, or nil.
func Comparable(q *planner.Query, plan *planner.Plan) error {
	why := plan.NotComparable()
	if plan.SlotBound {
		why = append(why, "the body reads slot_start or slot_end: every slot is a batch run already")
	}
	if len(why) == 0 {
		return nil
	}
	e := diag.New(diag.Usage, "query %q is not comparable with a batch run over the same rows", q.Name)
	for _, w := range why {
		e.WithNote("%s", w)
	}
	return e
}

// Chaos slices rows at random, stops and kills the engine between and inside the batches, and compares what
// the sink holds in the end with the answer of the batch plan. It fails only where a run could not be made.
func Chaos(ctx context.Context, o ChaosOptions) ([]ChaosRun, error) {
	var runs []ChaosRun
	for i := range o.Runs {
		if err := context.Cause(ctx); err != nil {
			return runs, err
		}
		script := Script{Name: fmt.Sprintf("chaos-%s-%d-%d", o.Query.Name, o.Seed, i+1),
			SQL:  MemorySQL(o.App, o.Query, o.batchRows(i)),
			Note: fmt.Sprintf("run %d of seed %d", i+1, o.Seed), Steps: o.slice(i)}
		run, err := o.one(ctx, script, i)
		if err != nil {
			return runs, fmt.Errorf("run %d of seed %d: %w", i+1, o.Seed, err)
		}
		run.Run = i + 1
		runs = append(runs, run)
		if o.Done != nil && !o.Done(run) {
			break
		}
	}
	return runs, nil
}

// mostPieces bounds the batches of one run.
const mostPieces = 100

// sizes returns the rows of the longest source, and the fewest that a piece has.
func (o ChaosOptions) sizes() (total, least int) {
	for _, rows := range o.Rows {
		total = max(total, len(rows))
	}
	return total, total/mostPieces + 1
}

// batchRows cuts the pieces of every other run once more, into batches that follow one another: there the next one is
// computed while one is delivered.
func (o ChaosOptions) batchRows(run int) int {
	if run < 2 || run%2 == 1 {
		return 0
	}
	_, least := o.sizes()
	return least
}

// slice cuts the rows into pieces with accidents between them. The first run is all rows at once, the
// second the smallest pieces, the others what chance gives.
func (o ChaosOptions) slice(run int) []Step {
	rnd := rand.New(rand.NewPCG(o.Seed, uint64(run))) //nolint:gosec // chance, not secrecy
	total, least := o.sizes()
	at := map[string]int{}
	mean := total
	if run > 0 {
		mean = max(least, []int{1, 2, 5, 20, total / 10, total / 3}[rnd.IntN(6)])
	}
	if run == 1 {
		mean = least
	}
	var steps []Step
	for left := true; left; {
		left = false
		for _, src := range o.App.Sources {
			rows := o.Rows[src.Name]
			n := mean
			if run > 1 {
				n = rnd.IntN(2*mean + 1)
			}
			n = min(n, len(rows)-at[src.Name])
			if n > 0 {
				steps = append(steps, Step{Kind: Add, Source: src.Name, Rows: rows[at[src.Name] : at[src.Name]+n]})
			}
			at[src.Name] += n
			left = left || at[src.Name] < len(rows)
		}
		steps = append(steps, o.accident(run, rnd)...)
	}
	return steps
}

// accident draws what happens after rows were added.
func (o ChaosOptions) accident(run int, rnd *rand.Rand) []Step {
	const between, restart, crash, keep = 1, 2, 3, 4
	what := rnd.IntN(10)
	if run == 0 || what == crash && !o.Crash {
		what = 0
	}
	switch what {
	case between: // the rows go into the next batch
		return nil
	case restart:
		return []Step{{Kind: Run}, {Kind: Restart}}
	case crash, crash + 2:
		if !o.Crash {
			break
		}
		points := Points()
		return []Step{{Kind: Crash, Point: points[rnd.IntN(len(points))]}, {Kind: Run}, {Kind: Restart}}
	case keep:
		return []Step{{Kind: Wait}, {Kind: Run}}
	}
	return []Step{{Kind: Run}}
}

// one makes a run and compares.
func (o ChaosOptions) one(ctx context.Context, script Script, i int) (ChaosRun, error) {
	out, err := Play(ctx, script, o.Options)
	var broke *Break
	if errors.As(err, &broke) {
		return ChaosRun{Diff: broke.What + "\n", Case: script.YAML(nil)}, nil
	}
	if err != nil {
		return ChaosRun{}, err
	}
	if err := Comparable(o.Query, out.Plan); err != nil {
		return ChaosRun{}, err
	}
	run := ChaosRun{Batches: len(out.Batches), Restarts: out.Starts, Crashes: out.Crashes, In: out.In(),
		Out: int64(len(out.Table)), Late: out.Late(), Open: out.Open}
	for _, b := range out.Batches {
		if b.Early {
			run.Early++
		}
	}
	for _, rows := range out.Rows {
		for _, r := range rows {
			if r.Dead {
				run.Dead++
			}
		}
	}
	want, err := out.Answer(ctx, o.Options, func(_ string, r Row) bool { return !r.Late && !r.Dead })
	if err != nil {
		return run, err
	}
	diff := Diff(out.Table, want, nil)
	switch {
	case diff == "":
	case len(out.Plan.Sources) > 1 && ordered.MatchString(script.SQL) && between(out):
		run.Skipped = "the answer depends on the order of rows between sources, which a batch run does not know"
	case len(out.Plan.Sources) > 1 && between(out) && Diff(out.Table, want, floats(out)) == "":
		run.Skipped = "floating-point sums depend on the order of rows between sources, which a batch run does not " +
			"know; they are the same to 1e-9"
	case hops.MatchString(script.SQL) && behind(out):
		return o.patient(ctx, script, run, i)
	default:
		run.Diff, run.Case = diff, script.Without(out.Missed).YAML(want)
	}
	return run, nil
}

// patient makes a run again with watermarks so far behind that no row can be late, not even for one of its
// windows. If that gives the answer of the batch plan, the difference was such a row's.
func (o ChaosOptions) patient(ctx context.Context, script Script, run ChaosRun, i int) (ChaosRun, error) {
	const century = 100 * 365 * 24 * time.Hour
	app := *o.App
	app.Sources = nil
	for _, src := range o.App.Sources {
		s := *src
		if s.Watermark != nil {
			w := *s.Watermark
			w.Delay = century
			s.Watermark = &w
		}
		app.Sources = append(app.Sources, &s)
	}
	script.SQL = MemorySQL(&app, o.Query, o.batchRows(i))
	out, err := Play(ctx, script, o.Options)
	if err != nil {
		return run, err
	}
	want, err := out.Answer(ctx, o.Options, func(_ string, r Row) bool { return !r.Dead })
	if err != nil {
		return run, err
	}
	if diff := Diff(out.Table, want, nil); diff != "" {
		run.Diff, run.Case = diff, script.Without(out.Missed).YAML(want)
		return run, nil
	}
	run.Skipped = "rows were late for some of their windows only, which no batch run over whole rows gives; " +
		"the same slicing with endless patience equals the batch run"
	return run, nil
}

//nolint:gochecknoglobals // constant patterns
var (
	ordered = regexp.MustCompile(`(?i)\blimit\b|\bdistinct\s+on\b|\brow_number\b|\b(first|last|any_value|` +
		`arbitrary|list|array_agg|string_agg|group_concat|arg_min|arg_max|min_by|max_by|mode)\s*\(`)
	hops = regexp.MustCompile(`(?i)\bhop\s*\(`)
)

// floats returns the columns of floating-point numbers.
func floats(out *Outcome) map[int]bool {
	columns := map[int]bool{}
	for i, t := range out.Types {
		columns[i] = t != nil && (t.ID() == arrow.FLOAT64 || t.ID() == arrow.FLOAT32)
	}
	return columns
}

// between reports whether the log has the rows of the sources in another order than source after source.
func between(out *Outcome) bool {
	last := int64(-1)
	for _, src := range out.Plan.Sources {
		for _, r := range out.Rows[src.Name] {
			if r.Batch < last {
				return true
			}
			last = r.Batch
		}
	}
	return false
}

// behind reports whether some row was read when a watermark was known that it may have been behind.
func behind(out *Outcome) bool {
	for _, rows := range out.Rows {
		for _, r := range rows {
			if r.LateBy != nil && !r.Late {
				return true
			}
		}
	}
	return false
}

// Summary says in one line what the runs came to.
func Summary(runs []ChaosRun) string {
	same, skipped := 0, 0
	why := ""
	for _, r := range runs {
		switch {
		case r.Diff != "":
			return fmt.Sprintf("run %d differs: the stream's answer is not the batch plan's", r.Run)
		case r.Skipped != "":
			skipped, why = skipped+1, r.Skipped
		default:
			same++
		}
	}
	text := fmt.Sprintf("ok: %d runs, stream = batch", same)
	if skipped > 0 {
		text += fmt.Sprintf("; %d more not compared: %s", skipped, why)
	}
	return strings.Replace(text, "ok: 1 runs", "ok: 1 run", 1)
}
