package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/planner"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// shape is a query's text with the modes it runs in. {src}, {tumble}, {all} and {hop} stand for what it reads: the
// source, windows of it, windows of which none is ever late, overlapping windows. In the oracle they stand for the
// same rows less those that were late.
type shape struct {
	modes string // letters of append, update, complete
	body  string
	plain string // for the oracle, where it is another text
}

func shapes() []shape {
	return []shape{
		{"au", "SELECT * FROM {src}", ""},
		{"au", "SELECT k, v + 1 AS x, w FROM {src} s WHERE v > 40", ""},
		{"au", "SELECT k, unnest([v, v + 1]) AS x FROM {src} s", ""},
		{"au", "SELECT s.k, r.name FROM {src} s LEFT JOIN ref r ON s.k = r.k AND s.v > 30", ""},
		{"au", "SELECT id, v FROM {src} s UNION ALL SELECT id, v FROM other", ""},
		{"au", "SELECT window_start, window_end, v FROM {all} t WHERE k IS NOT NULL", ""},
		{"auc", "SELECT window_start, count(*) AS n FROM {tumble} t GROUP BY window_start", ""},
		{"auc", "SELECT window_end, k, sum(v) AS s, min(v) AS lo, max(f) AS hi, count(f) AS n FROM {tumble} t GROUP BY ALL", ""},
		{"auc", "SELECT window_start, k, avg(v) AS m, sum(w) * 2 AS s2, sum(f) AS f FROM {hop} t GROUP BY window_start, k", ""},
		{"auc", "SELECT window_start, list(v) AS l, string_agg(k, '-') AS ks, first(v) AS a, last(id) AS z FROM {tumble} t GROUP BY ALL", ""},
		{"auc", "SELECT window_start, median(v) AS md, quantile_cont(f, 0.25) AS q FROM {tumble} t GROUP BY ALL", ""},
		{"auc", "SELECT window_start, count(DISTINCT k) AS d, sum(DISTINCT v) AS ds FROM {hop} t GROUP BY ALL", ""},
		{"auc", "SELECT window_start, count(*) FILTER (WHERE v > 50) AS n, list(v ORDER BY id DESC) AS l FROM {tumble} t GROUP BY ALL", ""},
		{"auc", "SELECT window_start, k, sum(v) AS s FROM {tumble} t GROUP BY ALL HAVING sum(v) BETWEEN 50 AND 150", ""},
		{"auc", "SELECT ts, count(*) AS n FROM {raw} t WHERE ts IS NOT NULL GROUP BY ts", ""},
		{"auc", "SELECT window_start AS t, name, count(*) AS n FROM {tumble} s LEFT JOIN ref ON s.k = ref.k GROUP BY s.window_start, name", ""},
		{"ac", "SELECT t + INTERVAL '1 second' AS t1, n * 10 AS n10, k FROM (SELECT window_start AS t, k, count(*) AS n FROM {tumble} s GROUP BY ALL) WHERE n > 1", ""},
		{"uc", "SELECT k, count(*) AS n, sum(f) AS s, list(v) AS l FROM {src} s GROUP BY k", ""},
		{"uc", "SELECT count(*) AS n, sum(v) AS s, median(v) AS m FROM {src} s", ""},
		{"uc", "SELECT k, count(*) AS n FROM {src} s GROUP BY k HAVING n % 2 = 0", ""},
		{"c", "SELECT k, count(*) AS n FROM {src} s GROUP BY k ORDER BY n DESC, k LIMIT 2", ""},
		{"auc", `WITH u AS (SELECT ts, k, v FROM src UNION ALL SELECT ts, k, v + 1000 FROM other)
			SELECT window_start, k, sum(v) AS s, count(*) AS n FROM tumble(u, ts, INTERVAL '5 seconds') GROUP BY ALL`,
			`WITH u AS (SELECT ts, k, v, __late FROM src UNION ALL SELECT ts, k, v + 1000, __late FROM other),
			t AS (SELECT *, time_bucket(INTERVAL '5 seconds', ts, TIMESTAMP '1970-01-01') AS window_start FROM u WHERE ts IS NOT NULL)
			SELECT window_start, k, sum(v) AS s, count(*) AS n FROM t
			WHERE __late IS NULL OR window_start + INTERVAL '5 seconds' > __late GROUP BY ALL`},
	}
}

const (
	tumble5 = "tumble(src, ts, INTERVAL '5 seconds')"
	hop10   = "hop(src, ts, INTERVAL '5 seconds', INTERVAL '10 seconds')"
)

