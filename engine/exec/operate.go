package exec

import (
	"context"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
)

// operate runs the operators' steps in order, or the plan's one SELECT if it has none.
func (r *run) operate(ctx context.Context) error {
	plan := r.s.plan
	if len(plan.Ops) == 0 {
		if !plan.Counted {
			return nil
		}
		_, err := r.s.conn.Exec(ctx, plan.InputSQL(r.lentTo(plan.With)))
		return err
	}
	if plan.Shared {
		if _, err := r.s.conn.Exec(ctx, planner.ShareTableSQL); err != nil {
			return err
		}
	}
	for _, op := range plan.Ops {
		always := op.Global && r.s.table(op.Tables[0].Name).rows == 0
		for i := range op.Steps {
			if err := r.step(ctx, &op.Steps[i], always); err != nil {
				return err
			}
		}
	}
	return nil
}

// lentTo leaves those tables out that are there as such.
func (r *run) lentTo(tables []string) []string {
	var out []string
	for _, t := range tables {
		if !r.tabled[t] {
			out = append(out, t)
		}
	}
	return out
}

// with returns the common table expressions of the tables that are lent to a statement.
func (r *run) with(tables []string) []string { return r.s.plan.WithSQL(r.lentTo(tables)) }

// query runs a SELECT, with a plan that is kept from batch to batch where that is safe.
func (r *run) query(ctx context.Context, with []string, sql string, cols []duck.Column) (*duck.Table, error) {
	if r.s.again && len(r.tabled) == 0 {
		return r.s.conn.QueryAgain(ctx, with, sql, cols)
	}
	return r.s.conn.Query(ctx, with, sql, cols)
}

// due reports whether a step has anything to do in this batch.
func (r *run) due(st *planner.Step, always bool) bool {
	if st.Time && r.c.Watermark == nil && !r.c.Final {
		return false
	}
	if st.Effect == planner.Delete && r.s.table(st.Table).rows == 0 {
		return false
	}
	if st.Rows == nil || always {
		return true
	}
	for _, t := range st.Rows {
		if r.made[t] > 0 {
			return true
		}
	}
	return false
}

func (r *run) step(ctx context.Context, st *planner.Step, always bool) error {
	if st.When == planner.Punctual && r.delayed || st.When == planner.Delayed && !r.delayed {
		return nil // another step does it in this batch
	}
	if !r.due(st, always) {
		return r.leaveOut(ctx, st)
	}
	switch st.Effect {
	case planner.Fold:
		return r.fold(ctx, st)
	case planner.Lookup:
		return r.lookup(ctx, st)
	case planner.Admit:
		return r.admit(ctx, st)
	case planner.Put:
		return r.put(ctx, st)
	case planner.Expire:
		return r.expire(ctx, st)
	case planner.Count:
		return r.count(ctx, st.Entry)
	case planner.Insert, planner.Delete:
		return r.change(ctx, st)
	}
	near, err := r.near(ctx, st.Near)
	if err != nil {
		return err
	}
	n, err := r.s.conn.Exec(ctx, st.Statement(append(near, r.with(st.With)...)))
	if err != nil {
		return err
	}
	if st.Effect == planner.Append {
		n += r.made[st.Table]
	}
	r.made[st.Table] = n
	r.s.empty[st.Table] = n == 0
	return nil
}

// leaveOut leaves a step out that is not due: what it would make is empty.
func (r *run) leaveOut(ctx context.Context, st *planner.Step) error {
	switch st.Effect {
	case planner.Create, planner.Lookup, planner.Admit, planner.Expire, planner.Fold:
		if st.Table != "" {
			return r.clear(ctx, st)
		}
	}
	return nil
}

// clear leaves the table of a step that is not due empty.
func (r *run) clear(ctx context.Context, st *planner.Step) error {
	r.made[st.Table] = 0
	if r.s.empty[st.Table] || r.s.feeds[st.Table] != nil {
		return nil
	}
	sql := st.EmptySQL(r.with(st.With))
	if st.State != "" {
		sql = r.s.table(st.State).EmptySQL(st.Table)
	}
	_, err := r.s.conn.Exec(ctx, sql)
	r.s.empty[st.Table] = err == nil
	return err
}

// change runs a step on a state table and keeps count of its rows.
func (r *run) change(ctx context.Context, st *planner.Step) error {
	t := r.s.table(st.Table)
	if st.Touch != "" && st.Effect == planner.Delete {
		if err := r.touch(ctx, t, st.Touch); err != nil {
			return err
		}
	}
	n, err := r.s.conn.Exec(ctx, st.Statement(r.with(st.With)))
	if err != nil {
		return err
	}
	if st.Effect == planner.Delete {
		t.rows -= n
		t.dead += n
		if t.Logical && st.Frees {
			r.out.State.Removed += n
		}
		return nil
	}
	t.rows += n
	if t.Logical {
		r.out.State.Updated += n
	}
	if st.Touch != "" {
		return r.touch(ctx, t, st.Touch)
	}
	return nil
}

// touch remembers keys for the next delta, if the next Snapshot can be one.
func (r *run) touch(ctx context.Context, t *stateTable, from string) error {
	if r.s.batch || len(t.Keys) == 0 || !t.snapshot {
		return nil
	}
	n, err := r.s.conn.Exec(ctx, t.TouchSQL(from))
	t.changes += n
	return err
}
