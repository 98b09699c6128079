package exec

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// shape is one query text with the modes it runs in. plain is false where a stock shell may differ in the
// last
// bit or in the order of ties.
type shape struct {
	body  string
	modes string // letters of a, u, c
	plain bool
}

const (
	tumble5 = "tumble(src, ts, INTERVAL '5 seconds')"
	hop10   = "hop(src, ts, INTERVAL '5 seconds', INTERVAL '10 seconds')"
)

func shapes(t *testing.T) []shape {
	t.Helper()
	data, err := os.ReadFile("testdata/shapes.txt")
	require.NoError(t, err)
	var out []shape
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if strings.HasPrefix(line, "#") {
			continue
		}
		parts := strings.SplitN(line, " ", 3)
		require.Len(t, parts, 3)
		out = append(out, shape{modes: parts[0], plain: parts[1] == "stock", body: parts[2]})
	}
	return out
}

// randomRows gives rows whose event times are at most 9 seconds behind the greatest before them.
func randomRows(r *rand.Rand, n int) []row {
	rows := make([]row, n)
	front := 20
	for i := range rows {
		front += r.IntN(3)
		rows[i] = row{k: string(rune('a' + r.IntN(4))), v: r.IntN(100), f: float64(r.IntN(1000)) * 0.1,
			ts: front - r.IntN(9)}
		switch r.IntN(12) {
		case 0:
			rows[i].v = nil
		case 1:
			rows[i].f = nil
		case 2:
			rows[i].k = nil
		case 3:
			rows[i].ts = nil
		}
	}
	return rows
}

// replay feeds rows to sessions as the engine would: the watermark of a batch comes from those before.
type replay struct {
	f     *fixture
	p     *planner.Plan
	s     *Session
	wm    map[string]int64
	batch int64
	late  *int64
	table map[string]string // update: key to row
	rows  []string
	out   *Output
	given []string // of the last batch

	unheard bool
}

func (f *fixture) replay(p *planner.Plan) *replay {
	return &replay{f: f, p: p, s: f.open(p), wm: map[string]int64{}, table: map[string]string{}}
}

func (r *replay) watermark() *int64 {
	var wm *int64
	for _, src := range r.p.Sources {
		if src.Watermark == nil {
			continue
		}
		v, ok := r.wm[src.Name]
		if !ok {
			return nil
		}
		if wm == nil || v < *wm {
			wm = &v
		}
	}
	return wm
}

func (r *replay) step(inputs map[string][]row, final bool) {
	t := r.f.t
	t.Helper()
	c := Call{Batch: r.batch, Watermark: r.watermark(), Late: r.late, Final: final, Unheard: r.unheard,
		Inputs: map[string]Input{}}
	for name, rows := range inputs {
		rec := record(rows)
		defer rec.Release()
		c.Inputs[name] = Input{Records: []arrow.Record{rec}}
	}
	out, err := r.s.Run(t.Context(), c)
	require.NoError(t, err)
	defer out.Result.Release()
	r.batch++
	r.late = c.Watermark
	for _, src := range r.p.Sources {
		n := out.Sources[src.Name]
		require.EqualValues(t, len(inputs[src.Name]), n.In)
		require.Equal(t, n.In, n.Used+n.Filtered+n.Late+n.NullTime+n.Dead)
		require.Len(t, out.Late[src.Name], int(n.Late))
		if n.MaxTime != nil && src.Watermark != nil {
			next := *n.MaxTime - src.Watermark.Delay.Microseconds()
			if old, ok := r.wm[src.Name]; !ok || next > old {
				r.wm[src.Name] = next
			}
		}
	}
	r.out, r.given = out, texts(out.Result)
	r.collect(out.Result)
}

func (r *replay) collect(b stream.Batch) {
	switch r.p.Mode {
	case stream.Append:
		r.rows = append(r.rows, texts(b)...)
	case stream.Complete:
		r.rows = texts(b)
	case stream.Update:
		for i, line := range texts(b) {
			parts := strings.Split(line, "|")
			key := fmt.Sprint(r.batch, i)
			if n := len(r.p.Ops); n > 0 && (len(b.Keys) > 0 || strings.HasPrefix(r.p.Ops[n-1].Name, "aggregate")) {
				key = "" // what an operator adds, and never changes, has no name
			}
			for _, k := range b.Keys {
				key += parts[k] + "|"
			}
			if b.Op {
				op := parts[len(parts)-1]
				parts = parts[:len(parts)-1]
				if op == stream.OpDelete {
					delete(r.table, key)
					continue
				}
			}
			r.table[key] = strings.Join(parts, "|")
		}
	}
}

func (r *replay) result() []string {
	if r.p.Mode != stream.Update {
		return r.rows
	}
	var out []string
	for _, line := range r.table {
		out = append(out, line)
	}
	return out
}

// restart moves the state to a new session through a base and deltas.
func (r *replay) restart(changes *[]func(context.Context, *Session) error) {
	t := r.f.t
	require.NoError(t, r.s.Close())
	r.s = r.f.open(r.p)
	for _, apply := range *changes {
		require.NoError(t, apply(t.Context(), r.s))
	}
}

