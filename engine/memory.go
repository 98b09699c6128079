package engine

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/planner"
)

// A query's memory limit is shared out in twentieths. Six of them are for Go: batches in flight, the columns that are kept
// to be filled again (of no more than the last few batches), what sinks encode, and the query itself. What is left of
// them, and what the process may be over its limit, is for what nobody counts: results of DuckDB on their way, what it
// allocates outside its own accounts, and the program.
const (
	shares  = 20
	goShare = 6

	duckAlone  = 10 // of DuckDB, where no state is keyed
	duckShared = 6  // where all state is
	duckBoth   = 7  // where some is

	duckLeast = 10 << 20 // with less, DuckDB fails over state of a few thousand rows instead of spilling it

	keyedAlone = 6 // of keyed state, where all state is
	keyedBoth  = 4 // where some is
	keyedNone  = 1 // where none is, of what finds rows that DuckDB keeps by their keys

	windowShare = 1 // of what is mapped of spilled keyed state
	slackShare  = 1 // of what DuckDB has freed and keeps
	// resultShare is of the result of a batch: more of it is spilled, and no other is computed while it is delivered.
	resultShare = 1

	batchShares = 32 // one part in so many of the limit is the payload of a batch, of all sources together
	batchLeast  = 1 << 20
	expands     = 4 // compressed payload is taken to be so many times as long as it comes
)

// MemoryLeast is the least memory limit of a query, in bytes.
const MemoryLeast = 16 << 20

// GoMemory is the part of a process's memory limit that is Go's, for debug.SetMemoryLimit, which who owns the process
// calls.
func GoMemory(limit int64) int64 { return limit * goShare / shares }

// memoryOf is the memory of a query.
func (o Options) memoryOf(def *planner.Query) int64 {
	if def.Options.Has("memory_limit") {
		return def.Options.Int("memory_limit")
	}
	return o.MemoryLimit
}

// memory is DuckDB's share of the query's limit, and what it needs at least where that is small. Before the plan is made
// it is what DuckDB gets without keyed state.
func (q *Query) memory() int64 {
	share := int64(duckAlone)
	if keyed, other := q.stateKinds(); keyed && other {
		share = duckBoth
	} else if keyed {
		share = duckShared
	}
	return max(q.limit*share/shares, duckLeast)
}

// keyedMemory is the share of the state that is kept outside DuckDB, and of what finds rows there by their keys.
func (q *Query) keyedMemory() int64 {
	share := int64(0)
	switch keyed, other := q.stateKinds(); {
	case keyed && other:
		share = keyedBoth
	case keyed:
		share = keyedAlone
	case q.plan != nil && q.plan.Finds():
		share = keyedNone
	}
	return q.limit * share / shares
}

// stateKinds reports whether state is kept outside DuckDB, and whether DuckDB keeps any.
func (q *Query) stateKinds() (keyed, other bool) {
	if q.plan == nil {
		return false, false
	}
	for _, t := range q.plan.StateTables() {
		keyed, other = keyed || t.Keyed, other || !t.Keyed
	}
	return keyed, other || len(q.plan.Tables) > 0
}

// shareMemory gives DuckDB and keyed state what the plan makes of the limit. What keyed state has no room for is spilled
// into dir.
func (q *Query) shareMemory(ctx context.Context, dir string) error {
	if err := q.db.Settle(ctx, q.memory()); err != nil {
		return fmt.Errorf("share out memory: %w", err)
	}
	switch {
	case q.opt.Spill != nil:
		q.pool = spill.New(*q.opt.Spill)
	case q.keyedMemory() > 0:
		q.pool = spill.New(spill.Options{Dir: dir, Resident: q.keyedMemory(), Window: q.opt.Window,
			Room: q.limit * windowShare / shares})
	}
	return nil
}

// light reports whether the result of a batch is small enough to stay while the next batch has its own.
func (q *Query) light(w *work) bool {
	var n int64
	for _, rec := range w.out.Result.Records {
		n += duck.RecordBytes(rec)
	}
	return n <= q.limit*resultShare/shares
}

// boundInput lets a source that does not say how much payload it reads at once read less where the limit is small.
func (q *Query) boundInput(in *input) {
	if in.def.Options.Has("max_bytes_per_batch") || in.limit.Bytes == 0 {
		return
	}
	each := q.limit / batchShares / int64(len(q.plan.Sources))
	if in.def.Options.String("compression") == "auto" {
		each /= expands
	}
	in.limit.Bytes = min(in.limit.Bytes, max(each, batchLeast))
}
