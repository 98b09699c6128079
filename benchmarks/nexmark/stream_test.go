package nexmark_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/benchmarks/nexmark"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	sourcemem "github.com/tidemill/tidemill/sources/memory"
	"github.com/tidemill/tidemill/stream"
)

var errCrash = errors.New("the test kills the engine here")

// ways are the ways to come to a result that must all be the same.
func ways(batches int) []way {
	return []way{
		{name: "one batch", batches: 1},
		{name: "many batches", batches: batches},
		{name: "many batches with crashes", batches: batches, crashes: true},
	}
}

type way struct {
	name    string
	batches int
	crashes bool
}

// TestStreamEqualsBatch runs every query over the same events in one batch, in many, and in many with crashes
// between and inside them, and asks that the sink then holds what plain DuckDB gives. Event times are out of
// order by less than the watermark's delay, so no row may be late, and the stream ends with the watermark at
// infinity, so that every window is closed. Queries that are not supported yet stand in refused.txt with the
// code of the refusal.
func TestStreamEqualsBatch(t *testing.T) {
	events, batches := int64(5_000), 100
	if testing.Short() {
		events, batches = 2_500, 15
	}
	// The events span 50 seconds: some tumbling windows, many hopping ones, sessions that end before the
	// others.
	g := newGenerator(t, nexmark.Config{Seed: 7, Rate: events / 50, OutOfOrder: 70})
	oracle, err := nexmark.NewOracle(t.Context(), openDuck(t))
	require.NoError(t, err)
	require.NoError(t, oracle.Load(t.Context(), g, 0, events))
	refused := readRefused(t)
	for _, q := range queries(t) {
		code, is := refused[q.Name]
		delete(refused, q.Name)
		want := oracleTable(t, oracle, q)
		t.Run(q.Name, func(t *testing.T) {
			t.Parallel()
			defer want.Release()
			if is {
				requireRefused(t, q, code)
				return
			}
			for _, w := range ways(batches) {
				s := newStage(t, q)
				s.play(g, events, w)
				s.compare(want, w)
			}
		})
	}
	for name := range refused {
		require.Fail(t, name+" is listed in refused.txt, but there is no such query")
	}
}

func oracleTable(t *testing.T, oracle *nexmark.Oracle, q nexmark.Query) *duck.Table {
	t.Helper()
	want, err := oracle.Run(t.Context(), q)
	require.NoError(t, err)
	require.Positive(t, want.NumRows(), "there is something to compare")
	return want
}

// readRefused returns the codes by query.
func readRefused(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("refused.txt")
	require.NoError(t, err)
	refused := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, code, ok := strings.Cut(line, " ")
		require.True(t, ok, line)
		refused[name] = strings.TrimSpace(code)
	}
	return refused
}

// requireRefused asks that a query is refused with a code, so that one that begins to work is noticed.
func requireRefused(t *testing.T, q nexmark.Query, code string) {
	t.Helper()
	s := newStage(t, q)
	query, err := engine.Open(t.Context(), s.options(), s.app, q.Name)
	if err == nil {
		require.NoError(t, query.Abandon())
		require.Fail(t, q.Name+" works now: take it out of refused.txt")
	}
	require.Equal(t, code, string(diag.CodeOf(err)), "%s", engine.Render(err))
}

// stage is one life of a query: the rows of its sources, what its sink holds, its disk and its clock.
type stage struct {
	t       *testing.T
	q       nexmark.Query
	reg     stream.Registry
	app     *planner.App
	sources *sourcemem.Hub
	sinks   *sinkmem.Hub
	disk    *vfs.Mem
	clock   *clock.Manual
	query   *engine.Query
	dir     string
	crashAt string // the point at which the next batch dies; "" for none
	died    map[string]int
	late    int64
}

func newStage(t *testing.T, q nexmark.Query) *stage {
	t.Helper()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &stage{t: t, q: q, sources: sourcemem.NewHub(), sinks: sinkmem.NewHub(), disk: vfs.NewMem(),
		clock: clock.NewManual(start), dir: t.TempDir(), died: map[string]int{}}
	t.Cleanup(s.sources.Release)
	s.reg = stream.Registry{
		Sources: map[string]stream.SourceConnector{"memory": sourcemem.Connector(s.sources)},
		Sinks:   map[string]stream.SinkConnector{"memory": sinkmem.Connector(s.sinks)},
	}
	s.app = parseScript(t, s.reg, q)
	return s
}

// parseScript reads a query's whole text with memory connectors everywhere.
func parseScript(t *testing.T, reg stream.Registry, q nexmark.Query) *planner.App {
	t.Helper()
	const of = "connector = 'memory'"
	text, err := q.Script(nexmark.Connectors{Person: of, Auction: of, Bid: of, Sink: of})
	require.NoError(t, err)
	app, err := engine.Parse(t.Context(), reg, q.Name+".sql", text)
	if err != nil {
		require.Fail(t, engine.Render(err))
	}
	return app
}

// noLock is for disks in memory, which have no locks.
type noLock struct{}

func (noLock) Close() error { return nil }

func (s *stage) options() engine.Options {
	return engine.Options{DataDir: s.dir, FS: s.disk, Clock: s.clock, Registry: s.reg,
		MemoryLimit: 256 << 20, Threads: 1,
		Parse: func(ctx context.Context, text *diag.Text) (*planner.App, error) {
			return engine.Parse(ctx, s.reg, text.Name, text.Body)
		},
		Lock: func(string, string) (io.Closer, error) { return noLock{}, nil },
		Hook: s.hook, Listener: engine.Listener{BatchDone: s.heard}}
}

