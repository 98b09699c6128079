package duck

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// A Feed is a name under which statements of one connection read records without a table in between: one batch's
// after the other's. It takes no statement of its own per batch where Import makes a view, a table, and drops the view again.
//
// Statements read the rows that were lent where they lie, each column only if it is named, in the order of rows: one thread
// reads them.
type Feed struct {
	c      *Conn
	name   string // the temporary view that statements name
	schema *arrow.Schema
	sent   *arrow.Schema
	lender *lender // nil once closed
}

// Rows and bytes that a Feed lends. More than that goes by Import, which several threads read.
const (
	FeedRowsMax  = 1 << 20
	FeedBytesMax = recordBytesMax
)

// FeedSQL returns the common table expression that gives the rows of a feed the name of a table. If the selection computes
// something, it is computed for each row, whoever asks for it: a row of which it fails is at fault.
func FeedSQL(feed, table, selection string, computes bool) string {
	as := " AS ("
	if computes {
		as = " AS MATERIALIZED ("
	}
	return QuoteIdent(table) + as + "SELECT " + selection + "\nFROM " + QuoteIdent(feed) + " AS src)"
}

// everyRow is a LIMIT above any number of rows of a feed. DuckDB moves no condition and no expression past a LIMIT, whose rows
// stay in order.
const everyRow = "\nLIMIT 4611686018427387904"

// FeedInOrderSQL is FeedSQL of a selection that computes something, for a statement whose conditions are to leave the rows in
// order.
func FeedInOrderSQL(feed, table, selection string) string {
	whole := "__whole_" + table
	return FeedSQL(feed, whole, selection, true) + ",\n" + QuoteIdent(table) + " AS (FROM " + QuoteIdent(whole) + everyRow + ")"
}

// FeedStepsSQL is FeedSQL for a statement that names the table once. Each selection is over what the one before it gives. What
// they compute, which must not fail, is computed once for each row, if anything asks for it, where the rows are: they are
// not copied, and conditions on them leave them in order.
func FeedStepsSQL(feed, table string, selections ...string) string {
	from := QuoteIdent(feed)
	for i, selection := range selections {
		if i > 0 {
			from = "(" + from + ")"
		}
		from = "SELECT " + selection + "\nFROM " + from + " AS src" + everyRow
	}
	return QuoteIdent(table) + " AS (" + from + ")"
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
	f := &Feed{c: c, name: name}
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
	var err error
	if f.lender, err = c.db.lenders.take(c.raw, f.sent); err != nil {
		return nil, fmt.Errorf("open feed %q: %w", name, err)
	}
	if _, err := c.Exec(ctx, FeedViewSQL(name, f.lender.name)); err != nil {
		return nil, errors.Join(err, f.Close(ctx))
	}
	return f, nil
}

// Fits reports whether records are few enough to be lent.
func (f *Feed) Fits(recs []arrow.Record) bool {
	var rows, size int64
	for _, rec := range recs {
		rows += rec.NumRows()
		size += RecordBytes(rec)
	}
	return rows <= FeedRowsMax && size <= FeedBytesMax
}

// Lend gives the statements that name the feed its rows, in the place of those that were lent before. recs must fit. They
// are borrowed until Lend returns: it keeps what it needs until Return.
func (f *Feed) Lend(recs []arrow.Record) error {
	f.Return()
	if err := checkRecords(recs, f.schema); err != nil {
		return &Error{Kind: InvalidInput, Message: "feed " + QuoteIdent(f.name) + ": " + err.Error(), Position: -1, Err: err}
	}
	if !f.Fits(recs) {
		return internalFault("feed %q: more rows are lent than fit", f.name)
	}
	full, err := lendable(recs, f.schema)
	if err != nil {
		return err
	}
	defer releaseRecords(full)
	if err := f.lender.lend(full); err != nil {
		return fmt.Errorf("feed %q: %w", f.name, err)
	}
	return nil
}

// lentRowsMin is how many rows a record has that is lent as it is: a vector of DuckDB's. Smaller ones are joined, so that
// not each has vectors of its own.
const lentRowsMin = 2048

// lendable returns the records that have rows, small neighbours joined, for the caller to release.
func lendable(recs []arrow.Record, schema *arrow.Schema) (full []arrow.Record, err error) {
	var small []arrow.Record
	join := func() error {
		one := small
		if len(small) > 1 {
			if one, err = gatherUpTo(small, schema, FeedRowsMax); err != nil {
				return err
			}
			defer releaseRecords(one)
		}
		for _, rec := range one {
			rec.Retain()
			full = append(full, rec)
		}
		small = small[:0]
		return nil
	}
	for _, rec := range recs {
		if n := rec.NumRows(); n > 0 && n < lentRowsMin {
			small = append(small, rec)
			continue
		}
		if err := join(); err != nil {
			releaseRecords(full)
			return nil, err
		}
		if rec.NumRows() > 0 {
			rec.Retain()
			full = append(full, rec)
		}
	}
	if err := join(); err != nil {
		releaseRecords(full)
		return nil, err
	}
	return full, nil
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
	return "CREATE OR REPLACE TEMP TABLE " + QuoteIdent(table) + " AS\nSELECT ", selection + "\nFROM " + QuoteIdent(feed) + " AS src"
}

// FeedImportSQL returns the statement that Feed.Import runs over records that fit.
func FeedImportSQL(feed, table, selection string) string {
	prefix, sql := feedImport(feed, table, selection)
	return prefix + sql
}

// FeedViewSQL returns the statement that gives a feed its name, over the table function of its lender.
func FeedViewSQL(feed, function string) string {
	return "CREATE OR REPLACE TEMP VIEW " + QuoteIdent(feed) + " AS FROM " + function + "()"
}

// Return takes back what was lent. No statement may be reading it.
func (f *Feed) Return() {
	if f.lender != nil {
		f.lender.takeBack()
	}
}

// Close drops the feed. It is idempotent.
func (f *Feed) Close(ctx context.Context) error {
	if f.lender == nil {
		return nil
	}
	f.Return()
	f.c.forget() // plans that name it
	_, err := f.c.Exec(context.WithoutCancel(ctx), "DROP VIEW IF EXISTS "+QuoteIdent(f.name))
	if err == nil {
		f.c.db.lenders.give(f.lender)
	}
	f.lender = nil
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
