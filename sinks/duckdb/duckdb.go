// Package duckdb is the sink "duckdb": a table in a DuckDB file that holds every batch exactly once.
//
// The protocol: rows and marker in one transaction. The file has a table _tidemill_markers with one row per
// table that a sink writes to: whose it is (query uuid, epoch and life) and the last batch it holds. A batch is
//
//  1. lend the result to the statements, or import it into a temporary table if it is too large for that,
//  2. BEGIN; move the marker from the batch before to this one, by compare-and-set; change the rows; COMMIT.
//
// The modes: append inserts; update deletes the rows of each key that came and inserts its last upsert;
// complete deletes all rows and inserts the result. A batch that replaces a slot deletes the rows of that
// (query, slot), known by the column _tidemill_slot, which the table gets when the first slot is written.
//
// What a crash leaves: before COMMIT returns, DuckDB's WAL has the transaction or has it not, so rows and
// marker agree; after it the marker says that the batch is here, and Write does nothing. Two owners: another
// process can not open the file at all while this one has it; in one process the compare-and-set fails for
// the older epoch, or for another life of the same one, which is fenced.
//
// A DuckDB file that meets a full disk while it writes a checkpoint, and is then closed politely, loses rows
// that were committed long before. So the file is opened without a checkpoint at shutdown and with automatic
// ones only from a WAL of 1 GB on; the sink writes its own when the WAL has 256 MB, and when it is closed, if
// there is twice the room of all it has; and after a fatal error the file is not closed: what was committed
// stays in the WAL, and the process has to end.
//
// The file is DuckDB's and lies on the machine's own file system, not behind internal/vfs.
package duckdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

const (
	markers    = "_tidemill_markers" // table of markers
	slotColumn = "_tidemill_slot"    // which slot a row is of, as query/slot
)

// Connector returns the connector "duckdb" over the files of pool.
func Connector(pool *Pool) stream.SinkConnector {
	return stream.SinkConnector{
		Spec: stream.Spec{
			Name: "duckdb", Summary: "A table in a DuckDB file.",
			Guarantee: "Exactly once: rows and batch number change in one transaction. While a query runs no other process can open the file.",
			Fields: []stream.Field{
				{Name: "path", Type: stream.String, Required: true, Fixed: true, Summary: "The file; made, with its folder, if it is not there. Several sinks of one process may share it."},
				{Name: "table", Type: stream.String, Fixed: true, Summary: "The table; made if it is not there. The sink's name unless set."},
			},
			Example: "CREATE SINK totals WITH (connector = 'duckdb', path = 'out/shop.duckdb', table = 'totals');",
		},
		Modes: []stream.Mode{stream.Append, stream.Update, stream.Complete},
		Slots: true,
		Place: tablePlace,
		Open: func(_ context.Context, cfg stream.SinkConfig) (stream.Sink, error) {
			return newSink(pool, cfg)
		},
	}
}

// tablePlace names the table, which has one marker. Case does not tell tables apart.
func tablePlace(sink string, o stream.Options) string {
	path := o.String("path")
	if path == "" {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return fmt.Sprintf("the table %q of %s", strings.ToLower(cmp.Or(o.String("table"), sink)), path)
}

func newSink(pool *Pool, cfg stream.SinkConfig) (stream.Sink, error) {
	path := cfg.Options.String("path")
	s := &sink{pool: pool, cfg: cfg, path: filepath.Clean(path), table: cfg.Options.String("table")}
	if s.table == "" {
		s.table = cfg.Name
	}
	switch {
	case path == "":
		return nil, diag.New(diag.MissingOption, "sink %q: option \"path\" is empty", cfg.Name)
	case strings.ContainsAny(path, "?%\x00") || strings.Contains(path, "://"):
		return nil, diag.New(diag.BadOption, "sink %q: path %q must name a local file, without ? and %%", cfg.Name, s.path)
	case strings.EqualFold(s.table, markers), slices.ContainsFunc([]string{incoming, lent, touched}, func(own string) bool { return strings.EqualFold(s.table, own) }), strings.ContainsRune(s.table, 0):
		return nil, diag.New(diag.BadOption, "sink %q: the table can not have the name %q", cfg.Name, s.table)
	case cfg.Mode == stream.Update && len(cfg.Keys) == 0:
		return nil, diag.New(diag.SinkMode, "sink %q: output mode UPDATE replaces rows by their key, and the result has no column that "+
			"names a row", cfg.Name).
			WithHint("select the columns of GROUP BY as they are, or use OUTPUT MODE COMPLETE")
	}
	for _, f := range cfg.Schema.Fields() {
		if strings.EqualFold(f.Name, slotColumn) {
			return nil, diag.New(diag.BadName, "sink %q: the result's column %q has the name of the sink's own",
				cfg.Name, f.Name)
		}
	}
	return s, nil
}

// sink is one table. One query goroutine calls it.
type sink struct {
	pool   *Pool
	cfg    stream.SinkConfig
	path   string
	table  string
	owner  stream.Owner
	file   *database
	conn   *duck.Conn
	marker stream.Marker
	slots  bool // the table has slotColumn

	feed     *duck.Feed // nil until the first batch
	fed      *arrow.Schema
	imported bool // there is a temporary table of rows
}

// Open implements stream.Sink. The table is made when it is not there.
func (s *sink) Open(ctx context.Context, o stream.Owner) error {
	if s.file != nil {
		return fmt.Errorf("open sink %s: it is open", s.cfg.Name)
	}
	if err := vfs.Shared(vfs.OS{}).MkdirAll(filepath.Dir(s.path)); err != nil {
		return diag.Wrap(diag.SinkFailed, err, "sink %q: make folder of %q", s.cfg.Name, s.path)
	}
	file, err := s.pool.acquire(ctx, s.path)
	if err != nil {
		return err
	}
	s.file, s.owner = file, o
	if s.conn, err = file.db.Conn(ctx); err != nil {
		return file.judge(err, "open "+s.path)
	}
	if err := file.enter(ctx); err != nil {
		return err
	}
	defer file.leave()
	if err := s.conn.Import(ctx, incoming, "", nil, s.cfg.Schema); err != nil {
		return file.judge(err, fmt.Sprintf("sink %q: describe the result", s.cfg.Name))
	}
	s.imported = true
	if err = s.makeMarkers(ctx); err == nil {
		err = s.transact(ctx, func() error { return s.adopt(ctx, o) })
	}
	return file.judge(err, fmt.Sprintf("sink %q: open table %q", s.cfg.Name, s.table))
}

// makeMarkers makes the table of markers, or gives one of before there were lives its column. Alone it changes nothing.
func (s *sink) makeMarkers(ctx context.Context) error {
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS " + markers +
			" (tbl VARCHAR, query VARCHAR, epoch BIGINT, batch BIGINT, intent_crc BIGINT, life VARCHAR)",
		"ALTER TABLE " + markers + " ADD COLUMN IF NOT EXISTS life VARCHAR",
	} {
		if _, err := s.conn.Exec(ctx, sql); err != nil {
			return err //nolint:wrapcheck // Open judges it
		}
	}
	return nil
}

