package engine_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// change is a query's text and what becomes of it.
type change struct {
	mode     string
	old, new string // bodies
	column   bool   // the new text declares one more column of the source, day
}

func changes() map[string]change {
	const windows = "FROM tumble(src, ts, INTERVAL '10 seconds')"
	return map[string]change{
		"one more aggregate": {"APPEND", "SELECT window_start, k, count(*) AS n " + windows + " GROUP BY ALL",
			"SELECT window_start, k, count(*) AS n, sum(v) AS s, first(id) AS f " + windows + " GROUP BY ALL", false},
		"one that keeps rows": {"APPEND", "SELECT window_start, count(*) AS n " + windows + " GROUP BY ALL",
			"SELECT window_start, count(*) AS n, median(v) AS m, list(id) AS l " + windows + " GROUP BY ALL", false},
		"another aggregate": {"APPEND", "SELECT window_start, max(v) AS m, list(v) AS l " + windows + " GROUP BY ALL",
			"SELECT window_start, min(v) AS m, list(id) AS l " + windows + " GROUP BY ALL", false},
		"a filter": {"APPEND", "SELECT window_start, count(*) AS n " + windows + " GROUP BY ALL",
			"SELECT window_start, count(*) AS n " + windows + " WHERE v > 2 GROUP BY ALL", false},
		"a new column of the source": {"APPEND", "SELECT window_start, count(*) AS n " + windows + " GROUP BY ALL",
			"SELECT window_start, count(*) AS n, max(day) AS d " + windows + " GROUP BY ALL", true},
		"sessions": {"APPEND", "SELECT window_start, window_end, k, count(*) AS n FROM session(src, ts, k, INTERVAL '3 seconds') GROUP BY ALL",
			"SELECT window_start, window_end, k, count(*) AS n, sum(v) AS s FROM session(src, ts, k, INTERVAL '3 seconds') GROUP BY ALL", false},
		"a join's columns": {"APPEND", "SELECT a.id, b.id AS other FROM src a JOIN src b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '20 seconds'",
			"SELECT a.id, b.id AS other, a.v + b.v AS sum FROM src a JOIN src b ON a.k = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '20 seconds'", false},
		"groups in update mode": {"UPDATE", "SELECT k, count(*) AS n FROM src GROUP BY k",
			"SELECT k, count(*) AS n, sum(v) AS s, list(id) AS l FROM src GROUP BY k", false},
		"a filter in update mode": {"UPDATE", "SELECT k, count(*) AS n FROM src GROUP BY k",
			"SELECT k, count(*) AS n FROM src WHERE v > 5 GROUP BY k", false},
		"no key": {"UPDATE", "SELECT count(*) AS n FROM src", "SELECT count(*) AS n, sum(v) AS s FROM src", false},
		"ranks": {"UPDATE", "SELECT id, k FROM src QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC, id) = 1",
			"SELECT id, k, ts FROM src QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC, id) = 1", false},
		"another order": {"UPDATE", "SELECT id, k FROM src QUALIFY row_number() OVER (PARTITION BY k ORDER BY v DESC, id) = 1",
			"SELECT id, k FROM src QUALIFY row_number() OVER (PARTITION BY k ORDER BY v, id) = 1", false},
		"two of a rank": {"UPDATE",
			"SELECT id, k, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS r FROM src QUALIFY r <= 2",
			"SELECT id, k, v, row_number() OVER (PARTITION BY k ORDER BY v DESC, id) AS r FROM src QUALIFY r <= 2", false},
		"complete mode": {"COMPLETE", "SELECT k, count(*) AS n FROM src GROUP BY k",
			"SELECT k, count(*) AS n, max(v) AS m FROM src GROUP BY k", false},
	}
}

func (c change) text(body string, column bool) string {
	columns := "id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP"
	if column {
		columns += ", day DATE AS (ts::DATE)"
	}
	return fmt.Sprintf(`CREATE SOURCE src (%s, WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem OUTPUT MODE %s AS %s;`, columns, c.mode, body)
}

// evolvingRows have disorder, NULLs and no late row, batch by batch.
func evolvingRows() [][][]any {
	return [][][]any{
		{{1, "a", 5, at(1)}, {2, "b", 7, at(3)}, {3, "a", 1, at(12)}},
		{{4, "a", 2, at(9)}, {5, "c", nil, at(14)}, {6, "b", 9, at(18)}, {7, nil, 9, at(19)}},
		{{8, "b", 3, at(31)}, {9, "c", 4, at(27)}, {10, "d", 1, at(30)}},
		{{11, "a", 8, at(33)}, {12, "c", 2, at(29)}, {13, "a", 3, at(47)}},
		{{14, "b", 6, at(44)}, {15, "a", 20, at(62)}, {16, "d", 9, at(60)}},
	}
}

