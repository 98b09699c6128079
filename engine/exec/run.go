package exec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// The phases of a batch in Output.Phases.
const (
	PhaseImport = "import"
	PhaseState  = "state"
	PhaseResult = "result"
	PhaseCommit = "commit"
)

// run is one batch on its way.
type run struct {
	s       *Session
	c       Call
	out     *Output
	sources []*sourceRun
	saved   []stateTable // counters to put back on failure
}

// Run executes one batch in one transaction. When it fails nothing of the state has moved and the session can
// be
// used on; a *duck.Error that is a RowFault says that a row is to blame.
func (s *Session) Run(ctx context.Context, c Call) (*Output, error) {
	r := s.newRun(c)
	if err := r.inTransaction(ctx, true); err != nil {
		return nil, fmt.Errorf("run batch %d: %w", c.Batch, err)
	}
	if err := s.compact(ctx); err != nil {
		r.out.Result.Release()
		return nil, fmt.Errorf("compact state after batch %d: %w", c.Batch, err)
	}
	return r.out, nil
}

// Try runs a batch over only the rows of keep (by source, ordinals ascending; a source that is absent keeps
// none)
// and takes everything back. It fails as Run would.
func (s *Session) Try(ctx context.Context, c Call, keep map[string][]int64) error {
	r := s.newRun(c)
	for _, src := range r.sources {
		src.keep = keep[src.name]
		src.only = true
	}
	err := r.inTransaction(ctx, false)
	r.out.Result.Release()
	if err != nil {
		return fmt.Errorf("try batch %d: %w", c.Batch, err)
	}
	return nil
}

func (s *Session) newRun(c Call) *run {
	r := &run{s: s, c: c, out: &Output{Sources: map[string]*Counts{}, Late: map[string][]int64{},
		Phases: map[string]time.Duration{}}}
	base := int64(0)
	for i := range s.plan.Inputs {
		in := &s.plan.Inputs[i]
		src := &sourceRun{name: in.Table, in: in, records: c.Inputs[in.Table].Records, base: base,
			excluded: c.Excluded[in.Table], counts: &Counts{}}
		for _, rec := range src.records {
			src.rows += rec.NumRows()
		}
		src.counts.In = src.rows
		base += src.rows
		r.out.Sources[in.Table] = src.counts
		r.sources = append(r.sources, src)
	}
	for _, t := range s.tables {
		r.saved = append(r.saved, *t)
	}
	return r
}

func (r *run) inTransaction(ctx context.Context, commit bool) (err error) {
	for _, t := range r.s.plan.Tables {
		if !r.s.loaded[t.Name] {
			return fmt.Errorf("reference table %q has not been loaded", t.Name)
		}
	}
	if err := r.s.defineMacros(ctx); err != nil {
		return err
	}
	if err := r.setVariables(ctx); err != nil {
		return err
	}
	if _, err := r.s.conn.Exec(ctx, "BEGIN TRANSACTION"); err != nil {
		return err
	}
	defer func() {
		if err == nil && commit {
			return
		}
		// The transaction must end even if the caller's context has.
		_, rollbackErr := r.s.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
		for i, t := range r.s.tables {
			*t = r.saved[i]
		}
		if err != nil {
			r.out.Result.Release()
			r.out.Result = stream.Batch{}
		}
		err = errors.Join(err, rollbackErr)
	}()
	if err := r.steps(ctx); err != nil {
		return err
	}
	if !commit {
		return nil
	}
	defer r.phase(PhaseCommit, r.s.clock.Now())
	_, err = r.s.conn.Exec(ctx, "COMMIT")
	return err
}

func (r *run) phase(name string, began time.Time) { r.out.Phases[name] += r.s.clock.Now().Sub(began) }

func (r *run) steps(ctx context.Context) error {
	began := r.s.clock.Now()
	for _, src := range r.sources {
		if err := r.importSource(ctx, src); err != nil {
			return err
		}
	}
	r.phase(PhaseImport, began)
	began = r.s.clock.Now()
	emit, err := true, error(nil)
	if r.s.plan.Agg != nil {
		emit, err = r.aggregate(ctx)
	} else if r.s.plan.Counted {
		_, err = r.s.conn.Exec(ctx, "CREATE OR REPLACE TEMP TABLE __result AS\n"+r.s.plan.Input)
	}
	if err != nil {
		return err
	}
	r.phase(PhaseState, began)
	began = r.s.clock.Now()
	if err := r.result(ctx, emit); err != nil {
		return err
	}
	r.phase(PhaseResult, began)
	return r.settle(ctx)
}

