package file_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sinks/files"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/sources/file"
	"github.com/tidemill/tidemill/stream"
)

// world is what outlives a query: the disk with the input files, the clock and the sinks.
type world struct {
	t     *testing.T
	disk  vfs.FS
	clock *clock.Manual
	sinks *memory.Hub
	reg   stream.Registry
	app   *planner.App
	hook  func(point string) error
}

func newWorld(t *testing.T, sql string) *world {
	t.Helper()
	w := &world{t: t, disk: vfs.NewMem(), clock: clock.NewManual(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
		sinks: memory.NewHub()}
	w.reg = stream.Registry{Sources: map[string]stream.SourceConnector{"file": file.Connector()}, Sinks: files.Connectors()}
	w.reg.Sinks["memory"] = memory.Connector(w.sinks)
	require.NoError(t, w.disk.MkdirAll("/in"))
	app, err := engine.Parse(t.Context(), w.reg, "test.sql", sql)
	if err != nil {
		t.Fatal(diag.Render(err))
	}
	w.app = app
	return w
}

type noLock struct{}

func (noLock) Close() error { return nil }

func (w *world) options() engine.Options {
	return engine.Options{DataDir: "/data", FS: w.disk, Clock: w.clock, Registry: w.reg, MemoryLimit: 256 << 20, Threads: 1,
		Hook: w.hook, Parse: engine.Parser(w.reg),
		Lock: func(string, string) (io.Closer, error) { return noLock{}, nil }}
}

func put(t *testing.T, disk vfs.FS, name, text string) {
	t.Helper()
	f, err := disk.Create(name)
	require.NoError(t, err)
	_, err = io.WriteString(f, text)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
	require.NoError(t, disk.SyncDir(path.Dir(name)))
}

const inputs = 8

// input is the i-th input file: two rows that no other file has.
func input(i int) (name, text string) {
	return fmt.Sprintf("/in/%02d.ndjson", i), fmt.Sprintf("{\"id\":%d,\"k\":\"%c\"}\n{\"id\":%d,\"k\":\"z\"}\n", 2*i, 'a'+i%3, 2*i+1)
}

// run puts the files from i on, two before each look, and runs until they are all used. A fault drops the query as if
// the process had been killed.
func (w *world) run(i *int, outside *vfs.Mem) error {
	q, err := engine.Open(w.t.Context(), w.options(), w.app, "q")
	if err != nil {
		return err
	}
	for {
		if err := q.Idle(w.t.Context()); err != nil {
			return errors.Join(err, q.Abandon())
		}
		if *i == inputs {
			return q.Close(w.t.Context())
		}
		w.clock.Advance(6 * time.Second) // a state version at every other turn
		for range 2 {
			name, text := input(*i)
			put(w.t, outside, name, text)
			*i++
		}
	}
}

// intended is how many files the log's newest Intent, committed or not, covers.
func (w *world) intended() int {
	s, err := checkpoint.Inspect(w.disk, "/data/q")
	if err != nil {
		return 0
	}
	n := 0
	for _, in := range []*checkpoint.Intent{s.LastIntent, s.Pending} {
		if in != nil {
			_, err := fmt.Sscan(string(in.Sources["src"].To), &n)
			require.NoError(w.t, err)
		}
	}
	return n
}

// spoil takes away or overwrites every input file that a batch has been promised.
func (w *world) spoil(replace bool) {
	for i := range w.intended() {
		name, _ := input(i)
		if _, err := w.disk.Stat(name); err != nil {
			continue
		}
		require.NoError(w.t, w.disk.Remove(name))
		if replace {
			put(w.t, w.disk, name, "{\"id\":-1,\"k\":\"another file\"}\n")
		}
	}
}

func (w *world) table() []string {
	var list []string
	for _, row := range w.sinks.Table("mem") {
		list = append(list, fmt.Sprintln(row...))
	}
	sort.Strings(list)
	return list
}

// batch is the answer of one batch run over all input files as they were.
func (w *world) batch() []string {
	w.disk = vfs.NewMem()
	require.NoError(w.t, w.disk.MkdirAll("/in"))
	for i := range inputs {
		name, text := input(i)
		put(w.t, w.disk, name, text)
	}
	res, err := engine.Batch(w.t.Context(), w.options(), w.app, "q", engine.BatchOptions{})
	require.NoError(w.t, err)
	defer res.Release()
	var list []string
	for _, rec := range res.Result.Records {
		for i := range int(rec.NumRows()) {
			var row []any
			for _, c := range rec.Columns() {
				row = append(row, c.ValueStr(i))
			}
			list = append(list, fmt.Sprintln(row...))
		}
	}
	sort.Strings(list)
	names, err := w.disk.List("/data/batch-sources/q/src")
	require.NoError(w.t, err)
	require.NotContains(w.t, names, "spool", "a batch run keeps nothing")
	return list
}

const source = `CREATE SOURCE src (id BIGINT, k VARCHAR)
	WITH (connector = 'file', path = '/in/*.ndjson', format = 'ndjson', max_files_per_batch = 1, spool = 'MODE');
CREATE SINK mem WITH (connector = 'memory');
`

// TestQueryOutlivesItsInputs stops the machine after a call of the file system, takes away or replaces every input file
// that an Intent covers, and starts again. The sink ends with what one batch run over the original files gives.
func TestQueryOutlivesItsInputs(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"update": `CREATE QUERY q INTO mem OUTPUT MODE UPDATE AS SELECT k, count(*) AS n, sum(id) AS s FROM src GROUP BY k;`,
		"append": `CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, k FROM src WHERE id <> 5;`,
	} {
		for _, mode := range []string{"link", "copy"} {
			t.Run(name+" "+mode, func(t *testing.T) {
				t.Parallel()
				text := strings.ReplaceAll(source, "MODE", mode) + sql
				whole := newWorld(t, text)
				mem := whole.disk.(*vfs.Mem)
				fault := vfs.NewFault(mem)
				whole.disk = fault
				n := 0
				require.NoError(t, whole.run(&n, mem))
				want := whole.table()
				require.Equal(t, want, whole.batch())
				points := int64(4)
				switch {
				case os.Getenv("TIDEMILL_CRASH") == "all":
					points = 60
				case testing.Short():
					points = 1
				}
				for i := range points {
					w := newWorld(t, text)
					mem, n := w.disk.(*vfs.Mem), 0
					stops := vfs.NewFault(mem)
					k := fault.Calls() * (2*i + 1) / (2 * points)
					stops.StopAfter(k)
					w.disk = stops
					if err := w.run(&n, mem); err != nil { // reading ahead makes the calls of two lives differ a little
						require.ErrorIs(t, err, vfs.ErrCrashed)
					}
					after := mem.Crash([]float64{0, 0.5, 1}[i%3], i)
					w.disk = after
					w.spoil(i%2 == 0)
					require.NoError(t, w.run(&n, after), "stopped after call %d", k)
					require.Equal(t, want, w.table(), "stopped after call %d", k)
					left, err := after.List("/data/q/sources/src/spool")
					require.NoError(t, err)
					require.Empty(t, left, "the last state version frees the spool")
				}
			})
		}
	}
}

