package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/diag"
)

// TestRunAgain lets a read fail while committed batches run again, each of which is read while the one before executes: a
// fault that may pass is tried again, another one ends the start, and the next start finds everything as it was.
func TestRunAgain(t *testing.T) {
	p := newParser(t)
	busy := errors.New("the line is busy")
	for _, fault := range []error{diag.Retry(busy), busy} {
		for nth := range int32(4) {
			t.Run(fmt.Sprintf("%v/%d", diag.Temporary(fault), nth+1), func(t *testing.T) {
				w := newWorld(t, p)
				app := w.app(counting)
				q := w.mustOpen(app)
				for i := range 4 { // the Commit of the last is lost
					w.add(app, "src", []any{i, "a", 1, at(i)})
					require.NoError(t, q.Idle(t.Context()))
				}
				require.NoError(t, q.Abandon())
				delivered := w.batches("mem")

				var reads atomic.Int32
				w.trouble(func(_ context.Context, call string) error {
					if call == "read" && reads.Add(1) == nth+1 {
						return fault
					}
					return nil
				})
				var started engine.Started
				w.opt = func(o *engine.Options) {
					o.Clock = eager{w.manual}
					o.Listener.QueryStarted = func(s engine.Started) { started = s }
				}
				q, err := w.open(app)
				if nth == 0 && !diag.Temporary(fault) {
					require.ErrorIs(t, err, busy)
					w.calm()
					q, err = w.open(app)
				}
				require.NoError(t, err) // what fails ahead of its time is read again in its time
				require.Equal(t, 3, started.Replayed)
				require.Equal(t, delivered, w.batches("mem"))
				w.calm()
				w.add(app, "src", []any{4, "a", 1, at(4)})
				err = q.Idle(t.Context())
				if nth == 3 && !diag.Temporary(fault) { // the read of the batch without a Commit
					require.ErrorIs(t, err, busy)
					require.NoError(t, q.Abandon())
					return
				}
				require.NoError(t, err)
				require.NoError(t, q.Close(t.Context()))
				require.Equal(t, append(delivered, "4: a|5"), w.batches("mem"))
			})
		}
	}
}