// setVariables gives the batch's constants to the SQL.
func (r *run) setVariables(ctx context.Context) error {
	watermark, late := timestampSQL(r.c.Watermark), timestampSQL(r.c.Late)
	if r.c.Final {
		watermark = "CAST('infinity' AS TIMESTAMP)"
	}
	var sets []string
	for _, v := range []struct{ name, value string }{
		{planner.VarBatch, fmt.Sprintf("CAST(%d AS BIGINT)", r.c.Batch)},
		{planner.VarWatermark, watermark}, {planner.VarLate, late},
	} {
		if r.s.reads(v.name) {
			sets = append(sets, "SET VARIABLE "+v.name+" = "+v.value)
		}
	}
	if r.s.plan.UsesNow {
		now := r.c.Time.UTC()
		sets = append(sets,
			fmt.Sprintf("SET VARIABLE %s = CAST('%s+00' AS TIMESTAMPTZ)", planner.VarNow,
				now.Format("2006-01-02 15:04:05.000000")),
			fmt.Sprintf("SET VARIABLE %s = DATE '%s'", planner.VarToday, now.Format("2006-01-02")))
	}
	if r.s.plan.SlotBound {
		if r.c.Slot == nil {
			return errors.New("the query is bound to a slot, but the batch has none")
		}
		for i, name := range []string{planner.VarSlotStart, planner.VarSlotEnd} {
			sets = append(sets, fmt.Sprintf("SET VARIABLE %s = make_timestamp(%d)", name,
				r.c.Slot[i].UnixMicro()))
		}
	}
	if len(sets) == 0 {
		return nil
	}
	_, err := r.s.conn.Exec(ctx, strings.Join(sets, "; "))
	return err
}

func timestampSQL(micros *int64) string {
	if micros == nil {
		return "CAST('-infinity' AS TIMESTAMP)"
	}
	return fmt.Sprintf("make_timestamp(%d)", *micros)
}

// aggregate moves the state. It reports whether there may be something to emit.
func (r *run) aggregate(ctx context.Context) (bool, error) {
	plan, agg := r.s.plan, r.s.plan.Agg
	main := r.s.tables[0]
	merge := false
	if r.rows() > 0 {
		if err := r.step(ctx, planner.StepInput, nil); err != nil {
			return false, err
		}
		if err := r.countInput(ctx); err != nil {
			return false, err
		}
		for _, src := range r.sources {
			merge = merge || src.counts.Used > 0
		}
	}
	if len(agg.Keys) == 0 && main.rows == 0 && !merge {
		// A global aggregate has its one row before anything came.
		if r.rows() == 0 {
			if err := r.step(ctx, planner.StepInput, nil); err != nil {
				return false, err
			}
		}
		merge = true
	}
	if merge {
		if err := r.merge(ctx); err != nil {
			return false, err
		}
	}
	emit := merge || plan.Mode != stream.Update
	if emit {
		if err := r.step(ctx, planner.StepOut, nil); err != nil {
			return false, err
		}
	}
	return emit, r.free(ctx)
}

func (r *run) rows() int64 {
	var n int64
	for _, src := range r.sources {
		n += src.left
	}
	return n
}

func (r *run) merge(ctx context.Context) error {
	main := r.s.tables[0]
	if r.s.plan.Retracts {
		if err := r.step(ctx, planner.StepBefore, nil); err != nil {
			return err
		}
		if _, err := r.s.conn.Exec(ctx,
			"CREATE OR REPLACE TEMP TABLE __before AS\n"+r.s.plan.Result); err != nil {
			return err
		}
	}
	var deleted, inserted, chunks int64
	for _, do := range []struct {
		name string
		n    *int64
	}{{planner.StepMerge, nil}, {planner.StepDelete, &deleted}, {planner.StepInsert,
		&inserted}, {planner.StepRows, &chunks}} {
		if err := r.step(ctx, do.name, do.n); err != nil {
			return err
		}
	}
	main.rows += inserted - deleted
	main.dead += deleted
	r.out.State.Updated = inserted
	if err := r.touch(ctx, main, r.s.plan.Agg.New); err != nil {
		return err
	}
	if len(r.s.tables) > 1 {
		r.s.tables[1].rows += chunks
		return r.touch(ctx, r.s.tables[1], fmt.Sprintf("%s WHERE %s = %d", r.s.tables[1].Name,
			planner.BatchColumn, r.c.Batch))
	}
	return nil
}

