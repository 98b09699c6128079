package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/stream"
)

// narrow leaves columns that the plan does not read out of the rows. It is called before anything is read, and only for a
// query's own input: memory of decoded rows is filled again, batch after batch.
func (in *input) narrow(unread []string) error {
	if in.decoder == nil {
		in.leave(unread)
		return nil
	}
	narrow, err := newDecoder(in.def, unread, true)
	if err != nil {
		return err
	}
	if len(unread) > 0 {
		in.whole = in.decoder
	}
	in.decoder = narrow
	return nil
}

// leave leaves columns in the files of a source that can do so. Whoever reads the same rows for the same plan, such as a
// batch run, has to do it too: what is wrong with the values of these columns alone goes unnoticed then.
func (in *input) leave(unread []string) {
	if _, ok := in.src.(stream.Narrow); ok && in.decoder == nil && len(unread) > 0 {
		in.unread = unread
	}
}

// readRange reads what the plan reads of a range.
func (in *input) readRange(ctx context.Context, rng stream.Range) (*stream.Input, error) {
	if src, ok := in.src.(stream.Narrow); ok && in.unread != nil {
		return src.ReadWithout(ctx, rng, in.unread) //nolint:wrapcheck // the callers do
	}
	return in.src.Read(ctx, rng) //nolint:wrapcheck // the callers do
}

// fetchWhole reads a range as versions did that looked at the columns which the plan does not read: a file with damage in
// these alone was broken then, and its rows are in no state. The rows have the columns that they have otherwise.
func (q *Query) fetchWhole(ctx context.Context, w *work, in *input, rng stream.Range) error {
	w.data[in.def.Name].release()
	unread := in.unread
	in.unread = nil
	err := q.fetchSource(ctx, w, in, rng)
	in.unread = unread
	if err != nil {
		return err
	}
	r := w.data[in.def.Name]
	for i, rec := range r.records {
		r.records[i] = withoutColumns(rec, unread)
		rec.Release()
	}
	return q.sameAsBefore(w, in.def.Name, r)
}

// withoutColumns returns a record without some of its columns.
func withoutColumns(rec arrow.Record, names []string) arrow.Record {
	var fields []arrow.Field
	var columns []arrow.Array
	for i, f := range rec.Schema().Fields() {
		if !slices.Contains(names, f.Name) {
			fields, columns = append(fields, f), append(columns, rec.Column(i))
		}
	}
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, rec.NumRows())
}

// part is a run of rows that come from one file.
type part struct {
	stream.Part
	rng *stream.Range // where they can be read again with all columns; nil if they have all
}

func (in *input) addParts(r *rows, l *loaded) {
	for _, p := range l.Parts {
		of := part{Part: p}
		if in.unread != nil {
			of.rng = &l.rng
		}
		r.parts = append(r.parts, of)
	}
}

// part returns the file that a row of a source that gives rows comes from, and the row's number there.
func (r *rows) part(ordinal int64) (p part, row int64) {
	for _, p := range r.parts {
		if ordinal < p.Rows {
			return p, ordinal
		}
		ordinal -= p.Rows
	}
	return part{}, ordinal
}

// readAgain is a range with all columns, read because a letter asked for one of its rows.
type readAgain struct {
	*stream.Input
	rng stream.Range
}

func (a *readAgain) release() {
	if a != nil {
		a.Input.Release()
	}
}

// readAgain returns the row of that number in a part as JSON with all columns; nil if it has none that were left out, or if
// these can not be read of its file.
func (q *Query) readAgain(ctx context.Context, w *work, in *input, p part, row int64) ([]byte, error) {
	r := w.data[in.def.Name]
	if p.rng == nil {
		return nil, nil
	}
	if r.again == nil || r.again.rng != *p.rng {
		r.again.release()
		r.again = nil
		err := q.retry(ctx, w.intent.Batch, func() error {
			whole, err := in.src.Read(ctx, *p.rng)
			if err == nil {
				r.again = &readAgain{whole, *p.rng}
			}
			return err //nolint:wrapcheck // wrapped below
		})
		if err != nil {
			return nil, fmt.Errorf("read source %q again: %w", in.def.Name, err)
		}
	}
	rec, at := r.again.find(p.Part, row)
	if rec == nil {
		q.log.Warn("dead letters have only the columns that are read", "source", in.def.Name, "batch", w.intent.Batch, "file", p.File)
		return nil, nil
	}
	return rowenc.JSON(nil, rec, int(at)), nil
}

// find returns the record that a row of a part lies in, and where.
func (a *readAgain) find(p stream.Part, row int64) (arrow.Record, int64) {
	i := slices.Index(a.Parts, p)
	if i < 0 {
		return nil, 0
	}
	for _, before := range a.Parts[:i] {
		row += before.Rows
	}
	for _, rec := range a.Rows {
		if row < rec.NumRows() {
			return rec, row
		}
		row -= rec.NumRows()
	}
	return nil, 0
}
