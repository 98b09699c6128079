package streamtest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine/streamtest"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// parseWith returns a parser on a DuckDB that lives as long as the test.
func parseWith(t *testing.T) func(context.Context, *diag.Text, stream.Registry) (*planner.App, error) {
	t.Helper()
	conn := ducktest.Conn(t, duck.Options{Sealed: true, MemoryLimit: 256 << 20, Threads: 1})
	return func(ctx context.Context, text *diag.Text, reg stream.Registry) (*planner.App, error) {
		script, err := sqlfront.Parse(ctx, text, sqlfront.Env{
			Getenv: os.LookupEnv, ReadFile: os.ReadFile, Registry: reg, Typer: conn,
		})
		if err != nil {
			return nil, fmt.Errorf("parse: %w", err)
		}
		return script.App, nil
	}
}

// TestSparkCases runs the conformance cases. Those listed in refused.txt are shapes that are not supported yet:
// they must be refused with exactly the code that stands beside them, so that a shape that begins to work, or fails
// in another way, is noticed.
func TestSparkCases(t *testing.T) {
	refused := readRefused(t, "../testdata/refused.txt")
	files, err := streamtest.Find("../testdata")
	require.NoError(t, err)
	opt := streamtest.Options{Parse: parseWith(t)}
	seen := map[string]bool{}
	for _, file := range files {
		cases, err := streamtest.Load(file)
		require.NoError(t, err)
		for _, c := range cases {
			t.Run(c.Name, func(t *testing.T) {
				res := streamtest.Run(t.Context(), c, opt)
				code, is := refused[c.Name]
				seen[c.Name] = true
				if !is {
					require.True(t, res.OK, "%s:%d %s\n%s", filepath.Base(res.Path), res.Line, res.Step, res.Message)
					return
				}
				require.False(t, res.OK, "%s works now: take it out of refused.txt", c.Name)
				require.Contains(t, res.Message, "error["+code+"]")
			})
		}
	}
	for name := range refused {
		require.True(t, seen[name], "%s is listed in refused.txt, but there is no such case", name)
	}
}

func readRefused(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	refused := map[string]string{}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, code, ok := strings.Cut(line, " ")
		require.True(t, ok, line)
		refused[name] = strings.TrimSpace(code)
	}
	return refused
}
