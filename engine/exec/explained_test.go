package exec

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
)

// recorder hears every statement that DuckDB runs, and puts the placeholders of EXPLAIN in the place of what varies.
type recorder struct {
	on   bool
	list []string
}

var (
	setting = regexp.MustCompile(`(?m)^SET VARIABLE (\w+) = .*?(;?)$`) //nolint:gochecknoglobals // constant patterns
	view    = regexp.MustCompile(`__(arrow|rows)_\d+`)
	looked  = regexp.MustCompile(`(AS __hash\d+ FROM __\w+ WHERE __pos >= )\d+`)
	found   = regexp.MustCompile(`(SELECT \* FROM temp\.(\w+) WHERE __pos >= getvariable\('first_position_1'\))[^)]*\)`)
)

func (r *recorder) hear(sql string) {
	if !r.on {
		return
	}
	sql = found.ReplaceAllString(looked.ReplaceAllString(sql, "${1}$$looked"),
		"$1 UNION ALL SELECT * FROM temp.$2 WHERE __pos = $$found)")
	parts := []string{view.ReplaceAllString(sql, "__${1}_$$n")}
	if strings.HasPrefix(sql, "SET VARIABLE ") {
		parts = strings.Split(setting.ReplaceAllString(sql, "SET VARIABLE $1 = $$$1$2"), ";\n")
	}
	r.list = append(r.list, parts...)
}

// take returns what has been heard since the last time.
func (r *recorder) take() []string {
	list := r.list
	r.list = nil
	return list
}

// explained are the statements of a plan in the order in which they may run, and which of them have run.
type explained struct {
	list []string
	main map[int]bool // statements that no occasion is needed for
	ran  map[int]bool
	rest int // where those of a batch begin
}

// explain reads the statements of a plan, and asks that each stands in the text that people read, in that order.
func explain(t *testing.T, p *planner.Plan) *explained {
	t.Helper()
	e := &explained{main: map[int]bool{}, ran: map[int]bool{}}
	text := p.Explain()
	unread := text
	for _, s := range p.Statements() {
		for _, o := range s.Instead {
			for _, sql := range o.SQL {
				require.Contains(t, text, sql+";\n")
				e.list = append(e.list, sql)
			}
		}
		if s.SQL == "" {
			continue
		}
		_, after, found := strings.Cut(unread, s.SQL+";\n")
		require.True(t, found, "not explained, or not in order: %s", s.SQL)
		unread = after
		if s.Once {
			e.rest = len(e.list) + 1
		}
		e.main[len(e.list)] = s.When == ""
		e.list = append(e.list, s.SQL)
	}
	return e
}

// follow asks that statements which ran are explained, in that order, and notes them. from is where they may begin.
func (e *explained) follow(t *testing.T, ran []string, from int) {
	t.Helper()
	at := from
	for _, sql := range ran {
		found := -1
		for i := at; i < len(e.list) && found < 0; i++ {
			if e.list[i] == sql {
				found = i
			}
		}
		require.GreaterOrEqual(t, found, 0, "ran, but is not explained at its place:\n%s", sql)
		e.ran[found] = true
		at = found + 1
	}
}

// TestExplainIsWhatRuns runs every shape of testdata/shapes.txt, in one of its modes, over random batches with late rows,
// impossible times and a state version, and compares what DuckDB was told with what EXPLAIN says: nothing else runs,
// nothing runs in another order, and what is explained without an occasion does run.
func TestExplainIsWhatRuns(t *testing.T) {
	heard := &recorder{}
	// What is told to DuckDB does not depend on its threads; one costs a third less.
	db := ducktest.Open(t, duck.Options{Sealed: true, Threads: 1, Trace: heard.hear})
	app := newFixture(t).app
	for i, sh := range shapes(t) {
		if testing.Short() && i%7 != 0 {
			continue
		}
		modes := modesOf(sh.modes)
		mode := modes[i%len(modes)]
		t.Run(fmt.Sprintf("%02d/%s", i, mode), func(t *testing.T) {
			f := &fixture{t: t, db: db, app: app}
			p, err := f.plan(mode, sh.body)
			if err != nil {
				t.Fatal(diag.Render(err))
			}
			// A filter that no row passes leaves steps out that others would run.
			runExplained(t, f, p, heard, rand.New(rand.NewPCG(uint64(i), 3)), strings.Contains(sh.body, "v > 1000"))
		})
	}
}

func runExplained(t *testing.T, f *fixture, p *planner.Plan, heard *recorder, rnd *rand.Rand, none bool) {
	t.Helper()
	e := explain(t, p)
	heard.take()
	heard.on = true
	r := f.replay(p)
	heard.on = false
	opened := heard.take()
	const batches = 5
	for batch := range batches {
		inputs := map[string][]row{}
		if batch != 3 { // nothing but the watermark has moved
			for _, src := range p.Sources {
				inputs[src.Name] = randomRows(rnd, 20)
				for j, in := range inputs[src.Name] {
					if ts, ok := in.ts.(int); ok {
						inputs[src.Name][j].ts = ts + batch*10
					}
				}
			}
		}
		heard.on = true
		r.s.many, r.s.share = int64(batch%2)*gatherRows, int64(batch%3)*nearShare
		r.step(inputs, batch == batches-1)
		heard.on = false
		if batch == 0 {
			e.follow(t, withoutReference(append(opened, heard.take()...)), 0)
		} else {
			e.follow(t, heard.take(), e.rest)
		}
		if batch == 1 {
			changes, err := r.s.Snapshot(t.Context(), false)
			require.NoError(t, err)
			for _, c := range changes {
				c.Release()
			}
		}
	}
	for i, sql := range e.list {
		require.True(t, e.ran[i] || !e.main[i] || none, "explained, but never ran:\n%s", sql)
	}
}

// withoutReference leaves out the SELECT that the fixture makes its reference table with.
func withoutReference(ran []string) []string {
	var out []string
	skip := 0
	for _, sql := range ran {
		if strings.Contains(sql, refRows) {
			skip = 4 // the passing table __r
		}
		if skip > 0 {
			skip--
			continue
		}
		out = append(out, sql)
	}
	return out
}
