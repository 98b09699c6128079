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
