package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/state"
	"github.com/tidemill/tidemill/stream"
)

// Verification is the answer to "does the sink hold what plain DuckDB gives for the same rows?".
type Verification struct {
	Query         string   `json:"query"`
	Verified      bool     `json:"verified"`
	Rows          int64    `json:"rows"`    // what plain DuckDB gives, over closed windows
	Missing       int64    `json:"missing"` // of these, not in the sink
	Extra         int64    `json:"extra"`   // in the sink, and not of these
	Samples       []string `json:"samples,omitempty"`
	NotComparable []string `json:"not_comparable,omitempty"` // why no comparison was made
	Input         int64    `json:"input"`                    // rows that were read again
}

// SinkReader puts all a sink holds into a table of conn.
type SinkReader func(ctx context.Context, conn *duck.Conn, table string) error

// Verify reads again every row that the log of a stopped query says was consumed, runs the body word for word in a
// plain DuckDB over all of them at once, and compares the answer with what the sink holds. Left out, and counted, are
// the rows that were dead-lettered, the (row, window) pairs that were late, and in append mode the pairs whose window
// the final watermark has not closed. It shares the reading of sources with the engine, and nothing of the planner.
func Verify(ctx context.Context, opt Options, app *planner.App, name string, sink SinkReader) (_ *Verification, err error) {
	q, err := newQuery(opt.withDefaults(), app, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.release(false)) }()
	defer q.guard(&err)
	dir := filepath.Join(q.opt.DataDir, name)
	if err := q.openPlan(ctx, dir); err != nil {
		return nil, err
	}
	summary, err := checkpoint.Inspect(q.opt.FS, dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // a coded error
	}
	v := &Verification{Query: name, NotComparable: q.notComparable(summary)}
	if len(v.NotComparable) > 0 || summary.Last == nil {
		v.Verified = len(v.NotComparable) == 0
		return v, nil
	}
	return v, q.verify(ctx, v, summary, sink)
}

// notComparable says why the sink can not be compared with one run over all rows.
func (q *Query) notComparable(s *checkpoint.Summary) []string {
	why := q.plan.NotComparable()
	if n := len(q.plan.Ops); n > 1 || n == 1 && !strings.HasPrefix(q.plan.Ops[0].Name, "aggregate") {
		why = append(why, "what is late and open is told apart here for one window aggregate only: tidemill chaos compares every shape")
	}
	if e := s.Meta.Evolution; e != nil && q.plan.Mode == stream.Append {
		why = append(why, fmt.Sprintf("the text was changed after batch %d: what the sinks got before is of the old one", e.Batch))
	}
	switch {
	case s.Pending != nil:
		why = append(why, "a batch is unfinished: run the query first")
	case s.Last != nil && s.Batches[0].Intent.Batch != 0:
		why = append(why, fmt.Sprintf("the log begins at batch %d: what came before has been trimmed", s.Batches[0].Intent.Batch))
	case s.Last != nil && s.Last.Inexact:
		why = append(why, "rows were lost and skipped (on_data_loss = 'skip')")
	}
	for _, op := range q.plan.Ops {
		if !strings.HasPrefix(op.Name, "aggregate") {
			why = append(why, fmt.Sprintf("plain DuckDB does not know which rows were late in operator %q", op.Name))
			break
		}
	}
	var tables map[string]string
	for i, b := range s.Batches {
		if i > 0 && !sameTables(tables, b.Intent.Tables) {
			why = append(why, "a reference table was refreshed in between")
			break
		}
		tables = b.Intent.Tables
	}
	return why
}

func sameTables(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, hash := range a {
		if b[name] != hash {
			return false
		}
	}
	return true
}

