package planner

import (
	"fmt"
	"strings"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/stream"
)

// Operator is one operator that keeps state between batches: its tables, and the statements that each batch runs
// over them, in order.
type Operator struct {
	Name   string // such as "aggregate 1"
	Tables []StateTable
	Steps  []Step
	Timed  bool     // the watermark emits or frees something
	Layout []string // what its state depends on, one stable line each
	Holds  []string // lines of Layout that say what its rows hold beside their keys: state made anew may hold other things
	Notes  []string // for EXPLAIN: what emits and frees, what is late

	// Global says that the operator has a row before anything came: its steps run until there is one.
	Global bool
}

// StateTable is one table of an operator's state.
type StateTable struct {
	Name    string
	Columns []Column // names and types matter; of stream.Column only these
	Keys    []string // what a change is remembered by; none: every state version holds all of it
	Logical bool     // its rows are those that users count: groups, keys, rows of a join

	// Keyed says that its rows are kept by key in memory outside DuckDB, and reached by the effects Lookup, Put and
	// Expire alone. Keys are its first columns.
	Keyed bool
	Time  string // of Keyed: the TIMESTAMP column that frees a row, or ""
	Ahead int64  // of Keyed: microseconds that are added to it

	// What follows is for people who look at the state; nothing that runs depends on it.

	Kind   string // what its rows are, in one word, such as "groups"
	Closes string // expression over the columns: the event time at which the watermark frees a row; "": none does
	Waits  string // condition on the rows that come out when they are freed; "": none does
	Shown  string // SELECT of the rows in the words of the query; "": the columns as they are
}

// Definition returns the column list for CREATE TABLE.
func (t StateTable) Definition() string {
	parts := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		parts[i] = duck.QuoteIdent(c.Name) + " " + c.Type
	}
	return strings.Join(parts, ", ")
}

// CreateSQL makes the table, empty.
func (t StateTable) CreateSQL() string { return t.EmptySQL(t.Name) }

// EmptySQL makes another table of the same columns, empty.
func (t StateTable) EmptySQL(name string) string {
	return "CREATE OR REPLACE TEMP TABLE " + name + " (" + t.Definition() + ")"
}

// RewriteSQL makes the table anew of its living rows: DuckDB never reclaims deleted ones in memory.
func (t StateTable) RewriteSQL() string {
	return "CREATE OR REPLACE TEMP TABLE " + t.Name + " AS SELECT * FROM " + t.Name
}

// ForgetSQL makes the table of changed keys, empty.
func (t StateTable) ForgetSQL() string {
	return "CREATE OR REPLACE TEMP TABLE " + t.Touched() + " AS SELECT " + t.KeyList() + " FROM " + t.Name + " LIMIT 0"
}

// CastList selects the columns out of Arrow records.
func (t StateTable) CastList() string {
	cols := make([]stream.Column, len(t.Columns))
	for i, c := range t.Columns {
		cols[i] = c.Column
	}
	return CastList(cols)
}

// Touched names the table of the keys that changed since the last state version.
func (t StateTable) Touched() string { return "__touched_" + strings.TrimLeft(t.Name, "_") }

// KeyList returns the key columns for a select list.
func (t StateTable) KeyList() string {
	keys := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		keys[i] = duck.QuoteIdent(k)
	}
	return strings.Join(keys, ", ")
}

// TouchSQL remembers the keys that a relation has.
func (t StateTable) TouchSQL(from string) string {
	return "INSERT INTO " + t.Touched() + " SELECT " + t.KeyList() + " FROM " + from
}

// RowBytes estimates what a row takes in memory: fixed sizes, and 24 bytes for what has none.
func (t StateTable) RowBytes() int {
	n := 0
	for _, c := range t.Columns {
		n += typeBytes(c.Type)
	}
	return n
}

func typeBytes(typ string) int {
	switch {
	case strings.HasSuffix(typ, "]"), strings.HasPrefix(typ, "STRUCT"), strings.HasPrefix(typ, "MAP"):
		return 48
	case strings.HasPrefix(typ, "DECIMAL"), typ == "HUGEINT", typ == "UHUGEINT", typ == "UUID", typ == "INTERVAL":
		return 16
	}
	switch typ {
	case "BOOLEAN", "TINYINT", "UTINYINT":
		return 1
	case "SMALLINT", "USMALLINT":
		return 2
	case "INTEGER", "UINTEGER", "FLOAT", "DATE":
		return 4
	case "VARCHAR", "BLOB", "BIT":
		return 24
	}
	return 8
}

// table returns the operator's state table of that name, or nil.
func (op *Operator) table(name string) *StateTable {
	for i := range op.Tables {
		if op.Tables[i].Name == name {
			return &op.Tables[i]
		}
	}
	return nil
}

// Effect says what a step does, and so what is known after it.
type Effect int

// The effects.
const (
	Create Effect = iota // makes the batch's temporary table Table anew
	Append               // adds rows to it
	Count                // counts the rows of Entry
	Insert               // adds rows to the state table Table
	Delete               // removes rows from it
	Fold                 // merges the rows that SQL selects into the keyed State; with Table, makes that of the rows as they are then
	Lookup               // makes the temporary table Table of the rows of State whose keys SQL selects
	Admit                // adds the bits of the rows that SQL selects to the keyed State, and makes Table of the rows with the bits that are new
	Put                  // puts the rows of the temporary table SQL into the keyed State, in the place of those with their keys
	Expire               // takes the rows of State out that the watermark has closed; with Table, makes that of them
)

