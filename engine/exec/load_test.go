package exec

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

// TestLoad asks of every kind of stateful shape that Load gives the tables as the session has them, over a base and deltas and
// without the plan, that the plan's words for the rows fit, and that Closes is when rows are let go.
func TestLoad(t *testing.T) {
	f := newFixture(t)
	other := ducktest.Open(t, duck.Options{Sealed: true, Threads: 1})
	seen := map[string]int{}
	for i, sh := range shapes(t) {
		modes := modesOf(sh.modes)
		mode := modes[i%len(modes)]
		p, err := f.plan(mode, sh.body)
		require.NoError(t, err)
		kind := kindOf(p)
		if seen[kind]++; !p.Stateful() || seen[kind] > 2 { // others of the kind have the same tables
			continue
		}
		t.Run(fmt.Sprintf("%02d/%s", i, mode), func(t *testing.T) {
			f := &fixture{t: t, db: f.db, app: f.app}
			f.sameLoaded(f.replay(p), other, rand.New(rand.NewPCG(7, uint64(i))))
		})
	}
}

// kindOf names the operators of a plan and what their tables are.
func kindOf(p *planner.Plan) string {
	kind := p.Mode.String()
	for _, op := range p.Ops {
		kind += ", " + strings.TrimRight(op.Name, " 0123456789")
		for _, table := range op.Tables {
			kind += " " + table.Kind
		}
	}
	return kind
}

// sameLoaded runs batches, each into a state version, and compares the newest with one that has all of the state at
// once.
func (f *fixture) sameLoaded(r *replay, other *duck.DB, rnd *rand.Rand) {
	sliced, whole := f.stateStore(), f.stateStore()
	for range 3 {
		inputs := map[string][]row{}
		for _, s := range r.p.Sources {
			inputs[s.Name] = randomRows(rnd, 15)
		}
		r.step(inputs, false)
		f.keep(r, sliced, false)
	}
	f.keep(r, whole, true)
	conn, want := f.loaded(sliced, other), f.loaded(whole, other)
	for _, table := range r.p.StateTables() {
		f.sameTable(r, want, conn, table)
	}
	for _, op := range r.p.Ops {
		for _, st := range op.Steps {
			if st.Effect == planner.Delete && st.Frees && strings.HasPrefix(st.SQL, "WHERE ") {
				f.sameClosing(r, conn, st)
			}
		}
	}
}

// sameClosing asks that a step frees the rows of a table whose Closes the watermark has come to, and no others.
func (f *fixture) sameClosing(r *replay, conn *duck.Conn, st planner.Step) {
	t := f.t
	table := r.s.table(st.Table)
	require.NotEmpty(t, table.Closes, "what frees %s", st.Table)
	for seconds := range 12 {
		_, err := conn.Exec(t.Context(), fmt.Sprintf("SET VARIABLE watermark = make_timestamp(%d)", (10+4*seconds)*1_000_000))
		require.NoError(t, err)
		rows, err := conn.Rows(t.Context(), "SELECT count(*) FROM "+table.Name+" WHERE coalesce("+
			strings.TrimPrefix(st.SQL, "WHERE ")+", false) <> coalesce("+table.Closes+" <= getvariable('watermark'), false)")
		require.NoError(t, err)
		require.EqualValues(t, 0, rows[0][0], "%s: %s", st.SQL, table.Closes)
	}
}

func (f *fixture) stateStore() *state.Store {
	store, err := state.Open(vfs.NewMem(), "/state")
	require.NoError(f.t, err)
	return store
}

// keep writes the state into a version.
func (f *fixture) keep(r *replay, store *state.Store, full bool) {
	changes, err := r.s.Snapshot(f.t.Context(), full)
	require.NoError(f.t, err)
	_, err = store.Write(f.t.Context(), r.batch, changes)
	require.NoError(f.t, err)
	for _, c := range changes {
		c.Release()
	}
}

func (f *fixture) loaded(store *state.Store, db *duck.DB) *duck.Conn {
	version, ok := store.Latest(1 << 40)
	require.True(f.t, ok)
	conn, err := Load(f.t.Context(), db, version)
	require.NoError(f.t, err)
	f.t.Cleanup(func() { require.NoError(f.t, conn.Close()) })
	return conn
}

func (f *fixture) sameTable(r *replay, whole, conn *duck.Conn, table planner.StateTable) {
	t := f.t
	all := "SELECT * FROM " + table.Name + " ORDER BY ALL"
	want, err := whole.Rows(t.Context(), all)
	require.NoError(t, err)
	got, err := conn.Rows(t.Context(), all)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.NotEmpty(t, table.Kind)
	if table.Shown != "" {
		shown, err := conn.Rows(t.Context(), table.Shown)
		require.NoError(t, err)
		require.Len(t, shown, len(want))
	}
	if table.Waits != "" {
		_, err := conn.Rows(t.Context(), "SELECT count(*) FROM "+table.Name+" WHERE "+table.Waits)
		require.NoError(t, err)
	}
	if table.Closes == "" {
		return
	}
	freed := "CAST('-infinity' AS TIMESTAMP)"
	if r.late != nil { // what the last batch freed by
		freed = fmt.Sprintf("make_timestamp(%d)", *r.late)
	}
	left, err := conn.Rows(t.Context(),
		"SELECT count(*) FROM "+table.Name+" WHERE NOT coalesce("+table.Closes+" > "+freed+", false)")
	require.NoError(t, err)
	require.EqualValues(t, 0, left[0][0], "rows of %s outlive %s", table.Name, table.Closes)
}

// TestLoadOddNames asks that columns are told from their types whatever they are called.
func TestLoadOddNames(t *testing.T) {
	f := newFixture(t)
	p, err := f.plan(stream.Append, `WITH odd AS (SELECT k AS "a key", v AS "x BIGINT", f AS " f", ts FROM src)
		SELECT *, row_number() OVER (PARTITION BY window_start, "a key" ORDER BY "x BIGINT", " f") AS n
		FROM tumble(odd, ts, INTERVAL '5 seconds')`)
	if err != nil {
		t.Fatal(diag.Render(err))
	}
	f.sameLoaded(f.replay(p), f.db, rand.New(rand.NewPCG(1, 1)))
	for def, want := range map[string][2]string{
		"a BIGINT":                    {"a", "BIGINT"},
		"a TIMESTAMP WITH TIME ZONE":  {"a", "TIMESTAMP WITH TIME ZONE"},
		"x BIGINT INTEGER":            {"x BIGINT", "INTEGER"},
		"a b DECIMAL(18, 2)":          {"a b", "DECIMAL(18, 2)"},
		`s STRUCT("a b" INTEGER[])[]`: {"s", `STRUCT("a b" INTEGER[])[]`},
	} {
		name, typ, ok := splitDefinition(def)
		require.True(t, ok, def)
		require.Equal(t, want, [2]string{name, typ})
	}
	_, _, ok := splitDefinition("a NOTATYPE")
	require.False(t, ok)
}
