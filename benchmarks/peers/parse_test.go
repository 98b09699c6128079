package peers

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParse(t *testing.T) {
	t.Parallel()
	stat := "42 (a (b) c) S 1 77 77 0 -1 4194304 1 2 3 4 150 50 25 75 20 0 1 0 100 0 0"
	group, cpu, ok := parseStat(stat)
	require.True(t, ok)
	require.Equal(t, 77, group)
	require.InDelta(t, 3, cpu, 1e-9, "its own time and that of its children")
	_, _, ok = parseStat("42 (gone")
	require.False(t, ok)

	// Spark's words.
	l, ok := parseLine([]byte(`{"id":"x","batchId":0,"batchDuration":120,"timestamp":"2026-11-29T10:00:00.250Z","numInputRows":4,` +
		`"durationMs":{"addBatch":100}}`))
	require.True(t, ok)
	require.Equal(t, int64(4), l.Rows)
	require.Equal(t, time.Date(2026, 11, 29, 10, 0, 0, 370e6, time.UTC), l.end())
	for _, text := range []string{"", "26/11/29 WARN x", "{}", `{"a":1}`, "{"} {
		_, ok = parseLine([]byte(text))
		require.False(t, ok, text)
	}
	require.Equal(t, "JOIN_UNSUPPORTED", refusedCode("x\nerror[JOIN_UNSUPPORTED]: a join\n"))
	require.Empty(t, refusedCode("killed"))
}

// TestUsageOfGroup asks that this process is found by its group.
func TestUsageOfGroup(t *testing.T) {
	t.Parallel()
	self, err := os.ReadFile("/proc/self/stat")
	require.NoError(t, err)
	group, _, ok := parseStat(string(self))
	require.True(t, ok)
	u := groupUsage(group)
	require.Positive(t, u.peak)
}

func TestSizes(t *testing.T) {
	t.Parallel()
	require.Equal(t, []int{4, 2, 1}, sizes(16))
	require.Equal(t, []int{16, 8, 4}, sizes(64))
	require.Equal(t, []int{1}, sizes(1))
}

// TestNotInstalled asks that a missing environment or Java is said, with how to mend it.
func TestNotInstalled(t *testing.T) {
	dir := t.TempDir()
	_, err := Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"tidemill", "spark"}})
	require.ErrorContains(t, err, `peer "spark" is not installed: there is no `+filepath.Join(dir, ".venv", "spark"))
	python := script{dir: dir, engine: "spark"}.python()
	require.NoError(t, os.MkdirAll(filepath.Dir(python), 0o700))
	require.NoError(t, os.WriteFile(python, nil, 0o700))
	t.Setenv("PATH", dir)
	t.Setenv("JAVA_HOME", "")
	_, err = Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"spark"}})
	require.ErrorContains(t, err, `peer "spark" needs Java, and there is no java in PATH`)
	t.Setenv("JAVA_HOME", dir)
	_, err = Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"spark"}})
	require.ErrorContains(t, err, "which has no bin/java")
	_, err = Run(t.Context(), "copy", Options{Peers: dir, Contenders: []string{"sparc"}})
	require.ErrorContains(t, err, `there is no contender "sparc"`)
}

// TestScript looks at what Tidemill is given.
func TestScript(t *testing.T) {
	t.Parallel()
	w := &workload{body: "SELECT k FROM rows", update: true, keys: []string{"k"}, setup: "CREATE MACRO m() AS 1;",
		tables: []table{{name: "rows", dir: "/in", columns: "k BIGINT, ts TIMESTAMP", ts: "ts", delay: "5 seconds"}},
		static: []table{{name: "c", dir: "/c", columns: "a BIGINT", ndjson: true}}}
	require.Equal(t, strings.TrimLeft(`
CREATE SOURCE rows (k BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'file', path = '/in/*.parquet', format = 'parquet', max_files_per_batch = 3);
CREATE TABLE c AS FROM read_json('/c/*.ndjson', format := 'newline_delimited', columns := {'a': 'BIGINT'});
CREATE SINK result WITH (connector = 'duckdb', path = '/out');
CREATE MACRO m() AS 1;
CREATE QUERY q INTO result OUTPUT MODE UPDATE AS
SELECT k FROM rows;
`, "\n"), tidemill{}.script(w, job{Out: "/out", Files: 3}))
}
