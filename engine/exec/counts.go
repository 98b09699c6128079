package exec

import (
	"context"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// count counts the used and late rows of an operator's input, by source.
func (r *run) count(ctx context.Context, e *planner.Entry) error {
	if !e.Raw {
		return nil
	}
	rows, err := r.s.conn.Rows(ctx, e.CountSQL(len(r.sources)))
	if err != nil {
		return err
	}
	r.made[e.Table] = integer(rows[0][0])
	if r.s.plan.Shared {
		_, err := r.s.conn.Exec(ctx, e.ShareSQL())
		return err
	}
	if e.Each {
		r.out.State.Dropped += integer(rows[0][1+2*len(r.sources)])
	}
	some := false
	for i, src := range r.sources {
		used := integer(rows[0][1+2*i])
		late := integer(rows[0][2+2*i]) - used
		src.counts.Used += used
		src.counts.Late += late
		if !e.Each {
			r.out.State.Dropped += late
		}
		some = some || late > 0
	}
	if !some {
		return nil
	}
	dropped, err := r.s.conn.Rows(ctx, e.LateSQL())
	for _, row := range dropped {
		r.dropped(integer(row[0]))
	}
	return err
}

// dropped names a raw row that is late everywhere.
func (r *run) dropped(pos int64) {
	if src := r.source(pos); src != nil {
		r.out.Late[src.name] = append(r.out.Late[src.name], src.ordinal(pos))
	}
}

// source returns the source whose row has a position.
func (r *run) source(pos int64) *sourceRun {
	for _, src := range r.sources {
		if o := src.ordinal(pos); o >= 0 && o < src.rows {
			return src
		}
	}
	return nil
}

// countShared counts rows that entered several operators: used if one of them took it, else late.
func (r *run) countShared(ctx context.Context) error {
	rows, err := r.s.conn.Rows(ctx, planner.SharedSQL)
	if err != nil {
		return err
	}
	for _, row := range rows {
		pos := integer(row[0])
		src := r.source(pos)
		if src == nil {
			continue
		}
		if late, ok := row[1].(bool); !ok || !late {
			src.counts.Used++
			continue
		}
		src.counts.Late++
		r.out.State.Dropped++
		r.dropped(pos)
	}
	return nil
}

// settle counts what is left to count and checks that no row is lost.
func (r *run) settle(ctx context.Context) error {
	plan := r.s.plan
	switch {
	case len(plan.Ops) == 0:
		if err := r.countResult(ctx); err != nil {
			return err
		}
	case plan.Shared:
		if err := r.countShared(ctx); err != nil {
			return err
		}
	}
	r.out.State.Rows = r.s.Rows()
	for _, src := range r.sources {
		n := src.counts
		if src.in.DropsNull {
			n.NullTime = src.nullTime
		}
		n.Filtered = n.In - n.Used - n.Late - n.NullTime - n.Dead
		if src.only {
			continue
		}
		if n.Filtered < 0 {
			return diag.New(diag.ConservationBroken,
				"batch %d of query %q: source %q has %d rows, but %d used, %d late, "+
					"%d without time and %d dead-lettered",
				r.c.Batch, plan.Query, src.name, n.In, n.Used, n.Late, n.NullTime, n.Dead)
		}
	}
	return nil
}

func (r *run) countResult(ctx context.Context) error {
	if !r.s.plan.Counted {
		r.sources[0].counts.Used = r.out.Result.NumRows()
		return nil
	}
	rows, err := r.s.conn.Rows(ctx, r.s.plan.UsedSQL())
	if err != nil {
		return err
	}
	for i, src := range r.sources {
		src.counts.Used = integer(rows[0][i])
	}
	return nil
}
