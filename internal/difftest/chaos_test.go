package difftest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/difftest"
)

// chaosOf declares a and b and a query over them, and makes 16 rows of a.
func chaosOf(t *testing.T, l *lab, body string) difftest.ChaosOptions {
	t.Helper()
	sql := `CREATE SOURCE a ("the id" BIGINT, k VARCHAR, subject VARCHAR METADATA, ts TIMESTAMP, w BIGINT AS ("the id" * 2),
		WATERMARK FOR ts AS ts - INTERVAL '1500 milliseconds') WITH (connector = 'memory', max_rows_per_batch = 1);
		CREATE SOURCE b (k VARCHAR) WITH (connector = 'memory');
		CREATE MACRO plus(x) AS x + 1;
		CREATE TABLE out AS SELECT plus(1) AS one;
		CREATE VIEW va AS SELECT *, plus(w) AS w1 FROM a;
		CREATE SINK s1 WITH (connector = 'memory'); CREATE SINK s2 WITH (connector = 'memory');
		CREATE QUERY q INTO s1 TRIGGER EVERY '1 hour' WITH (watermark_policy = 'max', idle_timeout = '1 minute') AS ` + body + `;
		CREATE QUERY other INTO s2 AS SELECT * FROM b;`
	app, err := l.parse(t.Context(), &diag.Text{Name: "app.sql", Body: sql}, difftest.Memory())
	require.NoError(t, err)
	o := difftest.ChaosOptions{Options: difftest.Options{Parse: l.parse, Dir: l.dir}, App: app, Query: app.Queries[0],
		Rows: map[string][][]any{}, Runs: 3, Seed: 11, Crash: true}
	for i := range 16 {
		second := i
		if i%7 == 6 {
			second = max(0, i-12)
		}
		at := fmt.Sprintf("2026-01-01 00:00:%02d", second)
		o.Rows["a"] = append(o.Rows["a"], []any{i, []any{"x", "y", nil}[i%3], "subject.of", at})
	}
	return o
}

func TestChaosRewritesAnApplication(t *testing.T) {
	l := newLab(t, nil, nil)
	o := chaosOf(t, l, "SELECT window_start, k, sum(w1) AS s FROM tumble(va, ts, INTERVAL '5 seconds') GROUP BY ALL")
	sql := difftest.MemorySQL(o.App, o.Query, 7)
	for _, part := range []string{`"the id" BIGINT`, `"subject" VARCHAR,`, `"w" BIGINT AS ("the id" * 2)`, "INTERVAL '1500000 microseconds'",
		"max_rows_per_batch = 7", "INTO out_ OUTPUT MODE APPEND", "watermark_policy = 'max'", "idle_timeout = '1m0s'"} {
		require.Contains(t, sql, part)
	}
	require.NotContains(t, sql, "TRIGGER")
	require.NotContains(t, sql, "other")
	require.Less(t, strings.Index(sql, "MACRO plus"), strings.Index(sql, "VIEW"))
}

func TestChaosRunsAreTheSameForTheSameSeed(t *testing.T) {
	l := newLab(t, nil, nil)
	o := chaosOf(t, l, "SELECT window_start, k, sum(w1) AS s, count(subject) AS n FROM tumble(va, ts, INTERVAL '5 seconds') GROUP BY ALL")
	runs, err := difftest.Chaos(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, "ok: 3 runs, stream = batch", difftest.Summary(runs))
	require.Zero(t, runs[0].Late, "all rows at once: none is late")
	require.Positive(t, runs[1].Late)
	require.EqualValues(t, 16, runs[1].In)
	require.Positive(t, runs[2].Early, "batches that leave something are delivered beside the next one")
	crashes := 0
	for _, r := range runs {
		crashes += r.Crashes
	}
	require.Positive(t, crashes)
	again, err := difftest.Chaos(t.Context(), o)
	require.NoError(t, err)
	require.Equal(t, runs, again)
	o.Crash, o.Runs = false, 3
	calm, err := difftest.Chaos(t.Context(), o)
	require.NoError(t, err)
	for _, r := range calm {
		require.Zero(t, r.Crashes)
	}
	o.Done = func(r difftest.ChaosRun) bool { return r.Run < 2 }
	calm, err = difftest.Chaos(t.Context(), o)
	require.NoError(t, err)
	require.Len(t, calm, 2)
}

func TestChaosSaysWhatItDidNotCompare(t *testing.T) {
	l := newLab(t, nil, nil)
	o := chaosOf(t, l, "SELECT window_start, count(*) AS n FROM hop(va, ts, INTERVAL '1 second', INTERVAL '5 seconds') GROUP BY ALL")
	runs, err := difftest.Chaos(t.Context(), o)
	require.NoError(t, err)
	require.Empty(t, runs[0].Skipped)
	require.Contains(t, runs[1].Skipped, "late for some of their windows only")
	require.Contains(t, difftest.Summary(runs), "more not compared: rows were late")
	o = chaosOf(t, l, "SELECT \"the id\" AS id, now() AS at FROM a")
	_, err = difftest.Chaos(t.Context(), o)
	require.Equal(t, diag.Usage, diag.CodeOf(err))
	require.Contains(t, diag.Render(err), "now()")
	require.Equal(t, "run 3 differs: the stream's answer is not the batch plan's",
		difftest.Summary([]difftest.ChaosRun{{Run: 1}, {Run: 3, Diff: "x"}}))
}
