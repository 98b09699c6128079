package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/trigger"
)

const tumbling = plotSource + `CREATE QUERY q INTO mem OUTPUT MODE APPEND AS
	SELECT window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '10 seconds') GROUP BY ALL;`

// TestChangedText asks that a batch which was begun by an old text is finished by it, and that the new text takes
// effect after it.
func TestChangedText(t *testing.T) {
	p := newParser(t)
	const old = plotSource + `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
		SELECT k, count(*) AS n, 'old' AS who FROM src GROUP BY k;`
	for _, point := range []string{engine.AfterIntent, engine.AfterExecute, engine.AfterSink, engine.AfterCommit} {
		t.Run(point, func(t *testing.T) {
			w := newWorld(t, p)
			app := w.app(old)
			w.hookOnce(point, 2)
			q := w.mustOpen(app)
			w.add(app, "src", []any{1, "a", 1, at(0)})
			require.NoError(t, q.Idle(t.Context()))
			w.add(app, "src", []any{2, "a", 1, at(0)})
			require.ErrorIs(t, q.Idle(t.Context()), errStop)
			require.NoError(t, q.Abandon())
			w.opt = nil
			app = w.app(strings.ReplaceAll(old, "'old'", "'new'"))
			q = w.mustOpen(app)
			w.add(app, "src", []any{3, "a", 1, at(0)})
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			require.Equal(t, []string{"0: a|1|old", "1: a|2|old", "2: a|3|new"}, w.batches("mem"))
		})
	}
}

// TestLayoutChanged asks that a text whose state would not fit is refused with what differs, and that nothing moves.
func TestLayoutChanged(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(tumbling)
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	for name, change := range map[string][2]string{
		"key":       {"window_start, count(*)", "window_start, k, count(*)"},
		"window":    {"'10 seconds'", "'20 seconds'"},
		"mode":      {"MODE APPEND", "MODE UPDATE"},
		"watermark": {"FOR ts AS ts - INTERVAL '5 seconds'", "FOR t2 AS t2 - INTERVAL '5 seconds'"},
	} {
		sql := strings.Replace(tumbling, change[0], change[1], 1)
		if name == "watermark" { // the same column under another name
			sql = strings.ReplaceAll(strings.Replace(sql, "ts TIMESTAMP,", "t2 TIMESTAMP,", 1), "src, ts", "src, t2")
		}
		_, err := w.open(w.app(sql))
		require.Regexp(t, "(was|is)  ", code(t, diag.PlanChanged, err), name)
	}
	q = w.mustOpen(app)
	require.NoError(t, q.Finish(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"2026-01-01T00:00:00.000000|1"}, texts(w.sinks.Rows("mem")))
}

// TestOtherLayoutOfOneText asks that state which another version has kept otherwise is refused, and not read as its own.
func TestOtherLayoutOfOneText(t *testing.T) {
	w := newWorld(t, newParser(t))
	w.disk = vfs.OS{}
	app := w.app(tumbling)
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	dir, meta := filepath.Join(w.dir, "q"), &checkpoint.Meta{}
	require.NoError(t, state.ReadSealed(vfs.OS{}, filepath.Join(dir, "meta.json"), meta))
	i := slices.Index(meta.Layout, "aggregate __state1")
	require.GreaterOrEqual(t, i, 0)
	meta.Layout[i], meta.Plan = "aggregate __groups1", "of another version"
	require.NoError(t, state.WriteSealed(vfs.OS{}, dir, "meta.json", meta))
	_, err := w.open(app)
	require.Contains(t, code(t, diag.PlanChanged, err), "this version of Tidemill keeps other state")
}

// TestLocked asks that a directory has one owner, who is named to the second one.
func TestLocked(t *testing.T) {
	w := newWorld(t, newParser(t))
	w.disk = vfs.OS{}
	w.opt = func(o *engine.Options) { o.Lock = nil }
	app := w.app(tumbling)
	q := w.mustOpen(app)
	_, err := w.open(app)
	require.Contains(t, code(t, diag.CheckpointLocked, err), fmt.Sprintf("process %d", os.Getpid()))
	require.NoError(t, q.Close(t.Context()))
	q = w.mustOpen(app)
	require.NoError(t, q.Close(t.Context()))
}

