package duck

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// A Feed is a name under which statements of one connection read records without a table in between: one batch's
// after the other's. It takes no statement of its own per batch where Import makes a view, a table, and drops the view again.
//
// The records that were lent are read by one statement, once: a second reader gets an error. The statement reads them
// whole, in the text that FeedSQL gives, because DuckDB would push projections and filters into the stream, which
// knows neither.
type Feed struct {
	c      *Conn
	view   string // over the relay; not temporary, so that its name is the instance's
	name   string // the temporary view that statements name
	schema *arrow.Schema
	sent   *arrow.Schema
	relay  *relay
	idle   *recordStream // without records
	lent   *recordStream
}

// Rows and bytes that a Feed lends as one record, which DuckDB reads in their order. More than that goes by Import.
const (
	FeedRowsMax  = 1 << 20
	FeedBytesMax = recordBytesMax
)

// FeedSQL returns the common table expression that gives the rows of a feed the name of a table. The selection is
// computed for each row, whoever asks for it, and must name every column of the feed: then DuckDB has nothing to push
// into the stream, for the inner SELECT fixes the order of columns, and nothing is left out of what is materialised. One
// thread fills it, since the feed has one record, and so the order of rows is kept.
func FeedSQL(feed, table, selection string) string {
	return QuoteIdent(table) + " AS MATERIALIZED (SELECT " + selection + "\nFROM (SELECT * FROM " + QuoteIdent(feed) + ") AS src)"
}

// hugeintField is how Arrow carries HUGEINT as it is. The cast from DECIMAL(38,0) divides each value by one, which
// costs more than all else that is done with it.
func hugeintField(name string) arrow.Field {
	return arrow.Field{Name: name, Type: &arrow.FixedSizeBinaryType{ByteWidth: 16}, Nullable: true,
		Metadata: arrow.NewMetadata([]string{"ARROW:extension:name", "ARROW:extension:metadata"},
			[]string{"duckdb.hugeint", ""})}
}

// OpenFeed makes a feed of that name, for records with the types that ArrowType names for cols, or their own type
// where a column has none. It is opened outside of transactions and closed before the connection.
func (c *Conn) OpenFeed(ctx context.Context, name string, cols []Column) (*Feed, error) {
	f := &Feed{c: c, view: c.db.viewName(), name: name}
	fields, sent := make([]arrow.Field, len(cols)), make([]arrow.Field, len(cols))
	for i, col := range cols {
		t, err := ArrowType(col.Type)
		if err != nil {
			return nil, err
		}
		fields[i] = arrow.Field{Name: col.Name, Type: t, Nullable: true}
		sent[i] = fields[i]
		if col.Type == "HUGEINT" {
			sent[i] = hugeintField(col.Name)
		}
	}
	f.schema, f.sent = arrow.NewSchema(fields, nil), arrow.NewSchema(sent, nil)
	for _, field := range fields {
		if err := importable(field.Type); err != nil {
			return nil, &Error{Kind: InvalidInput, Message: "feed " + QuoteIdent(name) + ": " + err.Error(), Position: -1,
				Err: err}
		}
	}
	return f, f.open(ctx)
}

func (f *Feed) open(ctx context.Context) (err error) {
	if f.idle, err = lendRecords(nil, f.sent); err != nil {
		return fmt.Errorf("open feed %q: %w", f.name, err)
	}
	if f.relay, err = newRelay(f.idle); err != nil {
		return fmt.Errorf("open feed %q: %w", f.name, errors.Join(err, f.Close(ctx)))
	}
	if err := f.relay.scan(f.c.raw, f.view); err != nil {
		return errors.Join(f.c.scanFault(ctx, f.name, err), f.Close(ctx))
	}
	_, err = f.c.Exec(ctx, FeedViewSQL(f.name, f.view))
	if err != nil {
		return errors.Join(err, f.Close(ctx))
	}
	return nil
}

// Fits reports whether records can be lent: as one, in which DuckDB keeps the order of rows.
func (f *Feed) Fits(recs []arrow.Record) bool {
	var rows, size int64
	for _, rec := range recs {
		rows += rec.NumRows()
		size += recordBytes(rec)
	}
	return rows <= FeedRowsMax && size <= FeedBytesMax
}

// Lend gives the next statement that names the feed its rows, in the place of those that were lent before. recs are
// borrowed until Lend returns: it keeps what it needs until Return.
func (f *Feed) Lend(recs []arrow.Record) error {
	f.Return()
	if err := checkRecords(recs, f.schema); err != nil {
		return &Error{Kind: InvalidInput, Message: "feed " + QuoteIdent(f.name) + ": " + err.Error(), Position: -1, Err: err}
	}
	one, err := join(recs, f.schema)
	if err != nil {
		return err
	}
	defer releaseRecords(one)
	for i, rec := range one {
		one[i] = f.asSent(rec)
		rec.Release()
	}
	lent, err := lendRecords(one, f.sent)
	if err != nil {
		return fmt.Errorf("feed %q: %w", f.name, err)
	}
	f.lent = lent
	f.relay.hand(lent)
	return nil
}

