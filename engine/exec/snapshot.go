package exec

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

// Snapshot returns what the state has become since the last Snapshot, or all of it if full is set or nothing was taken
// before. It is called between batches. The caller releases the changes, and before the next Snapshot: rows kept by key
// are read out of the state as it was at this moment, by one other goroutine if need be, while batches go on. When the
// changes do not reach the disk, the next call must be full.
func (s *Session) Snapshot(ctx context.Context, full bool) ([]state.Change, error) {
	var out []state.Change
	for _, t := range s.tables {
		c, err := s.change(ctx, t, full || !t.snapshot || len(t.Keys) == 0)
		if err != nil {
			for _, c := range out {
				c.Release()
			}
			return nil, fmt.Errorf("snapshot state table %s: %w", t.Name, err)
		}
		out = append(out, c)
	}
	for _, t := range s.tables {
		if err := s.forgetTouched(ctx, t); err != nil {
			for _, c := range out {
				c.Release()
			}
			t.snapshot = false
			return nil, fmt.Errorf("snapshot state table %s: %w", t.Name, err)
		}
		t.snapshot = !s.batch
	}
	return out, nil
}

func (s *Session) change(ctx context.Context, t *stateTable, base bool) (state.Change, error) {
	c := state.Change{Table: t.Name, Columns: definitions(t), Keys: slices.Clone(t.Keys), Base: base}
	if t.store != nil {
		return s.keyedChange(t, base), nil
	}
	sql := "SELECT * FROM " + t.Name
	changed := "(SELECT DISTINCT * FROM " + t.Touched() + ")"
	if !base {
		sql = "SELECT t.* FROM " + t.Name + " t SEMI JOIN " + changed + " c ON " + t.match("t", "c")
	}
	rows, err := s.conn.Query(ctx, nil, sql, t.Described())
	if err != nil {
		return c, err
	}
	c.Records = rows.Records
	if base {
		return c, nil
	}
	gone, err := s.conn.Query(ctx, nil, "SELECT * FROM "+changed+" c ANTI JOIN "+t.Name+" t ON "+t.match("t", "c"),
		describedKeys(t))
	if err != nil {
		c.Release()
		return state.Change{}, err
	}
	c.Deleted = gone.Records
	return c, nil
}

// describedKeys returns the columns that a change is remembered by, in the order of the table of changed keys.
func describedKeys(t *stateTable) []duck.Column {
	keys := make([]duck.Column, 0, len(t.Keys))
	for _, k := range t.Keys {
		for _, c := range t.Described() {
			if c.Name == k {
				keys = append(keys, c)
			}
		}
	}
	return keys
}

func definitions(t *stateTable) []string {
	defs := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		defs[i] = c.Name + " " + c.Type
	}
	return defs
}

// Restore applies one change of a state version. Changes are given in the order of their versions, a base
// first.
func (s *Session) Restore(ctx context.Context, c state.Change) error {
	for _, t := range s.tables {
		if t.Name != c.Table {
			continue
		}
		if !slices.Equal(definitions(t), c.Columns) {
			return diag.New(diag.PlanChanged, "state table %s was (%s), the query needs (%s)", t.Name,
				strings.Join(c.Columns, ", "), strings.Join(definitions(t), ", ")).
				WithHint("restore the query's text, or start it with a new checkpoint")
		}
		s.forgetPositions(t.Name)
		if err := s.restore(ctx, t, c); err != nil {
			return fmt.Errorf("restore state table %s: %w", t.Name, err)
		}
		return nil
	}
	return diag.New(diag.PlanChanged, "the checkpoint has a state table %s that the query does not keep",
		c.Table).
		WithHint("restore the query's text, or start it with a new checkpoint")
}

const restoreTable = "__restore"

