package exec

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// shape is one query text with the modes it runs in. plain is false where a stock shell may differ in the last
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

func shapes() []shape {
	return []shape{
		{"SELECT * FROM src", "au", true},
		{"SELECT k, v + 1 AS x, w FROM src WHERE v > 40", "au", true},
		{"SELECT s.* EXCLUDE (f), CASE WHEN v > 50 THEN 'hi' ELSE k END AS c FROM src s", "au", true},
		{"SELECT k, unnest([v, v + 1]) AS x FROM src", "au", true},
		{"SELECT k, v FROM src UNION ALL SELECT k, v FROM other WHERE v < 50", "au", true},
		{"SELECT k, v, name FROM src JOIN ref USING (k)", "au", true},
		{"SELECT s.k, r.name FROM src s LEFT JOIN ref r ON s.k = r.k AND s.v > 30", "au", true},
		{"SELECT * FROM src SEMI JOIN ref USING (k)", "au", true},
		{"SELECT * FROM src ANTI JOIN ref USING (k)", "au", true},
		{"SELECT k, (SELECT max(name) FROM ref WHERE ref.k = src.k) AS m FROM src WHERE v IN (SELECT length(name) * 10 FROM ref)", "au", true},
		{"WITH a AS (SELECT k AS kk, v FROM src WHERE v > 10), b(x, y) AS (SELECT kk, v * 2 FROM a) SELECT y, x FROM b", "au", true},
		{"SELECT window_start, window_end, v FROM " + tumble5, "au", true},
		{"SELECT window_start, v FROM " + hop10 + " h WHERE h.v > 20", "au", true},
		{"FROM src SELECT COLUMNS('^[kv]$'), ts", "au", true},
		{"SELECT window_start, count(*) AS n FROM " + tumble5 + " GROUP BY window_start", "auc", true},
		{"SELECT epoch(window_start)::BIGINT AS start, count(*) AS n FROM " + tumble5 + " GROUP BY window_start", "auc", true},
		{"SELECT window_end, k, sum(v) AS s, min(v) AS lo, max(f) AS hi, count(f) AS n FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT window_start, window_end, k, sum(f) AS s, avg(f) AS m FROM " + tumble5 + " GROUP BY 1, 2, 3", "auc", true},
		{"SELECT window_start, k, avg(v) AS m, avg(w) AS mw, sum(w) * 2 AS s2 FROM " + hop10 + " GROUP BY window_start, k", "auc", true},
		{"SELECT window_start, list(v) AS l, string_agg(k, '-') AS ks, first(v) AS a, last(v) AS z, any_value(f) AS f FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT window_start, median(v) AS md, quantile_cont(f, 0.25) AS q, mode(k) AS mo FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT window_start, stddev(f) AS sd, corr(v, f) AS c, var_pop(v) AS vp FROM " + tumble5 + " GROUP BY ALL", "auc", false},
		{"SELECT window_start, count(DISTINCT k) AS d, list(DISTINCT k ORDER BY k) AS dl, sum(DISTINCT v) AS ds FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT window_start, list(DISTINCT v) AS dl, string_agg(DISTINCT k, ',') AS s FROM " + tumble5 + " GROUP BY ALL", "auc", false},
		{"SELECT window_start, list(v ORDER BY f DESC NULLS LAST) AS l, count(*) FILTER (WHERE v > 50) AS n, sum(f) FILTER (v > 50) AS s, list(k) FILTER (WHERE v < 30) AS lk FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT window_start, arg_max(k, v) AS am, arg_min(f, v) AS an, max_by(v, f) AS mb FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT window_start, bool_and(v > 5) AS ba, bool_or(v > 95) AS bo, bit_xor(v) AS bx, product(f) AS p FROM " + tumble5 + " GROUP BY ALL", "auc", true},
		{"SELECT k, count(*) AS n, sum(f) AS s FROM src GROUP BY k", "uc", true},
		{"SELECT k, v % 3 AS m, max(v) AS hi, max(v) - min(v) AS spread FROM src WHERE v IS NOT NULL GROUP BY k, m", "uc", true},
		{"SELECT k, count(*) AS n, list(v) AS l FROM src GROUP BY k", "uc", true},
		{"SELECT count(*) AS n, sum(v) AS s, median(v) AS m, count(DISTINCT k) AS d FROM src", "uc", true},
		{"SELECT count(*) AS n, max(f) AS m FROM src WHERE v > 1000", "uc", true},
		{"SELECT k, count(*) AS n FROM src GROUP BY k HAVING n % 2 = 0", "uc", true},
		{"SELECT window_start, k, sum(v) AS s FROM " + tumble5 + " GROUP BY ALL HAVING sum(v) BETWEEN 50 AND 150", "auc", true},
		{"SELECT ts, count(*) AS n FROM src WHERE ts IS NOT NULL GROUP BY ts", "auc", true},
		{"SELECT window_start AS t, name, count(*) AS n FROM " + tumble5 + " s LEFT JOIN ref ON s.k = ref.k GROUP BY s.window_start, name", "auc", true},
		{"SELECT t + INTERVAL '1 second' AS t1, n * 10 AS n10, k FROM (SELECT window_start AS t, k, count(*) AS n FROM " + tumble5 + " GROUP BY ALL) WHERE n > 1", "ac", true},
		{"SELECT a.k, a.n, r.name FROM (SELECT window_start, k, count(*) AS n FROM " + tumble5 + " GROUP BY ALL) a JOIN ref r USING (k)", "ac", true},
		{"WITH u AS (SELECT ts, k, v FROM src UNION ALL SELECT ts, k, v + 1000 FROM third) SELECT window_start, k, sum(v) AS s, max(v) AS f FROM tumble(u, ts, INTERVAL '5 seconds') GROUP BY ALL", "auc", true},
		{"WITH u AS (SELECT ts AS t2, k FROM src WHERE v > 20) SELECT window_start, count(*) AS n FROM tumble(u, t2, INTERVAL '10 seconds', INTERVAL '3 seconds') GROUP BY window_start", "auc", true},
		{"SELECT k, count(*) AS n FROM src GROUP BY k ORDER BY n DESC, k LIMIT 2", "c", true},
		{"SELECT k, n, rank() OVER (ORDER BY n DESC, k) AS r FROM (SELECT k, count(*) AS n FROM src GROUP BY k)", "c", true},
		{"SELECT max(n) AS most, count(*) AS groups FROM (SELECT k, count(*) AS n FROM src GROUP BY k)", "c", true},
		{"WITH a AS MATERIALIZED (SELECT k, v FROM src WHERE v > 3) SELECT v, k FROM a", "au", true},
		{"SELECT k, x FROM src, unnest([v, v + 1]) u(x)", "au", true},
		{"SELECT k, i, q.y FROM src, range(2) r(i), LATERAL (SELECT v * 10 + i AS y) q", "au", true},
		{"SELECT COLUMNS(c -> c <> 'f') FROM src", "au", true},
		{"SELECT k, n * 2 AS n2 FROM (SELECT k, count(*) AS n FROM src GROUP BY k) WHERE n % 2 = 1", "uc", true},
		{"SELECT s.k, r.i FROM src s ASOF LEFT JOIN (SELECT unnest(range(0, 100, 7)) AS i) r ON s.v >= r.i", "au", true},
		{"SELECT k, max(name) AS m, sum(f) AS s, list(name) AS l FROM src JOIN ref USING (k) GROUP BY k", "uc", false},
		{"SELECT * FROM src s(a, b) WHERE b > 50", "au", true},
		{"FROM (FROM src SELECT * REPLACE (upper(k) AS k)) t SELECT t.*", "au", true},
		{"SELECT *, count(*) AS n FROM (SELECT k, v FROM src) GROUP BY ALL", "uc", true},
		{"SELECT window_start, h.k, coalesce(sum(v), 0) + count(*) AS c FROM " + hop10 + " h WHERE h.v IS NULL OR h.v < 70 GROUP BY ALL", "auc", true},
		{"SELECT geomean(f) AS g, k FROM src WHERE f > 0 GROUP BY k", "uc", false},
		{"SELECT k, approx_count_distinct(v) AS d, histogram(v % 3) AS h FROM src GROUP BY k", "uc", true},
		{"SELECT k, v AS val, count(*) AS n, val + 1 AS next FROM src GROUP BY ALL", "uc", true},
		{"SELECT k, sum(f::DECIMAL(10,2)) AS sd, avg(f::DECIMAL(10,2)) AS ad FROM src GROUP BY k", "uc", false},
	}
}

