package vfs_test

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

func TestFaultRules(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	f := vfs.NewFault(m,
		vfs.Rule{Op: vfs.OpWrite, Path: "log", Nth: 2, Err: syscall.ENOSPC, Short: 3},
		vfs.Rule{Op: vfs.OpSync, Err: syscall.EIO},
		vfs.Rule{Op: vfs.OpRename, Path: "target", Err: syscall.EACCES},
	)
	log, err := f.Create("/q/log")
	require.NoError(t, err)
	put(t, log, "one,")
	n, err := log.Write([]byte("two,"))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Equal(t, 3, n)
	var pathError *fs.PathError
	require.ErrorAs(t, err, &pathError)
	require.Equal(t, "/q/log", pathError.Path)
	put(t, log, "three")
	require.Equal(t, "one,twothree", contents(t, m, "/q/log"))
	require.ErrorIs(t, log.Sync(), syscall.EIO)
	require.ErrorIs(t, log.Sync(), syscall.EIO)
	require.NoError(t, m.SyncDir("/q"))
	require.Empty(t, contents(t, m.Crash(0, 1), "/q/log"), "a sync that fails syncs nothing")
	require.ErrorIs(t, f.Rename("/q/log", "/q/target"), syscall.EACCES)
	require.NoError(t, f.Rename("/q/log", "/q/other"))
	require.EqualValues(t, 4, f.Injected())
	require.NoError(t, log.Close())
}

func TestFaultStopAfter(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	f := vfs.NewFault(m)
	f.StopAfter(2)
	log, err := f.Create("/q/log")
	require.NoError(t, err)
	put(t, log, "one")
	_, err = log.Write([]byte("two"))
	require.ErrorIs(t, err, vfs.ErrCrashed)
	_, err = f.List("/q")
	require.ErrorIs(t, err, vfs.ErrCrashed)
	require.ErrorIs(t, log.Close(), vfs.ErrCrashed)
	require.ErrorIs(t, log.Close(), fs.ErrClosed, "the file below was closed all the same")
	require.Equal(t, "one", contents(t, m, "/q/log"))
	require.EqualValues(t, 6, f.Calls())
	require.EqualValues(t, 4, f.Injected())
}

func TestLogged(t *testing.T) {
	t.Parallel()
	l := vfs.NewLogged(newMem(t), "/q")
	require.NoError(t, vfs.WriteFile(l, "/q/a", []byte("text")))
	require.Equal(t, []string{
		"create a.tmp", "write a.tmp 4", "sync a.tmp", "close a.tmp", "rename a.tmp a", "syncdir .",
	}, l.Lines())
	require.NotContains(t, l.Changes(), "close a.tmp")
	l.Reset()
	require.NoError(t, l.Truncate("/q/a", 2))
	require.Error(t, l.Remove("/q/b"))
	require.Equal(t, []string{"truncate a 2", "remove b = remove /q/b: file does not exist"}, l.Lines())
}
