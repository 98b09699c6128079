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

// ErrMoved says that a batch failed when the state had moved already, or may have: the session must not be used on.
var ErrMoved = errors.New("the state may have moved") //nolint:gochecknoglobals // a sentinel

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
	saved   []stateTable     // counters to put back on failure
	made    map[string]int64 // rows in the batch's tables
	tabled  map[string]bool  // those of the plan's Lent that a table has been made of instead
	delayed bool             // rows may be late, or come more than once by way of a reference table
	lanes   []*lane          // that have parts of the rows
}

// Run executes one batch in one transaction. When it fails nothing of the state has moved and the session can be used on,
// unless the error is one of ErrMoved; a *duck.Error that is a RowFault says that a row is to blame.
func (s *Session) Run(ctx context.Context, c Call) (*Output, error) {
	r := s.newRun(c)
	if err := r.inTransaction(ctx, true); err != nil {
		return nil, err
	}
	if err := s.compact(ctx); err != nil {
		r.out.Result.Release()
		return nil, fmt.Errorf("compact state after batch %d, and %w: %w", c.Batch, ErrMoved, err)
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
	s.positions.Turn()
	r := &run{s: s, c: c, out: &Output{Sources: map[string]*Counts{}, Late: map[string][]int64{},
		Phases: map[string]time.Duration{}}, delayed: len(s.repeats) > 0, made: map[string]int64{}, tabled: map[string]bool{}}
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
	transaction := r.s.plan.Transactional()
	if transaction {
		if _, err := r.s.conn.Exec(ctx, planner.BeginSQL); err != nil {
			return err
		}
	}
	r.s.begin()
	defer func() {
		for _, feed := range r.s.feeds {
			feed.Return()
		}
		for _, l := range r.lanes {
			l.feed.Return()
		}
		r.s.end(err == nil && commit)
		if err == nil && commit {
			return
		}
		var rollbackErr error
		if transaction {
			// It must end even if the caller's context has.
			if _, rollbackErr = r.s.conn.Exec(context.WithoutCancel(ctx), planner.RollbackSQL); rollbackErr != nil {
				rollbackErr = errors.Join(ErrMoved, rollbackErr)
			}
		}
		for i, t := range r.s.tables {
			*t = r.saved[i]
		}
		clear(r.s.empty)
		if err != nil {
			r.out.Result.Release()
			r.out.Result = stream.Batch{}
		}
		err = errors.Join(err, rollbackErr)
	}()
	if err := r.steps(ctx); err != nil {
		return err
	}
	if !commit || !transaction {
		return nil
	}
	defer r.phase(PhaseCommit, r.s.clock.Now())
	_, err = r.s.conn.Exec(ctx, planner.CommitSQL)
	return err
}

func (r *run) phase(name string, began time.Time) { r.out.Phases[name] += r.s.clock.Now().Sub(began) }

func (r *run) steps(ctx context.Context) error {
	began := r.s.clock.Now()
	for i, src := range r.sources {
		if err := r.importSource(ctx, i, src); err != nil {
			return err
		}
		r.made[src.name] = src.left
	}
	r.phase(PhaseImport, began)
	began = r.s.clock.Now()
	if err := r.operate(ctx); err != nil {
		return err
	}
	r.phase(PhaseState, began)
	began = r.s.clock.Now()
	if err := r.result(ctx); err != nil {
		return err
	}
	r.phase(PhaseResult, began)
	return r.settle(ctx)
}

// setVariables gives the batch's constants to the SQL.
func (r *run) setVariables(ctx context.Context) error {
	if r.s.plan.SlotBound && r.c.Slot == nil {
		return errors.New("the query is bound to a slot, but the batch has none")
	}
	if len(r.s.variables) == 0 {
		return nil
	}
	values := r.values()
	var sets []string
	for _, name := range r.s.variables {
		if sql := planner.SetSQL(name, values[name]); r.s.set[name] != sql {
			sets = append(sets, sql)
			r.s.set[name] = sql
		}
	}
	if len(sets) == 0 {
		return nil
	}
	_, err := r.s.conn.Exec(ctx, strings.Join(sets, ";\n"))
	if err != nil {
		clear(r.s.set)
	}
	return err
}

// values are what the session variables are in this batch: its constants, and those of each source, where its positions
// begin and the greatest event time.
func (r *run) values() map[string]string {
	bigint := func(n int64) string { return fmt.Sprintf("CAST(%d AS BIGINT)", n) }
	now := r.c.Time.UTC()
	all := map[string]string{
		planner.VarBatch: bigint(r.c.Batch), planner.VarWatermark: timestampSQL(r.c.Watermark),
		planner.VarLate:  timestampSQL(r.c.Late),
		planner.VarNow:   fmt.Sprintf("CAST('%s+00' AS TIMESTAMPTZ)", now.Format("2006-01-02 15:04:05.000000")),
		planner.VarToday: fmt.Sprintf("DATE '%s'", now.Format("2006-01-02")),
	}
	if r.c.Final {
		all[planner.VarWatermark] = "CAST('infinity' AS TIMESTAMP)"
	}
	if r.c.Slot != nil {
		all[planner.VarSlotStart] = fmt.Sprintf("make_timestamp(%d)", r.c.Slot[0].UnixMicro())
		all[planner.VarSlotEnd] = fmt.Sprintf("make_timestamp(%d)", r.c.Slot[1].UnixMicro())
	}
	first := r.c.Batch << positionBits
	for i, src := range r.sources {
		all[planner.VarFirst(i)] = bigint(first + src.base)
		all[planner.VarFirst(i+1)] = bigint(first + src.base + src.rows)
		all[planner.VarLatest(i)] = bigint(r.latest(src))
	}
	return all
}

func (r *run) latestTime(i int, src *sourceRun) string {
	return planner.SetSQL(planner.VarLatest(i), fmt.Sprintf("CAST(%d AS BIGINT)", r.latest(src)))
}

func timestampSQL(micros *int64) string {
	if micros == nil {
		return "CAST('-infinity' AS TIMESTAMP)"
	}
	return fmt.Sprintf("make_timestamp(%d)", *micros)
}

// emits reports whether the batch can have a result.
func (r *run) emits() bool {
	if r.s.plan.Emits == nil {
		return true
	}
	for _, t := range r.s.plan.Emits {
		if r.made[t] > 0 || r.s.plan.Retracts && r.made[planner.OldTable(t)] > 0 {
			return true
		}
	}
	return false
}

// unheard reports that the batch need not give a result. Without state a plan does nothing else, and counts by it.
func (r *run) unheard() bool { return r.c.Unheard && len(r.s.plan.Ops) > 0 }

// resultOnly reports that only the result reads a table of lent rows, and nobody wants that.
func (r *run) resultOnly(table string) bool {
	return r.unheard() && slices.Contains(r.s.plan.With, table)
}

// result reads the rows that the batch gives.
func (r *run) result(ctx context.Context) error {
	plan := r.s.plan
	b := stream.Batch{Schema: resultSchema(plan.Schema), Op: plan.Retracts}
	if plan.Mode == stream.Update {
		b.Keys = slices.Clone(plan.Keys)
	}
	if r.unheard() || !r.emits() {
		r.out.Result = b
		return nil
	}
	sql := plan.ResultSQL(r.lentTo(plan.With))
	cols := make([]duck.Column, len(plan.Schema), len(plan.Schema)+1)
	for i, c := range plan.Schema {
		cols[i] = duck.Column{Name: c.Name, Type: c.Type}
	}
	if plan.Retracts {
		for _, keep := range []string{plan.BeforeSQL(), plan.AfterSQL(r.lentTo(plan.With))} {
			if _, err := r.s.conn.Exec(ctx, keep); err != nil {
				return err
			}
		}
		sql = plan.RetractSQL()
		cols = append(cols, duck.Column{Name: stream.OpColumn, Type: "VARCHAR"})
	}
	t, err := r.rows(ctx, sql, cols)
	if err != nil {
		return err
	}
	b.Records = t.Records
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
