package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
)

// plot is a life of a query that crash tests stop everywhere: batches, state versions, a clean stop, a second life.
type plot struct {
	name string
	sql  string // of one query, INTO mem and, where the mode allows, the folder FOLDER
	file bool
	next [2]string // from the second life on the text has the second in the place of the first; "" for no change
}

const plotSource = `
CREATE SOURCE src (id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
  WITH (connector = 'memory');
CREATE SINK mem WITH (connector = 'memory');
`

func plots() []plot {
	few := behind(plotSource, 2) // what a batch leaves is computed beside its delivery
	folder := "CREATE SINK folder WITH (connector = 'json', path = 'FOLDER');\n"
	return []plot{
		{"append", few + folder + `CREATE QUERY q INTO mem, folder OUTPUT MODE APPEND WITH (late = 'dead_letter') AS
			SELECT window_start, k, count(*) AS n, sum(v) AS s, list(id) AS ids
			FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY window_start, k;`, true, [2]string{}},
		{"update", few + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
			SELECT k, count(*) AS n, sum(v) AS s, median(v) AS m FROM src GROUP BY k HAVING count(*) <> 3;`, false, [2]string{}},
		{"stateless", few + folder + `CREATE QUERY q INTO folder, mem OUTPUT MODE APPEND AS
			SELECT id, k, 100 / v AS share, v::TINYINT AS small FROM src WHERE k <> 'b';`, true, [2]string{}},
		{"evolving append", plotSource + folder + `CREATE QUERY q INTO mem, folder OUTPUT MODE APPEND AS
			SELECT window_start, k, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY window_start, k;`, true,
			[2]string{"count(*) AS n", "count(*) AS n, list(id) AS ids"}},
		{"evolving update", few + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
			SELECT k, count(*) AS n FROM src WHERE v > 0 GROUP BY k;`, false,
			[2]string{"AS n FROM src WHERE v > 0", "AS n, sum(v) AS s FROM src WHERE v < 9"}},
	}
}

// plotRows are what arrives, step by step: disorder, NULLs, a late row and, for TINYINT, a poisonous value.
func plotRows() [][][]any {
	return [][][]any{
		{{1, "a", 5, at(1)}, {2, "b", 7, at(3)}, {3, "a", 1, at(12)}},
		{{4, "a", 2, at(2)}, {5, "c", nil, at(14)}, {6, "b", 9, at(18)}, {7, nil, 9, at(19)}},
		{{8, "a", 1000, at(1)}, {9, "b", 3, at(31)}, {10, "c", 4, nil}},
		{{11, "a", 8, at(33)}, {12, "c", 2, at(29)}, {13, "a", 3, at(47)}},
		{{14, "b", 6, at(41)}, {15, "a", 2000, at(62)}},
	}
}

// stopAt is the step before which a plot stops cleanly and starts again.
const stopAt = 3

// life is one run of a plot on one disk. It may be continued after a crash.
type life struct {
	*world
	plot         plot
	app          *planner.App
	begins, next *planner.App // the text that the plot begins with, and the changed one; nil for none
	spills       string       // a directory on disk for all of its keyed state; "" for none
	step         int          // rows up to here have been added
	done         bool
}

// newLife returns a life of a plot that has not begun. Lives of one plot share its planned text and nothing else.
func newLife(t testing.TB, p *parser, pl plot) *life {
	w := newWorld(t, p)
	pl.sql = strings.ReplaceAll(pl.sql, "FOLDER", filepath.Join(filepath.Dir(w.dir), "out"))
	l := &life{world: w, plot: pl, app: w.app(pl.sql)}
	l.begins = l.app
	if pl.next[0] != "" {
		l.next = w.app(strings.Replace(pl.sql, pl.next[0], pl.next[1], 1))
	}
	if strings.Contains(pl.name, "update") {
		l.spills = t.TempDir()
	}
	l.spill()
	return l
}

// spill lets all keyed state lie in files of which nothing stays mapped.
func (l *life) spill() {
	if l.spills != "" {
		l.opt = func(o *engine.Options) { o.Spill = &spill.Options{Dir: l.spills, Least: -1, Room: -1} }
	}
}

// fresh returns a life like l that has not begun, on an empty disk.
func (l *life) fresh(t testing.TB) *life {
	w := newWorld(t, l.parser)
	w.dir = l.dir
	f := &life{world: w, plot: l.plot, app: l.begins, begins: l.begins, next: l.next, spills: l.spills}
	f.spill()
	return f
}

// run goes on to the end of the plot. On an error the query is dropped as if the process had been killed.
func (l *life) run() error {
	q, err := l.open(l.app)
	if err != nil {
		return err
	}
	for ; ; l.step++ {
		if err := q.Idle(l.t.Context()); err != nil {
			return errors.Join(err, q.Abandon())
		}
		if l.step == len(plotRows()) {
			break
		}
		if l.step == stopAt {
			if err := q.Close(l.t.Context()); err != nil {
				return err
			}
			if l.next != nil {
				l.app = l.next
			}
			if q, err = l.open(l.app); err != nil {
				l.step = stopAt
				return err
			}
		}
		l.manual.Advance(11 * time.Second) // a state version is due after each batch
		l.feed()
	}
	if err := q.Finish(l.t.Context()); err != nil {
		return errors.Join(err, q.Abandon())
	}
	l.done = true
	return q.Close(l.t.Context())
}

// feed adds the step's rows; they stay in the source whatever happens to the disk.
func (l *life) feed() {
	have := l.sources.Rows("src")
	want := int64(0)
	for _, rows := range plotRows()[:l.step+1] {
		want += int64(len(rows))
	}
	if have < want {
		l.add(l.app, "src", plotRows()[l.step]...)
	}
}

