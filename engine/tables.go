package engine

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
)

// tables are the reference tables of the query: immutable hashed copies, made by the loader, kept in the
// checkpoint, and given to the sealed session. A batch that runs again uses the copies its Intent names.
type tables struct {
	defs   []*planner.Table // of the app, in declaration order: a later body may read an earlier table
	used   map[string]bool  // those that the plan reads
	inUse  map[string]string
	loaded map[string]time.Time
	copies *state.Copies
}

func newTables(app *planner.App, plan *planner.Plan, copies *state.Copies) *tables {
	t := &tables{defs: app.Tables, used: map[string]bool{}, inUse: map[string]string{}, loaded: map[string]time.Time{},
		copies: copies}
	for _, def := range plan.Tables {
		t.used[def.Name] = true
	}
	return t
}

func (t *tables) versions() map[string]string {
	if len(t.inUse) == 0 {
		return nil
	}
	v := make(map[string]string, len(t.inUse))
	for name, hash := range t.inUse {
		v[name] = hash
	}
	return v
}

func (t *tables) close() error { return nil }

// openTables loads the reference tables: those that the log names from their copies, the others from their bodies.
// A table without REFRESH is loaded once in the life of the query.
func (q *Query) openTables(ctx context.Context, r *checkpoint.Recovery) error {
	q.tables = newTables(q.app, q.plan, q.ckpt.Tables())
	if err := q.useTables(ctx, nextTables(r)); err != nil {
		return err
	}
	return q.loadMissing(ctx)
}

// nextTables are the copies that the next batch begins with: the log's, or behind a changed text those of its state.
func nextTables(r *checkpoint.Recovery) map[string]string {
	e := r.Meta.Evolution
	switch {
	case r.Pending != nil:
		return r.Pending.Tables
	case e != nil && (r.Last == nil || r.Last.Batch == e.Batch):
		return e.Tables
	case r.LastIntent != nil:
		return r.LastIntent.Tables
	}
	return nil
}

// loadMissing loads the tables that no copy was named for.
func (q *Query) loadMissing(ctx context.Context) error {
	var missing []string
	for name := range q.tables.used {
		if _, ok := q.tables.inUse[name]; !ok {
			missing = append(missing, name)
		}
	}
	sort.Strings(missing)
	return q.loadTables(ctx, missing)
}

// fits reports whether a copy has the columns that the table has now. A changed text may have given it others; then the
// copy is of no use, and the table is loaded from its body.
func (t *tables) fits(name string, schema *arrow.Schema) bool {
	for _, def := range t.defs {
		if def.Name != name {
			continue
		}
		for _, col := range def.Columns {
			if !slices.ContainsFunc(schema.Fields(), func(f arrow.Field) bool { return strings.EqualFold(f.Name, col.Name) }) {
				return false
			}
		}
	}
	return true
}

// useTables puts the named copies into the session, where they are not in it already.
func (q *Query) useTables(ctx context.Context, versions map[string]string) error {
	names := make([]string, 0, len(versions))
	for name := range versions {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		hash := versions[name]
		if !q.tables.used[name] || q.tables.inUse[name] == hash {
			continue
		}
		t, err := q.tables.copies.Get(ctx, name, hash)
		if err != nil {
			return fmt.Errorf("load the copy %s of table %q: %w", hash, name, err)
		}
		if !q.tables.fits(name, t.Schema) {
			t.Release()
			continue
		}
		err = q.session.LoadTable(ctx, name, &duck.Table{Schema: t.Schema, Records: t.Records})
		t.Release()
		if err != nil {
			return fmt.Errorf("load table %q: %w", name, err)
		}
		q.tables.inUse[name], q.tables.loaded[name] = hash, q.opt.Clock.Now()
	}
	return nil
}

// refreshTables loads those again whose REFRESH EVERY has passed.
func (q *Query) refreshTables(ctx context.Context) error {
	return q.loadTables(ctx, q.dueTables(q.opt.Clock.Now()))
}

