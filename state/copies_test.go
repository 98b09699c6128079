package state_test

import (
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

const copiesDir = "/q/tables"

func putCopy(t *testing.T, c *state.Copies, table string, keys []int64) string {
	t.Helper()
	r := rows(memory.DefaultAllocator, keys, "rate")
	defer r.Release()
	hash, err := c.Put(t.Context(), table, schema(), []arrow.Record{r})
	require.NoError(t, err)
	return hash
}

func getCopy(t *testing.T, c *state.Copies, table, hash string) (int64, error) {
	t.Helper()
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	records, err := c.GetWith(t.Context(), mem, table, hash)
	var n int64
	for _, r := range records {
		require.True(t, schema().Equal(r.Schema()))
		n += r.NumRows()
		r.Release()
	}
	return n, err
}

func TestCopies(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	c, err := state.OpenCopies(fsys, copiesDir)
	require.NoError(t, err)
	const odd = `Rates "2024"/EU-é`
	one, two := putCopy(t, c, odd, span(0, 5)), putCopy(t, c, odd, span(0, 6))
	require.NotEqual(t, one, two)
	require.Equal(t, one, putCopy(t, c, odd, span(0, 5)), "the same rows have the same name")
	none, err := c.Put(t.Context(), "empty", schema(), nil)
	require.NoError(t, err)

	c, err = state.OpenCopies(fsys, copiesDir)
	require.NoError(t, err)
	for hash, want := range map[string]int64{one: 5, two: 6} {
		n, err := getCopy(t, c, odd, hash)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	n, err := getCopy(t, c, "empty", none)
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = getCopy(t, c, "empty", one)
	require.Equal(t, diag.StateCorrupt, diag.CodeOf(err))
	_, err = c.Put(t.Context(), "", schema(), nil)
	require.Equal(t, diag.BadName, diag.CodeOf(err))

	kept, err := c.Get(t.Context(), "empty", none)
	require.NoError(t, err)
	require.True(t, schema().Equal(kept.Schema))
	kept.Release()

	found, err := state.VerifyCopies(t.Context(), fsys, copiesDir)
	require.NoError(t, err)
	require.Equal(t, 3, found)

	held := putCopy(t, c, odd, span(0, 5))
	c.Hold(map[string]string{odd: held})
	three := putCopy(t, c, odd, span(0, 7))
	require.NoError(t, c.Prune(func(table, hash string) bool { return table == odd && hash == one }))
	_, err = getCopy(t, c, odd, two)
	require.Error(t, err)
	for _, hash := range []string{one, held, three} {
		_, err = getCopy(t, c, odd, hash)
		require.NoError(t, err, "needed, held, or put last")
	}
}

func TestCopyCrashAndDamage(t *testing.T) {
	t.Parallel()
	for k := int64(0); ; k++ {
		below := vfs.NewMem()
		fault := vfs.NewFault(below)
		fault.StopAfter(k)
		c, err := state.OpenCopies(fault, copiesDir)
		hash := ""
		if err == nil {
			r := rows(memory.DefaultAllocator, span(0, 9), "x")
			hash, err = c.Put(t.Context(), "t", schema(), []arrow.Record{r})
			r.Release()
		}
		for _, keep := range []float64{0, 0.5, 1} {
			after := below.Crash(keep, k)
			c, openErr := state.OpenCopies(after, copiesDir)
			require.NoError(t, openErr)
			if err == nil {
				_, getErr := getCopy(t, c, "t", hash)
				require.NoError(t, getErr)
			}
			_, verifyErr := state.VerifyCopies(t.Context(), after, copiesDir)
			require.NoError(t, verifyErr)
		}
		if err == nil {
			damageCopy(t, below, hash)
			return
		}
		require.ErrorIs(t, err, vfs.ErrCrashed)
	}
}

func damageCopy(t *testing.T, fsys vfs.FS, hash string) {
	t.Helper()
	path := filepath.Join(copiesDir, "t-"+hash+".arrow")
	whole, err := vfs.ReadFile(fsys, path)
	require.NoError(t, err)
	for at := range whole {
		damaged := append([]byte(nil), whole...)
		damaged[at] ^= 0x10
		put(t, fsys, path, damaged)
		c, err := state.OpenCopies(fsys, copiesDir)
		require.NoError(t, err)
		n, err := getCopy(t, c, "t", hash)
		if err == nil {
			require.Equal(t, int64(9), n)
			continue
		}
		require.Equal(t, diag.StateCorrupt, diag.CodeOf(err), "%v", err)
	}
}
