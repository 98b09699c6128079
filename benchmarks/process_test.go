package benchmarks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
)

// TestRunsDoNotWaitForEver asks that a worker which commits nothing more is a fault, and one that commits now and then is not.
func TestRunsDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	w := &worker{ended: make(chan struct{}), quiet: 50 * time.Millisecond}
	err := w.until(t.Context(), func(batches []engine.Progress) bool {
		if len(batches) < 3 {
			w.batches = append(w.batches, engine.Progress{})
		}
		return false
	})
	require.EqualError(t, err, "the worker has committed no batch for 50ms, after 3")
	require.NoError(t, w.until(t.Context(), func(batches []engine.Progress) bool { return len(batches) == 3 }))
}
