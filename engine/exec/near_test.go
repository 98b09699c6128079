package exec

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// nearBodies are joins of rows that stay: chains, one key for all, several keys of one source, more conditions, and joins that
// another operator stands above.
func nearBodies() []string {
	return []string{
		"SELECT a.k, b.f, c.ts FROM src a JOIN more b ON a.v = b.v JOIN other c ON c.k = b.k",
		"SELECT a.k, b.f, c.v FROM src a JOIN more b ON a.k = b.k JOIN other c ON c.k = a.k AND c.v < b.v",
		"SELECT a.k, a.v + 1 AS n, b.f FROM src a JOIN more b ON a.v = b.v AND a.k = b.k AND b.v % 2 = 1",
		"SELECT a.k, b.f, c.ts, d.v FROM src a JOIN more b ON a.v = b.v JOIN other c ON c.v = a.v JOIN third d ON d.k = c.k",
		"SELECT a.k, b.k AS bk FROM other a JOIN other b ON a.v = b.v",
		"SELECT a.k, b.f FROM src a JOIN more b ON a.v = b.v UNION ALL SELECT k, f FROM other",
		"SELECT a.k, count(*) AS n, sum(b.v) AS s FROM src a JOIN more b ON a.v = b.v GROUP BY a.k",
	}
}

// TestNear runs batches over rows of few keys, NULLs among them, with all that is kept read through and with rows found by their
// keys: the same rows in the same order, also after a batch that failed, and after a restart.
func TestNear(t *testing.T) {
	for i, body := range nearBodies() {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			near := 0
			heard := func(sql string) {
				if strings.Contains(sql, "FROM temp.__left1 WHERE __pos >= getvariable") {
					near++
				}
			}
			f := newFixture(t)
			mode := stream.Append
			if strings.Contains(body, "GROUP BY") {
				mode = stream.Update
			}
			p, err := f.plan(mode, body)
			require.NoError(t, err)
			one := (&fixture{t: t, db: f.db, app: f.app, direct: true}).replay(p)
			one.s.share = 1 << 40
			by := (&fixture{t: t, db: ducktest.Open(t, duck.Options{Sealed: true, Threads: 2, Trace: heard}), app: f.app, near: true}).replay(p)
			rnd := rand.New(rand.NewPCG(uint64(i), 7))
			given, changes := 0, []func(context.Context, *Session) error{}
			for batch := range 8 {
				inputs := map[string][]row{}
				for _, src := range p.Sources {
					inputs[src.Name] = fewKeys(randomRows(rnd, rnd.IntN(12)))
				}
				if batch == 4 {
					require.NoError(t, by.s.Try(t.Context(), Call{Batch: by.batch, Watermark: by.watermark(), Late: by.late,
						Inputs: map[string]Input{p.Sources[0].Name: {Records: recordsOf(t, fewKeys(randomRows(rnd, 9)))}}},
						map[string][]int64{p.Sources[0].Name: {0, 3, 8}}))
				}
				if batch == 6 {
					by.snapshot(&changes)
					by.restart(&changes)
				}
				one.step(inputs, false)
				by.step(inputs, false)
				require.Equal(t, one.given, by.given, batch)
				given += len(by.given)
			}
			require.Greater(t, given, 20)
			require.GreaterOrEqual(t, near, 4, "found by their keys")
		})
	}
}

// fewKeys lets rows have few values in v.
func fewKeys(rows []row) []row {
	for i := range rows {
		if v, ok := rows[i].v.(int); ok {
			rows[i].v = v % 7
		}
	}
	return rows
}

func recordsOf(t *testing.T, rows []row) []arrow.Record {
	t.Helper()
	rec := record(rows)
	t.Cleanup(rec.Release)
	return []arrow.Record{rec}
}

// TestNearOfManyRows finds more rows than are each looked for alone, through a hash that many others have, and none for NULL.
func TestNearOfManyRows(t *testing.T) {
	listed := 0
	f := newFixture(t)
	f.near, f.db = true, ducktest.Open(t, duck.Options{Sealed: true, Threads: 2, Trace: func(sql string) {
		listed += strings.Count(sql, "unnest([")
	}})
	p, err := f.plan(stream.Append, "SELECT a.v, b.f FROM src a JOIN more b ON a.v = b.v AND b.f >= 5.0")
	require.NoError(t, err)
	r := f.replay(p)
	kept := make([]row, 100)
	for i := range kept {
		kept[i] = row{v: 1, f: float64(i), ts: 20}
	}
	r.step(map[string][]row{"more": append(kept, row{f: 7.0, ts: 20}, row{v: 2, f: 7.0, ts: 20})}, false)
	r.step(map[string][]row{"src": {{v: 1, ts: 20}, {ts: 20}}}, false)
	require.Len(t, r.given, 95)
	require.Equal(t, 1, listed)
}

