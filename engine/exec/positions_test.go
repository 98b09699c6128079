package exec

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/stream"
)

// TestPositionsAreKeptForTheNextBatchAlone looks at the memory that is left of a batch.
func TestPositionsAreKeptForTheNextBatchAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	p, err := f.plan(stream.Update, "SELECT k, count(*) AS n FROM src GROUP BY k")
	require.NoError(t, err)
	rec := record(make([]row, 1000))
	defer rec.Release()
	for _, once := range []bool{false, true} {
		s, err := Open(t.Context(), Options{Plan: p, DB: f.db, Batch: once})
		require.NoError(t, err)
		for batch := range int64(3) {
			out, err := s.Run(t.Context(), Call{Batch: batch, Inputs: map[string]Input{"src": {Records: []arrow.Record{rec, rec.NewSlice(0, 0)}}}})
			require.NoError(t, err)
			out.Result.Release()
			require.Equal(t, !once, s.positions.Spare() > 0, "after one run over all of history there is none")
		}
		s.Idle()
		require.Zero(t, s.positions.Spare())
		require.NoError(t, s.Close())
	}
}