// hook kills the query once at the point that is set.
func (s *stage) hook(point string) error {
	if point != s.crashAt {
		return nil
	}
	s.crashAt = ""
	s.died[point]++
	return errCrash
}

func (s *stage) heard(p engine.Progress) {
	for _, source := range p.Sources {
		s.late += source.Late
	}
}

func (s *stage) open() {
	s.t.Helper()
	query, err := engine.Open(s.t.Context(), s.options(), s.app, s.q.Name)
	if err != nil {
		require.Fail(s.t, engine.Render(err))
	}
	s.query = query
}

// play feeds the events and lets the query run to its end.
func (s *stage) play(g *nexmark.Generator, events int64, w way) {
	s.t.Helper()
	points := []string{engine.BeforeIntent, engine.AfterIntent, engine.AfterExecute, engine.MidSink,
		engine.AfterSink, engine.AfterCommit, engine.AfterState}
	s.open()
	build := nexmark.NewBuilders(memory.DefaultAllocator)
	defer build.Release()
	for i := range w.batches {
		from, until := events*int64(i)/int64(w.batches), events*int64(i+1)/int64(w.batches)
		s.feed(g, build, from, until)
		s.clock.Advance(4 * time.Second) // a state version is due after every third batch
		if every := max(1, w.batches/7); w.crashes && i%every == 0 && s.crashAt == "" {
			s.crashAt = points[i/every%len(points)]
		}
		for err := s.query.Idle(s.t.Context()); err != nil; err = s.query.Idle(s.t.Context()) {
			s.recoverFrom(err, i)
		}
	}
	s.crashAt = ""
	require.NoError(s.t, s.query.Finish(s.t.Context()))
	require.NoError(s.t, s.query.Close(s.t.Context()))
	if w.crashes {
		require.GreaterOrEqual(s.t, len(s.died), 5, "crashes at %v", s.died)
	}
}

// recoverFrom opens the query again after it was killed, on a disk that has lost none, some or all of what
// was not synced.
func (s *stage) recoverFrom(err error, step int) {
	s.t.Helper()
	require.ErrorIs(s.t, err, errCrash)
	require.NoError(s.t, s.query.Abandon())
	s.disk = s.disk.Crash([]float64{0, 0.5, 1}[step%3], int64(step))
	s.open()
}

// feed adds a range of events to the sources that the query reads.
func (s *stage) feed(g *nexmark.Generator, build *nexmark.Builders, from, until int64) {
	s.t.Helper()
	require.NoError(s.t, g.Each(from, until, func(e *nexmark.Event) error {
		build.Append(e)
		return nil
	}))
	for _, k := range nexmark.Kinds() {
		rec := build.Record(k)
		s.sources.AddRecord(k.String(), rec)
		rec.Release()
	}
}

// compare asks that the sink holds want.
func (s *stage) compare(want *duck.Table, w way) {
	s.t.Helper()
	require.Zero(s.t, s.late, w.name)
	require.GreaterOrEqual(s.t, s.query.Batches(), int64(w.batches), w.name)
	read := make([]string, 0, len(s.q.Reads))
	for _, source := range s.query.Plan().Sources {
		read = append(read, source.Name)
	}
	reads := make([]string, 0, len(s.q.Reads))
	for _, k := range s.q.Reads {
		reads = append(reads, k.String())
	}
	require.ElementsMatch(s.t, reads, read)

	got, expected := s.held(want), nexmark.Rows(want)
	if s.q.Stable != "" {
		conn := openDuck(s.t)
		got, expected = s.stable(conn, got), s.stable(conn, expected)
	}
	if d := nexmark.Diff(got, expected); d != "" {
		require.Fail(s.t, w.name+": "+d)
	}
}

// held is what the sink holds in the end, with the columns and the types that want has.
func (s *stage) held(want *duck.Table) [][]any {
	s.t.Helper()
	delivered := s.sinks.Batches("result")
	require.NotEmpty(s.t, delivered)
	outcome := nexmark.NewOutcome(s.q.Mode, delivered[0].Keys)
	for _, d := range delivered {
		require.Equal(s.t, s.q.Mode, d.Mode)
		var keys []string
		for _, k := range d.Keys {
			keys = append(keys, d.Columns[k])
		}
		require.Subset(s.t, keys, s.q.Keys) // more do no harm: what is compared was kept by all of them
		for i, f := range want.Schema.Fields() {
			require.Equal(s.t, f.Name, d.Columns[i])
			require.Equal(s.t, f.Type.String(), d.Types[i].String(), f.Name)
		}
		for i, row := range d.Rows {
			require.NoError(s.t, outcome.Add(row, d.Ops != nil && d.Ops[i] == stream.OpDelete))
		}
	}
	return outcome.Rows()
}

// stable is the part of a result that does not depend on when batches ran.
func (s *stage) stable(conn *duck.Conn, rows [][]any) [][]any {
	s.t.Helper()
	_, err := nexmark.NewOracle(s.t.Context(), conn) // for the types of the columns
	require.NoError(s.t, err)
	_, err = conn.Exec(s.t.Context(),
		"CREATE OR REPLACE TEMP TABLE result AS FROM (\n"+s.q.Body+"\n) LIMIT 0")
	require.NoError(s.t, err)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = duck.QuoteLiteral(fmt.Sprint(v))
		}
		_, err := conn.Exec(s.t.Context(), "INSERT INTO result VALUES ("+strings.Join(cells, ", ")+")")
		require.NoError(s.t, err)
	}
	out, err := conn.Select(s.t.Context(), s.q.Stable)
	require.NoError(s.t, err)
	defer out.Release()
	return nexmark.Rows(out)
}