// evolve lives a life of texts, one for each batch of rows, and returns what the sink was told after the last change.
func (w *world) evolve(lives ...string) []string {
	w.t.Helper()
	var q *engine.Query
	for i, sql := range lives {
		app := w.app(sql)
		if i > 0 && sql != lives[i-1] {
			require.NoError(w.t, q.Close(w.t.Context()))
			q = nil
		}
		if q == nil {
			q = w.mustOpen(app)
		}
		w.add(app, "src", evolvingRows()[i]...)
		w.manual.Advance(11 * time.Second)
		if err := q.Idle(w.t.Context()); err != nil {
			w.t.Fatal(diag.Render(err))
		}
	}
	require.NoError(w.t, q.Finish(w.t.Context()))
	require.NoError(w.t, q.Close(w.t.Context()))
	return sorted(texts(w.sinks.Table("mem")))
}

// TestEvolve asks that a query whose text changes in the middle holds what it would hold, had it had the new text from
// its beginning: all of it in update and complete mode, in append mode what was given after the change.
func TestEvolve(t *testing.T) {
	p := newParser(t)
	for name, c := range changes() {
		for _, from := range []int{1, 3} {
			t.Run(fmt.Sprint(name, " after ", from), func(t *testing.T) {
				t.Parallel()
				was, is := c.text(c.old, false), c.text(c.new, c.column)
				life, always := make([]string, len(evolvingRows())), make([]string, len(evolvingRows()))
				for i := range life {
					life[i], always[i] = was, is
					if i >= from {
						life[i] = is
					}
				}
				evolved, one := newWorld(t, p), newWorld(t, p)
				var done []engine.Evolved
				evolved.opt = func(o *engine.Options) {
					o.Listener.Evolved = func(e engine.Evolved) { done = append(done, e) }
				}
				got, want := evolved.evolve(life...), one.evolve(always...)
				require.Len(t, done, 1)
				if c.mode != "APPEND" {
					require.Equal(t, want, got)
					return
				}
				require.Equal(t, one.told(done[0].Batch), evolved.told(done[0].Batch))
				require.NotEmpty(t, evolved.told(done[0].Batch))
			})
		}
	}
}

// TestEvolveBeforeAnyRow changes a text before the first batch.
func TestEvolveBeforeAnyRow(t *testing.T) {
	p := newParser(t)
	for _, name := range []string{"groups in update mode", "complete mode", "one that keeps rows"} {
		c := changes()[name]
		w := newWorld(t, p)
		q := w.mustOpen(w.app(c.text(c.old, false)))
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Close(t.Context()))
		is, one := c.text(c.new, false), newWorld(t, p)
		require.Equal(t, one.evolve(is, is, is, is, is), w.evolve(is, is, is, is, is), name)
		require.Equal(t, one.batches("mem"), w.batches("mem"), name)
	}
}

// told is what the memory sink got from a batch on.
func (w *world) told(from int64) []string {
	var out []string
	for _, line := range w.batches("mem") {
		var n int64
		_, err := fmt.Sscanf(line, "%d:", &n)
		require.NoError(w.t, err)
		if n >= from {
			out = append(out, line)
		}
	}
	return out
}

// TestEvolveTwice changes a text twice, with a life between that never wrote a state version of its own.
func TestEvolveTwice(t *testing.T) {
	p := newParser(t)
	c := change{mode: "UPDATE"}
	a := c.text("SELECT k, count(*) AS n FROM src GROUP BY k", false)
	b := c.text("SELECT k, count(*) AS n, sum(v) AS s FROM src GROUP BY k", false)
	d := c.text("SELECT k, count(*) AS n, sum(v) AS s, first(id) AS f FROM src WHERE v <> 7 GROUP BY k", true)
	w, one := newWorld(t, p), newWorld(t, p)
	require.Equal(t, one.evolve(d, d, d, d, d), w.evolve(a, b, b, d, d))
	names, err := w.disk.List(w.dir + "/q")
	require.NoError(t, err)
	require.Contains(t, names, "state-2")
	require.NotContains(t, names, "state")
	require.NotContains(t, names, "state-1")
}

