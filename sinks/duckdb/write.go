package duckdb

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Write implements stream.Sink. On return rows and marker are in the file's WAL, synced.
func (s *sink) Write(ctx context.Context, d stream.Delivery) error {
	if s.conn == nil {
		return fmt.Errorf("write to sink %s: not open", s.cfg.Name)
	}
	if d.Already(&s.marker) {
		return nil
	}
	what := fmt.Sprintf("sink %q: write batch %d to table %q", s.cfg.Name, d.Marker.Batch, s.table)
	if err := s.file.enter(ctx); err != nil {
		return err
	}
	defer s.file.leave()
	if err := s.needSlots(ctx, d); err != nil {
		return s.file.judge(err, what)
	}
	rows, err := s.take(ctx, d)
	if err != nil {
		return s.file.judge(err, what)
	}
	err = s.transact(ctx, func() error {
		if err := s.advance(ctx, d); err != nil {
			return err
		}
		return s.apply(ctx, d, rows)
	})
	s.feed.Return()
	if err != nil && !errors.Is(err, errDone) {
		return s.file.judge(err, what)
	}
	s.marker = d.Marker
	if err := s.drop(ctx); err != nil {
		return s.file.judge(err, what)
	}
	return s.file.checkpoint(ctx, walBytesMax)
}

// errDone says that the file holds the batch already, though this sink did not know: its COMMIT came back
// with an error after it had been done.
var errDone = errors.New("the batch is there")

// advance moves the marker from the batch that this sink knows to d's.
func (s *sink) advance(ctx context.Context, d stream.Delivery) error {
	from, to := s.marker, d.Marker
	moved, err := s.conn.Exec(ctx, "UPDATE "+markers+` SET epoch = ?, batch = ?, intent_crc = ?
		WHERE lower(tbl) = lower(?) AND query = ? AND epoch = ? AND batch = ? AND intent_crc = ? AND coalesce(life, '') = ?`,
		int64(s.owner.Epoch), to.Batch, int64(to.IntentCRC), //nolint:gosec // epochs count lives
		s.table, from.Query, int64(s.owner.Epoch), from.Batch, int64(from.IntentCRC), s.owner.Life) //nolint:gosec // epochs count lives
	if err != nil || moved == 1 {
		return err //nolint:wrapcheck // Write judges it
	}
	stored, err := s.stored(ctx)
	if err != nil {
		return err
	}
	if stored == nil {
		return diag.New(diag.SinkFenced, "sink %q of query %q: the marker of table %q is gone",
			s.cfg.Name, s.owner.Name, s.table).
			WithHint("put its row in _tidemill_markers back as it was, or start the query in a new data dir with an empty table")
	}
	if err := s.owner.Fenced(s.cfg.Name, *stored); err != nil {
		return err //nolint:wrapcheck // coded
	}
	if d.Already(stored) {
		return errDone
	}
	return diag.New(diag.SinkFenced, "sink %q of query %q: the marker of table %q says batch %d, which this sink did not write",
		s.cfg.Name, s.owner.Name, s.table, stored.Batch).
		WithHint("only one process may run the query: stop the other one, or this one for good")
}

// needSlots gives the table its slot column before the first slot. It changes no row, so it may stand alone.
func (s *sink) needSlots(ctx context.Context, d stream.Delivery) error {
	if d.Replace == "" || s.slots {
		return nil
	}
	_, err := s.conn.Exec(ctx, "ALTER TABLE "+s.target()+" ADD COLUMN IF NOT EXISTS "+slotColumn+" VARCHAR")
	s.slots = err == nil
	return err //nolint:wrapcheck // Write judges it
}

// apply changes the rows as the mode says. rows is what statements name the batch's rows by.
func (s *sink) apply(ctx context.Context, d stream.Delivery, rows string) error {
	columns := make([]string, d.Result.Schema.NumFields())
	for i, f := range d.Result.Schema.Fields() {
		columns[i] = duck.QuoteIdent(f.Name)
	}
	into, values := strings.Join(columns, ", "), strings.Join(columns, ", ")
	where := ""
	var err error
	switch {
	case d.Replace != "":
		slot := duck.QuoteLiteral(d.Marker.Query + "/" + d.Replace)
		into, values = into+", "+slotColumn, values+", "+slot
		_, err = s.conn.Exec(ctx, "DELETE FROM "+s.target()+" WHERE "+slotColumn+" = "+slot)
	case d.Mode == stream.Complete:
		_, err = s.conn.Exec(ctx, "DELETE FROM "+s.target())
	}
	if err == nil && d.Mode == stream.Update {
		rows, where, err = s.makeRoom(ctx, d, rows)
	}
	if err != nil {
		return err //nolint:wrapcheck // Write judges it
	}
	_, err = s.conn.Exec(ctx, "INSERT INTO "+s.target()+" ("+into+") SELECT "+values+" FROM "+rows+where)
	return err //nolint:wrapcheck // Write judges it
}

// keys returns the key columns of the batch and the condition that a row t of the table has the key of k.
// NULL is a key like any other.
func (s *sink) keys(d stream.Delivery) (columns, match string) {
	list := d.Result.Keys
	if len(list) == 0 {
		list = s.cfg.Keys
	}
	names, conditions := make([]string, len(list)), make([]string, len(list))
	for i, k := range list {
		names[i] = duck.QuoteIdent(d.Result.Schema.Field(k).Name)
		conditions[i] = "t." + names[i] + " IS NOT DISTINCT FROM k." + names[i]
	}
	return strings.Join(names, ", "), strings.Join(conditions, " AND ")
}
