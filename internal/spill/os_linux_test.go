package spill

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestReserve reserves blocks where the system has no call for it, is interrupted, or has no room.
func TestReserve(t *testing.T) {
	t.Parallel()
	const size = 3<<20 + 1
	for _, c := range []struct {
		name  string
		fault error
		times int // that it fails; then it does what it should
		want  error
		wrote bool
	}{
		{name: "no such call", fault: unix.EOPNOTSUPP, times: 1, wrote: true},
		{name: "not in this kernel", fault: unix.ENOSYS, times: 1, wrote: true},
		{name: "interrupted once", fault: unix.EINTR, times: 1},
		{name: "interrupted always", fault: unix.EINTR, times: 1 << 30, wrote: true},
		{name: "no room", fault: unix.ENOSPC, times: 1, want: unix.ENOSPC},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "file"))
		require.NoError(t, err)
		calls := 0
		err = reserveBy(f, size, func() error {
			if calls++; calls <= c.times {
				return c.fault
			}
			return unix.Fallocate(int(f.Fd()), 0, 0, size)
		})
		require.ErrorIs(t, err, c.want, c.name)
		info, err := f.Stat()
		require.NoError(t, err)
		require.Equal(t, c.want == nil, info.Size() == size, c.name)
		require.Equal(t, c.wrote || c.want != nil, calls <= c.times, c.name)
		require.NoError(t, f.Close())
	}
}