// Step is one statement of a batch.
type Step struct {
	Title  string
	Effect Effect
	Table  string
	State  string // of Fold, Lookup, Admit, Put and Expire
	SQL    string

	// With names what stands in front of SQL: the tables of Plan.Lent that this statement alone reads.
	With []string

	// Rows names tables of the batch: without a row in any of them the step is left out, and what Create would
	// make is empty. Nil is no condition.
	Rows []string
	// Time leaves the step out while no watermark is known.
	Time bool
	// When leaves the step to batches with, or without, rows that may be late.
	When When

	// Like, of Create, names a table that has as many rows.
	Like string

	Merges []keyed.Merge // of Fold: how each column after the keys is merged
	// Order, of Fold, stands in the place of Merges: the first row by it is kept of each key. Its last column is the position.
	Order []keyed.Order

	Near *Near // of Create: another way to the same rows; or nil

	Touch string // of Insert and Delete: the relation that the changed keys are read from
	Frees bool   // of Delete: the rows are let go by the watermark
	// Entry is of Count, and of a Fold that counts its used rows: in its last column, or with Order, each as one.
	Entry *Entry
}

// When says in which batches a step has its part.
type When int

// What is known before the steps: whether the least event time of a batch lies after the time by which rows are late, and
// whether the keys of Plan.Unique are each in their tables once.
const (
	Always   When = iota
	Punctual      // no row can be late, and none comes more than once by way of a reference table
	Delayed       // some may be, or come more than once
)

// Note says it for EXPLAIN.
func (w When) Note() string {
	return [...]string{"", "no row can be late or come twice", "a row may be late or come twice"}[w]
}

// Statement returns the SQL, as it runs, of a step that is one statement of DuckDB, after the common table expressions
// of the tables that are lent to it.
func (s Step) Statement(with []string) string {
	sql := duck.WithSQL(with, s.SQL)
	switch s.Effect {
	case Create:
		return "CREATE OR REPLACE TEMP TABLE " + s.Table + " AS\n" + sql
	case Append, Insert:
		return "INSERT INTO " + s.Table + "\n" + sql
	case Delete:
		return "DELETE FROM " + s.Table + " " + s.SQL
	case Count, Fold, Lookup, Admit, Put, Expire:
	}
	return sql
}

// EmptySQL leaves the table of a Create that has nothing to do empty.
func (s Step) EmptySQL(with []string) string {
	return "CREATE OR REPLACE TEMP TABLE " + s.Table + " AS SELECT * FROM (\n" + duck.WithSQL(with, s.SQL) + "\n) LIMIT 0"
}

// Entry is where rows of sources enter an operator. A row may be there several times.
type Entry struct {
	Table string // the batch's rows, with __pos
	Late  string // condition on them for late rows, or "": none is
	Raw   bool   // __pos is that of a source's row; otherwise rows come from another operator and are not counted
	Many  bool   // a position may be there more than once
	// Unique are keys of reference tables: while no table has one twice, no position is there more than once although
	// Many says so.
	Unique []TableKey
	Each   bool // no window multiplies rows: each that is late counts as dropped by the operator
}

// Live is the condition on an entry's rows that are neither late nor without a time that is needed.
func (e Entry) Live() string {
	if e.Late == "" {
		return "true"
	}
	return "NOT (" + e.Late + ")"
}

// CountSQL counts an entry's rows: how many are live, and for each of n sources the used and the late ones. A row in
// several windows is used if any of them is open, and late if none is. With Each, the late rows of the entry follow.
func (e Entry) CountSQL(n int) string {
	what := "*"
	if e.Many {
		what = "DISTINCT " + PosColumn
	}
	items := []string{"count(*) FILTER (WHERE " + e.Live() + ")"}
	for i := range n {
		mine := ""
		if n > 1 {
			mine = fmt.Sprintf(" AND %s >= %s AND %s < %s", PosColumn, getVariable(VarFirst(i)), PosColumn,
				getVariable(VarFirst(i+1)))
		}
		seen := e.Live()
		if e.Late != "" {
			seen = "(" + e.Live() + " OR " + e.Late + ")"
		}
		items = append(items, fmt.Sprintf("count(%s) FILTER (WHERE %s%s)", what, e.Live(), mine),
			fmt.Sprintf("count(%s) FILTER (WHERE %s%s)", what, seen, mine))
	}
	if e.Each {
		items = append(items, "count(*) FILTER (WHERE "+e.Late+")")
	}
	return "SELECT " + strings.Join(items, ",\n  ") + "\nFROM " + e.Table
}

// LateSQL names the raw rows that are late everywhere.
func (e Entry) LateSQL() string {
	return fmt.Sprintf("SELECT %s FROM %s WHERE NOT (%s) IS NULL GROUP BY 1 HAVING bool_and(%s) ORDER BY 1",
		PosColumn, e.Table, e.Late, e.Late)
}

// EnteredTable holds, in plans with Shared entries, the positions of a batch and whether they were late.
const EnteredTable = "__entered"

// The statements of plans with Shared entries.
const (
	ShareTableSQL = "CREATE OR REPLACE TEMP TABLE " + EnteredTable + " (" + PosColumn + " BIGINT, late BOOLEAN)"
	// What stands for no row has no position, as the group of all rows that is there before any row is.
	SharedSQL = "SELECT " + PosColumn + ", bool_and(late) FROM " + EnteredTable + " WHERE " + PosColumn + " IS NOT NULL GROUP BY 1 ORDER BY 1"
)

// ShareSQL notes what became of an entry's rows, for plans with Shared entries.
func (e Entry) ShareSQL() string {
	late := "false"
	if e.Late != "" {
		late = "bool_and(" + e.Late + ")"
	}
	return "INSERT INTO " + EnteredTable + " SELECT " + PosColumn + ", " + late + " FROM " + e.Table +
		" WHERE NOT (" + e.Live() + ") IS NULL GROUP BY 1"
}