// randomRows gives rows whose event times are at most 9 seconds behind the greatest before them.
func randomRows(r *rand.Rand, n int) []row {
	rows := make([]row, n)
	front := 20
	for i := range rows {
		front += r.IntN(3)
		rows[i] = row{k: string(rune('a' + r.IntN(4))), v: r.IntN(100), f: float64(r.IntN(1000)) * 0.1, ts: front - r.IntN(9)}
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
	used  *int64
	late  *int64
	table map[string]string // update: key to row
	rows  []string
	out   *Output
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
	c := Call{Batch: r.batch, Watermark: r.watermark(), Late: r.late, Final: final, Inputs: map[string]Input{}}
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
	r.out = out
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
			if r.p.Stateful() {
				key = ""
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
	list, err := r.s.Snapshot(t.Context(), false)
	require.NoError(t, err)
	for _, c := range list {
		t.Cleanup(c.Release)
		*changes = append(*changes, func(ctx context.Context, s *Session) error { return s.Restore(ctx, c) })
	}
}

func modesOf(letters string) []stream.Mode {
	var out []stream.Mode
	for _, l := range letters {
		out = append(out, map[rune]stream.Mode{'a': stream.Append, 'u': stream.Update, 'c': stream.Complete}[l])
	}
	return out
}

// TestStreamEqualsBatch slices random rows at random, restarts in the middle through a snapshot, and compares with
// the batch plan over all of them and with the text as it stands in a stock DuckDB.
func TestStreamEqualsBatch(t *testing.T) {
	f := newFixture(t)
	for i, sh := range shapes() {
		for _, mode := range modesOf(sh.modes) {
			t.Run(fmt.Sprintf("%02d/%s", i, mode), func(t *testing.T) {
				f := &fixture{t: t, db: f.db, app: f.app}
				p, err := f.plan(mode, sh.body)
				if err != nil {
					t.Fatal(diag.Render(err))
				}
				for seed := range uint64(1) {
					compare(f, p, sh, rand.New(rand.NewPCG(seed, uint64(i))))
				}
			})
		}
	}
}

func compare(f *fixture, p *planner.Plan, sh shape, rnd *rand.Rand) {
	t := f.t
	inputs := map[string][]row{}
	for _, s := range p.Sources {
		inputs[s.Name] = randomRows(rnd, 50)
	}
	whole := f.replay(p)
	whole.step(inputs, true)

	sliced := f.replay(p)
	var changes []func(context.Context, *Session) error
	at := map[string]int{}
	for done := false; !done; {
		done = true
		part := map[string][]row{}
		for _, s := range p.Sources {
			n := min(rnd.IntN(15), len(inputs[s.Name])-at[s.Name])
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
		plain := f.plainSQL(p, sh.body, inputs)
		if !ordered {
			plain = sorted(plain)
		}
		require.Equal(t, plain, want, "%s", sh.body)
	}
}

// plainSQL runs the text in DuckDB with the window macros and nothing else of ours.
func (f *fixture) plainSQL(p *planner.Plan, body string, inputs map[string][]row) []string {
	t := f.t
	c, err := f.db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	for _, sql := range []string{
		`CREATE OR REPLACE TEMP MACRO tumble(src, ts, size) AS TABLE (SELECT *, time_bucket(size, ts, TIMESTAMP '1970-01-01') AS window_start,
			window_start + size AS window_end FROM query_table(src) WHERE ts IS NOT NULL), (src, ts, size, o) AS TABLE (SELECT *,
			time_bucket(size, ts, TIMESTAMP '1970-01-01' + o) AS window_start, window_start + size AS window_end FROM query_table(src) WHERE ts IS NOT NULL)`,
		`CREATE OR REPLACE TEMP MACRO hop(src, ts, slide, size) AS TABLE (SELECT *, window_start + size AS window_end FROM (SELECT *,
			unnest(generate_series(time_bucket(slide, ts, TIMESTAMP '1970-01-01') - size + slide, time_bucket(slide, ts, TIMESTAMP '1970-01-01'), slide))
			AS window_start FROM query_table(src) WHERE ts IS NOT NULL))`,
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
