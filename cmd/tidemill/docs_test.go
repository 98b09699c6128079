package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
)

// testEnv is an env without a terminal, whose output stays in memory.
func testEnv() (e *env, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &env{stdin: &bytes.Buffer{}, stdout: stdout, stderr: stderr, clock: clock.System{},
		getenv: func(string) (string, bool) { return "", false }}, stdout, stderr
}

// TestGeneratedDocsAreCurrent fails when docs/ is not what `make generate` writes.
func TestGeneratedDocsAreCurrent(t *testing.T) {
	t.Parallel()
	e, _, _ := testEnv()
	docs, err := e.generatedDocs(t.Context())
	require.NoError(t, err)
	for name, want := range docs {
		have, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		require.NoError(t, err, "run make generate")
		require.Equal(t, want, string(have), "docs/%s: run make generate", name)
	}
}
