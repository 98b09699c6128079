package engine

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/internal/spill"
	"github.com/tidemill/tidemill/planner"
)

// A query's memory limit is shared out in twentieths. What is left of it, at least seven, is for Go: batches in flight,
// what sinks encode, and the query itself.
const (
	shares = 20

	duckAlone  = 12 // of DuckDB, where no state is keyed
	duckShared = 6  // where all state is
	duckBoth   = 8  // where some is

	keyedAlone = 6 // of keyed state, where all state is
	keyedBoth  = 4 // where some is

	windowShare = 1 // of what is mapped of spilled keyed state

	batchShares = 32 // one part in so many of the limit is the payload of a batch, of all sources together
	batchLeast  = 1 << 20
)

// memoryOf is the memory of a query.
func (o Options) memoryOf(def *planner.Query) int64 {
	if def.Options.Has("memory_limit") {
		return def.Options.Int("memory_limit")
	}
	return o.MemoryLimit
}

// memory is DuckDB's share of the query's limit. Before the plan is made it is what DuckDB gets without keyed state.
func (q *Query) memory() int64 {
	share := int64(duckAlone)
	if keyed, other := q.stateKinds(); keyed && other {
		share = duckBoth
	} else if keyed {
		share = duckShared
	}
	return q.limit / shares * share
}

// keyedMemory is the share of the state that is kept outside DuckDB.
func (q *Query) keyedMemory() int64 {
	share := int64(0)
	if keyed, other := q.stateKinds(); keyed && other {
		share = keyedBoth
	} else if keyed {
		share = keyedAlone
	}
	return q.limit / shares * share
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
	if q.keyedMemory() > 0 {
		q.pool = spill.New(spill.Options{Dir: dir, Resident: q.keyedMemory(), Window: q.opt.Window,
			Room: q.limit / shares * windowShare})
	}
	return nil
}

// boundInput lets a source that does not say how much payload it reads at once read less where the limit is small.
func (q *Query) boundInput(in *input) {
	if in.def.Options.Has("max_bytes_per_batch") || in.limit.Bytes == 0 {
		return
	}
	each := q.limit / batchShares / int64(len(q.plan.Sources))
	in.limit.Bytes = min(in.limit.Bytes, max(each, batchLeast))
}
