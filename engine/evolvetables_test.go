package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// TestEvolveKeepsTables asks that the copies of reference tables which a changed text begins with outlive the stops and
// state versions that come before a batch names them, when the text gives the table another shape.
func TestEvolveKeepsTables(t *testing.T) {
	p := newParser(t)
	file := filepath.Join(t.TempDir(), "r.csv")
	require.NoError(t, os.WriteFile(file, []byte("k,name,big\na,A,true\nb,B,false\n"), 0o600))
	for mode, body := range map[string]string{
		"APPEND": "SELECT window_start, name, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') JOIN r USING (k) %s GROUP BY ALL",
		"UPDATE": "SELECT name, count(*) AS n FROM src JOIN r USING (k) %s GROUP BY name",
	} {
		text := func(columns, where string) string {
			return fmt.Sprintf(`CREATE TABLE r AS SELECT %s FROM '%s';
CREATE SOURCE src (id BIGINT, k VARCHAR, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds') WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
CREATE QUERY q INTO mem OUTPUT MODE %s AS %s;`, columns, file, mode, fmt.Sprintf(body, where))
		}
		rows := [][]any{{1, "a", at(1)}, {2, "b", at(2)}, {3, "a", at(4)}}
		was, is := text("k, name", ""), text("k, name, big", "WHERE big")
		for _, during := range []int{0, 1} { // state versions of the old text while the new one is being built
			w := newWorld(t, p)
			app := w.app(was)
			q := w.mustOpen(app)
			w.add(app, "src", rows...)
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			app = w.app(is)
			q = w.mustOpen(app)
			if during > 0 { // the text is not in force, and this stop writes a version
				require.NoError(t, q.Close(t.Context()))
				q = w.mustOpen(app)
			}
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			for range 2 {
				q = w.mustOpen(app)
				require.NoError(t, q.Close(t.Context()), mode)
			}
			q = w.mustOpen(app)
			w.add(app, "src", []any{4, "a", at(30)}, []any{5, "b", at(31)}, []any{6, "a", at(32)})
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Finish(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			want := map[string][]string{"UPDATE": {"A|4"},
				"APPEND": {"2026-01-01T00:00:00.000000|A|2", "2026-01-01T00:00:30.000000|A|2"}}
			require.Equal(t, want[mode], sorted(texts(w.sinks.Table("mem"))), mode)
		}
	}
}

// TestEvolveChecksSinks asks that a changed text whose sinks are refused does not take the place of the old one.
func TestEvolveChecksSinks(t *testing.T) {
	c := change{mode: "UPDATE"}
	was := c.text("SELECT k, count(*) AS n FROM src GROUP BY k", false)
	w := newWorld(t, newParser(t))
	narrow := w.reg.Sinks["memory"]
	open := narrow.Open
	narrow.Open = func(ctx context.Context, config stream.SinkConfig) (stream.Sink, error) {
		if config.Schema.NumFields() > 2 {
			return nil, diag.New(diag.SinkMismatch, "too wide")
		}
		return open(ctx, config)
	}
	w.reg.Sinks["memory"] = narrow
	app := w.app(was)
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(1)}, []any{2, "b", 2, at(1)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	_, err := w.open(w.app(c.text("SELECT k, count(*) AS n, sum(v) AS s FROM src GROUP BY k", false)))
	require.Contains(t, code(t, diag.SinkMismatch, err), "too wide")
	w.add(app, "src", []any{3, "b", 2, at(1)})
	q = w.mustOpen(w.app(was))
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"a|1", "b|2"}, sorted(texts(w.sinks.Table("mem"))))
}
