package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/sqlfront"
	"github.com/tidemill/tidemill/stream"
)

// native is a batch run that leaves the reading of Parquet files to DuckDB: the body as it stands, or as the plan has it where
// that keeps rows in order, over a view of the files, in an instance that may read them. It is for queries of which this is known to give the same rows: one source,
// groups that merge in any order, files whose columns have the declared types, and no row that would be a dead letter.
type native struct {
	q     *Query
	conn  *duck.Conn
	src   *planner.Source
	in    *planner.Input
	files string // a list for read_parquet
	rows  int64  // in all files
	nulls int64  // of these, without event time
	most  *int64 // the greatest event time
}

// errNotNative says that the engine has to read the rows itself.
var errNotNative = errors.New("the rows are not for DuckDB to read") //nolint:gochecknoglobals // a sentinel

// native runs the batch so, or returns errNotNative. A row that fails is a reason too: the engine says which it is.
func (q *Query) native(ctx context.Context, bo BatchOptions) (res *BatchResult, err error) {
	if _, os := q.opt.FS.(vfs.OS); !os || !bo.From.IsZero() || !bo.To.IsZero() || !q.mergesInAnyOrder() {
		return nil, errNotNative
	}
	n := &native{q: q, src: q.plan.Sources[0], in: &q.plan.Inputs[0]}
	if err := n.find(ctx); err != nil {
		return nil, err
	}
	q.log.Debug("DuckDB reads the files")
	db, err := duck.Open(ctx, duck.Options{MemoryLimit: q.memory(), Threads: q.opt.Threads,
		TempDir: filepath.Join(q.opt.DataDir, "spill-native"), Overflow: q.overflowing()})
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if n.conn, err = db.Conn(ctx); err != nil {
		return nil, fmt.Errorf("connect to DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, n.conn.Close()) }()
	for _, step := range []func(context.Context) error{n.fits, n.prepare} {
		if err := step(ctx); err != nil {
			return nil, n.fault(ctx, err)
		}
	}
	res, err = n.run(ctx)
	return res, n.fault(ctx, err)
}

// fault makes of a failed statement a reason to read the rows here, unless memory or time was short.
func (n *native) fault(ctx context.Context, err error) error {
	var de *duck.Error
	if ctx.Err() == nil && errors.As(err, &de) && de.Kind != duck.OutOfMemory {
		n.q.log.Debug("rows are read by the engine", "err", err)
		return errNotNative
	}
	return err
}

// mergesInAnyOrder reports that the plan gives the same rows in whatever order its only source is read, and that the view has all
// that the body names: where the plan computes costly calls once, it has what they give instead of what they read.
func (q *Query) mergesInAnyOrder() bool {
	p := q.plan
	if len(p.Sources) != 1 || len(p.Inputs) != 1 || p.Inputs[0].Passed || len(p.Ops) > 1 || p.UsesNow || p.SlotBound || p.Horizon > 0 {
		return false
	}
	for _, op := range p.Ops {
		folds := 0
		for _, st := range op.Steps {
			if st.Effect == planner.Fold && st.Merges != nil {
				folds++
			}
		}
		if folds == 0 || len(op.Tables) != 1 {
			return false
		}
	}
	return true
}

// find asks the source for its files, and what they say of themselves.
func (n *native) find(ctx context.Context) (err error) {
	in, err := openInput(ctx, n.q.opt, n.q.app, n.src,
		home{dir: filepath.Join(n.q.opt.DataDir, "batch-sources", n.q.def.Name, n.src.Name)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.close()) }()
	source, ok := in.src.(stream.ParquetFiles)
	if !ok {
		return errNotNative
	}
	set, err := source.ParquetFiles(ctx, n.in.EventTime)
	if err != nil {
		return fmt.Errorf("list the files of source %q: %w", n.src.Name, err)
	}
	if set == nil || set.Rows == 0 {
		return errNotNative
	}
	n.rows = set.Rows
	if err := n.goodTimes(set.Times); err != nil {
		return err
	}
	for _, c := range declared(n.src) { // whether the query reads it or not: a file that lacks one is a dead letter
		if c.Metadata || !set.Alike[c.Name] {
			return errNotNative
		}
	}
	quoted := make([]string, len(set.Paths))
	for i, f := range set.Paths {
		if strings.ContainsAny(f, `*?[\`) {
			return errNotNative // a pattern to DuckDB
		}
		quoted[i] = duck.QuoteLiteral(f)
	}
	n.files = "[" + strings.Join(quoted, ", ") + "]"
	return nil
}

// goodTimes asks that no event time is one that only a dead letter has.
func (n *native) goodTimes(times *stream.ParquetTimes) error {
	switch {
	case n.in.EventTime == "":
		return nil
	case times == nil:
		return errNotNative
	case times.Least <= times.Most:
		if times.Least < planner.EarliestTime || times.Most > -planner.EarliestTime {
			return errNotNative
		}
		n.most = &times.Most
	}
	if n.in.DropsNull {
		n.nulls = times.Nulls
	}
	return nil
}

// fits asks that DuckDB finds the declared columns in their types. The files are alike.
func (n *native) fits(ctx context.Context) error {
	found, err := n.conn.Describe(ctx, "SELECT * FROM read_parquet("+n.files+", hive_partitioning = false)")
	if err != nil {
		return err
	}
	types := map[string]string{}
	for _, c := range found {
		types[c.Name] = c.Type
	}
	for _, c := range declared(n.src) {
		if types[c.Name] != c.Type {
			return errNotNative
		}
	}
	return nil
}

// prepare makes what the body names: reference tables, the source, window macros, the user's macros and views.
func (n *native) prepare(ctx context.Context) error {
	q := n.q
	if err := makeTables(ctx, n.conn, q.app, func(*planner.Table, *duck.Table) error { return nil }); err != nil {
		return err
	}
	for _, sql := range []string{sqlfront.Prelude(), n.view("")} {
		if _, err := n.conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return q.defineAround(ctx, n.conn)
}
