package vfs_test

import (
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

func put(t *testing.T, f vfs.File, text string) {
	t.Helper()
	_, err := io.WriteString(f, text)
	require.NoError(t, err)
}

func contents(t *testing.T, fsys vfs.FS, name string) string {
	t.Helper()
	data, err := vfs.ReadFile(fsys, name)
	require.NoError(t, err)
	return string(data)
}

func TestCrashData(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	f, err := m.Create("/q/a")
	require.NoError(t, err)
	put(t, f, "synced,")
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("/q"))
	put(t, f, "volatile")

	require.Equal(t, "synced,", contents(t, m.Crash(0, 1), "/q/a"))
	require.Equal(t, "synced,volatile", contents(t, m.Crash(1, 1), "/q/a"))
	seen := map[string]bool{}
	for seed := range int64(200) {
		got := contents(t, m.Crash(0.5, seed), "/q/a")
		require.True(t, strings.HasPrefix(got, "synced,"))
		require.Equal(t, got, contents(t, m.Crash(0.5, seed), "/q/a"), "a seed repeats")
		seen[got] = true
	}
	require.True(t, seen["synced,"])
	require.True(t, seen["synced,volatile"])
	require.True(t, seen["synced,vol"], "torn in the middle")
	require.True(t, seen["synced,"+strings.Repeat("\x00", 8)], "the length arrived and the data did not")
	require.Equal(t, "synced,volatile", contents(t, m, "/q/a"), "the crashed system is as it was")
}

// TestCrashLink asks that a second name is durable when its directory was synced and not before, that it keeps the
// bytes of a file whose first name is durably gone, and that it makes no data durable by itself.
func TestCrashLink(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	require.NoError(t, m.MkdirAll("/spool"))
	f, err := m.Create("/q/a")
	require.NoError(t, err)
	put(t, f, "synced,")
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("/q"))
	put(t, f, "volatile")
	require.NoError(t, m.Link("/q/a", "/spool/a"))

	_, err = m.Crash(0, 1).Stat("/spool/a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, "synced,volatile", contents(t, m.Crash(1, 1), "/spool/a"))
	require.NoError(t, m.SyncDir("/spool"))
	require.NoError(t, m.Remove("/q/a"))
	require.NoError(t, m.SyncDir("/q"))
	left := m.Crash(0, 1)
	_, err = left.Stat("/q/a")
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Equal(t, "synced,", contents(t, left, "/spool/a"))
	g, err := m.Open("/spool/a")
	require.NoError(t, err)
	require.NoError(t, g.Sync(), "a file may be synced through any name, open for reading too")
	require.Equal(t, "synced,volatile", contents(t, m.Crash(0, 1), "/spool/a"))
}

func TestCrashSectors(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	f, err := m.Create("/q/a")
	require.NoError(t, err)
	require.NoError(t, m.SyncDir("/q"))
	put(t, f, strings.Repeat("x", 1536))
	hole := false
	for seed := range int64(200) {
		got := contents(t, m.Crash(0.5, seed), "/q/a")
		hole = hole || len(got) == 1536 && strings.Trim(got[512:1024], "\x00") == "" && got[1535] == 'x'
	}
	require.True(t, hole, "a sector in the middle can be missing")
}

func TestCrashWritesInAnyOrder(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	f, err := m.Create("/q/a")
	require.NoError(t, err)
	require.NoError(t, m.SyncDir("/q"))
	put(t, f, "first")
	put(t, f, "second")
	hole := false
	for seed := range int64(100) {
		hole = hole || contents(t, m.Crash(0.5, seed), "/q/a") == "\x00\x00\x00\x00\x00second"
	}
	require.True(t, hole, "a later write can survive an earlier one")
}

func TestCrashNames(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	require.NoError(t, vfs.WriteFile(m, "/q/a", []byte("old")))
	f, err := m.Create("/q/a.tmp")
	require.NoError(t, err)
	put(t, f, "new")
	require.NoError(t, f.Sync())
	require.NoError(t, m.Rename("/q/a.tmp", "/q/a"))

	require.Equal(t, "old", contents(t, m.Crash(0, 1), "/q/a"))
	require.Equal(t, "new", contents(t, m.Crash(1, 1), "/q/a"))
	seen := map[string]bool{}
	for seed := range int64(100) {
		c := m.Crash(0.5, seed)
		names, err := c.List("/q")
		require.NoError(t, err)
		seen[fmt.Sprint(names, contents(t, c, "/q/a"))] = true
	}
	require.Equal(t, map[string]bool{"[a]old": true, "[a a.tmp]old": true, "[a]new": true}, seen)

	require.NoError(t, m.SyncDir("/q"))
	require.Equal(t, "new", contents(t, m.Crash(0, 1), "/q/a"))
	_, err = m.Crash(0, 1).Stat("/q/a.tmp")
	require.ErrorIs(t, err, fs.ErrNotExist)

	require.NoError(t, m.Remove("/q/a"))
	require.Equal(t, "new", contents(t, m.Crash(0, 1), "/q/a"), "an unsynced removal is undone")
	_, err = m.Crash(1, 1).Stat("/q/a")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestCrashRenameBetweenDirectories(t *testing.T) {
	t.Parallel()
	m := newMem(t)
	require.NoError(t, m.MkdirAll("/r"))
	require.NoError(t, vfs.WriteFile(m, "/q/a", []byte("x")))
	require.NoError(t, m.Rename("/q/a", "/r/a"))
	require.NoError(t, vfs.WriteFile(m, "/q/a", []byte("y"))) // syncs /q, not /r
	require.Equal(t, "y", contents(t, m.Crash(0, 1), "/q/a"), "a later durable name is not overtaken")
	require.Equal(t, "y", contents(t, m.Crash(1, 1), "/q/a"))
	require.Equal(t, "x", contents(t, m.Crash(1, 1), "/r/a"))
	require.NoError(t, m.SyncDir("/r"))
	require.Equal(t, "x", contents(t, m.Crash(0, 1), "/r/a"))
}

func TestCrashDirectories(t *testing.T) {
	t.Parallel()
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/a/b"))
	c := m.Crash(0, 1)
	_, err := c.Stat("/a/b")
	require.NoError(t, err, "MkdirAll is durable on return")
	require.NoError(t, m.Remove("/a/b"))
	require.NoError(t, m.MkdirAll("/a/b"))
	_, err = m.Crash(0, 1).Stat("/a/b")
	require.NoError(t, err)
	require.EqualValues(t, 3, m.Calls())
}

func TestWriteFileIsAtomic(t *testing.T) {
	t.Parallel()
	for stop := int64(0); ; stop++ {
		m := newMem(t)
		require.NoError(t, vfs.WriteFile(m, "/q/a", []byte("old")))
		f := vfs.NewFault(m)
		f.StopAfter(stop)
		err := vfs.WriteFile(f, "/q/a", []byte("new"))
		for seed := range int64(30) {
			for _, keep := range []float64{0, 0.5, 1} {
				got := contents(t, m.Crash(keep, seed), "/q/a")
				require.Contains(t, []string{"old", "new"}, got)
				if err == nil {
					require.Equal(t, "new", got)
				}
			}
		}
		if f.Injected() == 0 {
			require.NoError(t, err)
			require.EqualValues(t, 6, stop, "create write sync close rename syncdir")
			return
		}
		require.ErrorIs(t, err, vfs.ErrCrashed)
	}
}
