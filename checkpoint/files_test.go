package checkpoint_test

import (
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/vfs"
)

// putTable keeps an empty copy that differs by its column's name.
func putTable(t *testing.T, c *checkpoint.Checkpoint, b int64) string {
	t.Helper()
	name := string(rune('a' + b))
	schema := arrow.NewSchema([]arrow.Field{{Name: name, Type: arrow.PrimitiveTypes.Int64}}, nil)
	hash, err := c.Tables().Put(t.Context(), "rates", schema, nil)
	require.NoError(t, err)
	return hash
}

// tree returns the content of all files.
func tree(t *testing.T, fsys vfs.FS, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	names, err := fsys.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			for k, v := range tree(t, fsys, path) {
				out[k] = v
			}
			continue
		}
		data, err := vfs.ReadFile(fsys, path)
		require.NoError(t, err)
		out[path] = string(data)
	}
	return out
}

func treeSize(t *testing.T, fsys vfs.FS, dir string) (files int, bytes int64) {
	t.Helper()
	names, err := fsys.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			n, b := treeSize(t, fsys, path)
			files, bytes = files+n, bytes+b
			continue
		}
		files, bytes = files+1, bytes+info.Size()
	}
	return files, bytes
}

func requireSameFiles(t *testing.T, want, got vfs.FS) {
	t.Helper()
	require.Equal(t, tree(t, want, dir), tree(t, got, dir))
}

// write puts bytes where a file is, durably.
func write(t *testing.T, fsys vfs.FS, path string, data []byte) {
	t.Helper()
	f, err := fsys.Create(path)
	require.NoError(t, err)
	_, err = f.Write(data)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	require.NoError(t, f.Close())
}