// TestIntentThenNoInput kills the query right behind its first Intent, before anything was read, and removes the file.
func TestIntentThenNoInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, strings.ReplaceAll(source, "MODE", "link")+
		`CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, k FROM src;`)
	mem := w.disk.(*vfs.Mem)
	name, text := input(0)
	put(t, mem, name, text)
	errStop := errors.New("stopped by the test")
	w.hook = func(point string) error {
		if point == engine.AfterIntent {
			return errStop
		}
		return nil
	}
	n := inputs
	require.ErrorIs(t, w.run(&n, mem), errStop)
	w.disk, w.hook = mem.Crash(0, 1), nil
	require.Equal(t, 1, w.intended())
	w.spoil(false)
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"0 a\n", "1 z\n"}, w.table())
}

// TestDeadLettersNameTheFile asks for the path in letters of rows that do not decode, of rows that the plan can not use,
// and of a packed file that is cut short, whose whole rows are used.
func TestDeadLettersNameTheFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (id BIGINT, k VARCHAR)
		WITH (connector = 'file', path = '/in/*', format = 'ndjson');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, k::INTEGER AS k FROM src;`)
	mem := w.disk.(*vfs.Mem)
	put(t, mem, "/in/a.ndjson", "{\"id\":1,\"k\":\"1\"}\n{\"id\":\"x\"}\n")
	put(t, mem, "/in/b.ndjson", "{\"id\":2,\"k\":\"not a number\"}\n{\"id\":3,\"k\":\"3\"}\n")
	packed := gzipped(t, lines(4, 1000))
	put(t, mem, "/in/c.ndjson.gz", packed[:len(packed)*3/4])
	n := inputs
	require.NoError(t, w.run(&n, mem))
	rows := w.table()
	require.Contains(t, rows, "1 1\n")
	require.Contains(t, rows, "3 3\n")
	require.Contains(t, rows, "4 4\n")
	require.Greater(t, len(rows), 300)
	require.Less(t, len(rows), 1000)
	boxes, err := letters.List(mem, "/data/q/dead_letters")
	require.NoError(t, err)
	require.Len(t, boxes, 1)
	list, err := letters.Read(mem, "/data/q/dead_letters", boxes[0].Batch)
	require.NoError(t, err)
	require.Len(t, list, 3)
	require.Equal(t, []string{"/in/a.ndjson", "/in/b.ndjson", "/in/c.ndjson.gz"},
		[]string{list[0].Place(), list[1].Place(), list[2].Place()})
	require.JSONEq(t, `{"id":"x"}`, string(list[0].Payload))
	require.JSONEq(t, `{"id":2,"k":"not a number"}`, string(list[1].Payload))
	require.Contains(t, list[2].Reason, "unexpected EOF")
	require.NotContains(t, string(list[2].Payload), "\n", "the line that was cut")
	status, err := checkpoint.Inspect(mem, "/data/q")
	require.NoError(t, err)
	require.Equal(t, int64(3), status.Last.Totals.Dead)
	require.Equal(t, int64(len(rows)+3), status.Last.Totals.In)
}

// TestLettersHaveAllColumns asks that columns that the query does not read are checked, and stand in the letter of a row
// that the query can not use.
func TestLettersHaveAllColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (note VARCHAR, id BIGINT, n INTEGER, k VARCHAR)
		WITH (connector = 'file', path = '/in/*', format = 'ndjson');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, k::INTEGER AS k FROM src;`)
	mem := w.disk.(*vfs.Mem)
	put(t, mem, "/in/a.ndjson", `{"note":"a","id":1,"n":1,"k":"1"}`+"\n"+`{"note":"b","id":2,"n":"x","k":"2"}`+"\n"+
		`{"note":"c","id":3,"n":3,"k":"no number"}`+"\n"+`{"note":7,"id":4,"n":4,"k":"4"}`+"\n")
	n := inputs
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"1 1\n"}, w.table())
	list, err := letters.Read(mem, "/data/q/dead_letters", 0)
	require.NoError(t, err)
	require.Len(t, list, 3)
	reasons := list[0].Reason + list[1].Reason + list[2].Reason
	require.Contains(t, reasons, `column "n": expected INTEGER as a number, got "x"`)
	require.Contains(t, reasons, `column "note": expected VARCHAR as a string, got 7`)
	rows := string(list[0].Row) + string(list[1].Row) + string(list[2].Row)
	require.JSONEq(t, `{"note":"c","id":3,"n":3,"k":"no number"}`, rows)
}