// TestLostDataDir asks that a sink which holds what no log knows of is not written to, unless somebody says so.
func TestLostDataDir(t *testing.T) {
	w := newWorld(t, newParser(t))
	folder := filepath.Join(w.dir+"-out", "f")
	sql := plotSource + fmt.Sprintf("CREATE SINK folder WITH (connector = 'json', path = '%s');\n", folder) +
		"CREATE QUERY q INTO SINKS AS SELECT id FROM src;"
	for _, sink := range []string{"mem", "folder"} {
		app := w.app(strings.Replace(sql, "SINKS", sink, 1))
		w.dir = filepath.Join(t.TempDir(), "first-"+sink)
		if w.sources.Rows("src") == 0 {
			w.add(app, "src", []any{1, "a", 1, at(0)})
		}
		q := w.mustOpen(app)
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Close(t.Context()))

		w.dir = filepath.Join(t.TempDir(), "second-"+sink)
		_, err := w.open(app)
		require.Contains(t, code(t, diag.SinkMismatch, err), "--take-over")
		w.opt = func(o *engine.Options) { o.TakeOver = true }
		q = w.mustOpen(app)
		require.NoError(t, q.Idle(t.Context()))
		require.NoError(t, q.Close(t.Context()))
		w.opt = nil
		q = w.mustOpen(app) // a take-over is for once
		require.NoError(t, q.Close(t.Context()))
	}
	require.Len(t, w.sinks.Rows("mem"), 2)
	require.Len(t, glob(t, w.disk, folder), 2)
}

// TestOldCopy asks that a data dir which was put back from an older copy is noticed by the sink's marker.
func TestOldCopy(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(counting)
	mem, ok := w.disk.(*vfs.Mem)
	require.True(t, ok)
	var old *vfs.Mem
	q := w.mustOpen(app)
	for i := range 3 {
		w.add(app, "src", []any{i, "a", 1, at(0)})
		require.NoError(t, q.Idle(t.Context()))
		if i == 0 {
			require.NoError(t, q.Close(t.Context()))
			old = mem.Crash(1, 0)
			q = w.mustOpen(app)
		}
	}
	require.NoError(t, q.Close(t.Context()))
	w.disk = old
	_, err := w.open(app)
	code(t, diag.SinkMismatch, err)
}

// TestSourceReplaced asks that another source behind the same name is not read as if it went on, and that rows which
// changed under a committed batch are noticed.
func TestSourceReplaced(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(counting)
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)}, []any{2, "b", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	w.add(app, "src", []any{3, "b", 1, at(0)})
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Abandon())
	w.sources.Release() // the memory is gone, as with a new process
	_, err := w.open(app)
	code(t, diag.DataLoss, err)
}

// TestWatermarkPolicies asks that the watermark of two sources is the same with and without restarts.
func TestWatermarkPolicies(t *testing.T) {
	p := newParser(t)
	const sql = plotSource + `
		CREATE SOURCE other (id BIGINT, k VARCHAR, v BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '1 second')
		  WITH (connector = 'memory');
		CREATE QUERY q INTO mem OUTPUT MODE APPEND WITH (OPTIONS) AS
		WITH u AS (SELECT ts, k FROM src UNION ALL SELECT ts, k FROM other)
		SELECT window_start, count(*) AS n FROM tumble(u, ts, INTERVAL '10 seconds') GROUP BY ALL;`
	type step struct{ advance, src, other int } // seconds; event time 0 is no row
	steps := []step{{0, 20, 0}, {0, 0, 20}, {0, 30, 0}, {61, 40, 0}, {0, 0, 25}}
	for _, c := range []struct{ options, want string }{
		{"watermark_policy = 'min'", "none 15 19 19 24"},
		{"watermark_policy = 'max'", "15 19 25 35 35"},
		{"idle_timeout = '60 seconds'", "none 15 19 35 35"},
	} {
		var whole []string
		for _, how := range []string{"in one life", "with restarts", "with kills"} {
			t.Run(c.options+" "+how, func(t *testing.T) {
				w := newWorld(t, p)
				app := w.app(strings.Replace(sql, "OPTIONS", c.options, 1))
				q := w.mustOpen(app)
				var got []string
				for _, s := range steps {
					w.manual.Advance(time.Duration(s.advance) * time.Second)
					if s.src > 0 {
						w.add(app, "src", []any{1, "a", 1, at(s.src)})
					}
					if s.other > 0 {
						w.add(app, "other", []any{1, "a", 1, at(s.other)})
					}
					require.NoError(t, q.Idle(t.Context()))
					got = append(got, seconds(q.Watermark()))
					switch how {
					case "with restarts":
						require.NoError(t, q.Close(t.Context()))
						q = w.mustOpen(app)
					case "with kills":
						require.NoError(t, q.Abandon())
						q = w.mustOpen(app)
						require.NoError(t, q.Idle(t.Context()))
					}
					require.Equal(t, got[len(got)-1], seconds(q.Watermark()))
				}
				require.NoError(t, q.Finish(t.Context()))
				require.NoError(t, q.Close(t.Context()))
				require.Equal(t, c.want, strings.Join(got, " "))
				if whole == nil {
					whole = w.batches("mem")
				}
				require.NotEmpty(t, whole)
				require.Equal(t, whole, w.batches("mem"))
			})
		}
	}
}

