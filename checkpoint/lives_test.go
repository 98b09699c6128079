package checkpoint_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// TestLives asks that the log remembers the lives of its directory, over rotations too, and no more than it may.
func TestLives(t *testing.T) {
	disk := vfs.NewMem()
	var want []string
	for i := range stream.LivesMax + 10 {
		o := small(disk)
		if i > 0 { // the first Open is of before there were lives
			o.Life = fmt.Sprintf("life %d", i)
			want = append(want, o.Life)
		}
		c, r, err := checkpoint.Open(t.Context(), o, meta())
		require.NoError(t, err)
		require.Equal(t, want[max(0, len(want)-stream.LivesMax):], r.Lives)
		require.Equal(t, uint64(i+1), r.Epoch) //nolint:gosec // small
		require.NoError(t, c.Close(i%2 == 0))
	}
}