// TestParquetLettersNameTheFile asks for path and row of a row that came out of a Parquet file.
func TestParquetLettersNameTheFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (id BIGINT, s STRUCT(x BIGINT, y VARCHAR), m MAP(VARCHAR, BIGINT), l STRUCT(x BIGINT)[])
		WITH (connector = 'file', path = '/in/*.parquet', format = 'parquet');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE APPEND AS
		SELECT id, s.x AS x, s.y::INTEGER AS y, m['a'][1] AS a, list_sum([e.x for e in l]) AS sum FROM src;`)
	mem := w.disk.(*vfs.Mem)
	put(t, mem, "/in/a.parquet", nestedRow(t, 1, "10"))
	put(t, mem, "/in/b.parquet", nestedRow(t, 2, "20", "oops"))
	n := inputs
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"1 7 10 8 3\n", "2 7 20 8 3\n"}, w.table())
	list, err := letters.Read(mem, "/data/q/dead_letters", 0)
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "/in/b.parquet", list[0].Place())
	require.Equal(t, int64(1), list[0].Index)
	require.Contains(t, string(list[0].Row), "oops")
}

// TestLettersOfColumnsLeft asks that the letter of a row out of a Parquet file has the columns that the query does not read
// too, unless the file has none to read: damage of these alone costs no row, in a batch run neither.
func TestLettersOfColumnsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (s STRUCT(x BIGINT, y VARCHAR), l STRUCT(x BIGINT)[], id BIGINT)
		WITH (connector = 'file', path = '/in/*.parquet', format = 'parquet');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, (id * 9223372036854775807)::BIGINT AS n FROM src;`)
	mem := w.disk.(*vfs.Mem)
	put(t, mem, "/in/a.parquet", nestedRow(t, 1, "fine"))
	put(t, mem, "/in/b.parquet", nestedRow(t, 2, "left", "right"))
	put(t, mem, "/in/c.parquet", strings.ReplaceAll(nestedRow(t, 3, "spoilt"), "spoilt", "\xff\xff\xff\xff\xff\xff"))
	put(t, mem, "/in/d.parquet", strings.ReplaceAll(nestedRow(t, 1, "spoilt"), "spoilt", "\xff\xff\xff\xff\xff\xff"))
	n := inputs
	require.NoError(t, w.run(&n, mem))
	good := "1 9223372036854775807\n"
	require.Equal(t, []string{good, good}, w.table())
	var rows []string
	for _, l := range lettersOf(t, mem, 0) {
		rows = append(rows, fmt.Sprintln(l.Place(), l.Index, string(l.Row)))
	}
	require.Equal(t, []string{
		`/in/b.parquet 0 {"s":{"x":7,"y":"left"},"l":[{"x":1},{"x":2}],"id":2}` + "\n",
		`/in/b.parquet 1 {"s":{"x":7,"y":"right"},"l":[{"x":1},{"x":2}],"id":2}` + "\n",
		`/in/c.parquet 0 {"id":3}` + "\n",
	}, rows)
	v, err := engine.Verify(t.Context(), w.options(), w.app, "q", func(ctx context.Context, conn *duck.Conn, table string) error {
		_, err := conn.Exec(ctx, "CREATE TABLE "+duck.QuoteIdent(table)+" AS SELECT 1::BIGINT AS id, 9223372036854775807 AS n FROM range(2)")
		return err
	})
	require.NoError(t, err)
	require.True(t, v.Verified, v)
	require.EqualValues(t, 2, v.Input)
	require.NoError(t, errors.Join(mem.Remove("/in/b.parquet"), mem.Remove("/in/c.parquet")))
	res, err := engine.Batch(t.Context(), w.options(), w.app, "q", engine.BatchOptions{})
	require.NoError(t, err)
	defer res.Release()
	require.Equal(t, []string{"1|9223372036854775807", "1|9223372036854775807"}, resultTexts(res))
}