func seconds(wm *int64) string {
	if wm == nil {
		return "none"
	}
	return fmt.Sprint((*wm - start.UnixMicro()) / 1_000_000)
}

// TestRefresh asks that a reference table is loaded again when its time has come, that a batch which runs again sees
// the copy it saw, and that a table without REFRESH stays as it was at the start.
func TestRefresh(t *testing.T) {
	w := newWorld(t, newParser(t))
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("k,name\n"+text), 0o600))
	}
	write("moving.csv", "a,anna\n")
	write("still.csv", "a,one\n")
	app := w.app(plotSource + fmt.Sprintf(`
		CREATE TABLE moving REFRESH EVERY '1 minute' AS SELECT * FROM read_csv('%s/moving.csv');
		CREATE TABLE still AS SELECT * FROM read_csv('%s/still.csv');
		CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS
		SELECT m.name AS m, s.name AS s, count(*) AS n
		FROM src LEFT JOIN moving m USING (k) LEFT JOIN still s USING (k) GROUP BY ALL;`, dir, dir))
	q := w.mustOpen(app)
	feed := func(id int) {
		w.add(app, "src", []any{id, "a", 1, at(id)})
		require.NoError(t, q.Idle(t.Context()))
	}
	feed(1)
	write("moving.csv", "a,berta\n")
	write("still.csv", "a,two\n")
	feed(2)
	w.manual.Advance(time.Minute)
	feed(3)
	require.NoError(t, q.Abandon()) // all three run again, each with its copy
	write("moving.csv", "a,carla\n")
	q = w.mustOpen(app)
	feed(4)
	w.hookOnce(engine.AfterSink, 1)
	require.NoError(t, q.Close(t.Context()))
	w.manual.Advance(time.Minute)
	q = w.mustOpen(app)
	w.manual.Advance(time.Minute)
	w.add(app, "src", []any{5, "a", 1, at(5)})
	require.ErrorIs(t, q.Idle(t.Context()), errStop)
	require.NoError(t, q.Abandon())
	write("moving.csv", "a,dora\n")
	w.opt = nil
	q = w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"0: anna|one|1", "1: anna|one|2", "2: berta|one|1", "3: berta|one|2", "4: carla|one|1"},
		w.batches("mem"))
}

// TestSlots asks that each slot stands for itself: its output replaces what the same slot wrote before and knows
// nothing of the slots before it, also after a kill.
func TestSlots(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(plotSource + `CREATE QUERY q INTO mem TRIGGER CRON '0 * * * *' OUTPUT MODE COMPLETE AS
		SELECT k, count(*) AS n FROM src WHERE ts >= getvariable('slot_start') AND ts < getvariable('slot_end') GROUP BY k;`)
	w.add(app, "src", []any{1, "a", 1, at(1)}, []any{2, "a", 1, at(3601)}, []any{3, "b", 1, at(3602)},
		[]any{4, "a", 1, at(3603)})
	slot := func(n int) trigger.Slot {
		return trigger.Slot{Start: start.Add(time.Duration(n) * time.Hour), End: start.Add(time.Duration(n+1) * time.Hour)}
	}
	q := w.mustOpen(app)
	require.NoError(t, q.RunSlot(t.Context(), slot(0)))
	require.NoError(t, q.RunSlot(t.Context(), slot(1)))
	require.Equal(t, []string{"a|1", "a|2", "b|1"}, sorted(texts(w.sinks.Rows("mem"))))
	require.NoError(t, q.Abandon())
	w.add(app, "src", []any{5, "b", 1, at(2)}) // a straggler
	w.hookOnce(engine.MidSink, 2)              // the first is the slot whose Commit the kill has lost
	q = w.mustOpen(app)
	require.ErrorIs(t, q.RunSlot(t.Context(), slot(0)), errStop)
	require.ErrorIs(t, q.RunSlot(t.Context(), slot(0)), errStop)
	require.NoError(t, q.Abandon())
	w.opt = nil
	q = w.mustOpen(app)
	require.NoError(t, q.RunSlot(t.Context(), slot(2)))
	require.NoError(t, q.Close(t.Context()))
	require.Equal(t, []string{"a|1", "a|2", "b|1", "b|1"}, sorted(texts(w.sinks.Rows("mem"))))
}

