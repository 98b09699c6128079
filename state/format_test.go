package state_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/state"
)

// fixture is the directory of files that format 1 wrote. TIDEMILL_WRITE_FIXTURES=1 writes it anew, which is
// right only together with a new format number and a new directory.
const fixture = "testdata/format-v1"

// TestFormat opens what format 1 wrote, and checks that the same versions still make the same bytes.
func TestFormat(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	s, err := state.Open(fsys, dir)
	require.NoError(t, err)
	want := tables{}
	for n := range int64(3) {
		changes := step(memory.DefaultAllocator, s, n)
		for _, c := range changes {
			want.lay(c)
		}
		_, err := s.Write(t.Context(), n, changes)
		release(changes)
		require.NoError(t, err)
	}
	names, err := fsys.List(dir)
	require.NoError(t, err)
	if os.Getenv("TIDEMILL_WRITE_FIXTURES") != "" {
		require.NoError(t, os.MkdirAll(fixture, 0o755))
		for _, name := range names {
			data, err := vfs.ReadFile(fsys, filepath.Join(dir, name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(fixture, name), data, 0o600))
		}
	}
	old := vfs.NewMem()
	require.NoError(t, old.MkdirAll(dir))
	kept, err := os.ReadDir(fixture)
	require.NoError(t, err)
	require.Len(t, kept, len(names))
	for _, e := range kept {
		data, err := os.ReadFile(filepath.Join(fixture, e.Name()))
		require.NoError(t, err)
		put(t, old, filepath.Join(dir, e.Name()), data)
		now, err := vfs.ReadFile(fsys, filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.Equal(t, data, now, "the bytes of %s have changed without a new format", e.Name())
	}
	s, err = state.Open(old, dir)
	require.NoError(t, err)
	v, ok := s.Latest(2)
	require.True(t, ok)
	got, err := load(t.Context(), memory.DefaultAllocator, v)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// FuzzLoad puts any bytes where a manifest and a part file are.
func FuzzLoad(f *testing.F) {
	fsys := vfs.NewMem()
	s, err := state.Open(fsys, dir)
	require.NoError(f, err)
	c := base(memory.DefaultAllocator, "a", span(0, 3), "v")
	_, err = s.Write(f.Context(), 1, []state.Change{c})
	c.Release()
	require.NoError(f, err)
	manifest, err := vfs.ReadFile(fsys, filepath.Join(dir, "00000000000000000001.json"))
	require.NoError(f, err)
	part, err := vfs.ReadFile(fsys, filepath.Join(dir, "00000000000000000001-00000.arrow"))
	require.NoError(f, err)
	f.Add(manifest, part)
	f.Add([]byte(`{"format":2,"crc32c":"99914b93","body":{}}`), part)
	f.Add(manifest, part[:len(part)-40])
	f.Fuzz(func(t *testing.T, manifest, part []byte) {
		fsys := vfs.NewMem()
		require.NoError(t, fsys.MkdirAll(dir))
		put(t, fsys, filepath.Join(dir, "00000000000000000001.json"), manifest)
		put(t, fsys, filepath.Join(dir, "00000000000000000001-00000.arrow"), part)
		s, err := state.Open(fsys, dir)
		if err != nil {
			return
		}
		v, ok := s.Latest(1)
		require.True(t, ok)
		_, _ = load(t.Context(), memory.DefaultAllocator, v)
	})
}
