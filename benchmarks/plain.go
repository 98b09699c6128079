package benchmarks

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// plain is DuckDB alone, which says what a task's results are. One goroutine uses it.
type plain struct {
	db   *duck.DB
	conn *duck.Conn
}

func openPlain(ctx context.Context, dir string) (*plain, error) {
	db, err := duck.Open(ctx, duck.Options{MemoryLimit: 4 << 30, TempDir: filepath.Join(dir, "spill")})
	if err != nil {
		return nil, fmt.Errorf("open plain DuckDB: %w", err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to plain DuckDB: %w", err), db.Close())
	}
	p := &plain{db: db, conn: conn}
	if _, err := conn.Exec(ctx, sqlfront.Prelude()); err != nil { // queries of Nexmark use the window macros
		return nil, errors.Join(fmt.Errorf("make the window macros: %w", err), p.close())
	}
	return p, nil
}

func (p *plain) close() error { return errors.Join(p.conn.Close(), p.db.Close()) }

// load makes a table of each source of the first steps of a feed.
func (p *plain) load(ctx context.Context, spec feedSpec, steps int) error {
	makeRows, err := spec.feed()
	if err != nil {
		return err
	}
	made := map[string]bool{}
	for n := range steps {
		for name, rec := range makeRows(n) {
			err := p.add(ctx, name, made[name], []arrow.Record{rec}, "")
			made[name] = true
			rec.Release()
			if err != nil {
				return fmt.Errorf("load step %d: %w", n, err)
			}
		}
	}
	return nil
}

// add appends records to a table, which the first ones make. more is a select list beside the columns.
func (p *plain) add(ctx context.Context, table string, made bool, recs []arrow.Record, more string) error {
	const piece = "__piece"
	schema := recs[0].Schema()
	if err := p.conn.Import(ctx, piece, more, recs, schema); err != nil {
		return fmt.Errorf("import: %w", err)
	}
	sql := "INSERT INTO " + table + " FROM " + piece
	if !made {
		sql = "CREATE OR REPLACE TEMP TABLE " + table + " AS FROM " + piece
	}
	if _, err := p.conn.Exec(ctx, sql+"; DROP TABLE "+piece); err != nil {
		return fmt.Errorf("add to %s: %w", table, err)
	}
	return nil
}

// result makes the table got out of what a sink was given: of each key the last row that was not deleted
// since, or all rows if keys is nil. No keys at all name the one row there is.
func (p *plain) result(ctx context.Context, dir string, keys []string) error {
	var waiting []arrow.Record
	made, before, rows := false, int64(0), int64(0)
	flush := func() error {
		if len(waiting) == 0 {
			return nil
		}
		err := p.add(ctx, "__delivered", made, waiting, deliveredColumns(waiting[0].Schema(), before))
		made, before, rows = true, before+rows, 0
		for _, r := range waiting {
			r.Release()
		}
		waiting = nil
		return err
	}
	err := readKept(dir, func(rec arrow.Record) error {
		if len(waiting) > 0 && (rows >= loadRows || !waiting[0].Schema().Equal(rec.Schema())) {
			if err := flush(); err != nil {
				return err
			}
		}
		rec.Retain()
		waiting, rows = append(waiting, rec), rows+rec.NumRows()
		return nil
	})
	if err = errors.Join(err, flush()); err != nil {
		return fmt.Errorf("read the result: %w", err)
	}
	if !made {
		return errors.New("the sink was given nothing")
	}
	return p.settle(ctx, keys)
}

// deliveredColumns selects the columns of the result, then each row's number in the stream, then the op
// column.
func deliveredColumns(schema *arrow.Schema, before int64) string {
	number := fmt.Sprintf("%d + row_number() OVER () AS __row, ", before)
	if schema.HasField(stream.OpColumn) {
		return "* EXCLUDE (" + stream.OpColumn + "), " + number + stream.OpColumn
	}
	return "*, " + number + duck.QuoteLiteral(stream.OpUpsert) + " AS " + stream.OpColumn
}

// settle makes the table got out of the table of all rows that were delivered.
func (p *plain) settle(ctx context.Context, keys []string) error {
	from := "__delivered"
	if keys != nil {
		partition := ""
		for i, k := range keys {
			partition += []string{"PARTITION BY ", ", "}[min(i, 1)] + duck.QuoteIdent(k)
		}
		from = "(FROM __delivered QUALIFY row_number() OVER (" + partition + " ORDER BY __row DESC) = 1) WHERE " +
			stream.OpColumn + " = " + duck.QuoteLiteral(stream.OpUpsert)
	}
	sql := "CREATE OR REPLACE TEMP TABLE got AS SELECT * EXCLUDE (__row, " + stream.OpColumn + ") FROM " + from
	if _, err := p.conn.Exec(ctx, sql+"; DROP TABLE __delivered"); err != nil {
		return fmt.Errorf("settle the result: %w", err)
	}
	return nil
}

// verify loads what a task was fed, makes the result of one sink into a table, and compares.
func (r *run) verify(
	ctx context.Context, t task, o *outcome, results map[string]string,
) (_ []verified, err error) {
	p, err := openPlain(ctx, t.Dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	for _, l := range o.Laps {
		if l.Late > 0 {
			return nil, fmt.Errorf("%d rows of step %d were late", l.Late, l.Step)
		}
	}
	if err := p.load(ctx, t.Feed, o.Steps); err != nil {
		return nil, err
	}
	var out []verified
	for _, query := range t.Queries {
		if err := p.result(ctx, filepath.Join(t.Dir, t.Results, query+"_sink"), o.Keys); err != nil {
			return nil, fmt.Errorf("verify %s: %w", query, err)
		}
		n, err := p.compare(ctx, results[query])
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", query, err)
		}
		out = append(out, verified{query, n})
	}
	return out, nil
}
