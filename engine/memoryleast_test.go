package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
)

// TestLeastMemory runs queries of every kind of state with the least memory that a query may be given, before and after
// a restart.
func TestLeastMemory(t *testing.T) {
	p := newParser(t)
	for name, body := range map[string]string{
		"keyed": "SELECT k, count(*) AS n, count(DISTINCT v) AS d FROM src GROUP BY k",
		"both":  "SELECT k, count(*) AS n, median(v) AS d FROM src GROUP BY k",
		"none":  "SELECT k, v AS n, v AS d FROM src",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, p)
			w.opt = func(o *engine.Options) {
				o.MemoryLimit = engine.MemoryLeast
				require.NoError(t, os.MkdirAll(filepath.Join(o.DataDir, "q"), 0o700)) // DuckDB spills past the world's file system
			}
			mode := "OUTPUT MODE UPDATE"
			if name == "none" {
				mode = ""
			}
			app := w.app(plotSource + "CREATE QUERY q INTO mem " + mode + " AS " + body + ";")
			for life := range 2 {
				for i := range 5_000 {
					w.add(app, "src", []any{life*5_000 + i, string(rune('a' + i%26)), i % 100, at(0)})
				}
				q := w.mustOpen(app)
				require.NoError(t, q.Idle(t.Context()))
				require.NoError(t, q.Close(t.Context()))
			}
			require.NotEmpty(t, w.sinks.Rows("mem"))
		})
	}
}
