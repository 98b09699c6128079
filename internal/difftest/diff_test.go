package difftest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/engine/streamtest"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/difftest"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// mustRun lists the shapes that streams can run, with the modes in which they may not be refused.
func mustRun() map[string]string {
	return map[string]string{
		"project": "au", "star": "au", "unnest": "au", "lateral": "au", "ref-inner": "au", "ref-left": "au", "ref-two": "au",
		"ref-semi": "au", "ref-anti": "au", "ref-subquery": "au", "union-all": "au", "union-self": "au", "window-rows": "au",
		"agg-tumble": "auc", "agg-hop": "auc", "agg-key": "uc", "agg-global": "uc", "agg-time": "auc", "agg-ref": "auc",
		"agg-union": "auc", "agg-above": "ac", "agg-complete-over": "c", "agg-of-agg": "auc", "window-of-window": "auc",
		"top-of-agg": "auc", "agg-session": "auc", "agg-rollup": "uc", "agg-window-sets": "auc", "keep-first": "u", "keep-last": "u",
		"top-n": "u", "top-n-window": "a", "over-past": "a", "over-update": "u", "distinct": "au", "distinct-on": "au", "limit": "a",
		"limit-below": "uc", "set-time": "a", "set-window": "a", "set-update": "u", "join-inner": "au", "join-inner-range": "au",
		"join-left-range": "a", "join-right-range": "a", "join-full-range": "a", "join-semi": "au", "join-semi-range": "au",
		"join-anti-range": "a", "join-window": "a", "join-three": "a", "rank-over-join": "u", "join-of-aggs": "auc", "agg-of-join": "auc",
		"distinct-then-agg": "auc", "agg-then-distinct": "auc", "agg-of-session": "uc", "agg-of-latest": "u", "window-of-latest": "u",
		"join-agg-top": "au", "enrich-by-agg": "u", "union-rows-groups": "a", "agg-of-union": "uc", "window-of-union": "ac",
		"union-parts": "uc", "over-groups": "a", "sets-of-groups": "uc", "distinct-on-order": "u",
		"distinct-on-window": "a", "distinct-on-groups": "uc", "join-asof-next": "a", "join-asof-next-window": "a",
		"exists": "au", "exists-of-groups": "u",
	}
}

// tally counts what was tried, by shape.
type tally struct {
	mu    sync.Mutex
	tried map[string]int
	ran   map[string]int
	codes map[string]map[diag.Code]int
	rows  int64
	late  int64
	kills int
	early int // batches that were computed while the one before was delivered
}

func (l *tally) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	ran, tried := 0, 0
	for name := range l.tried {
		names = append(names, name)
		ran, tried = ran+l.ran[name], tried+l.tried[name]
	}
	sort.Strings(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d cases ran, %d rows, %d of them late, %d crashes, %d batches computed early; refused by shape:\n", ran, tried, l.rows, l.late, l.kills, l.early)
	for _, name := range names {
		if l.tried[name] == l.ran[name] {
			continue
		}
		fmt.Fprintf(&b, "  %-20s %3.0f%% of %d:", name, 100*float64(l.tried[name]-l.ran[name])/float64(l.tried[name]), l.tried[name])
		var codes []string
		for code, n := range l.codes[name] {
			codes = append(codes, fmt.Sprintf(" %s %d", code, n))
		}
		sort.Strings(codes)
		fmt.Fprintln(&b, strings.Join(codes, ","))
	}
	return b.String()
}

// lab is what the cases of one family share: DuckDB takes its time to open.
type lab struct {
	t      *testing.T
	typer  *duck.Conn
	plain  *duck.DB
	dir    string
	failed string // where the case that failed last is written
	shapes []shape
	tally  *tally
}

func newLab(t *testing.T, shapes []shape, l *tally) *lab {
	t.Helper()
	db := ducktest.Open(t, duck.Options{MemoryLimit: 256 << 20, Threads: 1})
	conn := ducktest.Session(t, db)
	dir := t.TempDir()
	return &lab{t: t, typer: conn, plain: db, dir: filepath.Join(dir, "data"), shapes: shapes, tally: l,
		failed: filepath.Join(os.TempDir(), "tidemill-difftest-"+t.Name()[strings.LastIndex(t.Name(), "/")+1:]+"_test.yaml")}
}

