package duck

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
)

const (
	// resultTable holds the rows between the heavy statement and the reading of it.
	resultTable    = "__r"
	selectPrefix   = "CREATE OR REPLACE TEMP TABLE " + resultTable + " AS\n"
	describeResult = "FROM " + resultTable
	dropResult     = "DROP TABLE " + resultTable
	// recordRowsMax is 60 vectors of DuckDB: Arrow records of 64k to 128k rows are the fastest to work on.
	recordRowsMax = 60 * 2048
	// recordBytesMax keeps the 32-bit offsets of text columns far from their end.
	recordBytesMax = 256 << 20
	// resultBytesMax is what of a result waits, beside its record, to be copied there.
	resultBytesMax = 16 << 20
)

// Table is the result of a Select. Its records are a copy that lives on without the connection. It may be
// read by many goroutines; whoever got it from Select releases it.
type Table struct {
	Schema  *arrow.Schema
	Records []arrow.Record // at most 122,880 rows each, none of them empty
}

// Release gives the records back. A Table is released once.
func (t *Table) Release() {
	for _, rec := range t.Records {
		rec.Release()
	}
	t.Records = nil
}

// NumRows returns how many rows the records hold together.
func (t *Table) NumRows() int64 {
	var n int64
	for _, rec := range t.Records {
		n += rec.NumRows()
	}
	return n
}

// Select runs one SELECT and returns its rows in order, each column in the type that ArrowType names. The
// statement is run as CREATE TEMP TABLE __r, which can be cancelled at any time, and __r is then read as
// Arrow. A transaction that is open goes on; a failure aborts it.
func (c *Conn) Select(ctx context.Context, sql string) (*Table, error) {
	if _, err := c.execAfter(ctx, selectPrefix, sql, nil); err != nil {
		return nil, c.locate(ctx, err, sql)
	}
	cols, err := c.Describe(ctx, describeResult)
	if err != nil {
		return nil, err
	}
	read, schema, err := readStatement(cols, resultTable)
	if err != nil {
		return nil, err
	}
	t, err := c.readArrow(ctx, read, schema)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, dropResult); err != nil {
		t.Release()
		return nil, err
	}
	return t, nil
}

// ReadSQL returns the statement that Read runs.
func ReadSQL(from string, cols []Column) (string, error) {
	sql, _, err := readStatement(cols, from)
	return sql, err
}

// Read returns the columns of a table of the caller's, or of a SELECT in parentheses, as Select does but without the
// passing table, which saves most of a millisecond. The types of cols must be those that DuckDB gives.
func (c *Conn) Read(ctx context.Context, from string, cols []Column) (*Table, error) {
	read, schema, err := readStatement(cols, from)
	if err != nil {
		return nil, err
	}
	if _, err := c.begin(ctx, read, nil); err != nil {
		return nil, err
	}
	return c.readArrow(ctx, read, schema)
}

// Query runs one SELECT whose columns are known, as Select does but without the passing table. with stands in front
// of it, as WithSQL puts it there.
func (c *Conn) Query(ctx context.Context, with []string, sql string, cols []Column) (*Table, error) {
	read, schema, err := queryStatement(with, sql, cols)
	if err != nil {
		return nil, err
	}
	if _, err := c.begin(ctx, read, nil); err != nil {
		return nil, err
	}
	return c.readArrow(ctx, read, schema)
}

// QuerySQL returns the statement that Query runs.
func QuerySQL(with []string, sql string, cols []Column) (string, error) {
	sql, _, err := queryStatement(with, sql, cols)
	return sql, err
}

func queryStatement(with []string, sql string, cols []Column) (string, *arrow.Schema, error) {
	read, schema, err := readStatement(cols, "(\n"+sql+"\n)")
	if plainColumns(cols) {
		read = sql
	}
	return WithSQL(with, read), schema, err
}

// plainColumns reports whether Arrow carries all columns without a cast.
func plainColumns(cols []Column) bool {
	for _, col := range cols {
		if t, err := parseType(col.Type); err != nil || !t.plain() {
			return false
		}
	}
	return true
}

// interruptible makes the end of ctx stop the statement that runs until done is called: DuckDB knows no context.
func (c *Conn) interruptible(ctx context.Context) (done func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over, ended := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		again := time.NewTicker(time.Millisecond) // one that comes before the statement has begun is forgotten
		defer again.Stop()
		for {
			interrupt(c.raw)
			select {
			case <-over:
				return
			case <-again.C:
			}
		}
	})
	return func() {
		close(over)
		if !stop() {
			<-ended // or it would stop the next statement
		}
	}
}

// readStatement returns the SELECT over the result table that casts what Arrow does not carry.
func readStatement(cols []Column, from string) (string, *arrow.Schema, error) {
	exprs := make([]string, len(cols))
	fields := make([]arrow.Field, len(cols))
	for i, col := range cols {
		t, err := parseType(col.Type)
		if err != nil {
			message := fmt.Sprintf("column %q of type %s: %s", col.Name, col.Type, err)
			return "", nil, &Error{Kind: Binder, Message: message, Position: -1, Err: err}
		}
		exprs[i] = QuoteIdent(col.Name)
		if !t.plain() {
			exprs[i] = "CAST(" + exprs[i] + " AS " + t.target() + ") AS " + exprs[i]
		}
		fields[i] = arrow.Field{Name: col.Name, Type: t.arrow(), Nullable: true}
	}
	return "SELECT " + strings.Join(exprs, ", ") + " FROM " + from, arrow.NewSchema(fields, nil), nil
}

// readArrow runs a statement and gathers its records of 2,048 rows into big ones.
func (c *Conn) readArrow(ctx context.Context, sql string, schema *arrow.Schema) (*Table, error) {
	c.db.trace(sql)
	p, err := c.prepare(ctx, sql, schema)
	if err != nil {
		return nil, err
	}
	defer p.close()
	return c.gather(ctx, sql, p)
}

// gather does so for a statement that has been prepared.
func (c *Conn) gather(ctx context.Context, sql string, p *prepared) (*Table, error) {
	defer c.db.slack.during()()
	defer c.interruptible(ctx)()
	reader, err := p.read()
	if err != nil {
		return nil, fault(ctx, err, sql, 0)
	}
	defer reader.close()
	g := newGatherer(p.want, recordRowsMax)
	g.bytesMax, g.overflow = resultBytesMax, c.db.overflow
	g.overflow.After /= c.share
	defer g.drop()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		rec, err := reader.next()
		if err != nil {
			return nil, fault(ctx, err, sql, 0)
		}
		if rec == nil {
			break
		}
		err = g.add(rec)
		rec.Release()
		if err != nil {
			return nil, err
		}
	}
	if err := g.flush(); err != nil {
		return nil, err
	}
	return g.take(), nil
}
