package engine

import (
	"context"
	"time"

	"github.com/tidemill/tidemill/engine/exec"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// rewriteTable is a table of the state version that a changed text begins with, beside those of its operators: what the
// sinks have to be told.
const rewriteTable = "__rewrite"

// rewrite is the batch that tells the sinks what a changed text makes of the rows that they hold.
type rewrite struct {
	batch  int64
	result stream.Batch
	told   bool // the batch is committed
	stored bool // the newest state version has the table
}

// rewriteChange makes it part of a state version.
func rewriteChange(p *planner.Plan, b stream.Batch) state.Change {
	c := state.Change{Table: rewriteTable, Base: true, Records: b.Records}
	for _, col := range p.Schema {
		c.Columns = append(c.Columns, col.Name+" "+col.Type)
	}
	if b.Op {
		c.Columns = append(c.Columns, stream.OpColumn+" VARCHAR")
	}
	return c
}

// restoreRewrite takes it from a state version, where a large one comes in parts. c is borrowed.
func (q *Query) restoreRewrite(c state.Change) error {
	if q.rewrite == nil {
		schema, err := planSchema(q.plan)
		if err != nil {
			return err
		}
		q.rewrite = &rewrite{batch: q.ckpt.Meta().Evolution.Batch + 1, stored: true,
			result: stream.Batch{Schema: schema, Keys: q.plan.Keys, Op: q.plan.Mode == stream.Update}}
		if q.plan.Mode != stream.Update {
			q.rewrite.result.Keys = nil
		}
	}
	for _, rec := range c.Records {
		rec.Retain()
		q.rewrite.result.Records = append(q.rewrite.result.Records, rec)
	}
	return nil
}

// due reports that the batch which comes next is the one.
func (r *rewrite) due(next int64) bool { return r != nil && !r.told && r.batch == next }

// settle lets go of the rows when the batch has been committed.
func (r *rewrite) settle(next int64) {
	if r != nil && !r.told && next > r.batch {
		r.told = true
		r.release()
	}
}

func (r *rewrite) release() {
	if r != nil {
		r.result.Release()
		r.result.Records = nil
	}
}

// forget takes the table out of the next state version, when nobody needs it any more.
func (r *rewrite) forget(changes []state.Change) []state.Change {
	if r == nil || !r.told || !r.stored {
		return changes
	}
	r.stored = false
	return append(changes, state.Change{Table: rewriteTable, Dropped: true})
}

// runRewrite runs the batch that tells the sinks. It evicts with the watermark of the batch before it, so it frees
// nothing.
func (q *Query) runRewrite(ctx context.Context) error {
	in := q.standingIntent()
	in.Evolved, in.Watermark = true, q.pos.evicted
	if q.trigger.Spec().Kind == trigger.Cron && !q.schedule.last.IsZero() {
		tick := q.schedule.last // a restart counts missed ticks from it
		in.Tick = &tick
	}
	return q.finishBatch(ctx, q.newWork(in, q.pos), false)
}

// rewritten is what that batch gives.
func (q *Query) rewritten() *exec.Output {
	out := &exec.Output{Sources: map[string]*exec.Counts{}, Late: map[string][]int64{}, Phases: map[string]time.Duration{},
		State: exec.StateCounts{Rows: q.session.Rows()}}
	if q.rewrite != nil {
		q.rewrite.result.Retain()
		out.Result = q.rewrite.result
	}
	return out
}
