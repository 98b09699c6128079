package duckdb

import (
	"context"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Names that statements know a batch by. None of them is in the file.
const (
	lent     = "__tidemill_rows" // a feed: the rows where they lie
	incoming = "__tidemill_in"   // temporary table of the rows, where they have to be one
	touched  = "__tidemill_keys" // temporary table of the keys that came
)

// take returns what statements can name the rows of d by. They are lent, until Return, unless they are too many: a table of
// them would be written and read for nothing.
func (s *sink) take(ctx context.Context, d stream.Delivery) (string, error) {
	if err := s.openFeed(ctx, withOp(d.Result)); err != nil {
		return "", err
	}
	if !s.feed.Fits(d.Result.Records) {
		return "temp." + incoming, s.importRows(ctx, d)
	}
	return lent, s.feed.Lend(d.Result.Records) //nolint:wrapcheck // Write judges it
}

// openFeed opens the feed for rows of a schema: the same from batch to batch, but that not all have an op column.
func (s *sink) openFeed(ctx context.Context, schema *arrow.Schema) error {
	if s.feed != nil && s.fed.Equal(schema) {
		return nil
	}
	if err := s.closeFeed(ctx); err != nil {
		return err
	}
	if err := s.conn.Import(ctx, incoming, "", nil, schema); err != nil {
		return err //nolint:wrapcheck // Write judges it
	}
	s.imported = true
	columns, err := s.conn.Describe(ctx, "FROM temp."+incoming)
	if err != nil {
		return err //nolint:wrapcheck // Write judges it
	}
	s.feed, err = s.conn.OpenFeed(ctx, lent, columns)
	s.fed = schema
	return err //nolint:wrapcheck // Write judges it
}

func (s *sink) closeFeed(ctx context.Context) error {
	if s.feed == nil {
		return nil
	}
	feed := s.feed
	s.feed = nil
	return feed.Close(ctx) //nolint:wrapcheck // the callers judge it
}

// importRows makes a temporary table of the rows of d.
func (s *sink) importRows(ctx context.Context, d stream.Delivery) error {
	s.imported = true
	return s.conn.Import(ctx, incoming, "", d.Result.Records, withOp(d.Result)) //nolint:wrapcheck // Write judges it
}

// drop frees the table of rows, if there is one.
func (s *sink) drop(ctx context.Context) error {
	if !s.imported {
		return nil
	}
	_, err := s.conn.Exec(ctx, "DROP TABLE IF EXISTS temp."+incoming)
	s.imported = err != nil
	return err //nolint:wrapcheck // Write judges it
}

// makeRoom deletes the rows of the keys that came, and returns where the rows to insert are: the last of each key, unless it
// says that the key is gone.
func (s *sink) makeRoom(ctx context.Context, d stream.Delivery, rows string) (from, where string, err error) {
	keys, match := s.keys(d)
	count, err := s.conn.Exec(ctx, "CREATE OR REPLACE TEMP TABLE "+touched+" AS SELECT DISTINCT "+keys+" FROM "+rows)
	if err == nil {
		_, err = s.conn.Exec(ctx, "DELETE FROM "+s.target()+" AS t USING temp."+touched+" AS k WHERE "+match)
	}
	if err == nil {
		_, err = s.conn.Exec(ctx, "DROP TABLE temp."+touched)
	}
	if err != nil {
		return "", "", err //nolint:wrapcheck // Write judges it
	}
	var conditions []string
	if count != d.Result.NumRows() { // some key came twice; which row came last is known of a table
		if rows == lent {
			if err := s.importRows(ctx, d); err != nil {
				return "", "", err
			}
		}
		rows = "temp." + incoming
		conditions = append(conditions, "rowid IN (SELECT max(rowid) FROM "+rows+" GROUP BY "+keys+")")
	}
	if d.Result.Op {
		conditions = append(conditions, stream.OpColumn+" <> "+duck.QuoteLiteral(stream.OpDelete))
	}
	if len(conditions) == 0 {
		return rows, "", nil
	}
	return rows, " WHERE " + strings.Join(conditions, " AND "), nil
}