func (r *replay) snapshot(changes *[]func(context.Context, *Session) error) {
	t := r.f.t
	for _, c := range snapshot(t, r.s, false) {
		t.Cleanup(c.Release)
		*changes = append(*changes, func(ctx context.Context, s *Session) error { return s.Restore(ctx, c) })
	}
}

func modesOf(letters string) []stream.Mode {
	var out []stream.Mode
	for _, l := range letters {
		out = append(out, map[rune]stream.Mode{'a': stream.Append, 'u': stream.Update,
			'c': stream.Complete}[l])
	}
	return out
}

// TestStreamEqualsBatch slices random rows at random, restarts in the middle through a snapshot, and compares with the
// batch plan over all of them and with the text as it stands in a stock DuckDB. The batches run on two threads, what they
// are compared with on one, whose order nothing can change.
func TestStreamEqualsBatch(t *testing.T) {
	f, whole := newFixture(t), newFixtureOf(t, 1)
	for i, sh := range shapes(t) {
		for _, mode := range modesOf(sh.modes) {
			t.Run(fmt.Sprintf("%02d/%s", i, mode), func(t *testing.T) {
				f := &fixture{t: t, db: f.db, app: f.app, near: i%2 == 1}
				whole := &fixture{t: t, db: whole.db, app: f.app, direct: true}
				p, err := f.plan(mode, sh.body)
				if err != nil {
					t.Fatal(diag.Render(err))
				}
				compare(f, whole, p, sh, rand.New(rand.NewPCG(0, uint64(i))))
			})
		}
	}
}

func compare(f, reference *fixture, p *planner.Plan, sh shape, rnd *rand.Rand) {
	t := f.t
	inputs := map[string][]row{}
	for _, s := range p.Sources {
		inputs[s.Name] = randomRows(rnd, 50)
	}
	whole := reference.replay(p)
	whole.step(inputs, true)

	sliced := f.replay(p)
	var changes []func(context.Context, *Session) error
	at := map[string]int{}
	for done := false; !done; {
		done = true
		part := map[string][]row{}
		for _, s := range p.Sources {
			n := min(rnd.IntN(25), len(inputs[s.Name])-at[s.Name])
			part[s.Name] = inputs[s.Name][at[s.Name] : at[s.Name]+n]
			at[s.Name] += n
			done = done && at[s.Name] == len(inputs[s.Name])
		}
		sliced.step(part, false)
		switch rnd.IntN(3) {
		case 0:
			sliced.snapshot(&changes)
		case 1:
			sliced.snapshot(&changes)
			sliced.restart(&changes)
		}
	}
	sliced.step(nil, true)
	ordered := strings.Contains(sh.body, "ORDER BY n DESC, k LIMIT")
	want, got := whole.result(), sliced.result()
	if !ordered {
		want, got = sorted(want), sorted(got)
	}
	require.Equal(t, want, got, "%s", sh.body)
	if sh.plain {
		plain := reference.plainSQL(p, sh.body, inputs)
		if !ordered {
			plain = sorted(plain)
		}
		require.Equal(t, want, plain, "%s", sh.body)
	}
}

// plainSQL runs the text in DuckDB with the window macros and nothing else of ours.
func (f *fixture) plainSQL(p *planner.Plan, body string, inputs map[string][]row) []string {
	t := f.t
	c, err := f.db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	for _, sql := range []string{
		`CREATE OR REPLACE TEMP MACRO tumble(src, ts, size) AS TABLE (
			SELECT *, time_bucket(size, ts, TIMESTAMP '1970-01-01') AS window_start,
			window_start + size AS window_end FROM query_table(src) WHERE ts IS NOT NULL), (src, ts, size, o) AS TABLE (
			SELECT *, time_bucket(size, ts, TIMESTAMP '1970-01-01' + o) AS window_start,
			window_start + size AS window_end FROM query_table(src) WHERE ts IS NOT NULL)`,
		`CREATE OR REPLACE TEMP MACRO hop(src, ts, slide, size) AS TABLE (
			SELECT *, window_start + size AS window_end FROM (SELECT *, unnest(generate_series(
				time_bucket(slide, ts, TIMESTAMP '1970-01-01') - size + slide,
				time_bucket(slide, ts, TIMESTAMP '1970-01-01'), slide)) AS window_start
			FROM query_table(src) WHERE ts IS NOT NULL))`,
		"CREATE OR REPLACE TEMP MACRO " + planner.SessionMacro,
		"CREATE OR REPLACE TEMP TABLE ref AS SELECT * FROM (" + refRows + ") r(k, name)",
	} {
		_, err := c.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	for _, s := range p.Sources {
		rec := record(inputs[s.Name])
		selection := "*"
		if s.Name == "src" {
			selection = "*, CAST(v * 2 AS BIGINT) AS w"
		}
		require.NoError(t, c.Import(t.Context(), s.Name, selection, []arrow.Record{rec}, rec.Schema()))
		rec.Release()
	}
	tab, err := c.Select(t.Context(), body)
	require.NoError(t, err)
	defer tab.Release()
	return texts(stream.Batch{Records: tab.Records, Schema: tab.Schema})
}
