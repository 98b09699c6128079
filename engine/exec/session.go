package exec

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/keyed"
	"github.com/tidemill/tidemill/internal/pool"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// Options say what a session runs.
type Options struct {
	Plan *planner.Plan
	DB   *duck.DB
	// Batch is for one run over all of history: no change of the state is remembered for Snapshot.
	Batch bool
	// MaxAhead dead-letters event times further than this past Call.Time, by source. Zero or absent is off.
	MaxAhead map[string]time.Duration
	// Memory is where keyed state lies; nil for Go's heap.
	Memory *spill.Pool
	// Clock measures Output.Phases and nothing else; nil is the machine's.
	Clock clock.Clock
}

// Session holds the state of one query on one connection. One goroutine uses it.
type Session struct {
	plan     *planner.Plan
	db       *duck.DB
	conn     *duck.Conn
	lanes    []*lane // opened when first needed
	batch    bool
	maxAhead map[string]time.Duration
	memory   *spill.Pool
	clock    clock.Clock
	tables   []*stateTable
	loaded   map[string]bool
	repeats  map[string]bool // tables that have a key of the plan's Unique twice
	macros   bool            // they have been defined
	empty    map[string]bool // tables of the batch that are known to have no rows

	feeds     map[string]*duck.Feed // by the table whose rows they lend
	positions pool.Memory           // of the rows of a batch

	variables []string          // that each batch may set
	set       map[string]string // what they were last set to
	again     bool              // see onlyFeeds
	many      int64             // see gatherRows
	share     int64             // see nearShare

	kept    map[string]*positions // of rows that stay, by state table, once a batch has looked for some
	crowded bool                  // there is no room for them
}

// stateTable is a table of the plan's state, with what is known of it without asking.
type stateTable struct {
	planner.StateTable
	rows     int64
	dead     int64        // deleted since the table was last rewritten: DuckDB never reclaims them in memory
	changes  int64        // keys remembered for the next delta
	store    *keyed.Store // of a keyed table, which is not one of DuckDB's
	snapshot bool         // a base has been taken or restored: the next Snapshot may be a delta
}

// table returns the state table of that name.
func (s *Session) table(name string) *stateTable {
	for _, t := range s.tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func (t *stateTable) match(l, r string) string {
	parts := make([]string, len(t.Keys))
	for i, k := range t.Keys {
		parts[i] = fmt.Sprintf("%s.%s IS NOT DISTINCT FROM %s.%s", l, duck.QuoteIdent(k), r,
			duck.QuoteIdent(k))
	}
	return strings.Join(parts, " AND ")
}

// Open makes a session with empty state. The caller closes it.
func Open(ctx context.Context, o Options) (*Session, error) {
	conn, err := o.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect query %q to DuckDB: %w", o.Plan.Query, err)
	}
	s := &Session{plan: o.Plan, db: o.DB, conn: conn, batch: o.Batch, maxAhead: o.MaxAhead, memory: o.Memory,
		clock: o.Clock, loaded: map[string]bool{}, repeats: map[string]bool{}, empty: map[string]bool{},
		variables: o.Plan.Variables(), feeds: map[string]*duck.Feed{}, set: map[string]string{}}
	s.many, s.share, s.kept = gatherRows, nearShare, map[string]*positions{}
	s.again = len(s.variables) == 0 && onlyFeeds(o.Plan)
	if s.clock == nil {
		s.clock = clock.System{}
	}
	if err := s.setUp(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("set up query %q: %w", o.Plan.Query, err), s.Close())
	}
	return s, nil
}

// onlyFeeds reports whether the SELECTs of a plan read nothing of DuckDB but lent rows, so that a plan of DuckDB may
// outlive the batch it was made for.
func onlyFeeds(p *planner.Plan) bool {
	lent := map[string]bool{}
	for _, l := range p.Lent {
		lent[l.Table] = true
	}
	for _, in := range p.Inputs {
		if !lent[in.Table] {
			return false
		}
	}
	for _, op := range p.Ops {
		for _, st := range op.Steps {
			kept := st.Effect == planner.Fold || st.Effect == planner.Expire
			if !kept || st.Table != "" && !lent[st.Table] {
				return false
			}
		}
	}
	return !p.Transactional() && !p.Retracts && !p.Shared && !p.Counted && len(p.Tables) == 0 && len(p.Macros) == 0
}

func (s *Session) setUp(ctx context.Context) error {
	for _, t := range s.plan.StateTables() {
		table := &stateTable{StateTable: t}
		s.tables = append(s.tables, table)
		if t.Keyed {
			var err error
			if table.store, err = newStore(t, s.memory); err != nil {
				return err
			}
			continue
		}
		if _, err := s.conn.Exec(ctx, t.CreateSQL()); err != nil {
			return err
		}
		if err := s.forgetTouched(ctx, table); err != nil {
			return err
		}
	}
	for _, l := range s.plan.Lent {
		feed, err := s.conn.OpenFeed(ctx, l.Feed, l.Columns)
		if err != nil {
			return fmt.Errorf("lend rows of %q: %w", l.Table, err)
		}
		s.feeds[l.Table] = feed
	}
	return nil
}