func (s *Session) restore(ctx context.Context, t *stateTable, c state.Change) error {
	if t.store != nil {
		err := restoreKeyed(t.store, c)
		t.rows, t.snapshot = int64(t.store.Len()), true
		return err
	}
	cols := make([]stream.Column, len(t.Columns))
	for i, col := range t.Columns {
		cols[i] = col.Column
	}
	if c.Base || c.Dropped {
		if err := s.restoreInto(ctx, t.Name, cols, c.Records); err != nil {
			return err
		}
		return s.restored(ctx, t)
	}
	keys := make([]stream.Column, 0, len(t.Keys))
	for _, col := range cols {
		if slices.Contains(t.Keys, col.Name) {
			keys = append(keys, col)
		}
	}
	for _, part := range []struct {
		cols    []stream.Column
		records []arrow.Record
		insert  bool
	}{{keys, c.Deleted, false}, {cols, c.Records, true}} {
		if len(part.records) == 0 {
			continue
		}
		if err := s.restoreInto(ctx, restoreTable, part.cols, part.records); err != nil {
			return err
		}
		if _, err := s.conn.Exec(ctx, "DELETE FROM "+t.Name+" t USING "+restoreTable+" r WHERE "+t.match("t",
			"r")); err != nil {
			return err
		}
		if !part.insert {
			continue
		}
		if _, err := s.conn.Exec(ctx, "INSERT INTO "+t.Name+" FROM "+restoreTable); err != nil {
			return err
		}
	}
	return s.restored(ctx, t)
}

// restoreKeyed applies a change to a keyed table. The rows of a base have a key each, so they are not looked for.
func restoreKeyed(store *keyed.Store, c state.Change) error {
	if !c.Base && !c.More {
		return store.Restore(c.Dropped, c.Records, c.Deleted) //nolint:wrapcheck // Session.Restore says which table
	}
	if c.Base {
		if err := store.Restore(true, nil, nil); err != nil {
			return err //nolint:wrapcheck // as above
		}
	}
	for _, rec := range c.Records {
		if err := store.Fill(rec); err != nil {
			return err //nolint:wrapcheck // as above
		}
	}
	return nil
}

func (s *Session) restoreInto(ctx context.Context, table string, cols []stream.Column,
	recs []arrow.Record) error {
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		typ, err := duck.ArrowType(c.Type)
		if err != nil {
			return fmt.Errorf("restore column %s: %w", c.Name, err)
		}
		fields[i] = arrow.Field{Name: c.Name, Type: typ, Nullable: true}
	}
	schema := arrow.NewSchema(fields, nil)
	if len(recs) > 0 {
		schema = recs[0].Schema()
	}
	return s.conn.Import(ctx, table, planner.CastList(cols), recs, schema)
}

func (s *Session) restored(ctx context.Context, t *stateTable) error {
	rows, err := s.conn.Rows(ctx, "SELECT count(*) FROM "+t.Name)
	if err != nil {
		return err
	}
	t.rows, t.snapshot = integer(rows[0][0]), true
	return s.forgetTouched(ctx, t)
}

// compactLeast is how many dead rows a table may have, whatever it holds.
const compactLeast = 20_000

// mostlyDead reports that a table is worth being made anew: DuckDB never reclaims deleted rows in memory.
func mostlyDead(dead, rows int64) bool { return dead >= compactLeast && dead >= rows }

// compact forgets changes that are more than a base, and rewrites tables of which more is dead than alive.
func (s *Session) compact(ctx context.Context) error {
	const mostChanges = 200_000
	for _, t := range s.tables {
		if t.store != nil {
			continue
		}
		if t.changes > mostChanges && t.changes > 2*t.rows {
			// A delta would be larger than the table: the next Snapshot takes it whole.
			if err := s.forgetTouched(ctx, t); err != nil {
				return fmt.Errorf("forget changes of %s: %w", t.Name, err)
			}
			t.snapshot = false
		}
		if !mostlyDead(t.dead, t.rows) {
			continue
		}
		if _, err := s.conn.Exec(ctx, t.RewriteSQL()); err != nil {
			return fmt.Errorf("rewrite %s: %w", t.Name, err)
		}
		t.dead = 0
	}
	return nil
}