func (l *lab) parse(ctx context.Context, text *diag.Text, reg stream.Registry) (*planner.App, error) {
	s, err := sqlfront.Parse(ctx, text, sqlfront.Env{Getenv: os.LookupEnv, ReadFile: os.ReadFile, Registry: reg, Typer: l.typer})
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	return s.App, nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// TestStreamEqualsBatch draws schemas, rows, queries and accidents at random and asks that the sink ends
// with what plain DuckDB gives over the same rows less those that were late. PROP_CHECKS says how many
// cases of each family, PROP_SEED from where, PROP_SHAPES, a regular expression, which shapes, and
// PROP_WEIGHTS, such as agg-hop=20,star=0, how often each of them comes; make prop does more.
func TestStreamEqualsBatch(t *testing.T) {
	checks := env("PROP_CHECKS", "60")
	if testing.Short() {
		checks = "10"
	}
	require.NoError(t, flag.Set("rapid.checks", checks))
	require.NoError(t, flag.Set("rapid.seed", env("PROP_SEED", "1")))
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	require.NoError(t, flag.Set("rapid.shrinktime", "20s"))
	only, weights := regexp.MustCompile(env("PROP_SHAPES", ".")), map[string]int{}
	for _, pair := range strings.FieldsFunc(os.Getenv("PROP_WEIGHTS"), func(r rune) bool { return r == ',' }) {
		name, weight, _ := strings.Cut(pair, "=")
		n, err := strconv.Atoi(weight)
		require.NoError(t, err, "PROP_WEIGHTS: %s", pair)
		weights[name] = n
	}
	l := &tally{tried: map[string]int{}, ran: map[string]int{}, codes: map[string]map[diag.Code]int{}}
	t.Cleanup(func() {
		t.Log(l.String())
		require.True(t, l.early > 0 || testing.Short(), "batches are computed beside the delivery of the one before")
	})
	for name, list := range map[string][]shape{"stateless": stateless(), "aggregates": aggregates(),
		"deduplications": deduplications(), "joins": joins(), "many": many(), "names": names(), "mixed": mixed(), "chains": chains(), "algebra": algebra()} {
		var some []shape
		for _, s := range list {
			if weight, given := weights[s.name]; given {
				s.weight = weight
			}
			if only.MatchString(s.name) && s.weight > 0 {
				some = append(some, s)
			}
		}
		if len(some) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lab := newLab(t, some, l)
			rapid.Check(t, lab.check)
		})
	}
}

// TestMustRunNamesShapes keeps the table of shapes that must run from naming none.
func TestMustRunNamesShapes(t *testing.T) {
	known := map[string]bool{}
	for _, list := range [][]shape{stateless(), aggregates(), deduplications(), joins(), many(), names(), mixed(), chains(), algebra()} {
		for _, s := range list {
			require.False(t, known[s.name], s.name)
			known[s.name] = true
		}
	}
	for name := range mustRun() {
		require.True(t, known[name], name)
	}
}

// check is one case.
func (l *lab) check(t *rapid.T) {
	sh := drawShape(t, l.shapes)
	w := newWorld(t, sh.sources)
	g := &gen{world: w, q: query{shape: sh.name}}
	sh.draw(g)
	letter := string(rapid.SampledFrom([]rune(g.q.modes)).Draw(t, "mode"))
	mode := map[string]string{"a": "APPEND", "u": "UPDATE", "c": "COMPLETE"}[letter]
	script := difftest.Script{Name: sh.name, SQL: l.sql(w, g.q, mode), Steps: steps(t, w)}
	out, err := difftest.Play(t.Context(), script, difftest.Options{Parse: l.parse, Dir: l.dir})
	var refused *difftest.Refused
	if errors.As(err, &refused) {
		l.count(sh.name, nil, diag.CodeOf(err))
		if strings.Contains(mustRun()[sh.name], letter) {
			l.fail(t, script, nil, "a query that must run is refused:\n"+diag.Render(err))
		}
		l.sound(t, g.q, mode, w)
		return
	}
	if err != nil {
		text := err.Error()
		if diag.All(err) != nil {
			text = diag.Render(err)
		}
		l.fail(t, script, nil, text)
	}
	if out.Plan.Unnamed && !out.Plan.Retracts {
		l.count(sh.name, nil, "UNNAMED") // groups without their keys: what a sink holds of them is no table
		return
	}
	l.count(sh.name, out, "")
	l.compare(t, script.Without(out.Missed), g.q, mode, out, w)
}

func (l *lab) sql(w *world, q query, mode string) string {
	var b strings.Builder
	for _, s := range w.sources {
		fmt.Fprintln(&b, s.declare())
	}
	fmt.Fprintln(&b, w.refs())
	fmt.Fprintln(&b, "CREATE MACRO twice(x) AS x * 2;")
	for _, sql := range q.before {
		fmt.Fprintln(&b, q.streamed(sql))
	}
	fmt.Fprintf(&b, "CREATE SINK out WITH (connector = 'memory');\nCREATE QUERY q INTO out OUTPUT MODE %s WITH (late = 'dead_letter', watermark_policy = '%s') AS\n  %s;\n",
		mode, w.policy, q.streamed(q.body))
	return b.String()
}