// TestNearWithoutRoom lets the disk refuse what finds rows by their keys: the batch reads all that is kept, and those after it do.
func TestNearWithoutRoom(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, nearBodies()[0])
	require.NoError(t, err)
	refused := 0
	memory := spill.New(spill.Options{Dir: t.TempDir(), Least: -1, Reserve: func(*os.File, int64) error {
		refused++
		return unix.ENOSPC
	}})
	defer memory.Close()
	s, err := Open(t.Context(), Options{Plan: p, DB: f.db, Memory: memory})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	s.share = 0
	for batch := range int64(4) {
		in, rows := map[string]Input{}, []row{{k: "x", v: 1, f: 1.0, ts: 20}}
		for _, src := range p.Sources {
			in[src.Name] = Input{Records: recordsOf(t, rows)}
		}
		out, err := s.Run(t.Context(), Call{Batch: batch, Inputs: in})
		require.NoError(t, err)
		n := batch + 1
		require.Equal(t, n*n*n-batch*batch*batch, out.Result.NumRows())
		out.Result.Release()
	}
	require.Equal(t, 1, refused)
	require.Empty(t, s.kept)
}

// TestNearOfMacro lets a macro have the name of the function that hashes keys.
func TestNearOfMacro(t *testing.T) {
	f := newFixture(t)
	f.near = true
	f.app.Macros = []*planner.Macro{{Name: "hash", Text: "CREATE OR REPLACE MACRO hash(x, y := '#') AS y || x"}}
	p, err := f.plan(stream.Append, "SELECT hash(a.k) AS h FROM src a JOIN more b ON a.v = b.v")
	require.NoError(t, err)
	require.NotNil(t, p.Near)
	r := f.replay(p)
	for range 2 {
		r.step(map[string][]row{"src": {{k: "x", v: 1, f: 1.0, ts: 20}}, "more": {{k: "y", v: 1, f: 1.0, ts: 20}}}, false)
	}
	require.Contains(t, fmt.Sprint(r.given), "#x")
}

// TestNearIsForFewRows asks when what is kept is read through: for many rows beside it, or many that can be joined with one.
func TestNearIsForFewRows(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, nearBodies()[0])
	require.NoError(t, err)
	require.NotNil(t, p.Near)
	s := f.open(p)
	s.share = 64
	run := func(batch int64, rows []row) *run {
		t.Helper()
		c := Call{Batch: batch, Inputs: map[string]Input{"src": {Records: recordsOf(t, rows)}, "more": {Records: recordsOf(t, rows)}}}
		out, err := s.Run(t.Context(), c)
		require.NoError(t, err)
		out.Result.Release()
		r := s.newRun(Call{Batch: batch + 1, Inputs: c.Inputs})
		for _, src := range r.sources {
			src.left = src.rows
		}
		return r
	}
	many := make([]row, 1_000)
	for i := range many {
		many[i] = row{k: "x", v: i, f: 1.0, ts: 20}
	}
	for i := range 300 {
		many[i].v = -1
	}
	with, err := run(0, many).near(t.Context(), p.Near)
	require.NoError(t, err)
	require.Nil(t, with, "as many rows as are kept")
	require.Empty(t, s.kept)
	for _, v := range []int{500, -1} {
		r := run(int64(v+2), []row{{k: "x", v: v, f: 1.0, ts: 20}})
		r.c.Batch-- // the rows that are there are the batch's
		with, err = r.near(t.Context(), p.Near)
		require.NoError(t, err)
		require.Equal(t, v > 0, with != nil, "a row that can be joined with 300 others")
	}
	p, err = f.plan(stream.Append, "SELECT a.k, b.f FROM src a JOIN more b ON a.v % 9 = b.v % 9")
	require.NoError(t, err)
	require.Nil(t, p.Near, "no column is compared")
	p, err = f.plan(stream.Append, "SELECT a.k, b.f FROM src a JOIN more b ON a.v = b.v AND (a.k || b.k)::INTEGER > 0")
	require.NoError(t, err)
	require.NotNil(t, p.Near, "rows of earlier batches are not compared again, which could fail now")
	p, err = f.plan(stream.Append, "SELECT a.k, b.f FROM src a JOIN more b ON a.f = b.f")
	require.NoError(t, err)
	require.Nil(t, p.Near, "0.0 equals -0.0")
}
