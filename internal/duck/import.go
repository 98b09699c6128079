package duck

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
)

// wholeTable holds all columns of an import while a selection of them is made.
const wholeTable = "__whole"

// Import makes the temporary table (replacing one of that name) out of recs, in their order. selection is a
// select list over the columns of schema, "" means all. No record, or records without rows, make an empty
// table. recs are borrowed until Import returns; each must have the column types of schema.
//
// In a transaction Import is part of it. When the statement fails there, the transaction is aborted.
func (c *Conn) Import(
	ctx context.Context, table, selection string, recs []arrow.Record, schema *arrow.Schema,
) error {
	if _, err := c.begin(ctx, table+selection, nil); err != nil {
		return err
	}
	if err := checkRecords(recs, schema); err != nil {
		return &Error{Kind: InvalidInput, Message: "import table " + QuoteIdent(table) + ": " + err.Error(),
			Position: -1, Err: err}
	}
	stream, err := newRecordStream(recs, schema)
	if err != nil {
		return fmt.Errorf("import table %q: %w", table, err)
	}
	if !c.db.file {
		return c.importStream(ctx, table, selection, stream)
	}
	return c.importToFile(ctx, func(ctx context.Context) error {
		return c.importStream(ctx, table, selection, stream)
	})
}

// importToFile keeps the passing view out of the file: on its own it would be written to the WAL, and a crash
// would leave a view over memory that is gone. Made and dropped in one transaction it never shows.
func (c *Conn) importToFile(ctx context.Context, work func(context.Context) error) error {
	open, err := c.inTransaction(ctx)
	if err != nil {
		return err
	}
	if open {
		return work(ctx)
	}
	if _, err := c.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	if err := work(ctx); err != nil {
		_, rollbackErr := c.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		return errors.Join(err, rollbackErr)
	}
	_, err = c.Exec(context.WithoutCancel(ctx), "COMMIT")
	return err
}

// inTransaction reports whether BEGIN is in force: only then two statements share a transaction id.
func (c *Conn) inTransaction(ctx context.Context) (bool, error) {
	first, err := c.Rows(ctx, "SELECT txid_current()")
	if err != nil {
		return false, err
	}
	second, err := c.Rows(ctx, "SELECT txid_current()")
	if err != nil {
		return false, err
	}
	return first[0][0] == second[0][0], nil
}

// importStream consumes stream in every case.
func (c *Conn) importStream(ctx context.Context, table, selection string, stream *recordStream) error {
	view := c.db.viewName()
	if err := stream.scan(c.raw, view); err != nil {
		stream.close()
		stream.free()
		return c.scanFault(ctx, table, err)
	}
	err := c.copyView(ctx, view, table, selection, stream.records)

	// The view goes first, then the memory it points to; and it goes even when ctx has ended. Where it can
	// not go (in an aborted transaction) the stream stays behind as an empty shell that answers with an
	// error.
	_, dropErr := c.Exec(context.WithoutCancel(ctx), dropView+view)
	stream.close()
	if dropErr == nil {
		stream.free()
	}
	if err != nil {
		return err
	}
	return dropErr
}

// importing is what Import runs over the view of its records.
type importing struct {
	before, prefix, selection, after string
}

// importSQL reads a view over a stream. DuckDB pushes projections and filters into the stream, which knows neither, so
// the view is read whole: as a table, or through a materialised CTE. The CTE is the faster one, yet it keeps the order
// of rows only while one thread fills it, which is so for a single record (measured: 3 M rows in 25 records on 4
// threads came out in another order).
func importSQL(view, table, selection string, records int) importing {
	create := "CREATE OR REPLACE TEMP TABLE " + QuoteIdent(table) + " AS\n"
	switch {
	case selection == "":
		return importing{prefix: create, selection: "FROM " + view}
	case records <= 1:
		return importing{prefix: create + "WITH src AS MATERIALIZED (FROM " + view + ")\nSELECT ",
			selection: selection + "\nFROM src"}
	}
	return importing{before: "CREATE OR REPLACE TEMP TABLE " + wholeTable + " AS FROM " + view,
		prefix: create + "SELECT ", selection: selection + "\nFROM " + wholeTable + " AS src",
		after: "DROP TABLE " + wholeTable}
}

// ImportSQL returns the statements that Import runs over the view of so many records, in order.
func ImportSQL(view, table, selection string, records int) []string {
	sql := importSQL(view, table, selection, records)
	list := []string{sql.prefix + sql.selection, dropView + view}
	if sql.before != "" {
		list = []string{sql.before, sql.prefix + sql.selection, sql.after, dropView + view}
	}
	return list
}

const dropView = "DROP VIEW "

// copyView is the only reader of a view over a stream.
func (c *Conn) copyView(ctx context.Context, view, table, selection string, records int) error {
	sql := importSQL(view, table, selection, records)
	if sql.before != "" {
		if _, err := c.Exec(ctx, sql.before); err != nil {
			return err
		}
	}
	_, err := c.execAfter(ctx, sql.prefix, sql.selection, nil)
	if sql.after == "" {
		return err
	}
	_, dropErr := c.Exec(context.WithoutCancel(ctx), sql.after)
	if err != nil {
		return err
	}
	return dropErr
}

// scanFault finds the reason why the view could not be made, which the C interface keeps to itself.
func (c *Conn) scanFault(ctx context.Context, table string, err error) error {
	if _, probeErr := c.Exec(ctx, "SELECT 1"); probeErr != nil {
		return probeErr
	}
	return &Error{Kind: InternalFault, Message: "import table " + QuoteIdent(table) + ": " + err.Error(),
		Position: -1, Err: err}
}

func checkRecords(recs []arrow.Record, schema *arrow.Schema) error {
	if schema == nil || schema.NumFields() == 0 {
		return errors.New("the schema has no columns, expected at least one")
	}
	for _, f := range schema.Fields() {
		if err := importable(f.Type); err != nil {
			return fmt.Errorf("column %q: %w", f.Name, err)
		}
	}
	for i, rec := range recs {
		if int(rec.NumCols()) != schema.NumFields() {
			return fmt.Errorf("record %d has %d columns, expected %d", i, rec.NumCols(), schema.NumFields())
		}
		for j, f := range schema.Fields() {
			if got := rec.Column(j).DataType(); !arrow.TypeEqual(got, f.Type) {
				return fmt.Errorf("record %d column %q is %s, expected %s", i, f.Name, got, f.Type)
			}
		}
	}
	return nil
}