// TestEvolveRefused asks that what history can not give is refused with the reason, and that the old text goes on.
func TestEvolveRefused(t *testing.T) {
	p := newParser(t)
	update := change{mode: "UPDATE"}
	old := update.text("SELECT k, count(*) AS n FROM src GROUP BY k", false)
	more := update.text("SELECT k, count(*) AS n, sum(v) AS s FROM src GROUP BY k", false)
	for name, c := range map[string]struct{ text, reason string }{
		"another key":    {update.text("SELECT v, count(*) AS n FROM src GROUP BY v", false), "not for other keys"},
		"another name":   {strings.Replace(more, "SELECT k,", "SELECT k AS name,", 1), "named by (k VARCHAR), and are by (name VARCHAR)"},
		"now()":          {strings.Replace(more, "sum(v)", "max(now()::TIMESTAMP - ts)", 1), "now()"},
		"a column less":  {strings.Replace(more, "count(*) AS n, ", "", 1), `result column "n" is gone`},
		"another type":   {strings.Replace(more, "count(*) AS n", "list(v) AS n", 1), `result column "n" was BIGINT, and is BIGINT[]`},
		"another mode":   {strings.Replace(more, "UPDATE", "COMPLETE", 1), "another mode"},
		"rows that fail": {strings.Replace(more, "sum(v)", "sum((v * 100)::TINYINT)", 1), "2 rows of the history can not be used by the changed text, and 0 by the old one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, p)
			app := w.app(old)
			q := w.mustOpen(app)
			w.add(app, "src", evolvingRows()[0]...)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			q, err := w.open(w.app(c.text))
			if err == nil {
				err = q.Idle(t.Context())
				require.NoError(t, q.Abandon())
			}
			require.Contains(t, code(t, diag.PlanChanged, err), c.reason)
			q = w.mustOpen(app)
			w.add(app, "src", evolvingRows()[1]...)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, []string{"<nil>|1", "a|3", "b|2", "c|1"}, sorted(texts(w.sinks.Table("mem"))))
		})
	}
}

// TestEvolveLate asks that late rows keep update mode from being built anew, and not windows in append mode.
func TestEvolveLate(t *testing.T) {
	p := newParser(t)
	for mode, want := range map[string]diag.Code{"APPEND": "", "UPDATE": diag.PlanChanged} {
		w := newWorld(t, p)
		c := change{mode: mode}
		app := w.app(c.text("SELECT window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL", false))
		q := w.mustOpen(app)
		for _, row := range [][]any{{1, "a", 5, at(1)}, {2, "a", 5, at(60)}, {3, "a", 5, at(61)}, {4, "a", 5, at(2)}} {
			w.add(app, "src", row)
			require.NoError(t, q.Idle(t.Context()))
		}
		require.NoError(t, q.Close(t.Context()))
		_, err := w.open(w.app(c.text("SELECT window_start, count(*) AS n, sum(v) AS s "+
			"FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL", false)))
		require.Equal(t, want, diag.CodeOf(err), "%v", err)
		if want != "" {
			require.ErrorContains(t, err, "1 rows came late")
		}
	}
}

// TestEvolveFiles asks that files are read again beside the query that reads on, in the order it saw them, and that a
// file which is gone by now refuses the change.
func TestEvolveFiles(t *testing.T) {
	p := newParser(t)
	const sql = `CREATE SOURCE src (id BIGINT, k VARCHAR) WITH (connector = 'file', path = 'FOLDER/*.ndjson', format = 'ndjson', spool = 'off');
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS SELECT k, count(*) AS n FROM src GROUP BY k;`
	for name, gone := range map[string]bool{"there": false, "gone": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, p)
			dir := filepath.Join(filepath.Dir(w.dir), "in")
			require.NoError(t, w.disk.MkdirAll(dir))
			put := func(file, rows string) {
				require.NoError(t, vfs.WriteFile(w.disk, filepath.Join(dir, file), []byte(rows)))
			}
			text := strings.Replace(sql, "FOLDER", dir, 1)
			put("z.ndjson", `{"id": 1, "k": "a"}`)
			q := w.mustOpen(w.app(text))
			require.NoError(t, q.Idle(t.Context()))
			put("b.ndjson", `{"id": 2, "k": "a"}`)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			if gone {
				require.NoError(t, w.disk.Remove(filepath.Join(dir, "z.ndjson")))
			}
			put("a.ndjson", `{"id": 3, "k": "a"}`)
			q, err := w.open(w.app(strings.Replace(text, "AS n", "AS n, first(id) AS f, last(id) AS l", 1)))
			if gone {
				require.Contains(t, code(t, diag.PlanChanged, err), "z.ndjson")
				return
			}
			require.NoError(t, err)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, []string{"a|3|1|3"}, texts(w.sinks.Table("mem")))
		})
	}
}
