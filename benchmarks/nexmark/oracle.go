package nexmark

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/sqlfront"
)

// Oracle is plain DuckDB with the events in three tables and the window macros, which says what a query's
// result is. It is used by one goroutine, as its connection is.
type Oracle struct {
	conn *duck.Conn
}

// NewOracle makes the macros and empty tables on conn, which stays the caller's and is used by nobody else
// meanwhile.
func NewOracle(ctx context.Context, conn *duck.Conn) (*Oracle, error) {
	if _, err := conn.Exec(ctx, sqlfront.Prelude()); err != nil {
		return nil, fmt.Errorf("make the window macros: %w", err)
	}
	for _, k := range Kinds() {
		if err := conn.Import(ctx, k.String(), "", nil, Schema(k)); err != nil {
			return nil, fmt.Errorf("make table %s: %w", k, err)
		}
	}
	return &Oracle{conn: conn}, nil
}

const (
	pieceEvents = 100_000 // events that go into the tables at once
	pieceTable  = "__piece"
)

// Load adds the events from (included) to until (excluded) of g to the tables.
func (o *Oracle) Load(ctx context.Context, g *Generator, from, until int64) error {
	build := NewBuilders(memory.DefaultAllocator)
	defer build.Release()
	for ; from < until; from += pieceEvents {
		if err := g.Each(from, min(from+pieceEvents, until), func(e *Event) error {
			build.Append(e)
			return nil
		}); err != nil {
			return err
		}
		for _, k := range Kinds() {
			if err := o.add(ctx, k, build.Record(k)); err != nil {
				return fmt.Errorf("load %ss: %w", k, err)
			}
		}
	}
	return nil
}

// add appends a record to the table of its kind and releases it.
func (o *Oracle) add(ctx context.Context, k Kind, rec arrow.Record) error {
	defer rec.Release()
	if err := o.conn.Import(ctx, pieceTable, "", []arrow.Record{rec}, rec.Schema()); err != nil {
		return err //nolint:wrapcheck // Load says what
	}
	_, err := o.conn.Exec(ctx, "INSERT INTO "+k.String()+" FROM "+pieceTable+"; DROP TABLE "+pieceTable)
	return err //nolint:wrapcheck // Load says what
}

// Run returns the result of a query over all events that were loaded, for the caller to release.
func (o *Oracle) Run(ctx context.Context, q Query) (*duck.Table, error) {
	if err := o.prepare(ctx, q); err != nil {
		return nil, err
	}
	t, err := o.conn.Select(ctx, q.Body)
	if err != nil {
		return nil, fmt.Errorf("run %s in plain DuckDB: %w", q.Name, err)
	}
	return t, nil
}

// Count returns how many rows the result of a query has.
func (o *Oracle) Count(ctx context.Context, q Query) (int64, error) {
	if err := o.prepare(ctx, q); err != nil {
		return 0, err
	}
	rows, err := o.conn.Rows(ctx, "SELECT count(*) FROM (\n"+q.Body+"\n)")
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s in plain DuckDB: %w", q.Name, err)
	}
	n, ok := rows[0][0].(int64)
	if !ok {
		return 0, errors.New("count(*) is no BIGINT")
	}
	return n, nil
}

// prepare runs what stands before the query.
func (o *Oracle) prepare(ctx context.Context, q Query) error {
	if q.Setup == "" {
		return nil
	}
	if _, err := o.conn.Exec(ctx, q.Setup); err != nil {
		return fmt.Errorf("prepare %s in plain DuckDB: %w", q.Name, err)
	}
	return nil
}

// Rows returns the rows of a table as Go values, in the form that Outcome and Diff take.
func Rows(t *duck.Table) [][]any {
	out := make([][]any, 0, t.NumRows())
	for _, rec := range t.Records {
		for i := range int(rec.NumRows()) {
			row := make([]any, rec.NumCols())
			for c := range row {
				row[c] = rowenc.Value(rec.Column(c), i)
			}
			out = append(out, row)
		}
	}
	return out
}
