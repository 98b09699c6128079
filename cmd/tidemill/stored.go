package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
)

// stored is a query as its directory has it, running or not. Reading it needs no lock and changes nothing.
type stored struct {
	dir    string
	sum    *checkpoint.Summary
	state  string // running, stopped or interrupted
	app    *planner.App
	query  *planner.Query
	plan   *planner.Plan // nil if the stored text can not be planned here
	noPlan error         // why

	scratch string // where DuckDB may spill
	db      *duck.DB
	conn    *duck.Conn // has the state tables; nil if there is no state version
	tables  []shownTable
	batch   int64 // of the state version; -1 for none
}

// shownTable is one state table of a version, with the plan's words for it.
type shownTable struct {
	planner.StateTable
	operator string
	view     string // the name of the view in the query's words; "" for none
	rows     int64
}

// openStored reads a query's log, plan and newest state version. The caller closes it.
func (e *env) openStored(ctx context.Context, dataDir, query string) (*stored, error) {
	dir, err := queryDir(dataDir, query)
	if err != nil {
		return nil, err
	}
	st := &stored{dir: dir, batch: -1}
	if err := st.open(ctx, e); err != nil {
		return nil, errors.Join(err, st.close())
	}
	return st, nil
}

func (st *stored) open(ctx context.Context, e *env) (err error) {
	if st.scratch, err = os.MkdirTemp("", "tidemill-state-"); err != nil {
		return fmt.Errorf("make a scratch directory: %w", err)
	}
	limit, err := memoryLimit("")
	if err != nil {
		return err
	}
	e.shareMemory(limit)
	st.db, err = duck.Open(ctx, duck.Options{Sealed: true, MemoryLimit: limit * 3 / 5, TempDir: st.scratch})
	if err != nil {
		return fmt.Errorf("open DuckDB: %w", err)
	}
	if err := st.load(ctx); err != nil {
		return err
	}
	st.findPlan(ctx, e)
	return st.describe(ctx)
}

func (st *stored) close() error {
	var errs []error
	if st.conn != nil {
		errs = append(errs, st.conn.Close())
	}
	if st.db != nil {
		errs = append(errs, st.db.Close())
	}
	_ = os.RemoveAll(st.scratch) // scratch space
	return errors.Join(errs...)
}

// loadTries is how often a version is looked for again that a running owner replaced meanwhile.
const loadTries = 5

// load takes the log and the newest state version that it covers. A running owner may remove a version while it is
// read; then there is a newer one.
func (st *stored) load(ctx context.Context) (err error) {
	for try := 1; ; try++ {
		if st.sum, err = checkpoint.Inspect(vfs.OS{}, st.dir); err != nil {
			return err //nolint:wrapcheck // coded
		}
		if st.state, _, err = stateOf(st.dir, st.sum, nil); err != nil {
			return err
		}
		newest := st.version()
		if newest.Batch() < 0 {
			return nil
		}
		if st.conn, err = exec.Load(ctx, st.db, newest); err == nil {
			st.batch = newest.Batch()
			return nil
		}
		now, lerr := checkpoint.Inspect(vfs.OS{}, st.dir)
		if lerr != nil {
			return errors.Join(err, lerr)
		}
		if n := len(now.Versions); try == loadTries || n == 0 || now.Versions[n-1].Batch() == newest.Batch() {
			return err //nolint:wrapcheck // coded
		}
	}
}

// version is the newest state version whose batch is in the log.
func (st *stored) version() state.Version {
	var newest state.Version
	for _, v := range st.sum.Versions {
		if st.sum.Last != nil && v.Batch() <= st.sum.Last.Batch {
			newest = v
		}
	}
	return newest
}

// findPlan plans the stored text. Without it there are rows, but no words for them: the files of a reference table
// may be elsewhere, or a variable not set.
func (st *stored) findPlan(ctx context.Context, e *env) {
	text := &diag.Text{Name: st.sum.Meta.Name + " (as in the checkpoint)", Body: st.sum.Meta.SQL}
	st.app, st.noPlan = e.parse(ctx, text, registry(e))
	if st.noPlan != nil {
		return
	}
	queries, err := pick(st.app, st.sum.Meta.Name)
	if err != nil {
		st.noPlan = err
		return
	}
	plans, err := e.planAll(ctx, st.app, queries)
	if err != nil {
		st.noPlan = err
		return
	}
	if change := engine.Compare(engine.StoredShape(st.sum.Meta), plans[0].shape); change.Effect == engine.Refused {
		st.noPlan = diag.New(diag.PlanChanged, "this version of Tidemill plans the stored text otherwise")
		return
	}
	st.query, st.plan = queries[0], plans[0].plan
}

