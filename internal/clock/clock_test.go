package clock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/clock"
)

func TestManualWakesSleepersThatAreDue(t *testing.T) {
	t.Parallel()
	m := clock.NewManual(time.Unix(0, 0))
	woken := make(chan error, 1)
	go func() { woken <- m.Sleep(t.Context(), 10*time.Second) }()
	deadline := time.After(time.Minute)
	for {
		m.Advance(time.Second)
		select {
		case err := <-woken:
			require.NoError(t, err)
			require.False(t, m.Now().Before(time.Unix(10, 0)))
			return
		case <-deadline:
			t.Fatal("the sleeper was never woken")
		default:
		}
	}
}

func TestSleepEndsWithTheContextsCause(t *testing.T) {
	t.Parallel()
	cause := errors.New("enough")
	for _, c := range []clock.Clock{clock.System{}, clock.NewManual(time.Unix(0, 0))} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		require.ErrorIs(t, c.Sleep(ctx, time.Hour), cause)
	}
	require.NoError(t, clock.System{}.Sleep(t.Context(), time.Microsecond))
	require.Equal(t, time.UTC, clock.System{}.Now().Location())
}
