package planner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
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
// tables of its operators. It is data, and not changed after Build.
type Plan struct {
	Query     string
	Mode      stream.Mode
	Policy    Policy
	Sources   []*Source // those the query reads, in the order of their declaration
	Tables    []*Table  // likewise
	Macros    []*Macro  // those that are not written out in the SQL, to be made after the tables
	Schema    []stream.Column
	Keys      []int // in update mode, the result columns that name a row; empty: there is one row; nil: rows are only added
	Unnamed   bool  // in update mode, rows replace earlier ones, but no columns of the result name them
	SlotBound bool  // reads slot_start or slot_end
	UsesNow   bool  // reads the batch's time

	Inputs []Input     // beside Sources: how rows enter
	Input  string      // without operators: SELECT of the result's rows with __pos
	Ops    []*Operator // those that keep state, each after the ones that it reads
	Result string      // SELECT of the batch's result; over __result if staged, else over Input's own tables
	With   []string    // the tables of Lent that stand before the SELECT of the result, or before Input if staged
	Gather *Gather     // another way to the rows of Result, for batches of many; or nil
	Near   *Near       // another way to the rows of Result, for batches of few; or nil
	Emits  []string    // the operators' tables without whose rows there is no result; nil: there always is one
	Before string      // SELECT of what the rows of Result were before the batch; only if Retracts

	// Counted says that the rows that were used are counted by their position, since a row may come out more
	// or less than once, or from several sources. Otherwise each row of the result is one used row.
	Counted bool

	// Straight says that Result is one SELECT over the rows of a source, which leaves them in the order in which they come: nothing
	// is kept, counted or put in order.
	Straight bool

	// Retracts says that an update may take a row back: the result is computed before and after, and rows that
	// are gone leave as deletes.
	Retracts bool

	// Changed says that of the rows computed before and after only those that differ leave.
	Changed bool

	// Unique are keys of reference tables that decide, each time a table is loaded, whether steps are Punctual.
	Unique []TableKey

	// Shared says that rows of one source enter several operators, or one operator twice: what became of a row
	// is known when all have seen it.
	Shared bool

	// Horizon is how long DISTINCT keeps a key, in event time, or 0: which duplicates it still finds depends on the
	// batches then.
	Horizon time.Duration

	// Lent are the rows that no table is made of, and of each source the view that it enters by.
	Lent []Lent

	Warnings []string // what users should know, such as state that nothing frees
	Root     *Node

	hash string // of Explain, which every batch is logged with
}

// Node is one operator of a plan, for reading.
type Node struct {
	Op     string
	Detail []string
	Below  []*Node
}

// Stateful reports whether the plan keeps anything between batches.
func (p *Plan) Stateful() bool { return len(p.Ops) > 0 }

// staged reports whether the result is read from __result, which Input makes so that its rows can be counted.
func (p *Plan) staged() bool { return len(p.Ops) == 0 && p.Counted }

// UsesWatermark reports whether a batch without data makes sense when the watermark has moved.
func (p *Plan) UsesWatermark() bool {
	for _, op := range p.Ops {
		if op.Timed {
			return true
		}
	}
	return false
}

// Layout returns what must stay the same while a checkpoint lives, one stable line each: the operators that
// keep state, with their keys and columns.
func (p *Plan) Layout() []string {
	lines := []string{"mode " + p.Mode.String()}
	for _, in := range p.Inputs {
		lines = append(lines, "source "+in.Table)
	}
	if !p.keeps() {
		return append(lines, "stateless")
	}
	for _, op := range p.Ops {
		lines = append(lines, op.Layout...)
	}
	return lines
}

// Hash returns a fingerprint of everything the plan runs.
func (p *Plan) Hash() string {
	if p.hash != "" {
		return p.hash
	}
	return p.fingerprint()
}

func (p *Plan) fingerprint() string {
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
	if p.Horizon > 0 {
		why = append(why, fmt.Sprintf("dedup_horizon forgets a key %s after its first row, so that a later duplicate "+
			"passes again", p.Horizon))
	}
	for _, t := range p.Tables {
		if t.Refresh > 0 {
			why = append(why, fmt.Sprintf("reference table %q is refreshed every %s", t.Name, t.Refresh))
		}
	}
	return why
}

// Transactional reports whether a batch moves tables of DuckDB. The keyed states have batches of their own, and what else
// a batch makes there the next one makes anew.
func (p *Plan) Transactional() bool {
	for _, t := range p.StateTables() {
		if !t.Keyed {
			return true
		}
	}
	return false
}

// StateTables returns the tables that hold the plan's state.
func (p *Plan) StateTables() []StateTable {
	var tables []StateTable
	for _, op := range p.Ops {
		tables = append(tables, op.Tables...)
	}
	return tables
}

// BatchColumn names the batch that a chunk of kept rows came in.
const BatchColumn = "__batch"
