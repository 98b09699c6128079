package state_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

// TestLoadStops fails, or panics, in the middle of a large table, while more of it is being read: the fault comes back, and
// nothing of what was read stays in memory.
func TestLoadStops(t *testing.T) {
	mem := checked(t)
	s, err := state.Open(vfs.NewMem(), dir)
	require.NoError(t, err)
	const groups, perGroup = 4, 64 << 10
	c := base(mem, "groups", span(0, perGroup), "v")
	for i := range int64(groups - 1) {
		c.Records = append(c.Records, rows(mem, span((i+1)*perGroup, (i+2)*perGroup), "v"))
	}
	_, err = s.Write(t.Context(), 1, []state.Change{c})
	require.NoError(t, err)
	c.Release()
	v, _ := s.Latest(1)
	fault := errors.New("no more")
	for stop := range groups {
		for _, panics := range []bool{false, true} {
			calls := 0
			load := func() error {
				return v.Load(t.Context(), mem, func(c state.Change) error {
					if c.Records[0].Column(0).(interface{ Value(int) int64 }).Value(0) != int64(calls*perGroup) {
						return errors.New("the groups are not in order")
					}
					if calls++; calls <= stop {
						return nil
					}
					if panics {
						panic(fault)
					}
					return fault
				})
			}
			if panics {
				require.PanicsWithValue(t, fault, func() { _ = load() })
			} else {
				require.ErrorIs(t, load(), fault)
			}
			require.Equal(t, stop+1, calls)
		}
	}
}