func (s shape) streamed() string {
	return strings.NewReplacer("{src}", "src", "{raw}", "src", "{all}", tumble5, "{tumble}", tumble5, "{hop}", hop10).Replace(s.body)
}

func (s shape) oracle() string {
	if s.plain != "" {
		return s.plain
	}
	const rest, open = "(SELECT * EXCLUDE (__late) FROM ", " WHERE __late IS NULL OR window_end > __late)"
	return strings.NewReplacer("{src}", rest+"src)", "{raw}", rest+"src WHERE __late IS NULL OR ts > __late)",
		"{all}", rest+tumble5+")", "{tumble}", rest+tumble5+open, "{hop}", rest+hop10+open).Replace(s.body)
}

// lateness is a query over the ids of rows with whether each of its windows was dropped; "" if none ever is.
func (s shape) lateness() string {
	switch {
	case strings.Contains(s.body, "{tumble}"):
		return "SELECT id, coalesce(window_end <= __late, false) AS late FROM " + tumble5
	case strings.Contains(s.body, "{hop}"):
		return "SELECT id, coalesce(window_end <= __late, false) AS late FROM " + hop10
	case strings.Contains(s.body, "{raw}"):
		return "SELECT id, coalesce(ts <= __late, false) AS late FROM src"
	}
	return ""
}

const propSources = `
CREATE SOURCE src (id BIGINT, k VARCHAR, v INTEGER, f DOUBLE, ts TIMESTAMP, w BIGINT AS (v * 2),
  WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (connector = 'memory'%s);
CREATE SOURCE other (id BIGINT, k VARCHAR, v INTEGER, f DOUBLE, ts TIMESTAMP,
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (connector = 'memory');
CREATE TABLE ref AS SELECT * FROM (VALUES ('a', 'anna'), ('b', 'bert'), ('b', 'bea'), ('d', NULL)) r(k, name);
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem OUTPUT MODE %s AS %s;`

// play is one check: a query, its rows so far, and what was heard of its batches.
type play struct {
	*world
	rt      *rapid.T
	app     *planner.App
	query   *engine.Query
	rows    map[string][][]any // by source, as added
	front   int                // greatest event time so far
	batches map[int64]engine.Progress
	last    int64
	early   int // batches that were computed beside the delivery of the one before
}