// adopt makes the table, checks the stored marker and writes it again under the new epoch.
func (s *sink) adopt(ctx context.Context, o stream.Owner) error {
	found, err := s.stored(ctx)
	if err != nil {
		return err
	}
	if err := o.Accept(s.cfg.Name, found); err != nil {
		return err //nolint:wrapcheck // coded for the user
	}
	if err := o.Alone(s.cfg.Name, found); err != nil {
		return err //nolint:wrapcheck // coded for the user
	}
	if err := s.checkTable(ctx, found); err != nil {
		return err
	}
	s.marker = o.Adopt(found)
	if _, err := s.conn.Exec(ctx, "DELETE FROM "+markers+" WHERE lower(tbl) = lower(?)", s.table); err != nil {
		return err //nolint:wrapcheck // Open judges it
	}
	m := s.marker
	_, err = s.conn.Exec(ctx, "INSERT INTO "+markers+" (tbl, query, epoch, batch, intent_crc, life) VALUES (?, ?, ?, ?, ?, ?)",
		s.table, m.Query, int64(m.Epoch), m.Batch, int64(m.IntentCRC), m.Life) //nolint:gosec // epochs count lives
	return err //nolint:wrapcheck // Open judges it
}

// stored reads the table's marker; nil for none.
func (s *sink) stored(ctx context.Context) (*stream.Marker, error) {
	rows, err := s.conn.Rows(ctx, "SELECT query, epoch, batch, intent_crc, coalesce(life, '') FROM "+markers+" WHERE lower(tbl) = lower(?)", s.table)
	if err != nil || len(rows) == 0 {
		return nil, err //nolint:wrapcheck // the callers judge it
	}
	query, ok1 := rows[0][0].(string)
	epoch, ok2 := rows[0][1].(int64)
	batch, ok3 := rows[0][2].(int64)
	sum, ok4 := rows[0][3].(int64)
	life, ok5 := rows[0][4].(string)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || len(rows) > 1 {
		return nil, diag.New(diag.SinkMismatch, "sink %q: table %s of %q has been changed by someone else",
			s.cfg.Name, markers, s.path).
			WithHint("delete the rows of table %q from it and start once with --take-over", s.table)
	}
	m := stream.Marker{Query: query, Batch: batch, Life: life}
	m.Epoch, m.IntentCRC = uint64(epoch), uint32(sum) //nolint:gosec // written from these types
	return &m, nil
}

