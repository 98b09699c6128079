package benchmarks

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
)

// TestRunsDoNotWaitForEver asks that a worker which commits nothing more is a fault, and one that commits now and then is not.
func TestRunsDoNotWaitForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{ended: make(chan struct{}), quiet: time.Minute}
		began := time.Now()
		err := w.until(t.Context(), func(batches []engine.Progress) bool {
			if due := time.Since(began) / (40 * time.Second); len(batches) < min(3, int(due)) {
				w.batches = append(w.batches, engine.Progress{})
			}
			return false
		})
		require.EqualError(t, err, "the worker has committed no batch for 1m0s, after 3")
		require.InDelta(t, 3*time.Minute, time.Since(began), float64(time.Second))
		require.NoError(t, w.until(t.Context(), func(batches []engine.Progress) bool { return len(batches) == 3 }))
	})
}
