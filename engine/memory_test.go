package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// TestBoundInput asks how much payload a source may read at once: what it asks for by itself, or less where the memory limit
// is small, and where payload may be longer than it comes.
func TestBoundInput(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		limit   int64
		options stream.Options
		asked   int64
		want    int64
	}{
		{name: "a large limit", limit: 8 << 30, asked: 32 << 20, want: 32 << 20},
		{name: "a small limit", limit: 512 << 20, asked: 32 << 20, want: 8 << 20},
		{name: "compressed", limit: 512 << 20, options: stream.Options{"compression": "auto"}, asked: 32 << 20, want: 2 << 20},
		{name: "the least", limit: 16 << 20, options: stream.Options{"compression": "auto"}, asked: 32 << 20, want: 1 << 20},
		{name: "as asked for", limit: 16 << 20, options: stream.Options{"max_bytes_per_batch": int64(9)}, asked: 9, want: 9},
		{name: "not counted", limit: 16 << 20},
	} {
		in := &input{def: &planner.Source{Options: c.options}, limit: stream.Limit{Bytes: c.asked}}
		q := &Query{life: life{limit: c.limit, plan: &planner.Plan{Sources: []*planner.Source{in.def, {}}}}}
		q.boundInput(in)
		require.Equal(t, c.want, in.limit.Bytes, c.name)
	}
}

// TestMemoryOfJoins asks for memory beside DuckDB where joins find rows by their keys, though DuckDB keeps all state: without it
// what finds them would be Go's, as much as it takes.
func TestMemoryOfJoins(t *testing.T) {
	t.Parallel()
	near, kept := &planner.Near{}, []planner.StateTable{{Name: "__left1"}, {Name: "__right1"}}
	keyed := append([]planner.StateTable{{Name: "__groups2", Keyed: true}}, kept...)
	for _, c := range []struct {
		name string
		plan planner.Plan
		want int64
	}{
		{"no equality", planner.Plan{Ops: []*planner.Operator{{Tables: kept}}}, 0},
		{"for the result", planner.Plan{Near: near, Ops: []*planner.Operator{{Tables: kept}}}, keyedNone},
		{"below others", planner.Plan{Ops: []*planner.Operator{{Tables: kept, Steps: []planner.Step{{}, {Near: near}}}}}, keyedNone},
		{"beside keyed state", planner.Plan{Near: near, Ops: []*planner.Operator{{Tables: keyed}}}, keyedBoth},
	} {
		q := &Query{life: life{limit: shares << 20, plan: &c.plan}}
		require.Equal(t, c.want<<20, q.keyedMemory(), c.name)
	}
}
