package vfs_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/internal/vfs/vfstest"
)

func TestContract(t *testing.T) {
	t.Parallel()
	t.Run("os", func(t *testing.T) {
		vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.OS{}, t.TempDir() })
	})
	t.Run("mem", func(t *testing.T) {
		vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return newMem(t), "/q" })
	})
	t.Run("fault", func(t *testing.T) {
		vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.NewFault(newMem(t)), "/q" })
	})
	t.Run("logged", func(t *testing.T) {
		vfstest.Run(t, func(t *testing.T) (vfs.FS, string) { return vfs.NewLogged(newMem(t), "/"), "/q" })
	})
}

func newMem(t *testing.T) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem()
	require.NoError(t, m.MkdirAll("/q"))
	return m
}

func TestOSModes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, vfs.OS{}.MkdirAll(dir))
	require.NoError(t, vfs.WriteFile(vfs.OS{}, filepath.Join(dir, "f"), nil))
	for path, mode := range map[string]os.FileMode{
		filepath.Dir(dir):       0o700,
		dir:                     0o700,
		filepath.Join(dir, "f"): 0o600,
	} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, mode, info.Mode().Perm(), path)
	}
}

func TestLinkFollowsSymbolicLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, symbolic, second := filepath.Join(dir, "f"), filepath.Join(dir, "s"), filepath.Join(dir, "l")
	require.NoError(t, os.WriteFile(file, []byte("x"), 0o600))
	require.NoError(t, os.Symlink(file, symbolic))
	require.NoError(t, vfs.OS{}.Link(symbolic, second))
	require.NoError(t, os.Remove(file))
	got, err := os.ReadFile(second)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}
