package exec

import (
	"context"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// gatherRows is how many rows of a batch are worth the statements of a Gather.
const gatherRows = 32_768

// rows reads the rows of the result, by the plan's Gather if the batch has many.
func (r *run) rows(ctx context.Context, sql string, cols []duck.Column) (*duck.Table, error) {
	n := int64(0)
	for _, src := range r.sources {
		n += src.left
	}
	if t, err := r.fewRows(ctx, sql, cols); t != nil || err != nil {
		return t, err
	}
	if r.s.plan.Gather == nil || n < r.s.many {
		return r.inParts(ctx, sql, cols)
	}
	return r.gather(ctx, r.s.plan.Gather)
}

func (r *run) gather(ctx context.Context, g *planner.Gather) (*duck.Table, error) {
	if _, err := r.s.conn.Exec(ctx, g.MakeSQL()); err != nil {
		return nil, err
	}
	sql, cols := g.PairsSQL()
	which, err := r.s.conn.Query(ctx, nil, sql, cols)
	if err != nil {
		return nil, err
	}
	defer which.Release()
	sides := make([]*duck.Table, len(g.Sides))
	for i := range g.Sides {
		if sides[i], err = r.s.conn.Query(ctx, nil, g.Sides[i].SQL(), g.Sides[i].Columns); err != nil {
			return nil, err
		}
		defer sides[i].Release()
	}
	if _, err := r.s.conn.Exec(ctx, planner.DropPairsSQL); err != nil {
		return nil, err
	}
	return r.s.conn.Take(which, sides, g.Columns)
}
