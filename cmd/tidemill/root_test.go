package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// TestPanicsHaveACode asks that a panic of a connector ends a command as any other fault does.
func TestPanicsHaveACode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "app.sql")
	require.NoError(t, os.WriteFile(path, []byte("CREATE SOURCE src (x BIGINT) WITH (connector = 'broken');\n"+
		"CREATE SINK out WITH (connector = 'console');\nCREATE QUERY q INTO out TRIGGER AVAILABLE NOW AS SELECT x FROM src;"), 0o600))
	for _, args := range [][]string{
		{"tail", "src", path, "--from", "earliest"},
		{"sql", path, "-c", "SELECT * FROM src"},
		{"batch", path},
		{"run", path, "--listen", "off", "--progress", "off", "--data-dir", t.TempDir()},
	} {
		var stdout, stderr bytes.Buffer
		e := &env{stdin: &bytes.Buffer{}, stdout: &stdout, stderr: &stderr, clock: clock.System{},
			getenv: func(string) (string, bool) { return "", false }}
		reg := registry(e)
		reg.Sources["broken"] = stream.SourceConnector{Spec: stream.Spec{Name: "broken"}, Typed: true,
			Open: func(context.Context, stream.SourceConfig) (stream.Source, error) { panic("it broke") }}
		require.Equal(t, diag.ExitOf(diag.New(diag.Internal, "")), e.main(t.Context(), args), "%s: %s", args, &stderr)
		require.Contains(t, stderr.String(), "error[INTERNAL]", args)
		require.Contains(t, stderr.String(), "it broke", args)
	}
}