// steps draws rows, and what happens between them.
func steps(t *rapid.T, w *world) []difftest.Step {
	var out []difftest.Step
	for range rapid.IntRange(1, 8).Draw(t, "steps") {
		for _, s := range w.sources {
			if n := rapid.IntRange(0, 10).Draw(t, "rows"); n > 0 {
				out = append(out, difftest.Step{Kind: difftest.Add, Source: s.name, Rows: w.rows(s, n)})
			}
		}
		run, restart := difftest.Step{Kind: difftest.Run}, difftest.Step{Kind: difftest.Restart}
		switch rapid.SampledFrom([]string{"run", "run", "run", "wait", "keep", "restart", "crash"}).Draw(t, "what") {
		case "run":
			out = append(out, run)
		case "keep":
			out = append(out, difftest.Step{Kind: difftest.Wait}, run)
		case "restart":
			out = append(out, run, restart)
		case "crash":
			point := rapid.SampledFrom(difftest.Points()).Draw(t, "point")
			out = append(out, difftest.Step{Kind: difftest.Crash, Point: point}, run, restart)
		}
	}
	return out
}

func (l *lab) count(shape string, out *difftest.Outcome, code diag.Code) {
	l.tally.mu.Lock()
	defer l.tally.mu.Unlock()
	l.tally.tried[shape]++
	if out != nil {
		l.tally.ran[shape]++
		l.tally.rows += out.In()
		l.tally.late += out.Late()
		l.tally.kills += out.Crashes
		for _, b := range out.Batches {
			if b.Early {
				l.tally.early++
			}
		}
		return
	}
	if l.tally.codes[shape] == nil {
		l.tally.codes[shape] = map[diag.Code]int{}
	}
	l.tally.codes[shape][code]++
}

// compare holds the sink against plain DuckDB, and where no row was late against the batch plan too.
func (l *lab) compare(t *rapid.T, script difftest.Script, q query, mode string, out *difftest.Outcome, w *world) {
	conn, err := l.plain.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	o := &oracle{t: t, conn: conn, w: w, q: q, mode: mode, out: out}
	o.load()
	want := o.answer()
	if d := difftest.Diff(out.Table, want, q.near); d != "" {
		l.fail(t, script, want, "the sink does not hold what plain DuckDB gives:\n"+d+"plain: "+q.plain(q.body))
	}
	if wrong := checkWatermarks(w, out); wrong != "" {
		l.fail(t, script, want, wrong)
	}
	if wrong, late := o.checkLate(); wrong != "" {
		script.Late = &late
		l.fail(t, script, want, wrong)
	}
	if out.Late() == 0 && !w.late || q.late == neverLate {
		batch, err := out.Answer(t.Context(), difftest.Options{Parse: l.parse, Dir: l.dir}, nil)
		if err != nil {
			l.fail(t, script, want, "the batch plan failed: "+err.Error())
		}
		if d := difftest.Diff(batch, want, q.near); d != "" && !w.between(q) {
			l.fail(t, script, want, "the batch plan does not give what plain DuckDB gives:\n"+d)
		}
	}
	if rapid.IntRange(0, 9).Draw(t, "as a case") == 9 { // drawn, so that it comes again
		l.sameAsCase(t, script, want)
	}
}

// sound asks that plain DuckDB takes a query that was refused: it is one that streams could run.
func (l *lab) sound(t *rapid.T, q query, mode string, w *world) {
	conn, err := l.plain.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, conn.Close()) }()
	o := &oracle{t: t, conn: conn, w: w, q: q, mode: mode, out: &difftest.Outcome{}}
	o.load()
	o.answer()
}

// between reports whether the answer depends on the order of rows between sources, which a batch run can
// not know.
func (w *world) between(q query) bool {
	return len(w.sources) > 1 && q.plain(q.body) != q.streamed(q.body)
}

// sameAsCase runs the case that would be printed, had this one failed: it must say what happened here.
func (l *lab) sameAsCase(t *rapid.T, script difftest.Script, want [][]any) {
	text := script.YAML(want)
	cases, err := streamtest.Parse("case_test.yaml", []byte(text))
	require.NoError(t, err, text)
	res := streamtest.Run(t.Context(), cases[0], streamtest.Options{Parse: l.parse, NoReplay: true})
	require.True(t, res.OK, "%s\n%s", res.Message, text)
}

// fail ends a case and shows how to see it again.
func (l *lab) fail(t *rapid.T, script difftest.Script, want [][]any, what string) {
	text := script.YAML(want)
	_ = os.WriteFile(l.failed, []byte(text), 0o600) // it stands below, too
	t.Fatalf("%s\n\ntidemill test %s\n\n%s", what, l.failed, text)
}
