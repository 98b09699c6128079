package exec

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
)

// newStore makes the store of a keyed state table.
func newStore(t planner.StateTable, memory *spill.Pool) (*keyed.Store, error) {
	fields := make([]arrow.Field, len(t.Columns))
	for i, c := range t.Columns {
		typ, err := duck.ArrowType(c.Type)
		if err != nil {
			return nil, fmt.Errorf("state column %s: %w", c.Name, err)
		}
		fields[i] = arrow.Field{Name: c.Name, Type: typ, Nullable: true}
	}
	store, err := keyed.New(keyed.Options{Schema: arrow.NewSchema(fields, nil), Keys: len(t.Keys), Time: t.Time,
		Memory: memory})
	if err != nil {
		return nil, fmt.Errorf("make state table %s: %w", t.Name, err)
	}
	return store, nil
}

// begin opens a batch in every store.
func (s *Session) begin() {
	for _, t := range s.tables {
		if t.store != nil {
			t.store.Begin()
		}
	}
}

// end closes it.
func (s *Session) end(commit bool) {
	for _, t := range s.tables {
		switch {
		case t.store == nil:
		case commit:
			t.store.Commit()
		default:
			t.store.Rollback()
		}
	}
}

// lookup makes the table of the known rows whose keys a step selects.
func (r *run) lookup(ctx context.Context, st *planner.Step) error {
	t := r.s.table(st.State)
	if t.rows == 0 {
		return r.clear(ctx, st)
	}
	keys, err := r.s.conn.Query(ctx, r.with(st.With), st.SQL, t.Described()[:len(t.Keys)])
	if err != nil {
		return err
	}
	defer keys.Release()
	var known []arrow.Record
	defer func() { releaseAll(known) }()
	for _, rec := range keys.Records {
		found, err := t.store.Lookup(rec)
		if err != nil {
			return fmt.Errorf("look up keys in %s: %w", t.Name, err)
		}
		known = append(known, found...)
	}
	return r.give(ctx, st, t, known)
}

// give makes a step's table of rows of the store.
func (r *run) give(ctx context.Context, st *planner.Step, t *stateTable, rows []arrow.Record) error {
	if len(rows) == 0 {
		return r.clear(ctx, st)
	}
	var n int64
	for _, rec := range rows {
		n += rec.NumRows()
	}
	r.made[st.Table] = n
	if feed := r.s.feeds[st.Table]; feed != nil && feed.Fits(rows) {
		return feed.Lend(rows)
	}
	r.tabled[st.Table], r.s.empty[st.Table] = true, false
	return r.s.conn.Import(ctx, st.Table, t.CastList(), rows, t.store.Schema())
}

// fold merges the rows that a step selects into the store.
func (r *run) fold(ctx context.Context, st *planner.Step) error {
	t := r.s.table(st.State)
	cols := st.Folded(&t.StateTable)
	rows, err := r.query(ctx, r.with(st.With), st.SQL, cols)
	if err != nil {
		return err
	}
	defer rows.Release()
	groups := int64(0)
	for _, rec := range rows.Records {
		touched, err := t.take(rec, st)
		if err != nil {
			return fmt.Errorf("merge groups of %s: %w", t.Name, rangeFault(err))
		}
		groups += int64(touched)
		if t.Logical {
			r.out.State.Updated += int64(touched)
		}
		switch {
		case st.Entry == nil:
			continue
		case st.Order != nil:
			r.sources[0].counts.Used += rec.NumRows()
			continue
		}
		if counts, ok := rec.Column(len(cols) - 1).(*array.Int64); ok {
			for _, n := range counts.Int64Values() {
				r.sources[0].counts.Used += n
			}
		}
	}
	t.rows = int64(t.store.Len())
	if st.Table == "" {
		return nil
	}
	if r.resultOnly(st.Table) {
		r.made[st.Table] = groups
		return nil
	}
	merged := t.touched(st)
	defer releaseAll(merged)
	return r.give(ctx, st, t, merged)
}

// take brings the rows that a Fold selects into the store, and returns how many of its rows they touch first.
func (t *stateTable) take(rec arrow.Record, st *planner.Step) (int, error) {
	if st.Order != nil {
		return t.store.Lead(rec, st.Order) //nolint:wrapcheck // the caller says what
	}
	return t.store.Fold(rec, st.Merges) //nolint:wrapcheck // the caller says what
}

// touched returns what the Folds of the batch have made of the rows that they touched.
func (t *stateTable) touched(st *planner.Step) []arrow.Record {
	if st.Order != nil {
		return t.store.TouchedBy(st.Order[len(st.Order)-1].Column)
	}
	return t.store.Touched()
}

// admit adds the bits of the rows that a step selects to the store, and makes the step's table of what is new.
func (r *run) admit(ctx context.Context, st *planner.Step) error {
	t := r.s.table(st.State)
	rows, err := r.s.conn.Query(ctx, r.with(st.With), st.SQL, t.Described())
	if err != nil {
		return err
	}
	defer rows.Release()
	var fresh []arrow.Record
	defer func() { releaseAll(fresh) }()
	for _, rec := range rows.Records {
		added, some, err := t.store.Admit(rec)
		if err != nil {
			return fmt.Errorf("note values in %s: %w", t.Name, err)
		}
		if !some {
			added.Release()
			continue
		}
		fresh = append(fresh, added)
	}
	t.rows = int64(t.store.Len())
	return r.give(ctx, st, t, fresh)
}

// rangeFault turns a sum that has no place in its type into the error that DuckDB's would be: some row is to blame.
func rangeFault(err error) error {
	var e *keyed.RangeError
	if !errors.As(err, &e) {
		return err
	}
	kind := duck.OutOfRange
	if e.Cast {
		kind = duck.Conversion
	}
	return &duck.Error{Kind: kind, Message: e.Message, Position: -1, Err: err}
}

// put puts the rows of a table into the store.
func (r *run) put(ctx context.Context, st *planner.Step) error {
	t := r.s.table(st.State)
	rows, err := r.s.conn.Read(ctx, st.SQL, t.Described())
	if err != nil {
		return err
	}
	defer rows.Release()
	for _, rec := range rows.Records {
		if err := t.store.Put(rec); err != nil {
			return fmt.Errorf("keep groups in %s: %w", t.Name, err)
		}
		if t.Logical {
			r.out.State.Updated += rec.NumRows()
		}
	}
	t.rows = int64(t.store.Len())
	return nil
}

// expire takes out what the watermark has closed.
func (r *run) expire(ctx context.Context, st *planner.Step) error {
	t := r.s.table(st.State)
	upTo := int64(math.MaxInt64)
	if !r.c.Final {
		upTo = *r.c.Watermark - t.Ahead
	}
	gone := t.store.Expire(upTo)
	defer releaseAll(gone)
	t.rows = int64(t.store.Len())
	if t.Logical {
		for _, rec := range gone {
			r.out.State.Removed += rec.NumRows()
		}
	}
	if st.Table == "" {
		return nil
	}
	return r.give(ctx, st, t, gone)
}

func releaseAll(recs []arrow.Record) {
	for _, rec := range recs {
		rec.Release()
	}
}

// keyedChange is what a store has become since the last Snapshot. Its rows are read while it is written.
func (s *Session) keyedChange(t *stateTable, base bool) state.Change {
	frozen := t.store.Freeze(base)
	return state.Change{Table: t.Name, Columns: definitions(t), Keys: slices.Clone(t.Keys), Base: frozen.Base(),
		Rows: frozen}
}
