package vfs_test

import (
	"io/fs"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
)

// TestRenameNew lets many callers want the same name: one gets it, with its bytes.
func TestRenameNew(t *testing.T) {
	t.Parallel()
	for name, fsys := range map[string]vfs.FS{"os": vfs.OS{}, "mem": vfs.NewMem(), "fault": vfs.NewFault(vfs.NewMem())} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, fsys.MkdirAll(dir))
			target := filepath.Join(dir, "target")
			var won atomic.Int64
			var wg sync.WaitGroup
			for i := range 8 {
				own := filepath.Join(dir, string(rune('a'+i)))
				require.NoError(t, vfs.WriteFile(fsys, own, []byte{byte('a' + i)}))
				wg.Go(func() {
					err := fsys.RenameNew(own, target)
					if err == nil {
						won.Add(int64('a' + i))
						return
					}
					assert.ErrorIs(t, err, fs.ErrExist)
				})
			}
			wg.Wait()
			data, err := vfs.ReadFile(fsys, target)
			require.NoError(t, err)
			require.Equal(t, []byte{byte(won.Load())}, data)
			names, err := fsys.List(dir)
			require.NoError(t, err)
			require.Len(t, names, 8)
			require.ErrorIs(t, fsys.RenameNew(filepath.Join(dir, "none"), filepath.Join(dir, "other")), fs.ErrNotExist)
		})
	}
}