func (q *Query) verify(ctx context.Context, v *Verification, s *checkpoint.Summary, sink SinkReader) (err error) {
	db, err := duck.Open(ctx, duck.Options{MemoryLimit: q.memory(), Threads: 1}) // one thread: sums in input order
	if err != nil {
		return fmt.Errorf("open plain DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to plain DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := q.plainTables(ctx, conn, s); err != nil {
		return err
	}
	for i, src := range q.plan.Sources {
		if err := q.plainSource(ctx, conn, v, s, i, src); err != nil {
			return err
		}
	}
	if err := q.plainMacros(ctx, conn, s); err != nil {
		return err
	}
	return q.compare(ctx, conn, v, sink)
}

// plainTables loads the copies of the reference tables that the batches used.
func (q *Query) plainTables(ctx context.Context, conn *duck.Conn, s *checkpoint.Summary) error {
	copies, err := state.OpenCopies(q.opt.FS, filepath.Join(q.opt.DataDir, q.def.Name, "tables"))
	if err != nil {
		return fmt.Errorf("open table copies: %w", err)
	}
	for name, hash := range s.LastIntent.Tables {
		c, err := copies.Get(ctx, name, hash)
		if err != nil {
			return fmt.Errorf("load the copy of table %q: %w", name, err)
		}
		err = conn.Import(ctx, name, "", c.Records, c.Schema)
		c.Release()
		if err != nil {
			return fmt.Errorf("load table %q: %w", name, err)
		}
	}
	return nil
}

// plainSource reads all that the log says was consumed of one source into a table, each row with the late watermark
// of the batch it came in.
func (q *Query) plainSource(
	ctx context.Context, conn *duck.Conn, v *Verification, s *checkpoint.Summary, i int, src *planner.Source,
) error {
	in, err := openInput(ctx, q.opt, q.app, src, home{dir: filepath.Join(q.opt.DataDir, q.def.Name, "sources", src.Name)})
	if err != nil {
		return err
	}
	q.inputs = append(q.inputs, in)
	cols := declared(src)
	if in.leave(q.plan.Inputs[i].Unread); in.unread != nil {
		cols = q.plan.Inputs[i].Declared
	}
	var all []arrow.Record
	defer func() {
		for _, rec := range all {
			rec.Release()
		}
	}()
	schema := plainSchema(cols)
	for _, b := range s.Batches {
		w := q.newWork(b.Intent, q.pos)
		w.data[src.Name] = &rows{}
		rng := b.Intent.Sources[src.Name]
		if b.Commit == nil || rng.From == rng.To {
			continue
		}
		if err := q.fetchSource(ctx, w, in, rng); err != nil {
			w.release()
			return err
		}
		all = append(all, marked(schema, w.data[src.Name].records, b, src)...)
		w.release()
	}
	for _, rec := range all {
		v.Input += rec.NumRows()
	}
	list := q.plan.Inputs[i].Select + ", __late, __ahead"
	if err := conn.Import(ctx, src.Name, list, all, schema); err != nil {
		return fmt.Errorf("load source %q: %w", src.Name, err)
	}
	if w := src.Watermark; w != nil {
		_, err = conn.Exec(ctx, fmt.Sprintf("DELETE FROM %s WHERE NOT isfinite(%s) OR %s > __ahead",
			duck.QuoteIdent(src.Name), duck.QuoteIdent(w.Column), duck.QuoteIdent(w.Column)))
		if err != nil {
			return fmt.Errorf("drop impossible event times of source %q: %w", src.Name, err)
		}
	}
	return nil
}

func plainSchema(cols []stream.Column) *arrow.Schema {
	fields := make([]arrow.Field, 0, len(cols)+3)
	for _, c := range cols {
		fields = append(fields, arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true})
	}
	at := &arrow.TimestampType{Unit: arrow.Microsecond}
	return arrow.NewSchema(append(fields, arrow.Field{Name: planner.PosColumn, Type: arrow.PrimitiveTypes.Int64},
		arrow.Field{Name: "__late", Type: at, Nullable: true}, arrow.Field{Name: "__ahead", Type: at, Nullable: true}), nil)
}

// marked gives each record the columns __pos, __late and __ahead, and leaves the rows out that the batch excluded.
func marked(schema *arrow.Schema, records []arrow.Record, b checkpoint.Replay, src *planner.Source) []arrow.Record {
	var gone []int64
	if b.Exclude != nil {
		for _, x := range b.Exclude.Rows[src.Name] {
			gone = append(gone, x.Ordinal)
		}
	}
	var ahead *int64
	if d := maxAhead(src); d > 0 {
		us := b.Intent.Time.Add(d).UnixMicro()
		ahead = &us
	}
	var out []arrow.Record
	ordinal := int64(0)
	for _, rec := range records {
		n := rec.NumRows()
		cols := slices.Clone(rec.Columns())
		pos := array.NewInt64Builder(memory.DefaultAllocator)
		for i := range n {
			pos.Append(b.Intent.Batch<<31 | (ordinal + i))
		}
		extra := []arrow.Array{pos.NewArray(), constant(b.Intent.Late, n), constant(ahead, n)}
		whole := array.NewRecord(schema, append(cols, extra...), n)
		for _, a := range extra {
			a.Release()
		}
		out = append(out, without(whole, ordinal, gone)...)
		whole.Release()
		ordinal += n
	}
	return out
}

func constant(us *int64, n int64) arrow.Array {
	b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Microsecond})
	defer b.Release()
	for range n {
		if us == nil {
			b.AppendNull()
			continue
		}
		b.Append(arrow.Timestamp(*us))
	}
	return b.NewArray()
}

// without returns the slices of rec, whose first row has the given ordinal, between the ordinals that are gone.
func without(rec arrow.Record, first int64, gone []int64) []arrow.Record {
	var out []arrow.Record
	start := int64(0)
	for i := range rec.NumRows() + 1 {
		if i < rec.NumRows() && !slices.Contains(gone, first+i) {
			continue
		}
		if i > start {
			out = append(out, rec.NewSlice(start, i))
		}
		start = i + 1
	}
	return out
}