// checkTable makes the table from the columns of the result, or requires that it has them.
func (s *sink) checkTable(ctx context.Context, found *stream.Marker) error {
	have, err := s.columns(ctx)
	if err != nil {
		return err
	}
	if len(have) == 0 {
		if found != nil && found.Batch >= 0 && !s.owner.TakeOver {
			return diag.New(diag.SinkMismatch, "sink %q: table %q is gone from %q, which held batch %d",
				s.cfg.Name, s.table, s.path, found.Batch).
				WithHint("restore the file, write to another table, or start once with --take-over to begin an empty one")
		}
		_, err := s.conn.Exec(ctx, "CREATE TABLE "+s.target()+" AS FROM "+incoming)
		return err //nolint:wrapcheck // Open judges it
	}
	want, err := s.conn.Describe(ctx, "FROM "+incoming)
	if err != nil {
		return err //nolint:wrapcheck // Open judges it
	}
	more, fits := missing(have, want)
	if fits && len(more) > 0 && found != nil && found.Query == s.owner.Query {
		return s.addColumns(ctx, more)
	}
	if !fits || len(more) > 0 {
		return diag.New(diag.SinkMismatch, "sink %q: table %q in %q has other columns than the result",
			s.cfg.Name, s.table, s.path).
			WithNote("the table has  (%s)", spell(have)).WithNote("the result has (%s)", spell(want)).
			WithHint("write to another table, or change the table or the query")
	}
	return s.checkStranger(ctx, found)
}

// missing returns the columns that the result has and the table has not. fits says that the result has all of the
// table's. Rows are written by name, so the order is free.
func missing(have, want []duck.Column) (more []duck.Column, fits bool) {
	types := make(map[string]string, len(have))
	for _, c := range have {
		types[strings.ToLower(c.Name)] = c.Type
	}
	shared := 0
	for _, c := range want {
		switch typ, there := types[strings.ToLower(c.Name)]; {
		case !there:
			more = append(more, c)
		case typ == c.Type:
			shared++
		}
	}
	return more, shared == len(have)
}

// addColumns gives the table what a changed text adds to the result; rows that are there have NULL in it.
func (s *sink) addColumns(ctx context.Context, more []duck.Column) error {
	for _, c := range more {
		if _, err := s.conn.Exec(ctx, "ALTER TABLE "+s.target()+" ADD COLUMN "+duck.QuoteIdent(c.Name)+" "+c.Type); err != nil {
			return err //nolint:wrapcheck // Open judges it
		}
	}
	return nil
}

// checkStranger refuses a table with rows that no sink wrote, because complete mode would delete them.
func (s *sink) checkStranger(ctx context.Context, found *stream.Marker) error {
	if found != nil || s.owner.TakeOver {
		return nil
	}
	rows, err := s.conn.Rows(ctx, "SELECT 1 FROM "+s.target()+" LIMIT 1")
	if err != nil || len(rows) == 0 {
		return err //nolint:wrapcheck // Open judges it
	}
	return diag.New(diag.SinkMismatch, "sink %q: table %q in %q already has rows, which no sink wrote",
		s.cfg.Name, s.table, s.path).
		WithHint("write to another table, or start once with --take-over to write to this one")
}

// columns returns the table's columns without the sink's own; none if there is no table.
func (s *sink) columns(ctx context.Context) ([]duck.Column, error) {
	rows, err := s.conn.Rows(ctx, `SELECT column_name, data_type FROM duckdb_columns()
		WHERE database_name = current_database() AND schema_name = 'main' AND lower(table_name) = lower(?)
		ORDER BY column_index`, s.table)
	if err != nil {
		return nil, err //nolint:wrapcheck // the callers judge it
	}
	var list []duck.Column
	for _, r := range rows {
		c := duck.Column{Name: fmt.Sprint(r[0]), Type: fmt.Sprint(r[1])}
		if c.Name == slotColumn {
			s.slots = true
			continue
		}
		list = append(list, c)
	}
	return list, nil
}

func spell(columns []duck.Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = duck.QuoteIdent(c.Name) + " " + c.Type
	}
	return strings.Join(parts, ", ")
}

func (s *sink) target() string { return "main." + duck.QuoteIdent(s.table) }

// transact runs work between BEGIN and COMMIT, and undoes it if anything fails.
func (s *sink) transact(ctx context.Context, work func() error) error {
	if _, err := s.conn.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err //nolint:wrapcheck // the callers judge it
	}
	err := work()
	if err == nil {
		// A commit that is interrupted half-way leaves nobody knowing; it takes a sync and no more.
		_, err = s.conn.Exec(context.WithoutCancel(ctx), "COMMIT")
	}
	if err == nil {
		return nil
	}
	var de *duck.Error
	if errors.As(err, &de) && de.Kind == duck.Fatal {
		return err
	}
	_, undo := s.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
	if undo != nil && strings.Contains(undo.Error(), "no transaction") { // a failed COMMIT has ended it
		undo = nil
	}
	return errors.Join(err, undo)
}

// Close implements stream.Sink. The last sink on a file writes a checkpoint, if there is room, and closes the
// file.
func (s *sink) Close() error {
	file, conn := s.file, s.conn
	s.file, s.conn = nil, nil
	if file == nil {
		return nil
	}
	var err error
	if conn != nil && file.failed() == nil {
		err = errors.Join(s.closeFeed(context.Background()), conn.Close())
	}
	return errors.Join(err, s.pool.release(context.Background(), file))
}

// withOp is the schema of a record that may carry the op column.
func withOp(b stream.Batch) *arrow.Schema {
	if !b.Op {
		return b.Schema
	}
	fields := append([]arrow.Field(nil), b.Schema.Fields()...)
	return arrow.NewSchema(append(fields, arrow.Field{Name: stream.OpColumn, Type: arrow.BinaryTypes.String}), nil)
}