func (q *Query) dueTables(now time.Time) []string {
	var due []string
	for _, t := range q.plan.Tables {
		if t.Refresh > 0 && now.Sub(q.tables.loaded[t.Name]) >= t.Refresh {
			due = append(due, t.Name)
		}
	}
	return due
}

// loadTables runs the bodies of the named tables on a loader, keeps durable copies and puts them into the session.
func (q *Query) loadTables(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	want := make(map[string]bool, len(names))
	for _, name := range names {
		want[name] = true
	}
	return eachTable(ctx, q.memory(), q.app, func(def *planner.Table, t *duck.Table) error {
		if !want[def.Name] {
			return nil
		}
		hash, err := q.tables.copies.Put(ctx, def.Name, t.Schema, t.Records)
		if err != nil {
			return fmt.Errorf("keep a copy of table %q: %w", def.Name, err)
		}
		if err := q.session.LoadTable(ctx, def.Name, t); err != nil {
			return fmt.Errorf("load table %q: %w", def.Name, err)
		}
		q.tables.inUse[def.Name], q.tables.loaded[def.Name] = hash, q.opt.Clock.Now()
		return nil
	})
}

// eachTable runs the body of every reference table of app in order, each of which may read the ones before it, on a
// loader instance, and hands its rows to use.
func eachTable(ctx context.Context, memory int64, app *planner.App, use func(*planner.Table, *duck.Table) error) (err error) {
	if len(app.Tables) == 0 {
		return nil
	}
	db, err := duck.Open(ctx, duck.Options{MemoryLimit: memory})
	if err != nil {
		return fmt.Errorf("open the loader: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the loader: %w", err)
	}
	defer func() {
		for _, cerr := range []error{conn.Close(), db.Close()} {
			if err == nil && cerr != nil {
				err = fmt.Errorf("close the loader: %w", cerr)
			}
		}
	}()
	return makeTables(ctx, conn, app, use)
}

// makeTables does so on an instance that may read files, and leaves the tables there.
func makeTables(ctx context.Context, conn *duck.Conn, app *planner.App, use func(*planner.Table, *duck.Table) error) error {
	macros := app.Macros
	for _, def := range app.Tables {
		macros = defineMacros(ctx, conn, macros)
		t, err := conn.Select(ctx, def.Body)
		if err != nil {
			return tableError(app, def.At, def.Name, err)
		}
		err = conn.Import(ctx, def.Name, "", t.Records, t.Schema)
		if err == nil {
			err = use(def, t)
		}
		t.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

func tableError(app *planner.App, at int, name string, err error) error {
	return diag.Wrap(diag.ReadFailed, err, "load table %q", name).
		At(app.Text, diag.Span{Start: at, End: at + 1}).
		WithHint("check that the files are there and readable from the working directory")
}

// defineAround defines what the query's text needs to run as it stands, beside its sources and tables: macros, and the
// views that it may read, of which planning has seen that they read nothing but what the application declares.
func (q *Query) defineAround(ctx context.Context, conn *duck.Conn) error {
	left := defineMacros(ctx, conn, q.app.Macros)
	for _, v := range planner.ViewsRead(q.app.Views, q.def.Body, q.app.Macros) {
		if _, err := conn.Exec(ctx, "CREATE TEMP VIEW "+duck.QuoteIdent(v.Name)+" AS "+v.Body); err != nil {
			return fmt.Errorf("define view %q: %w", v.Name, err)
		}
		left = defineMacros(ctx, conn, left)
	}
	return nil
}

// defineMacros defines what macros it can and returns those that it can not: they read what is not there, or not yet.
// What needs one of them fails itself.
func defineMacros(ctx context.Context, conn *duck.Conn, macros []*planner.Macro) []*planner.Macro {
	var left []*planner.Macro
	for _, m := range macros {
		if _, err := conn.Exec(ctx, m.Text); err != nil {
			left = append(left, m)
		}
	}
	return left
}