// plainMacros defines tumble and hop as a stock DuckDB has them, less the pairs that were late, and in append mode
// less those whose window is still open.
func (q *Query) plainMacros(ctx context.Context, conn *duck.Conn, s *checkpoint.Summary) error {
	keep := "true"
	if q.plan.Stateful() && q.def.Mode != stream.Complete {
		keep = "(__late IS NULL OR window_end > __late)"
	}
	if q.plan.Stateful() && q.def.Mode == stream.Append && !s.LastIntent.Final {
		closed := "false"
		if wm := s.LastIntent.Watermark; wm != nil {
			closed = fmt.Sprintf("window_end <= make_timestamp(%d)", *wm)
		}
		keep += " AND " + closed
	}
	origin := "TIMESTAMP '1970-01-01'"
	bucket := func(size, offset string) string {
		return fmt.Sprintf("time_bucket(%s, __ts, %s%s)", size, origin, offset)
	}
	tumble := func(offset string) string {
		b := bucket("__size", offset)
		return fmt.Sprintf("(SELECT * FROM (SELECT *, %s AS window_start, %s + __size AS window_end FROM query_table(__src) "+
			"WHERE __ts IS NOT NULL) WHERE %s)", b, b, keep)
	}
	slide := bucket("__slide", "")
	text := fmt.Sprintf("CREATE OR REPLACE MACRO tumble (__src, __ts, __size) AS TABLE %s, (__src, __ts, __size, __offset) AS TABLE %s; "+
		"CREATE OR REPLACE MACRO hop(__src, __ts, __slide, __size) AS TABLE SELECT * EXCLUDE (__start) FROM ("+
		"SELECT *, __start AS window_start, __start + __size AS window_end FROM (SELECT *, unnest(range(%s - __size + __slide, "+
		"%s + __slide, __slide)) AS __start FROM query_table(__src) WHERE __ts IS NOT NULL)) WHERE %s",
		tumble(""), tumble(" + __offset"), slide, slide, keep)
	if _, err := conn.Exec(ctx, text); err != nil {
		return fmt.Errorf("define the window macros: %w", err)
	}
	return nil
}

// compare runs the body and looks for rows on either side only.
func (q *Query) compare(ctx context.Context, conn *duck.Conn, v *Verification, sink SinkReader) error {
	if err := q.defineAround(ctx, conn); err != nil {
		return err
	}
	cells := make([]string, len(q.plan.Schema))
	for i, c := range q.plan.Schema {
		cells[i] = duck.QuoteIdent(c.Name)
		if c.Type == "DOUBLE" || c.Type == "FLOAT" { // plain DuckDB promises no order of a sum
			cells[i] = fmt.Sprintf("printf('%%.9e', %s) AS %s", cells[i], cells[i])
		}
	}
	list := strings.Join(cells, ", ")
	body := fmt.Sprintf("CREATE TEMP TABLE __answer AS SELECT %s FROM (%s)", list, q.def.Body)
	if _, err := conn.Exec(ctx, body); err != nil {
		return diag.Wrap(diag.SQLInvalid, err, "run the body of query %q in plain DuckDB", q.def.Name)
	}
	if err := sink(ctx, conn, "__held"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "CREATE TEMP TABLE __sink AS SELECT "+list+" FROM __held"); err != nil {
		return fmt.Errorf("read the sink's columns: %w", err)
	}
	counts, err := conn.Rows(ctx, "SELECT (SELECT count(*) FROM __answer), "+
		"(SELECT count(*) FROM (FROM __answer EXCEPT ALL FROM __sink)), (SELECT count(*) FROM (FROM __sink EXCEPT ALL FROM __answer))")
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	v.Rows, v.Missing, v.Extra = integer(counts[0][0]), integer(counts[0][1]), integer(counts[0][2])
	v.Verified = v.Missing == 0 && v.Extra == 0
	if v.Verified {
		return nil
	}
	samples, err := conn.Rows(ctx, "(SELECT 'missing', CAST(t AS VARCHAR) FROM (FROM __answer EXCEPT ALL FROM __sink) t ORDER BY 2 LIMIT 5) "+
		"UNION ALL (SELECT 'extra', CAST(t AS VARCHAR) FROM (FROM __sink EXCEPT ALL FROM __answer) t ORDER BY 2 LIMIT 5)")
	if err != nil {
		return fmt.Errorf("show the difference: %w", err)
	}
	for _, r := range samples {
		v.Samples = append(v.Samples, fmt.Sprintf("%v %v", r[0], r[1]))
	}
	return nil
}

func integer(v any) int64 {
	n, _ := v.(int64)
	return n
}