// held is everything that can be seen of a life from outside.
func (l *life) held() string {
	var b strings.Builder
	fmt.Fprintln(&b, strings.Join(l.batches("mem"), "\n"))
	if l.plot.file {
		fmt.Fprintln(&b, strings.Join(glob(l.t, l.disk, filepath.Join(filepath.Dir(l.dir), "out")), "\n"))
	}
	fmt.Fprintln(&b, strings.Join(l.deadLetters("q"), "\n"))
	return b.String()
}

// points spreads the places at which a sweep over n of them stops: all with TIDEMILL_CRASH=all, as make crash sets it.
func points(n int64, most int) []int64 {
	if testing.Short() {
		most = max(1, most/6)
	}
	if os.Getenv("TIDEMILL_CRASH") == "all" || n <= int64(most) {
		most = int(n)
	}
	out := make([]int64, most)
	for i := range out {
		out[i] = n * int64(i) / int64(most)
	}
	return out
}

// sweep runs a subtest per plot over how often its uninterrupted life did something, as count says.
func sweep(
	t *testing.T, most int,
	each func(t *testing.T, whole *life, want string, i int, k int64), count func(*life) func() int64,
) {
	p := newParser(t)
	for _, pl := range plots() {
		t.Run(pl.name, func(t *testing.T) {
			t.Parallel()
			whole := newLife(t, p, pl)
			total := count(whole)
			early := whole.countEarly()
			require.NoError(t, whole.run())
			require.Equal(t, strings.Contains(pl.sql, "max_rows_per_batch"), early() > 0, "batches are computed early")
			n := total()
			require.Greater(t, n, int64(40), "the life is long enough to mean something")
			want := whole.held()
			for i, k := range points(n, most) {
				each(t, whole, want, i, k)
			}
		})
	}
}

// countEarly counts the batches that were computed beside the delivery of the one before.
func (l *life) countEarly() func() int {
	n, before := 0, l.opt
	l.opt = func(o *engine.Options) {
		if before != nil {
			before(o)
		}
		o.Listener.BatchDone = func(p engine.Progress) {
			if p.Early {
				n++
			}
		}
	}
	return func() int { return n }
}

func countCalls(l *life) func() int64 {
	f := vfs.NewFault(l.disk)
	l.disk = f
	return f.Calls
}

// TestCrash stops the machine after each call of the file system, keeps none, all, or some of what was not synced,
// and goes on. In every other case the machine stops once more while the query recovers.
func TestCrash(t *testing.T) {
	sweep(t, 18, func(t *testing.T, whole *life, want string, i int, k int64) {
		keep := []float64{0, 0.5, 1, 0.5}[i%4]
		l := whole.fresh(t)
		when := fmt.Sprintf("after call %d, keep %v", k, keep)
		for n, stops := range [][]int64{{k}, {k, k*7%83 + 1}}[i%2] {
			mem, ok := l.disk.(*vfs.Mem)
			require.True(t, ok)
			fault := vfs.NewFault(mem)
			fault.StopAfter(stops)
			l.disk = fault
			err := l.run()
			if err == nil {
				require.True(t, l.done)
			} else {
				require.ErrorIs(t, err, vfs.ErrCrashed, when)
			}
			l.disk = mem.Crash(keep, k+int64(n))
		}
		require.NoError(t, l.run(), when)
		require.Equal(t, want, l.held(), when)
	}, countCalls)
}

// TestCrashFaults lets one call fail. Either nobody needed it, or the error comes out and the next start goes on.
func TestCrashFaults(t *testing.T) {
	sweep(t, 12, func(t *testing.T, whole *life, want string, i int, k int64) {
		cause := []error{syscall.EIO, syscall.ENOSPC}[i%2]
		l := whole.fresh(t)
		mem, ok := l.disk.(*vfs.Mem)
		require.True(t, ok)
		l.disk = vfs.NewFault(mem, vfs.Rule{Nth: int(k) + 1, Err: cause, Short: i})
		when := fmt.Sprintf("call %d fails with %v", k+1, cause)
		err := l.run()
		l.disk = mem
		if err != nil {
			require.ErrorIs(t, err, cause, when)
			require.Equal(t, errors.Is(cause, syscall.ENOSPC), diag.CodeOf(err) == diag.DiskFull, "%s: %v", when, err)
			if i%3 == 0 {
				l.disk = mem.Crash(0, k)
			}
			require.NoError(t, l.run(), when)
		}
		require.True(t, l.done)
		require.Equal(t, want, l.held(), when)
	}, countCalls)
}

// TestCrashHooks kills the query at each named point of each batch, with and without what the disk had not synced.
func TestCrashHooks(t *testing.T) {
	hooked := func(l *life, stopAt int64) *[]string {
		seen := &[]string{}
		l.opt = func(o *engine.Options) {
			o.Hook = func(point string) error {
				*seen = append(*seen, point)
				if int64(len(*seen)) == stopAt {
					return errStop
				}
				return nil
			}
		}
		return seen
	}
	sweep(t, 10, func(t *testing.T, whole *life, want string, i int, k int64) {
		l := whole.fresh(t)
		mem, ok := l.disk.(*vfs.Mem)
		require.True(t, ok)
		seen := hooked(l, k+1)
		require.ErrorIs(t, l.run(), errStop)
		when := fmt.Sprintf("at %s, hook %d", (*seen)[len(*seen)-1], k)
		if i%2 == 1 {
			l.disk = mem.Crash(0, k)
		}
		l.opt = nil
		require.NoError(t, l.run(), when)
		require.Equal(t, want, l.held(), when)
	}, func(l *life) func() int64 {
		seen := hooked(l, -1)
		return func() int64 { return int64(len(*seen)) }
	})
}