// defineMacros makes the plan's macros, once: the reference tables that they read must have been loaded.
func (s *Session) defineMacros(ctx context.Context) error {
	if s.macros {
		return nil
	}
	for _, m := range s.plan.Macros {
		if _, err := s.conn.Exec(ctx, m.Text); err != nil {
			return fmt.Errorf("define macro %q: %w", m.Name, err)
		}
	}
	s.macros = true
	return nil
}

func (s *Session) forgetTouched(ctx context.Context, t *stateTable) error {
	if len(t.Keys) == 0 || s.batch || t.store != nil {
		return nil
	}
	t.changes = 0
	_, err := s.conn.Exec(ctx, t.ForgetSQL())
	return err
}

// Rows returns how many logical rows the state holds: groups, keys, rows of a join.
func (s *Session) Rows() int64 {
	var n int64
	for _, t := range s.tables {
		if t.Logical {
			n += t.rows
		}
	}
	return n
}

// Bytes returns what the keyed state takes in memory, and in files beyond its share of it.
func (s *Session) Bytes() (memory, spilled int64) {
	for _, t := range s.tables {
		if t.store != nil {
			memory += t.store.Bytes()
		}
	}
	for _, at := range s.kept {
		memory += at.Bytes()
	}
	spilled = s.memory.Spilled()
	return max(0, memory-spilled), spilled
}

// Close gives the connection and the state's memory back. What Snapshot returned has been released before. It is
// idempotent.
func (s *Session) Close() error {
	if s.conn == nil {
		return nil
	}
	var err error
	for _, l := range s.plan.Lent {
		if feed := s.feeds[l.Table]; feed != nil {
			err = errors.Join(err, feed.Close(context.Background()))
		}
	}
	for _, l := range s.lanes {
		err = errors.Join(err, l.close())
	}
	for _, t := range s.tables {
		if t.store != nil {
			t.store.Close()
		}
	}
	s.forgetAllPositions()
	conn := s.conn
	s.conn = nil
	return errors.Join(err, conn.Close())
}

// LoadTable puts a copy of a reference table in the place of the one before. t is borrowed.
func (s *Session) LoadTable(ctx context.Context, name string, t *duck.Table) error {
	selection := ""
	for _, ref := range s.plan.Tables {
		if strings.EqualFold(ref.Name, name) {
			name = ref.Name
			selection = planner.CastList(ref.Columns)
		}
	}
	if err := s.conn.Import(ctx, name, selection, t.Records, t.Schema); err != nil {
		return fmt.Errorf("load reference table %q: %w", name, err)
	}
	s.loaded[name] = true
	return s.findRepeats(ctx, name)
}

// findRepeats asks whether a reference table that has just been loaded has a key twice.
func (s *Session) findRepeats(ctx context.Context, table string) error {
	delete(s.repeats, table)
	for _, k := range s.plan.Unique {
		if k.Table != table {
			continue
		}
		rows, err := s.conn.Rows(ctx, k.RepeatsSQL())
		if err != nil {
			return fmt.Errorf("look for keys of reference table %q that are there twice: %w", table, err)
		}
		if len(rows) > 0 {
			s.repeats[table] = true
		}
	}
	return nil
}

// Input is what a batch brings of one source: the declared, not computed columns in order, in as many records
// as
// it likes. The records are borrowed.
type Input struct {
	Records []arrow.Record
	Bounded bool // the source gave only what was asked for: From and To do not apply to it
}

// Call is one batch to run.
type Call struct {
	Batch     int64
	Time      time.Time // what now() means
	Watermark *int64    // evicts and emits, microseconds since 1970; nil: not known yet
	Late      *int64    // drops late rows; nil: not known yet
	Final     bool      // the watermark is infinity: everything is emitted
	Unheard   bool      // nobody wants the result of a plan with state, which moves all the same
	Slot      *[2]time.Time
	From, To  *int64                      // bound the event time of what is read, [From, To), microseconds; nil: no bound
	Inputs    map[string]Input            // by source; absent: no rows
	Excluded  map[string]map[int64]string // by source and ordinal in the batch: the reason
}

// Output is what a batch gave. The caller releases Result.
type Output struct {
	Result  stream.Batch
	Sources map[string]*Counts
	Late    map[string][]int64 // by source, the ordinals of its late rows, ascending
	Dead    []DeadRow          // by source and ordinal
	State   StateCounts
	Phases  map[string]time.Duration
}

// Counts is what became of one source's rows: In = Used + Filtered + Late + NullTime + Dead.
type Counts struct {
	In, Used, Filtered, Late, NullTime, Dead int64
	MaxTime                                  *int64 // greatest valid event time, before filters
}

// DeadRow is a row that did not take part, and why.
type DeadRow struct {
	Source  string
	Ordinal int64 // among the source's rows in this batch, from 0
	Reason  string
}

// StateCounts describes groups, not the rows that an operator keeps behind them.
type StateCounts struct {
	Rows, Updated, Removed, Dropped int64
}
