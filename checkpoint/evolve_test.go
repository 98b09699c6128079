package checkpoint_test

import (
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/checkpoint"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
)

// evolved is a directory in which a changed text was put in force after batch 2, with a copy of a table that no batch
// has named.
func evolved(t *testing.T) (fsys *vfs.Mem, hash string) {
	t.Helper()
	fsys = vfs.NewMem()
	c, _ := open(t, small(fsys), meta())
	for b := range int64(3) {
		runBatch(t, c, b)
	}
	require.NoError(t, c.Snapshot(t.Context(), 1, tablesAt(1)))
	hash, err := c.Tables().Put(t.Context(), "names", arrow.NewSchema([]arrow.Field{{Name: "k", Type: arrow.BinaryTypes.String}}, nil), nil)
	require.NoError(t, err)
	m := c.Meta()
	m.Plan, m.Evolution = "p2", &checkpoint.Evolution{Batch: 2, Tables: map[string]string{"names": hash}}
	require.NoError(t, c.Evolve(t.Context(), m, tablesAt(2)))
	require.NoError(t, c.Close(true))
	return fsys, hash
}

// TestEvolvedState asks that a changed text begins with its own state alone, and with the table copies that it names.
func TestEvolvedState(t *testing.T) {
	t.Parallel()
	fsys, hash := evolved(t)
	for range 2 {
		c, r := open(t, small(fsys), meta())
		require.Equal(t, "p2", r.Meta.Plan)
		require.Equal(t, int64(2), r.Version)
		require.Empty(t, r.Rerun)
		requireVersion(t, r, "after the change")
		require.NoError(t, c.Snapshot(t.Context(), 2, tablesAt(2))) // as a stop does, which prunes
		require.NoError(t, c.Close(true))
	}
	c, _ := open(t, small(fsys), meta())
	found, err := c.Tables().Get(t.Context(), "names", hash)
	require.NoError(t, err)
	found.Release()
	require.NoError(t, c.Close(true))

	c, _ = open(t, small(fsys), meta())
	for b := int64(3); b < 9; b++ {
		runBatch(t, c, b)
		require.NoError(t, c.Snapshot(t.Context(), b, tablesAt(b)))
	}
	_, err = c.Tables().Get(t.Context(), "names", hash)
	require.Error(t, err, "no batch needs it any more")
}

// TestEvolvedStateIsGone asks that batches of the text before are not run again for a changed one.
func TestEvolvedStateIsGone(t *testing.T) {
	t.Parallel()
	fsys, _ := evolved(t)
	names, err := fsys.List(filepath.Join(dir, "state-1"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, name := range names {
		require.NoError(t, fsys.Remove(filepath.Join(dir, "state-1", name)))
	}
	_, _, err = checkpoint.Open(t.Context(), small(fsys), meta())
	require.Equal(t, diag.CheckpointUnusable, diag.CodeOf(err))
	require.ErrorContains(t, err, "after batch 2")
}
