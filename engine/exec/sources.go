package exec

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/planner"
)

// sourceRun is one source in one batch.
type sourceRun struct {
	name     string
	in       *planner.Input
	records  []arrow.Record
	rows     int64 // all of them
	left     int64 // in the table, without excluded and dead ones
	base     int64 // ordinal of the first row in the batch
	excluded map[int64]string
	keep     []int64 // with only, the rows to take
	only     bool
	counts   *Counts
	nullTime int64
}

// importSource makes the table of the batch's rows.
func (r *run) importSource(ctx context.Context, i int, src *sourceRun) error {
	fields := make([]arrow.Field, 0, len(src.in.Declared)+1)
	for _, c := range src.in.Declared {
		fields = append(fields, arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true})
	}
	schema := arrow.NewSchema(append(fields, arrow.Field{Name: planner.PosColumn,
		Type: arrow.PrimitiveTypes.Int64}), nil)
	recs, err := src.positioned(schema, r.c.Batch, r.s.positionMemory())
	defer func() {
		for _, rec := range recs {
			rec.Release()
		}
	}()
	if err != nil {
		return err
	}
	for _, rec := range recs {
		src.left += rec.NumRows()
	}
	times, scanned := src.scanTimes(recs, r.latest(src))
	if err := r.enter(ctx, src, recs, scanned && times.bad == 0); err != nil {
		return err
	}
	r.countExcluded(src)
	if src.in.EventTime == "" || src.left == 0 {
		return nil
	}
	if !scanned {
		if times, err = r.askTimes(ctx, i, src); err != nil {
			return err
		}
	}
	r.delayed = r.delayed || r.c.Late != nil && (times.least == nil || *times.least <= *r.c.Late)
	return r.eventTimes(ctx, i, src, times)
}

// enter lends the rows to the statement that reads them, or makes a table if none of them alone does, or if rows have
// to be taken out of it.
func (r *run) enter(ctx context.Context, src *sourceRun, recs []arrow.Record, good bool) error {
	feed := r.s.feeds[src.name]
	bounded := r.c.From != nil || r.c.To != nil
	if src.in.Lent && (good || src.in.EventTime == "") && !bounded && feed.Fits(recs) {
		return r.lend(ctx, src, recs)
	}
	r.tabled[src.name] = true
	return feed.Import(ctx, src.name, src.in.Select, recs)
}

func (r *run) countExcluded(src *sourceRun) {
	ordinals := make([]int64, 0, len(src.excluded))
	for o := range src.excluded {
		ordinals = append(ordinals, o)
	}
	slices.Sort(ordinals)
	for _, o := range ordinals {
		if o >= 0 && o < src.rows {
			src.counts.Dead++
			r.out.Dead = append(r.out.Dead, DeadRow{Source: src.name, Ordinal: o, Reason: src.excluded[o]})
		}
	}
}

// read returns the columns that the plan reads of a record that has all declared ones, or just these.
func (src *sourceRun) read(rec arrow.Record) ([]arrow.Array, error) {
	want := src.in.Declared
	switch int(rec.NumCols()) {
	case len(want):
		return slices.Clone(rec.Columns()), nil
	case len(want) + len(src.in.Unread):
	default:
		return nil, fmt.Errorf("source %q gave %d columns, not %d", src.name, rec.NumCols(), len(want))
	}
	cols := make([]arrow.Array, 0, len(want)+1)
	for i, col := range rec.Columns() {
		if !slices.Contains(src.in.Unread, rec.ColumnName(i)) {
			cols = append(cols, col)
		}
	}
	if len(cols) != len(want) {
		return nil, fmt.Errorf("source %q gave other columns than it declares", src.name)
	}
	return cols, nil
}

// slices cuts a record, whose first row has the given ordinal, into the stretches that take part.
func (src *sourceRun) slices(rec arrow.Record, first int64) []arrow.Record {
	if len(src.excluded) == 0 && !src.only {
		rec.Retain()
		return []arrow.Record{rec}
	}
	var out []arrow.Record
	start := int64(-1)
	for i := range rec.NumRows() + 1 {
		take := i < rec.NumRows() && src.takes(first+i)
		if take && start < 0 {
			start = i
		}
		if !take && start >= 0 {
			out = append(out, rec.NewSlice(start, i))
			start = -1
		}
	}
	return out
}

func (src *sourceRun) takes(ordinal int64) bool {
	if _, gone := src.excluded[ordinal]; gone {
		return false
	}
	if !src.only {
		return true
	}
	_, found := slices.BinarySearch(src.keep, ordinal)
	return found
}

// latest is the greatest event time that a source may have in this batch, in microseconds.
func (r *run) latest(src *sourceRun) int64 {
	if ahead := r.s.maxAhead[src.name]; ahead > 0 {
		return min(-planner.EarliestTime, r.c.Time.UnixMicro()+ahead.Microseconds())
	}
	return -planner.EarliestTime
}

// eventTimes notes the source's greatest event time and takes impossible ones out.
func (r *run) eventTimes(ctx context.Context, i int, src *sourceRun, times eventTimes) error {
	ahead := r.s.maxAhead[src.name]
	src.nullTime, src.counts.MaxTime = times.nulls, times.most
	if err := r.boundTime(ctx, src); err != nil {
		return err
	}
	if times.bad == 0 {
		return nil
	}
	if _, err := r.s.conn.Exec(ctx, r.latestTime(i, src)); err != nil {
		return err
	}
	dead, err := r.s.conn.Rows(ctx, src.in.ImpossibleSQL(i))
	if err != nil {
		return err
	}
	for _, row := range dead {
		r.out.Dead = append(r.out.Dead, DeadRow{Source: src.name, Ordinal: src.ordinal(integer(row[0])),
			Reason: impossible(src.in.EventTime, row[1], ahead)})
	}
	slices.SortStableFunc(r.out.Dead, func(a, b DeadRow) int {
		if a.Source != b.Source {
			return 0
		}
		return int(a.Ordinal - b.Ordinal)
	})
	src.counts.Dead += int64(len(dead))
	src.left -= int64(len(dead))
	_, err = r.s.conn.Exec(ctx, src.in.RemoveImpossibleSQL(i))
	return err
}

// boundTime takes the rows out whose event time is not asked for. They count as filtered.
func (r *run) boundTime(ctx context.Context, src *sourceRun) error {
	if r.c.Inputs[src.name].Bounded {
		return nil
	}
	for _, out := range []struct {
		sql func(micros string) string
		at  *int64
	}{{src.in.BeforeSQL, r.c.From}, {src.in.NotBeforeSQL, r.c.To}} {
		if out.at == nil {
			continue
		}
		n, err := r.s.conn.Exec(ctx, out.sql(strconv.FormatInt(*out.at, 10)))
		if err != nil {
			return err
		}
		src.left -= n
	}
	return nil
}

func impossible(column string, value any, ahead time.Duration) string {
	text := fmt.Sprint(value)
	if ahead > 0 && !strings.Contains(text, "infinity") {
		return fmt.Sprintf("event time %s of %q is more than %s ahead of the batch, or out of range", text,
			column, ahead)
	}
	return fmt.Sprintf("event time %s of %q is not finite or out of range", text, column)
}

func integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case int32:
		return int64(v)
	case float64:
		return int64(v)
	}
	return 0
}
