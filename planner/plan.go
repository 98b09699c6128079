package planner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// Binder is the scratch connection that a plan is made with. Build creates empty temporary tables, views and
// macros there, replacing what an earlier Build left.
type Binder interface {
	Exec(ctx context.Context, sql string, args ...any) (int64, error)
	Rows(ctx context.Context, sql string, args ...any) ([][]any, error)
	Describe(ctx context.Context, sql string) ([]duck.Column, error)
	Parse(ctx context.Context, sql string) ([]byte, error)
	Render(ctx context.Context, tree []byte) (string, error)
}

// Policy says which of its sources' watermarks is the query's.
type Policy string

// The policies.
const (
	PolicyMin Policy = "min"
	PolicyMax Policy = "max"
)

// Plan is what runs per batch: constant SQL over one table per source, one per reference table and the state
// tables of at most one aggregate. It is data, and not changed after Build.
type Plan struct {
	Query     string
	Mode      stream.Mode
	Policy    Policy
	Sources   []*Source // those the query reads, in the order of their declaration
	Tables    []*Table  // likewise
	Macros    []*Macro  // those that are not written out in the SQL, to be made after the tables
	Schema    []stream.Column
	Keys      []int // in update mode, the result columns that name a row; empty if keys are missing
	SlotBound bool  // reads slot_start or slot_end
	UsesNow   bool  // reads the batch's time

	Inputs []Input    // beside Sources: how rows enter
	Input  string     // SELECT whose rows, each with __pos, are what the state operator takes, or the result
	Agg    *Aggregate // nil for a plan without state
	Result string     // SELECT of the batch's result; over __result if Counted, else over Input's own tables

	// Counted says that the rows that were used are counted by their position, since a row may come out more
	// or
	// less than once, or from several sources. Otherwise each row of the result is one used row.
	Counted bool

	// Retracts says that an update may take a row back (HAVING, or a filter above the aggregate): the result
	// is
	// computed before and after, and rows that are gone leave as deletes.
	Retracts bool

	Root *Node
}

// Input says how the rows of one source enter a batch.
type Input struct {
	Table     string            // the temporary table of the batch's rows, with __pos
	Select    string            // select list over the declared columns and __pos
	EventTime string            // the column with the watermark, or ""
	DropsNull bool              // every reader drops rows without event time, which are counted as null_time
	Declared  []stream.Column   // the columns that are not computed, in order: what Records must have
	MaxAhead  time.Duration     // 0: none
	Columns   map[string]string // every column's DuckDB type
}

// Aggregate is the state operator GROUP BY.
type Aggregate struct {
	Table    string    // state table: one row per group
	In       string    // temporary table of the batch's rows
	New      string    // temporary table of the groups that the batch touched, merged
	Keys     []Column  // __k1 ...; Expr is what they are computed from
	Partials []Partial // columns of the state table beside the keys
	Rows     *KeptRows // what aggregates that do not merge need, or nil
	Time     *TimeKey  // which key closes a group; nil when nothing does
	Finish   []Finish  // __a1 ...: the aggregates' values from the partials
	Groups   string    // what is emitted: "closed", "touched" or "all"
	OneToOne bool      // each row of In is one row of a source
	Out      string    // name under which Result reads the groups' keys and values
	OutSQL   string    // SELECT of keys and finished values of the emitted groups
	Null     string    // condition on In for rows whose time key is NULL, or ""
	Late     string    // condition on In for late rows, or ""
	Closed   string    // condition on the state table for groups to emit and free, or ""
	Merge    string    // SELECT of the touched groups, merged
	Before   string    // like OutSQL, of the touched groups before the merge; only for plans that retract

	marks  []mark   // what is known of each key
	shown  []string // the partial column that a key is shown by, or ""
	firsts []string // row_number() columns over the kept rows, for DISTINCT
}

// Partial is one column of the state table.
type Partial struct {
	Column
	Init  string // its value for one row, over the query's FROM
	Merge string // aggregate over the column that merges rows of state and input, ordered by __pos
}

// KeptRows is the table of rows behind aggregates that do not merge: one row per group and batch, with a list
// per column.
type KeptRows struct {
	Table   string
	Columns []Column
	Append  string // SELECT of the batch's chunk per group
}

