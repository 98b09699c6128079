package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// boundsTable holds the rows that are being looked at.
const boundsTable = "__bounds"

// bound leaves those rows in r whose event time is in [From, To). The event time may be a computed column, so DuckDB
// computes it; the rows themselves stay as they were read. A body that is bound to a slot picks its rows itself.
func (q *Query) bound(ctx context.Context, r *rows, name string, bo BatchOptions) (err error) {
	in := q.planInput(name)
	if bo.From.IsZero() && bo.To.IsZero() || q.plan.SlotBound || in == nil || in.EventTime == "" {
		return nil
	}
	conn, err := q.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, m := range q.plan.Macros {
		if _, err := conn.Exec(ctx, m.Text); err != nil {
			return fmt.Errorf("define macro %q: %w", m.Name, err)
		}
	}
	where := boundsCondition(duck.QuoteIdent(in.EventTime), bo)
	var kept []arrow.Record
	for i, rec := range r.records {
		part, err := within(ctx, conn, in, rec, where)
		if err != nil {
			r.records = append(kept, r.records[i:]...)
			return fmt.Errorf("bound the event time of source %q: %w", name, err)
		}
		rec.Release()
		kept = append(kept, part...)
	}
	r.records = kept
	return nil
}

func (q *Query) planInput(name string) *planner.Input {
	for i, s := range q.plan.Sources {
		if s.Name == name {
			return &q.plan.Inputs[i]
		}
	}
	return nil
}

func boundsCondition(column string, bo BatchOptions) string {
	where := column + " IS NOT NULL"
	for _, b := range []struct {
		at time.Time
		op string
	}{{bo.From, ">="}, {bo.To, "<"}} {
		if !b.at.IsZero() {
			where += fmt.Sprintf(" AND %s %s make_timestamp(%d)", column, b.op, b.at.UnixMicro())
		}
	}
	return where
}

// within returns the stretches of rec whose rows fulfil the condition.
func within(ctx context.Context, conn *duck.Conn, in *planner.Input, rec arrow.Record,
	where string) ([]arrow.Record, error) {
	numbers := array.NewInt64Builder(memory.DefaultAllocator)
	defer numbers.Release()
	for i := range rec.NumRows() {
		numbers.Append(i)
	}
	column := numbers.NewArray()
	defer column.Release()
	fields := append(append([]arrow.Field(nil), rec.Schema().Fields()...),
		arrow.Field{Name: planner.PosColumn, Type: arrow.PrimitiveTypes.Int64})
	columns := append(append([]arrow.Array(nil), rec.Columns()...), column)
	numbered := array.NewRecord(arrow.NewSchema(fields, nil), columns, rec.NumRows())
	defer numbered.Release()
	if err := conn.Import(ctx, boundsTable, in.Select, []arrow.Record{numbered},
		numbered.Schema()); err != nil {
		return nil, err //nolint:wrapcheck // bound names the source
	}
	t, err := conn.Select(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY 1", planner.PosColumn,
		boundsTable, where))
	if err != nil {
		return nil, err //nolint:wrapcheck // bound names the source
	}
	defer t.Release()
	var out []arrow.Record
	start, end := int64(0), int64(0) // the stretch so far
	for _, part := range t.Records {
		for _, n := range part.Column(0).(*array.Int64).Int64Values() { //nolint:forcetypeassert // __pos is BIGINT
			if n == end {
				end++
				continue
			}
			if end > start {
				out = append(out, rec.NewSlice(start, end))
			}
			start, end = n, n+1
		}
	}
	if end > start {
		out = append(out, rec.NewSlice(start, end))
	}
	return out, nil
}
