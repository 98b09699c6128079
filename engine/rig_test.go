package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/files"
	"github.com/tidemill/tidemill/sinks/letters"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/sources/file"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// parser reads SQL for tests, on a DuckDB that may look at files for the columns of reference tables. DuckDB takes its time to open, so tests share one through newParser.
type parser struct {
	mu   sync.Mutex
	conn *duck.Conn
}

func newParser(t testing.TB) *parser {
	t.Helper()
	return &parser{conn: ducktest.Conn(t, duck.Options{MemoryLimit: 256 << 20, Threads: 1})}
}

func (p *parser) parse(ctx context.Context, text *diag.Text, reg stream.Registry) (*planner.App, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, err := sqlfront.Parse(ctx, text,
		sqlfront.Env{Getenv: os.LookupEnv, ReadFile: os.ReadFile, Registry: reg, Typer: p.conn})
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	return s.App, nil
}

// tester is what testing.TB and rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	FailNow()
	Context() context.Context
	Cleanup(fn func())
}

// world is everything outside a query that outlives it: the disk, the clock, the rows of the sources and what the
// sinks hold.
type world struct {
	t       tester
	parser  *parser
	disk    vfs.FS
	dir     string
	clock   clock.Clock
	manual  *clock.Manual // clock, unless a test replaced it
	sources *sourcemem.Hub
	sinks   *sinkmem.Hub
	reg     stream.Registry
	opt     func(*engine.Options)
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant

func newWorld(t testing.TB, p *parser) *world {
	t.Helper()
	return newWorldIn(t, p, filepath.Join(t.TempDir(), "data"))
}

func newWorldIn(t tester, p *parser, dir string) *world {
	w := &world{t: t, parser: p, disk: vfs.NewMem(), dir: dir,
		manual: clock.NewManual(start), sources: sourcemem.NewHub(), sinks: sinkmem.NewHub()}
	w.clock = w.manual
	t.Cleanup(w.sources.Release)
	w.reg = stream.Registry{
		Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(w.sources), "file": file.Connector()},
		Sinks:   files.Connectors(),
	}
	w.reg.Sinks["memory"] = sinkmem.Connector(w.sinks)
	return w
}

func (w *world) app(sql string) *planner.App {
	w.t.Helper()
	app, err := w.parser.parse(w.t.Context(), &diag.Text{Name: "test.sql", Body: sql}, w.reg)
	if err != nil {
		w.t.Fatal(diag.Render(err))
	}
	return app
}

// noLock is for disks in memory, which have no locks.
type noLock struct{}

func (noLock) Close() error { return nil }

func (w *world) options() engine.Options {
	o := engine.Options{DataDir: w.dir, FS: w.disk, Clock: w.clock, Registry: w.reg, MemoryLimit: 256 << 20, Threads: 1,
		Parse: func(ctx context.Context, text *diag.Text) (*planner.App, error) {
			return w.parser.parse(ctx, text, w.reg)
		},
		Lock: func(string, string) (io.Closer, error) { return noLock{}, nil }}
	if w.opt != nil {
		w.opt(&o)
	}
	return o
}

func (w *world) open(app *planner.App) (*engine.Query, error) {
	return engine.Open(w.t.Context(), w.options(), app, app.Queries[0].Name)
}

func (w *world) mustOpen(app *planner.App) *engine.Query {
	w.t.Helper()
	q, err := w.open(app)
	if err != nil {
		w.t.Fatal(diag.Render(err))
	}
	return q
}

// add gives rows to a source.
func (w *world) add(app *planner.App, source string, rows ...[]any) {
	w.t.Helper()
	for _, s := range app.Sources {
		if s.Name != source {
			continue
		}
		var cols []stream.Column
		for _, c := range s.Columns {
			if c.Expr == "" && !c.Metadata {
				cols = append(cols, c.Column)
			}
		}
		require.NoError(w.t, w.sources.Add(source, cols, rows))
		return
	}
	w.t.Fatalf("no source %q", source)
}

// at is the event time n seconds after the start.
func at(n int) string { return start.Add(time.Duration(n) * time.Second).Format("2006-01-02 15:04:05") }

// batches shows every batch that a memory sink took, with its rows in a fixed order.
func (w *world) batches(sink string) []string {
	var out []string
	for _, d := range w.sinks.Batches(sink) {
		lines := texts(d.Rows)
		for i := range lines {
			if d.Ops != nil {
				lines[i] += " " + d.Ops[i]
			}
		}
		sort.Strings(lines)
		out = append(out, fmt.Sprintf("%d: %s", d.Marker.Batch, strings.Join(lines, "; ")))
	}
	return out
}

func texts(rows [][]any) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = text(r)
	}
	return out
}

func text(row []any) string {
	cells := make([]string, len(row))
	for i, v := range row {
		if nested, ok := v.(json.RawMessage); ok {
			v = string(nested)
		}
		cells[i] = fmt.Sprint(v)
	}
	return strings.Join(cells, "|")
}

func sorted(lines []string) []string {
	out := append([]string{}, lines...)
	sort.Strings(out)
	return out
}

// glob returns the lines of every committed file of a json sink, as a reader sees them who knows only the folder.
func glob(t tester, disk vfs.FS, dir string) []string {
	t.Helper()
	names, err := disk.List(dir)
	require.NoError(t, err)
	var lines []string
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		data, err := vfs.ReadFile(disk, filepath.Join(dir, name))
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return sorted(lines)
}

// deadLetters returns every letter of a query, one line each.
func (w *world) deadLetters(query string) []string {
	w.t.Helper()
	dir := filepath.Join(w.dir, query, "dead_letters")
	list, err := letters.List(w.disk, dir)
	require.NoError(w.t, err)
	var out []string
	for _, f := range list {
		ls, err := letters.Read(w.disk, dir, f.Batch)
		require.NoError(w.t, err)
		for _, l := range ls {
			out = append(out, fmt.Sprintf("%d %s %s #%d: %s", l.Batch, l.Kind, l.Source, l.Ordinal, l.Row))
		}
	}
	return out
}

// code asks that err carries a code and returns its text for closer looks.
func code(t tester, want diag.Code, err error) string {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, diag.CodeOf(err), "%v", err)
	return diag.Render(err)
}

var errStop = errors.New("stopped by the test") //nolint:gochecknoglobals // a sentinel
