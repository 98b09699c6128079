package exec

import (
	"context"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// gatherRows is how many rows of a batch are worth the statements of a Gather.
const gatherRows = 32_768

// rows reads the rows of the result: by the plan's Near if the batch has few, by its Gather if it has many.
func (r *run) rows(ctx context.Context, sql string, cols []duck.Column) (*duck.Table, error) {
	near, err := r.near(ctx, r.s.plan.Near)
	switch {
	case err != nil:
		return nil, err
	case near != nil:
		return r.s.conn.Query(ctx, near, sql, cols)
	case r.s.plan.Gather == nil || r.left() < r.s.many:
		return r.inParts(ctx, sql, cols)
	}
	return r.gather(ctx, r.s.plan.Gather)
}

// left returns how many rows of the batch the operators have.
func (r *run) left() (n int64) {
	for _, src := range r.sources {
		n += src.left
	}
	return n
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
