package engine_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// shape plans the first query of app.
func (w *world) shape(app *planner.App) engine.Shape {
	w.t.Helper()
	w.parser.mu.Lock()
	defer w.parser.mu.Unlock()
	plan, err := planner.Build(w.t.Context(), app, app.Queries[0], w.parser.conn)
	if err != nil {
		w.t.Fatal(diag.Render(err))
	}
	return engine.ShapeOf(w.reg, app, app.Queries[0], plan)
}

// TestCompare asks that Compare says of a changed text what Open then does with it.
func TestCompare(t *testing.T) {
	p := newParser(t)
	const other = "CREATE SINK second WITH (connector = 'memory');\n"
	for name, c := range map[string]struct {
		from, to string
		want     engine.Effect
	}{
		"nothing":     {"", "", engine.Unchanged},
		"white space": {"GROUP BY ALL", "GROUP  BY  ALL", engine.Unchanged},
		"result name": {"AS n", "AS m", engine.Compatible},
		"result":      {"count(*) AS n", "count(*) * 2 AS n", engine.Compatible},
		"having":      {"GROUP BY ALL", "GROUP BY ALL HAVING count(*) > 1", engine.Compatible},
		"sink":        {"INTO mem", "INTO mem, second", engine.Compatible},
		"delay":       {"- INTERVAL '5 seconds'", "- INTERVAL '7 seconds'", engine.Compatible},
		"key":         {"window_start, count(*)", "window_start, k, count(*)", engine.Refused},
		"aggregate":   {"count(*)", "max(v)", engine.Rebuilt},
		"one more":    {"count(*) AS n", "count(*) AS n, max(v) AS m", engine.Rebuilt},
		"filter":      {"GROUP BY ALL", "WHERE v > 2 GROUP BY ALL", engine.Rebuilt},
		"clock":       {"count(*) AS n", "count(*) AS n, max(now()) AS m", engine.Refused},
		"window":      {"'10 seconds'", "'20 seconds'", engine.Refused},
		"mode":        {"MODE APPEND", "MODE UPDATE", engine.Refused},
		"stateless": {"window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL",
			"id FROM src", engine.Refused},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, p)
			sql := other + tumbling
			app := w.app(sql)
			q := w.mustOpen(app)
			require.NoError(t, q.Close(t.Context()))
			require.Contains(t, sql, c.from)
			next := w.app(strings.Replace(sql, c.from, c.to, 1))
			change := engine.Compare(w.shape(app), w.shape(next))
			require.Equal(t, c.want, change.Effect)
			q, err := w.open(next)
			if c.want == engine.Refused {
				text := code(t, diag.PlanChanged, err)
				require.NotEmpty(t, change.Lines)
				for _, line := range change.Lines {
					require.Contains(t, text, line)
				}
				return
			}
			require.NoError(t, err)
			require.Empty(t, change.Reasons)
			require.NoError(t, q.Close(t.Context()))
		})
	}
}