// Finish is the value of one aggregate call of the query.
type Finish struct {
	Name string
	Type string
	Call string // as the query has it
	Expr string // over the state table's columns (alias g) and the kept rows' aggregates (alias h)
	Held string // the call over the kept rows, when it needs them
}

// TimeKey says when a group is closed.
type TimeKey struct {
	Key  string // column of the state table
	End  string // expression over it that the watermark is compared with
	Note string // for EXPLAIN
}

// Node is one operator of a plan, for reading.
type Node struct {
	Op     string
	Detail []string
	Below  []*Node
}

// Stateful reports whether the plan keeps anything between batches.
func (p *Plan) Stateful() bool { return p.Agg != nil }

// UsesWatermark reports whether a batch without data makes sense when the watermark has moved.
func (p *Plan) UsesWatermark() bool { return p.Agg != nil && p.Agg.Closed != "" }

// Layout returns what must stay the same while a checkpoint lives, one stable line each: the operators that
// keep
// state, with their keys and columns.
func (p *Plan) Layout() []string {
	lines := []string{"mode " + p.Mode.String()}
	for _, in := range p.Inputs {
		lines = append(lines, "source "+in.Table)
	}
	if p.Agg == nil {
		return append(lines, "stateless")
	}
	a := p.Agg
	lines = append(lines, "aggregate "+a.Table)
	for _, k := range a.Keys {
		lines = append(lines, fmt.Sprintf("  key %s %s = %s", k.Name, k.Type, k.Expr))
	}
	for _, c := range a.Partials {
		lines = append(lines, fmt.Sprintf("  partial %s %s = %s of %s", c.Name, c.Type, c.Merge, c.Init))
	}
	if a.Rows != nil {
		for _, c := range a.Rows.Columns {
			lines = append(lines, fmt.Sprintf("  kept %s %s = %s", c.Name, c.Type, c.Expr))
		}
	}
	if a.Time != nil {
		lines = append(lines, "  freed by "+a.Time.End)
	}
	return lines
}

// Hash returns a fingerprint of everything the plan runs.
func (p *Plan) Hash() string {
	sum := sha256.Sum256([]byte(p.Explain()))
	return hex.EncodeToString(sum[:16])
}

// NotComparable returns why this query's stream can not be compared with a batch run over the same rows, or
// nil.
func (p *Plan) NotComparable() []string {
	var why []string
	if p.UsesNow {
		why = append(why, "the body reads now(), which is each batch's own time")
	}
	for _, t := range p.Tables {
		if t.Refresh > 0 {
			why = append(why, fmt.Sprintf("reference table %q is refreshed every %s", t.Name, t.Refresh))
		}
	}
	return why
}

// StateTables returns the tables that hold the plan's state, with the statement that makes each.
func (p *Plan) StateTables() []StateTable {
	if p.Agg == nil {
		return nil
	}
	main := StateTable{Name: p.Agg.Table}
	for _, k := range p.Agg.Keys {
		main.Columns = append(main.Columns, k)
		main.Keys = append(main.Keys, k.Name)
	}
	for _, c := range p.Agg.Partials {
		main.Columns = append(main.Columns, c.Column)
	}
	tables := []StateTable{main}
	if r := p.Agg.Rows; r != nil {
		kept := StateTable{Name: r.Table, Columns: r.Columns}
		for _, k := range p.Agg.Keys {
			kept.Keys = append(kept.Keys, k.Name)
		}
		kept.Keys = append(kept.Keys, BatchColumn)
		tables = append(tables, kept)
	}
	return tables
}

// BatchColumn names the batch that a chunk of kept rows came in.
const BatchColumn = "__batch"

// StateTable is one table of the plan's state.
type StateTable struct {
	Name    string
	Columns []Column // names and types matter; of stream.Column only these
	Keys    []string
}

// Definition returns the column list for CREATE TABLE.
func (t StateTable) Definition() string {
	parts := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		parts[i] = duck.QuoteIdent(c.Name) + " " + c.Type
	}
	return strings.Join(parts, ", ")
}