// describe counts the tables and makes their views.
func (st *stored) describe(ctx context.Context) error {
	if st.conn == nil {
		return nil
	}
	for _, t := range st.version().Tables() {
		shown := shownTable{StateTable: planner.StateTable{Name: t.Name, Keys: t.Keys}}
		rows, err := st.conn.Rows(ctx, "SELECT count(*) FROM "+duck.QuoteIdent(t.Name))
		if err != nil {
			return fmt.Errorf("count %s: %w", t.Name, err)
		}
		shown.rows, _ = rows[0][0].(int64)
		st.tables = append(st.tables, shown)
	}
	if st.plan == nil {
		return nil
	}
	for _, op := range st.plan.Ops {
		for _, t := range op.Tables {
			for i := range st.tables {
				if st.tables[i].Name == t.Name {
					st.tables[i].StateTable, st.tables[i].operator = t, op.Name
				}
			}
		}
	}
	return st.makeViews(ctx)
}

// makeViews gives each kind of table its name, with the operator's number if there are several of a kind.
func (st *stored) makeViews(ctx context.Context) error {
	for _, m := range st.plan.Macros {
		if _, err := st.conn.Exec(ctx, m.Text); err != nil {
			continue // it reads a reference table, which is not here; the view that needs it is left out
		}
	}
	kinds := map[string]int{}
	for _, t := range st.tables {
		kinds[t.Kind]++
	}
	for i := range st.tables {
		t := &st.tables[i]
		if t.Kind == "" {
			continue
		}
		name := t.Kind
		if kinds[t.Kind] > 1 {
			name += strings.TrimLeft(t.Name, "_abcdefghijklmnopqrstuvwxyz")
		}
		sql := t.Shown
		if sql == "" {
			sql = "SELECT * FROM " + duck.QuoteIdent(t.Name)
		}
		_, err := st.conn.Exec(ctx, "CREATE TEMP VIEW "+duck.QuoteIdent(name)+" AS "+sql)
		if err == nil {
			t.view = name
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// stateless reports whether the query keeps nothing between batches.
func (st *stored) stateless() bool { return !st.sum.Meta.Stateful }

// note says on standard error as of when the state is, and what is missing.
func (st *stored) note(e *env) {
	name := st.sum.Meta.Name
	switch {
	case st.stateless():
		fmt.Fprintf(e.stderr, "query %q keeps no state\n", name)
	case st.conn == nil:
		fmt.Fprintf(e.stderr, "query %q has no state version yet: one is written every checkpoint_interval and at a "+
			"clean stop\n", name)
	default:
		fmt.Fprintf(e.stderr, "state of query %q (%s) as of batch %d%s\n", name, st.state, st.batch, st.behind())
	}
	if st.noPlan != nil {
		fmt.Fprintf(e.stderr, "the stored text can not be planned here, so there are no views and no meanings: %s\n",
			firstLineOf(st.noPlan))
	}
}

// behind says how far the log is past the state version.
func (st *stored) behind() string {
	if n := st.sum.Last.Batch - st.batch; n > 0 {
		return fmt.Sprintf("; the log is %s ahead", pluralBatch(n))
	}
	return ""
}

func pluralBatch(n int64) string {
	if n == 1 {
		return "1 batch"
	}
	return count(n) + " batches"
}

func firstLineOf(err error) string {
	line, _, _ := strings.Cut(diag.Render(err), "\n")
	return line
}

// at returns the log's entry of a batch, or nil if the log has it no more.
func (st *stored) at(batch int64) *checkpoint.Replay {
	for i := range st.sum.Batches {
		if b := &st.sum.Batches[i]; b.Intent.Batch == batch {
			return b
		}
	}
	return nil
}

// path is for messages.
func (st *stored) path() string { return filepath.Clean(st.dir) }