// TestMemory asks that a stateful query which has seen many small batches holds no more than one that has seen few.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds")
	}
	w := newWorld(t, newParser(t))
	w.disk = vfs.OS{}
	app := w.app(tumbling)
	q := w.mustOpen(app)
	rss := make([]int, 0, 4)
	for i := range 400 {
		w.manual.Advance(3 * time.Second)
		rows := make([][]any, 50)
		for j := range rows {
			rows[j] = []any{j, "a", 1, at(i)}
		}
		w.add(app, "src", rows...)
		require.NoError(t, q.Idle(t.Context()))
		if i%100 == 99 {
			runtime.GC()
			rss = append(rss, resident(t))
		}
	}
	require.NoError(t, q.Close(t.Context()))
	require.Less(t, rss[3]-rss[0], 24<<20, "resident bytes after 100, 200, 300, 400 batches: %v", rss)
}

// TestOutOfMemory asks that a batch which does not fit says so, and how to mend it, and that it runs when it does.
func TestOutOfMemory(t *testing.T) {
	w := newWorld(t, newParser(t))
	app := w.app(plotSource + "CREATE QUERY q INTO mem AS SELECT id, unnest(range(8)) AS i, repeat(k, 12000000) AS x FROM src;")
	w.disk = vfs.OS{}
	w.opt = func(o *engine.Options) { o.MemoryLimit = 24 << 20 }
	q := w.mustOpen(app)
	w.add(app, "src", []any{1, "a", 1, at(0)})
	text := code(t, diag.OutOfMemory, q.Idle(t.Context()))
	require.Contains(t, text, "DuckDB may use 12 MiB")
	require.Contains(t, text, "fix: raise --memory-limit")
	require.NoError(t, q.Abandon())
	w.opt = func(o *engine.Options) { o.MemoryLimit = 1 << 30 }
	q = w.mustOpen(app)
	require.NoError(t, q.Idle(t.Context()))
	require.NoError(t, q.Close(t.Context()))
	require.Len(t, w.sinks.Rows("mem"), 8)
}

// resident returns the memory of this process in bytes.
func resident(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("no /proc here")
	}
	var size, pages int
	_, err = fmt.Sscan(string(data), &size, &pages)
	require.NoError(t, err)
	return pages * os.Getpagesize()
}

// TestSinksChange asks that a sink which is added begins where the query stands, that one which is taken away and
// added again is taken up where it was left, and that nothing is written twice to any.
func TestSinksChange(t *testing.T) {
	p := newParser(t)
	for _, how := range []string{"stopped", "killed", "killed in the batch"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t, p)
			text := func(sinks string) string {
				return plotSource + "CREATE SINK second WITH (connector = 'memory');\n" +
					"CREATE QUERY q INTO " + sinks + " AS SELECT id FROM src;"
			}
			id := 0
			life := func(sinks string) {
				app := w.app(text(sinks))
				q := w.mustOpen(app)
				for range 2 {
					id++
					w.add(app, "src", []any{id, "a", 1, at(0)})
					require.NoError(t, q.Idle(t.Context()))
				}
				switch how {
				case "stopped":
					require.NoError(t, q.Close(t.Context()))
				case "killed":
					require.NoError(t, q.Abandon())
				default:
					require.NoError(t, q.Close(t.Context()))
					w.hookOnce(engine.MidSink, 1)
					q = w.mustOpen(app)
					id++
					w.add(app, "src", []any{id, "a", 1, at(0)})
					require.ErrorIs(t, q.Idle(t.Context()), errStop)
					require.NoError(t, q.Abandon())
					w.opt = nil
				}
			}
			life("mem")
			life("mem, second")
			life("second")
			life("mem, second")
			q := w.mustOpen(w.app(text("mem, second")))
			require.NoError(t, q.Idle(t.Context()))
			require.NoError(t, q.Close(t.Context()))
			want := map[string][2]string{
				"stopped":             {"[1 2 3 4 7 8]", "[3 4 5 6 7 8]"},
				"killed":              {"[1 2 3 4 7 8]", "[3 4 5 6 7 8]"},
				"killed in the batch": {"[1 2 3 4 5 6 10 11 12]", "[4 5 6 7 8 9 10 11 12]"},
			}[how]
			require.Equal(t, want, [2]string{fmt.Sprint(texts(w.sinks.Rows("mem"))), fmt.Sprint(texts(w.sinks.Rows("second")))})
		})
	}
}
