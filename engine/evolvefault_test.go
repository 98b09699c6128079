package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
)

// TestEvolveLateElsewhere asks that rows which came late refuse a change where they would have met rows that are kept.
func TestEvolveLateElsewhere(t *testing.T) {
	p := newParser(t)
	c := change{mode: "APPEND"}
	for name, body := range map[string]string{
		"outer join": "SELECT a.id, b.id AS other{} FROM src a LEFT JOIN src b ON a.k||'x' = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '20 seconds'",
		"inner join": "SELECT a.id, b.id AS other{} FROM src a JOIN src b ON a.k||'x' = b.k AND b.ts BETWEEN a.ts AND a.ts + INTERVAL '20 seconds'",
		"window of windows": "WITH m AS (SELECT window_start AS ws, count(*) AS n, sum(v) AS v FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL) " +
			"SELECT window_start AS h, sum(n) AS n{} FROM tumble(m AS a, ws, INTERVAL '60 seconds') GROUP BY ALL",
		"looking back": "SELECT id, count(*) OVER (PARTITION BY k ORDER BY ts RANGE BETWEEN INTERVAL '20 seconds' PRECEDING AND CURRENT ROW) AS n{} FROM src a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			more := map[string]string{"window of windows": ", sum(v) AS s"}[name]
			if more == "" {
				more = ", a.v AS v"
			}
			body := strings.Replace(body, "m AS a", "m", 1)
			w := newWorld(t, p)
			app := w.app(c.text(strings.Replace(body, "{}", "", 1), false))
			q := w.mustOpen(app)
			for _, row := range [][]any{{1, "a", 5, at(10)}, {2, "z", 5, at(45)}, {3, "ax", 5, at(46)}, {4, "ax", 5, at(12)}} {
				w.add(app, "src", row)
				require.NoError(t, q.Idle(t.Context()))
			}
			require.NoError(t, q.Close(t.Context()))
			_, err := w.open(w.app(c.text(strings.Replace(body, "{}", more, 1), false)))
			require.Contains(t, code(t, diag.PlanChanged, err), "came late")
		})
	}
}

// TestEvolveTimes asks that another event time, window or unreadable old text refuses a change, and that another
// computed column has the state built anew.
func TestEvolveTimes(t *testing.T) {
	p := newParser(t)
	const text = `CREATE SOURCE src (id BIGINT, raw TIMESTAMP, "a""b" BIGINT AS (id + 1), ts TIMESTAMP AS (raw),
  WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem AS SELECT window_end, sum("a""b") AS s FROM hop(src, ts, INTERVAL '10 seconds', INTERVAL '20 seconds') GROUP BY ALL;`
	for name, c := range map[string]struct {
		from, to string
		want     engine.Effect
	}{
		"event time": {"AS (raw)", "AS (raw - INTERVAL '1 hour')", engine.Refused},
		"slide":      {"INTERVAL '10 seconds'", "INTERVAL '5 seconds'", engine.Refused},
		"size":       {"INTERVAL '20 seconds'", "INTERVAL '30 seconds'", engine.Refused},
		"column":     {"id + 1", "id + 2", engine.Rebuilt},
		"unused":     {"ts TIMESTAMP AS", "more BIGINT AS (id * 2), ts TIMESTAMP AS", engine.Unchanged},
	} {
		w := newWorld(t, p)
		was, is := w.app(text), w.app(strings.Replace(text, c.from, c.to, 1))
		change := engine.Compare(w.shape(was), w.shape(is))
		if c.want == engine.Unchanged && change.Effect == engine.Compatible { // the source's columns are in the fingerprint
			change.Effect = c.want
		}
		require.Equal(t, c.want, change.Effect, name)
	}
}

// TestEvolveUnreadable asks that a stored text which can not be planned any more is not taken for one with the same state.
func TestEvolveUnreadable(t *testing.T) {
	p := newParser(t)
	file := filepath.Join(t.TempDir(), "r.csv")
	require.NoError(t, os.WriteFile(file, []byte("k,name\na,A\nb,B\n"), 0o600))
	text := func(table, where string) string {
		return fmt.Sprintf(`CREATE TABLE r AS %s;
CREATE SOURCE src (id BIGINT, k VARCHAR, v BIGINT) WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS SELECT name, count(*) AS n FROM src JOIN r USING (k) %s GROUP BY name;`, table, where)
	}
	w := newWorld(t, p)
	app := w.app(text("FROM '"+file+"'", ""))
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.NoError(t, os.Remove(file))
	_, err := w.open(w.app(text("SELECT 'a' AS k, 'A' AS name", "WHERE v > 5")))
	require.Contains(t, code(t, diag.PlanChanged, err), "can not be planned any more")
}

// TestEvolveThird asks that sinks which were not told of a changed text yet are told before the next one is taken up.
func TestEvolveThird(t *testing.T) {
	p := newParser(t)
	c := change{mode: "UPDATE"}
	texts3 := []string{c.text("SELECT k, count(*) AS n FROM src GROUP BY k", false),
		c.text("SELECT k, count(*) AS n FROM src WHERE v > 5 GROUP BY k", false),
		c.text("SELECT k, count(*) AS n FROM src WHERE v > 6 GROUP BY k", false)}
	w := newWorld(t, p)
	app := w.app(texts3[0])
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(1)}, []any{2, "b", 9, at(2)}, []any{3, "c", 6, at(2)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	w.hookOnce(engine.BeforeIntent, 1)
	q = w.mustOpen(w.app(texts3[1]))
	require.ErrorIs(t, q.Idle(t.Context()), errStop)
	require.NoError(t, q.Abandon())
	w.opt = nil
	q = w.mustOpen(w.app(texts3[2]))
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"b|1"}, sorted(texts(w.sinks.Table("mem"))))
}

// TestEvolveStop asks that Stop is clean while a source is away and a changed text is on its way.
func TestEvolveStop(t *testing.T) {
	c := change{mode: "UPDATE"}
	w := newWorld(t, newParser(t))
	app := w.app(c.text("SELECT k, count(*) AS n FROM src GROUP BY k", false))
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(1)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	w.clock = clock.System{}
	asked := make(chan struct{}, 100)
	down := false
	w.trouble(func(context.Context, string) error {
		if down {
			asked <- struct{}{}
			return diag.Retry(errors.New("away"))
		}
		return nil
	})
	q = w.mustOpen(w.app(c.text("SELECT k, count(*) AS n, sum(v) AS s FROM src GROUP BY k", false)))
	down = true
	done := make(chan error, 1)
	go func() { done <- q.Run(t.Context()) }()
	<-asked
	q.Stop()
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(time.Minute):
		t.Fatal("Run does not return")
	}
}

// TestSlotTextChanges asks that a query which is bound to its slot takes any text: it keeps nothing from one to the next.
func TestSlotTextChanges(t *testing.T) {
	const text = `CREATE SOURCE src (id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP) WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem TRIGGER CRON '* * * * *' AS SELECT k, count(*) AS n FROM src
  WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end') GROUP BY k;`
	w := newWorld(t, newParser(t))
	app := w.app(text)
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(1)}, []any{2, "a", 5, at(70)})
	w.manual.Advance(61 * time.Second)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	q = w.mustOpen(w.app(strings.Replace(text, "AS n", "AS n, sum(v) AS s", 1)))
	w.manual.Advance(61 * time.Second)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Contains(t, texts(w.sinks.Rows("mem")), "a|1|5")
}
