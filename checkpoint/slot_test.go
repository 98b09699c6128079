package checkpoint_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/vfs"
)

// TestSlotEntries asks that what an Intent and a Commit say of slots comes back as it was given, whatever the zone of
// its times, with the same CRC, and that entries which say nothing of slots have none of it.
func TestSlotEntries(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, _ := open(t, options(fsys), stateless())
	hour := func(n int) time.Time { return start().Add(time.Duration(n) * time.Hour) }
	away := time.FixedZone("away", 7200)
	in, done := intent(0), commit(0)
	tick, ended := hour(1).In(away), hour(3)
	in.Slot, in.Tick = &checkpoint.Slot{Start: hour(0).In(away), End: hour(1)}, &tick
	in.Waiting = []checkpoint.Waiting{{Start: hour(1).In(away), End: hour(4).In(away), Each: true}}
	in.ByHand, done.Ended, done.Replaced = true, &ended, true
	require.NoError(t, c.Intend(in))
	require.NoError(t, c.Commit(done))
	require.NoError(t, c.Close(true))
	require.Equal(t, away, in.Waiting[0].Start.Location(), "the caller's Intent stays as it was")

	_, r := open(t, options(fsys), stateless())
	require.Equal(t, in.CRC(), r.LastIntent.CRC())
	require.Equal(t, []checkpoint.Waiting{{Start: hour(1).UTC(), End: hour(4).UTC(), Each: true}}, r.LastIntent.Waiting)
	require.True(t, r.LastIntent.ByHand)
	require.True(t, ended.Equal(*r.Last.Ended))
	require.True(t, r.Last.Replaced)

	for _, entry := range []any{intent(0), commit(0)} {
		data, err := json.Marshal(entry)
		require.NoError(t, err)
		for _, field := range []string{"waiting", "by_hand", "ended", "replaced"} {
			require.NotContains(t, string(data), `"`+field+`"`)
		}
	}
}