// TestRowsWithoutColumns counts the rows of Parquet files of which no column is read, in each batch and in a batch run.
func TestRowsWithoutColumns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (id BIGINT) WITH (connector = 'file', path = '/in/*.parquet', max_files_per_batch = 2);
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE COMPLETE AS SELECT count(*) AS n FROM src;`)
	mem := w.disk.(*vfs.Mem)
	for i := range 5 {
		put(t, mem, fmt.Sprintf("/in/%d.parquet", i), nestedRow(t, i, strings.Split("a b c d e", " ")[:i]...))
	}
	n := inputs
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"10\n"}, w.table())
	res, err := engine.Batch(t.Context(), w.options(), w.app, "q", engine.BatchOptions{})
	require.NoError(t, err)
	defer res.Release()
	require.False(t, res.ByDuckDB)
	require.Equal(t, []string{"10"}, resultTexts(res))
}

// TestOnErrorOfParquet asks for what on_error says of a file that is not Parquet, and that `fail` names file and row.
func TestOnErrorOfParquet(t *testing.T) {
	t.Parallel()
	for onError, dead := range map[string]int{"dead_letter": 1, "skip": 0} {
		w := newWorld(t, `CREATE SOURCE src (id BIGINT, gone VARCHAR)
			WITH (connector = 'file', path = '/in/*.parquet', format = 'parquet', on_error = '`+onError+`');
		CREATE SINK mem WITH (connector = 'memory');
		CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT id, gone FROM src;`)
		mem := w.disk.(*vfs.Mem)
		put(t, mem, "/in/a.parquet", "garbage")
		put(t, mem, "/in/b.parquet", nestedRow(t, 2, "20"))
		n := inputs
		require.NoError(t, w.run(&n, mem))
		require.Equal(t, []string{"2 <nil>\n"}, w.table())
		list, err := letters.Read(mem, "/data/q/dead_letters", 0)
		require.NoError(t, err)
		require.Len(t, list, dead)
		if dead > 0 {
			require.Equal(t, "/in/a.parquet", list[0].Place())
			require.Equal(t, "garbage", string(list[0].Payload))
			require.Contains(t, list[0].Reason, "can not be read as Parquet")
		}
	}
}

// TestFailNamesTheLine asks for the place of what does not decode under on_error = 'fail'.
func TestFailNamesTheLine(t *testing.T) {
	t.Parallel()
	for format, c := range map[string]struct{ text, want string }{
		"ndjson":  {"{\"id\":1}\n\n{\"id\":\"x\"}\n", `line 3 of file "/in/a"`},
		"csv":     {"1\n2\nx\n", `line 3 of file "/in/a"`},
		"text":    {"a\nb\n\xff\n", `line 3 of file "/in/a"`},
		"json":    {`[{"id":1},{"id":"x"}]`, `row 2 of file "/in/a"`},
		"parquet": {"garbage", `source "src": file "/in/a" does not decode: the file can not be read as Parquet`},
	} {
		column := "id BIGINT"
		if format == "text" {
			column = "id VARCHAR"
		}
		w := newWorld(t, `CREATE SOURCE src (`+column+`)
			WITH (connector = 'file', path = '/in/*', format = '`+format+`', on_error = 'fail');
		CREATE SINK mem WITH (connector = 'memory');
		CREATE QUERY q INTO mem OUTPUT MODE APPEND AS SELECT * FROM src;`)
		mem := w.disk.(*vfs.Mem)
		put(t, mem, "/in/a", c.text)
		n := inputs
		err := w.run(&n, mem)
		require.Equal(t, diag.DecodeFailed, diag.CodeOf(err), format)
		require.ErrorContains(t, err, c.want)
	}
}
