package engine_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

// TestFileProtocol holds the order of every call that changes the disk fixed, of a query with state and a json sink:
// what is promised first, what is seen by others, and when it is durable.
func TestFileProtocol(t *testing.T) {
	w := newWorld(t, newParser(t))
	root := filepath.Dir(w.dir)
	logged := vfs.NewLogged(w.disk, root)
	w.disk = logged
	app := w.app(plotSource + fmt.Sprintf(`CREATE SINK folder WITH (connector = 'json', path = '%s/out');
		CREATE QUERY q INTO folder OUTPUT MODE APPEND AS
		SELECT window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL;`, root))
	var b strings.Builder
	step := func(name string, err error) {
		t.Helper()
		require.NoError(t, err)
		b.WriteString("# " + name + "\n")
		for _, line := range logged.Changes() {
			line = names.ReplaceAllString(sizes.ReplaceAllString(line, "$1"), "UUID")
			b.WriteString(line + "\n")
		}
		logged.Reset()
	}
	q, err := w.open(app)
	step("open a new query", err)
	w.add(app, "src", []any{1, "a", 1, at(1)})
	step("a batch that gives nothing", q.Idle(t.Context()))
	w.add(app, "src", []any{2, "a", 1, at(40)})
	_, err = q.Step(t.Context())
	step("a batch that moves the watermark", err)
	_, err = q.Step(t.Context())
	step("a batch that closes a window", err)
	step("a clean stop: the last Commit, a state version, Close", q.Close(t.Context()))
	q, err = w.open(app)
	step("open it again", err)
	w.manual.Advance(11 * time.Second)
	w.add(app, "src", []any{3, "a", 1, at(41)})
	_, err = q.Step(t.Context())
	require.NoError(t, err)
	step("a batch and, behind it, a state version", q.Abandon())
	q, err = w.open(app)
	step("open it after a kill", err)
	step("finish: every window closes", q.Finish(t.Context()))
	step("a clean stop", q.Close(t.Context()))
	golden(t, "testdata/fslog/tumble.txt", b.String())
}

//nolint:gochecknoglobals // constant patterns of what differs from run to run and from machine to machine
var (
	sizes = regexp.MustCompile(`^(write \S+) \d+$`)
	names = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

func golden(t *testing.T, name, got string) {
	t.Helper()
	if f := flag.Lookup("rewrite"); f != nil && f.Value.String() == "true" {
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o750))
		require.NoError(t, os.WriteFile(name, []byte(got), 0o600))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}