// TestStreamEqualsBatch slices random rows at random into batches, with stops, kills and crashes between and inside
// them, and asks that the sink then holds what the batch plan gives over the same rows and what plain DuckDB with the
// window macros gives, less the pairs of row and window that were late. PROP_CHECKS says how often, PROP_SEED from
// where; make prop does more.
func TestStreamEqualsBatch(t *testing.T) {
	checks := env("PROP_CHECKS", "40")
	if testing.Short() {
		checks = "10"
	}
	require.NoError(t, flag.Set("rapid.checks", checks))
	require.NoError(t, flag.Set("rapid.seed", env("PROP_SEED", "1")))
	require.NoError(t, flag.Set("rapid.nofailfile", "true"))
	p := newParser(t)
	dir := filepath.Join(t.TempDir(), "data")
	early := 0
	rapid.Check(t, func(rt *rapid.T) {
		list := shapes()
		at := rapid.IntRange(0, len(list)-1).Draw(rt, "shape")
		letter := rapid.SampledFrom([]rune(list[at].modes)).Draw(rt, "mode")
		mode := map[rune]string{'a': "APPEND", 'u': "UPDATE", 'c': "COMPLETE"}[letter]
		pl := &play{world: newWorldIn(rt, p, dir), rt: rt, rows: map[string][][]any{}, front: 20,
			batches: map[int64]engine.Progress{}}
		limit := rapid.SampledFrom([]string{"", "", ", max_rows_per_batch = 1", ", max_rows_per_batch = 5"}).Draw(rt, "limit")
		pl.app = pl.world.app(fmt.Sprintf(propSources, limit, mode, list[at].streamed()))
		pl.live()
		early += pl.early
		pl.compare(list[at], mode)
	})
	require.True(t, early > 0 || testing.Short(), "batches were computed beside the delivery of the one before")
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// live lets the query run over random rows through random accidents.
func (p *play) live() {
	p.reopen("")
	for range rapid.IntRange(1, 12).Draw(p.rt, "steps") {
		for _, source := range []string{"src", "other"} {
			n := rapid.IntRange(0, 12).Draw(p.rt, "rows")
			if source == "other" {
				n /= 3
			}
			p.feed(source, n)
		}
		switch rapid.SampledFrom([]string{"run", "run", "run", "wait", "keep", "stop", "kill", "crash"}).Draw(p.rt, "what") {
		case "run":
			require.NoError(p.rt, p.query.Idle(p.rt.Context()))
		case "wait": // the rows go into the next batch
		case "keep":
			p.manual.Advance(11 * time.Second)
			require.NoError(p.rt, p.query.Idle(p.rt.Context()))
		case "stop":
			require.NoError(p.rt, p.query.Close(p.rt.Context()))
			p.reopen("")
		case "kill":
			require.NoError(p.rt, p.query.Abandon())
			p.reopen("")
		case "crash":
			p.crash()
		}
	}
	require.NoError(p.rt, p.query.Finish(p.rt.Context()))
	require.NoError(p.rt, p.query.Close(p.rt.Context()))
}

// crash kills the query inside a batch, if one comes to the point.
func (p *play) crash() {
	point := rapid.SampledFrom([]string{engine.BeforeIntent, engine.AfterIntent, engine.AfterExecute, engine.MidSink,
		engine.AfterSink, engine.AfterCommit, engine.AfterState}).Draw(p.rt, "point")
	require.NoError(p.rt, p.query.Abandon())
	p.reopen(point)
	if err := p.query.Idle(p.rt.Context()); err != nil {
		require.ErrorIs(p.rt, err, errStop)
	}
	require.NoError(p.rt, p.query.Abandon())
	p.reopen("")
}

// reopen starts the query again, to be killed at a point if that is not empty.
func (p *play) reopen(point string) {
	p.opt = func(o *engine.Options) {
		o.Listener.BatchDone = p.heard
		o.Hook = func(at string) error {
			if at == point {
				return errStop
			}
			return nil
		}
	}
	p.query = p.mustOpen(p.app)
}

// heard notes a batch. One that runs again must be the same, and every row must be accounted for.
func (p *play) heard(b engine.Progress) {
	for _, s := range b.Sources {
		require.Equal(p.rt, s.In, s.Used+s.Filtered+s.Late+s.NullTime+s.Dead, "conservation in batch %d", b.BatchID)
	}
	if old, again := p.batches[b.BatchID]; again {
		for i := range b.Sources {
			b.Sources[i].Behind, old.Sources[i].Behind = 0, 0
		}
		require.Equal(p.rt, old.Sources, b.Sources)
		require.Equal(p.rt, old.EventTime, b.EventTime)
	}
	if b.Early {
		p.early++
	}
	p.batches[b.BatchID] = b
	p.last = max(p.last, b.BatchID)
}

// feed adds rows: hot keys, NULLs, times in disorder, some hopelessly late.
func (p *play) feed(source string, n int) {
	for range n {
		p.front += rapid.IntRange(0, 3).Draw(p.rt, "forward")
		back := rapid.SampledFrom([]int{0, 0, 1, 3, 8, 9, 14, 40}).Draw(p.rt, "back")
		row := []any{len(p.rows[source]) + 1, rapid.SampledFrom([]any{"a", "a", "a", "b", "c", "d", nil}).Draw(p.rt, "k"),
			rapid.SampledFrom([]any{nil, 0, 7, 31, 42, 51, 99, 99}).Draw(p.rt, "v"),
			rapid.SampledFrom([]any{nil, 0.25, 1.5, -3.75, 1e6}).Draw(p.rt, "f"), at(p.front - back)}
		if rapid.IntRange(0, 15).Draw(p.rt, "no time") == 0 {
			row[4] = nil
		}
		p.rows[source] = append(p.rows[source], row)
		p.add(p.app, source, row)
	}
}

// got is what a reader of the sink has in the end.
func (p *play) got(mode string) []string {
	if mode == "UPDATE" && p.query.Plan().Stateful() {
		return sorted(texts(p.sinks.Table("mem")))
	}
	return sorted(texts(p.sinks.Rows("mem")))
}

func (p *play) compare(s shape, mode string) {
	db, err := duck.Open(p.rt.Context(), duck.Options{Threads: 1})
	require.NoError(p.rt, err)
	defer func() { require.NoError(p.rt, db.Close()) }()
	conn, err := db.Conn(p.rt.Context())
	require.NoError(p.rt, err)
	defer func() { require.NoError(p.rt, conn.Close()) }()
	p.load(conn, mode)
	table, err := conn.Select(p.rt.Context(), s.oracle())
	require.NoError(p.rt, err)
	defer table.Release()
	got := p.got(mode)
	want := lines(stream.Batch{Records: table.Records, Schema: table.Schema})
	require.Equal(p.rt, want, got, "plain DuckDB, %s: %s", mode, s.body)

	gone := map[int]bool{}
	if q := s.lateness(); q != "" {
		partly, err := conn.Rows(p.rt.Context(),
			"SELECT id, bool_and(late) FROM ("+q+") GROUP BY id HAVING bool_or(late)")
		require.NoError(p.rt, err)
		for _, row := range partly {
			if row[1] == false {
				return // late in some of its windows: no batch run over whole rows gives that
			}
			id, ok := row[0].(int64)
			require.True(p.rt, ok)
			gone[int(id)] = true
		}
	} else if s.plain != "" {
		return // which rows of two sources are late is for the oracle alone
	}
	require.Equal(p.rt, p.batchRun(gone), got, "batch run, %s: %s", mode, s.body)
}

// load gives the rows to plain DuckDB, each with the watermark that decided whether it was late.
func (p *play) load(conn *duck.Conn, mode string) {
	exec := func(sql string) {
		_, err := conn.Exec(p.rt.Context(), sql)
		require.NoError(p.rt, err, sql)
	}
	exec(sqlfront.Prelude())
	exec("CREATE TABLE ref AS SELECT * FROM (VALUES ('a', 'anna'), ('b', 'bert'), ('b', 'bea'), ('d', NULL)) r(k, name)")
	for _, source := range []string{"src", "other"} {
		exec("CREATE TABLE " + source + " (id BIGINT, k VARCHAR, v INTEGER, f DOUBLE, ts TIMESTAMP, w BIGINT, __late TIMESTAMP)")
		late := p.late(source)
		for i, row := range p.rows[source] {
			cells := make([]string, len(row))
			for j, v := range row {
				switch v := v.(type) {
				case nil:
					cells[j] = "NULL"
				case string:
					cells[j] = "'" + v + "'"
				default:
					cells[j] = fmt.Sprint(v)
				}
			}
			by := "NULL"
			if late[i] != nil && mode != "COMPLETE" {
				by = late[i].Format("TIMESTAMP '2006-01-02 15:04:05.999999'")
			}
			exec(fmt.Sprintf("INSERT INTO %s VALUES (%s, %s * 2, %s)", source, strings.Join(cells, ", "), cells[2], by))
		}
	}
}

// late returns for each row of a source the watermark that its batch dropped late rows by: the one that the batch
// before evicted with.
func (p *play) late(source string) []*time.Time {
	out := make([]*time.Time, len(p.rows[source]))
	seen := 0
	for b := int64(0); b <= p.last; b++ {
		for _, s := range p.batches[b].Sources {
			var from, to int
			_, err := fmt.Sscan(s.StartOffset+" "+s.EndOffset, &from, &to)
			require.NoError(p.rt, err)
			if s.Name != source {
				continue
			}
			require.Equal(p.rt, seen, from, "batch %d goes on where the one before ended", b)
			for ; seen < to; seen++ {
				if b > 0 {
					out[seen] = p.batches[b-1].EventTime.Watermark
				}
			}
		}
	}
	if _, used := p.batches[0]; used && seen > 0 {
		require.Equal(p.rt, len(out), seen, "every row was read")
	}
	return out
}

// batchRun is what the query's batch plan gives over the rows less those that are gone.
func (p *play) batchRun(gone map[int]bool) []string {
	w := newWorldIn(p.rt, p.parser, p.dir)
	w.reg.Sources["memory"] = sourcemem.Connector(w.sources)
	for source, rows := range p.rows {
		for i, row := range rows {
			if source != "src" || !gone[i+1] {
				w.add(p.app, source, row)
			}
		}
	}
	res, err := engine.Batch(p.rt.Context(), w.options(), p.app, "q", engine.BatchOptions{})
	require.NoError(p.rt, err)
	defer res.Release()
	return lines(res.Result)
}

// lines shows a result as text shows what a memory sink holds, in a fixed order.
func lines(b stream.Batch) []string {
	var rows [][]any
	for _, rec := range b.Records {
		for i := range int(rec.NumRows()) {
			row := make([]any, b.Schema.NumFields())
			for j := range row {
				row[j] = rowenc.Value(rec.Column(j), i)
			}
			rows = append(rows, row)
		}
	}
	return sorted(texts(rows))
}
