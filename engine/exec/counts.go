package exec

import (
	"context"
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
)

// countInput counts the used and late rows of the operator's input, by source. A row in several windows is
// used
// if any of them is open, and late if none is.
func (r *run) countInput(ctx context.Context) error {
	agg := r.s.plan.Agg
	live, late := "true", "false"
	if agg.Late != "" {
		live, late = "NOT ("+agg.Late+")", agg.Late
	}
	what := "*"
	if r.s.plan.Counted {
		what = "DISTINCT " + planner.PosColumn
	}
	items := make([]string, 0, 2*len(r.sources))
	for _, src := range r.sources {
		mine := ""
		if len(r.sources) > 1 {
			mine = " AND " + src.between(r.c.Batch)
		}
		items = append(items, fmt.Sprintf("count(%s) FILTER (WHERE %s%s)", what, live, mine),
			fmt.Sprintf("count(%s) FILTER (WHERE (%s OR %s)%s)", what, live, late, mine))
	}
	rows, err := r.s.conn.Rows(ctx, "SELECT "+strings.Join(items, ", ")+" FROM "+agg.In)
	if err != nil {
		return err
	}
	some := false
	for i, src := range r.sources {
		src.counts.Used = integer(rows[0][2*i])
		src.counts.Late = integer(rows[0][2*i+1]) - src.counts.Used
		r.out.State.Dropped += src.counts.Late
		some = some || src.counts.Late > 0
	}
	if !some {
		return nil
	}
	return r.lateRows(ctx)
}

// lateRows names the raw rows that are late everywhere.
func (r *run) lateRows(ctx context.Context) error {
	agg := r.s.plan.Agg
	rows, err := r.s.conn.Rows(ctx,
		fmt.Sprintf("SELECT %s FROM %s WHERE NOT (%s) IS NULL GROUP BY 1 HAVING bool_and(%s) ORDER BY 1",
			planner.PosColumn, agg.In, agg.Late, agg.Late))
	if err != nil {
		return err
	}
	for _, row := range rows {
		pos := integer(row[0])
		for _, src := range r.sources {
			if o := src.ordinal(pos); o >= 0 && o < src.rows {
				r.out.Late[src.name] = append(r.out.Late[src.name], o)
			}
		}
	}
	return nil
}

// settle counts what is left to count and checks that no row is lost.
func (r *run) settle(ctx context.Context) error {
	plan := r.s.plan
	if plan.Agg == nil {
		if err := r.countResult(ctx); err != nil {
			return err
		}
	} else {
		r.out.State.Rows = r.s.tables[0].rows
	}
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
	items := make([]string, len(r.sources))
	for i, src := range r.sources {
		items[i] = fmt.Sprintf("count(DISTINCT %s) FILTER (WHERE %s)", planner.PosColumn,
			src.between(r.c.Batch))
	}
	rows, err := r.s.conn.Rows(ctx, "SELECT "+strings.Join(items, ", ")+" FROM __result")
	if err != nil {
		return err
	}
	for i, src := range r.sources {
		src.counts.Used = integer(rows[0][i])
	}
	return nil
}
