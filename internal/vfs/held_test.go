package vfs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

func TestHeldLooksWithoutTaking(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	held, err := vfs.Held(dir)
	require.NoError(t, err)
	require.Nil(t, held, "never locked")

	lock, err := vfs.Lock(dir, "the owner")
	require.NoError(t, err)
	held, err = vfs.Held(dir)
	require.NoError(t, err)
	require.Equal(t, "the owner", held.Info)
	require.NotEmpty(t, held.PID)

	require.NoError(t, lock.Close())
	held, err = vfs.Held(dir)
	require.NoError(t, err)
	require.Nil(t, held)
	lock, err = vfs.Lock(dir, "the next owner")
	require.NoError(t, err, "looking leaves no lock behind")
	require.NoError(t, lock.Close())
}