// touch remembers keys for the next delta, if the next Snapshot can be one.
func (r *run) touch(ctx context.Context, t *stateTable, from string) error {
	if r.s.batch || len(t.Keys) == 0 || !t.snapshot {
		return nil
	}
	n, err := r.s.conn.Exec(ctx, "INSERT INTO "+t.touched()+" SELECT "+t.keyList()+" FROM "+from)
	t.changes += n
	return err
}

// free drops closed groups.
func (r *run) free(ctx context.Context) error {
	agg := r.s.plan.Agg
	if agg.Closed == "" || r.c.Watermark == nil && !r.c.Final {
		return nil
	}
	for i, name := range []string{planner.StepFree, planner.StepForget} {
		if i >= len(r.s.tables) {
			break
		}
		t := r.s.tables[i]
		if t.rows == 0 {
			continue
		}
		if err := r.touch(ctx, t, t.Name+" WHERE "+agg.Closed); err != nil {
			return err
		}
		var n int64
		if err := r.step(ctx, name, &n); err != nil {
			return err
		}
		t.rows -= n
		t.dead += n
		if i == 0 {
			r.out.State.Removed = n
		}
	}
	return nil
}

// step runs one statement of the plan, if the plan has it.
func (r *run) step(ctx context.Context, name string, affected *int64) error {
	sql := r.s.steps[name]
	if sql == "" {
		return nil
	}
	n, err := r.s.conn.Exec(ctx, sql)
	if affected != nil {
		*affected = n
	}
	return err
}

// result reads the rows that the batch gives.
func (r *run) result(ctx context.Context, emit bool) error {
	plan := r.s.plan
	b := stream.Batch{Schema: resultSchema(plan.Schema), Op: plan.Retracts}
	if plan.Mode == stream.Update {
		b.Keys = slices.Clone(plan.Keys)
	}
	if !emit {
		r.out.Result = b
		return nil
	}
	sql := plan.Result
	if plan.Retracts {
		if _, err := r.s.conn.Exec(ctx, "CREATE OR REPLACE TEMP TABLE __after AS\n"+sql); err != nil {
			return err
		}
		sql = retractSQL(plan)
	}
	t, err := r.s.conn.Select(ctx, sql)
	if err != nil {
		return err
	}
	b.Records = t.Records
	fields := t.Schema.Fields()
	if plan.Retracts {
		fields = fields[:len(fields)-1]
	}
	b.Schema = arrow.NewSchema(fields, nil)
	r.out.Result = b
	return nil
}

func resultSchema(cols []stream.Column) *arrow.Schema {
	fields := make([]arrow.Field, len(cols))
	for i, c := range cols {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
	}
	return arrow.NewSchema(fields, nil)
}

// retractSQL gives the rows as they are now, and the keys of those that are no more.
func retractSQL(plan *planner.Plan) string {
	cols := make([]string, len(plan.Schema))
	gone := make([]string, len(plan.Schema))
	var match []string
	for i, c := range plan.Schema {
		n := duck.QuoteIdent(c.Name)
		cols[i] = n
		gone[i] = "CAST(NULL AS " + c.Type + ") AS " + n
		if slices.Contains(plan.Keys, i) {
			gone[i] = "b." + n
			match = append(match, "b."+n+" IS NOT DISTINCT FROM a."+n)
		}
	}
	on := "true"
	if len(match) > 0 {
		on = strings.Join(match, " AND ")
	}
	return "SELECT " + strings.Join(cols, ", ") + ", '" + stream.OpUpsert + "' AS " + stream.OpColumn +
		" FROM __after UNION ALL SELECT " +
		strings.Join(gone, ", ") + ", '" + stream.OpDelete + "' FROM __before b ANTI JOIN __after a ON " + on
}
