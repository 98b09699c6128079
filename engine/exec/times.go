package exec

import (
	"context"
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/tidemill/tidemill/internal/invariant"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// eventTimes is what is known of the event times of one source's rows in a batch.
type eventTimes struct {
	nulls int64
	bad   int64  // impossible ones
	most  *int64 // the greatest possible one, in microseconds since 1970
	least *int64 // the least one, if it is known; impossible ones may have a part in it
}

// askTimes asks DuckDB, which knows computed columns.
func (r *run) askTimes(ctx context.Context, i int, src *sourceRun) (eventTimes, error) {
	rows, err := r.s.conn.Rows(ctx, src.in.TimesSQL(i))
	if err != nil {
		return eventTimes{}, err
	}
	t := eventTimes{nulls: integer(rows[0][0]), bad: integer(rows[0][1])}
	if rows[0][2] != nil {
		most := integer(rows[0][2])
		t.most = &most
	}
	return t, nil
}

// scanTimes looks at a declared column itself, which takes microseconds where a statement takes a good part of a
// millisecond: that matters when batches are tiny. It returns false for a computed column, which is not in the records.
func (src *sourceRun) scanTimes(recs []arrow.Record, high int64) (t eventTimes, ok bool) {
	column := slices.IndexFunc(src.in.Declared, func(c stream.Column) bool { return c.Name == src.in.EventTime })
	if column < 0 {
		return t, false
	}
	for _, rec := range recs {
		times, isTime := rec.Column(column).(*array.Timestamp)
		invariant.Check(isTime, "event time %q of source %q is no TIMESTAMP", src.in.EventTime, src.in.Table)
		t.add(times, high)
	}
	return t, true
}

func (t *eventTimes) add(times *array.Timestamp, high int64) {
	most, found := planner.EarliestTime, t.most != nil
	if found {
		most = *t.most
	}
	least := int64(math.MaxInt64)
	if t.least != nil {
		least = *t.least
	}
	noNulls := times.NullN() == 0
	for i, v := range times.TimestampValues() {
		if !noNulls && times.IsNull(i) {
			t.nulls++
			continue
		}
		least = min(least, int64(v))
		switch {
		case int64(v) < planner.EarliestTime || int64(v) > high:
			t.bad++
		default:
			most, found = max(most, int64(v)), true
		}
	}
	if found {
		t.most = &most
	}
	t.least = &least
}
