package streamtest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/rowenc"
	sinkmem "github.com/tidemill/tidemill/sinks/memory"
	"github.com/tidemill/tidemill/stream"
)

// expect compares what reached a sink with the step's rows.
func (r *rig) expect(s Step) error {
	defer r.resetCounts()
	sink := r.app.Queries[0].Sinks[0]
	if name, ok := s.With["sink"].(string); ok {
		if sink = r.sink(name); sink == "" {
			return fmt.Errorf("expect: sink %q is not declared", name)
		}
	}
	if len(s.Order) != 1 {
		return errors.New("expect has exactly one of new, all, last and table")
	}
	var got table
	switch which := s.Order[0]; which {
	case "new":
		got = r.fresh(sink)
	case "all":
		got = r.held(sink)
		r.seen[sink] = len(r.sinks.Batches(sink))
	case "last":
		got = r.lastBatch(sink)
		r.seen[sink] = len(r.sinks.Batches(sink))
	case "table":
		got = r.table(sink)
		r.seen[sink] = len(r.sinks.Batches(sink))
	default:
		return fmt.Errorf("expect: unknown key %q", which)
	}
	rows, ok := mapOf(s.Value)[s.Order[0]].([]any)
	if !ok {
		return fmt.Errorf("expect: %s must be a list of rows", s.Order[0])
	}
	want, err := got.expected(rows)
	if err != nil {
		return err
	}
	if d := diff(got.rows, want, s.With["ordered"] == true); d != "" {
		return fmt.Errorf("sink %s, %s rows differ:\n%s", sink, s.Order[0], d)
	}
	return nil
}

// sink returns the declared name of a sink, whatever its case, or "".
func (r *rig) sink(name string) string {
	for _, s := range r.app.Sinks {
		if strings.EqualFold(s.Name, name) {
			return s.Name
		}
	}
	return ""
}

// fresh returns the rows that reached the sink since the last look at it.
func (r *rig) fresh(sink string) table {
	all := r.sinks.Batches(sink)
	from := min(r.seen[sink], len(all))
	r.seen[sink] = len(all)
	return delivered(all[from:], all)
}

// held returns every row so far; in complete mode what the last batch left.
func (r *rig) held(sink string) table {
	all := r.sinks.Batches(sink)
	if n := len(all); n > 0 && all[n-1].Mode == stream.Complete {
		return delivered(all[n-1:], all)
	}
	return delivered(all, all)
}

// table returns what a reader finds who follows the sink's mode: in update mode the last row of each key, in complete
// mode the last result, in append mode every row.
func (r *rig) table(sink string) table {
	all := r.sinks.Batches(sink)
	t := delivered(nil, all)
	rows := r.sinks.Rows(sink)
	if n := len(all); n > 0 && all[n-1].Mode == stream.Update && r.query != nil && r.query.Plan().Stateful() {
		rows = r.sinks.Table(sink)
	}
	for _, row := range rows {
		t.rows = append(t.rows, cells(t.types, row))
	}
	return t
}

// lastBatch returns the rows of the last executed batch, none if it delivered none.
func (r *rig) lastBatch(sink string) table {
	all := r.sinks.Batches(sink)
	if n := len(all); n > 0 && all[n-1].Marker.Batch == r.last {
		return delivered(all[n-1:], all)
	}
	return delivered(nil, all)
}

// delivered joins the rows of some deliveries. A changed text may have given a sink other columns: they are those of
// the newest in all, and behind them what older ones have more.
func delivered(some, all []sinkmem.Delivered) table {
	var t table
	for i := len(all) - 1; i >= 0; i-- {
		if n := len(t.types); len(all[i].Types) > n {
			t.names, t.types = append(t.names, all[i].Columns[n:]...), append(t.types, all[i].Types[n:]...)
		}
		t.widths = append(t.widths, len(all[i].Types))
	}
	for _, d := range some {
		for _, row := range d.Rows {
			t.rows = append(t.rows, cells(t.types, row))
		}
	}
	return t
}

// cells brings a row to the form in which rows are compared.
func cells(types []arrow.DataType, row []any) []any {
	out := make([]any, len(row))
	for i, v := range row {
		out[i] = cell(types[i], v)
	}
	return out
}

// tableOf brings a batch run's result to the form that is compared.
func tableOf(b stream.Batch) table {
	var t table
	for _, f := range b.Schema.Fields() {
		t.names = append(t.names, f.Name)
		t.types = append(t.types, f.Type)
	}
	for _, rec := range b.Records {
		for i := range int(rec.NumRows()) {
			t.rows = append(t.rows, rowOf(rec, i, len(t.types)))
		}
	}
	return t
}

func rowOf(rec arrow.Record, i, columns int) []any {
	row := make([]any, columns)
	for j := range columns {
		row[j] = cell(rec.Schema().Field(j).Type, rowenc.Value(rec.Column(j), i))
	}
	return row
}