// join makes one record of those that have rows, or none.
func join(recs []arrow.Record, schema *arrow.Schema) ([]arrow.Record, error) {
	var full []arrow.Record
	for _, rec := range recs {
		if rec.NumRows() > 0 {
			full = append(full, rec)
		}
	}
	if len(full) <= 1 {
		for _, rec := range full {
			rec.Retain()
		}
		return full, nil
	}
	return gatherUpTo(full, schema, FeedRowsMax)
}

// asSent gives the 16 bytes of a HUGEINT their other name.
func (f *Feed) asSent(rec arrow.Record) arrow.Record {
	cols := make([]arrow.Array, rec.NumCols())
	for i, col := range rec.Columns() {
		want := f.sent.Field(i).Type
		if want.ID() != arrow.FIXED_SIZE_BINARY {
			col.Retain()
			cols[i] = col
			continue
		}
		d := array.NewData(want, col.Len(), col.Data().Buffers(), nil, col.NullN(), col.Data().Offset())
		cols[i] = array.MakeFromData(d)
		d.Release()
	}
	out := array.NewRecord(f.sent, cols, rec.NumRows())
	for _, col := range cols {
		col.Release()
	}
	return out
}

// Import makes the temporary table out of recs as Conn.Import does, without a view of its own.
func (f *Feed) Import(ctx context.Context, table, selection string, recs []arrow.Record) error {
	if !f.Fits(recs) {
		return f.c.Import(ctx, table, selection, recs, f.schema)
	}
	if err := f.Lend(recs); err != nil {
		return err
	}
	defer f.Return()
	prefix, sql := feedImport(f.name, table, selection)
	_, err := f.c.execAfter(ctx, prefix, sql, nil)
	return err
}

func feedImport(feed, table, selection string) (prefix, sql string) {
	lent := QuoteIdent(feed + "_lent")
	return "CREATE OR REPLACE TEMP TABLE " + QuoteIdent(table) + " AS\nWITH " + lent + " AS MATERIALIZED (FROM " +
		QuoteIdent(feed) + ")\nSELECT ", selection + "\nFROM " + lent + " AS src"
}

// FeedImportSQL returns the statement that Feed.Import runs over records that fit.
func FeedImportSQL(feed, table, selection string) string {
	prefix, sql := feedImport(feed, table, selection)
	return prefix + sql
}

// FeedViewSQL returns the statement that gives a feed its name, over the view of its relay.
func FeedViewSQL(feed, view string) string {
	return "CREATE OR REPLACE TEMP VIEW " + QuoteIdent(feed) + " AS FROM " + view
}

// Return takes back what was lent. No statement may be reading it.
func (f *Feed) Return() {
	if f.lent == nil {
		return
	}
	f.relay.hand(f.idle)
	f.lent.close()
	f.lent.free()
	f.lent = nil
}

// Close drops the feed. It is idempotent.
func (f *Feed) Close(ctx context.Context) error {
	if f.idle == nil {
		return nil
	}
	f.Return()
	f.c.forget() // plans that name it
	var err error
	if f.relay != nil {
		ctx := context.WithoutCancel(ctx)
		_, err = f.c.Exec(ctx, "DROP VIEW IF EXISTS "+QuoteIdent(f.name))
		_, dropErr := f.c.Exec(ctx, "DROP VIEW IF EXISTS "+f.view)
		if dropErr == nil {
			f.relay.free()
		}
		err = errors.Join(err, dropErr)
	}
	f.idle.close()
	if err == nil {
		f.idle.free()
	}
	f.idle = nil
	return err
}

// WithSQL puts common table expressions in front of a SELECT, which may have some of its own.
func WithSQL(expressions []string, sql string) string {
	if len(expressions) == 0 {
		return sql
	}
	with := "WITH " + strings.Join(expressions, ",\n")
	if rest, ok := strings.CutPrefix(sql, "WITH RECURSIVE "); ok {
		return strings.Replace(with, "WITH ", "WITH RECURSIVE ", 1) + ",\n" + rest
	}
	if rest, ok := strings.CutPrefix(sql, "WITH "); ok {
		return with + ",\n" + rest
	}
	return with + "\n" + sql
}

func releaseRecords(recs []arrow.Record) {
	for _, rec := range recs {
		rec.Release()
	}
}
