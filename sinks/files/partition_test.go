package files

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

// TestLongValuesKeepTheirFolders writes values that no folder's name can hold, and that differ at their end only.
func TestLongValuesKeepTheirFolders(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	p := jsonPlace(t, fsys, stream.Options{"partition_by": []string{"name"}})
	s, err := p.Connect(sinktest.Config(stream.Append))
	require.NoError(t, err)
	require.NoError(t, s.Open(t.Context(), sinktest.Owner("q", 1, -1)))
	long := strings.Repeat("a value/ ", 40)
	b := sinktest.Batch(stream.Append, sinktest.Row{ID: 1, Name: long + "x"}, sinktest.Row{ID: 2, Name: long + "y"},
		sinktest.Row{ID: 3, Name: "short~"}, sinktest.Row{ID: 4, Name: long + "x"})
	defer b.Release()
	require.NoError(t, s.Write(t.Context(), stream.Delivery{Marker: sinktest.Marker("q", 1, 0), Result: b}))
	require.NoError(t, s.Close())
	files, err := Files(fsys, root)
	require.NoError(t, err)
	require.Len(t, files, 3)
	rows := map[int64]int{}
	for _, f := range files {
		dir := filepath.Base(filepath.Dir(f.Path))
		require.LessOrEqual(t, len(dir), partitionBytes)
		rows[f.Rows]++
		if dir == "name=short%7E" {
			continue
		}
		require.Regexp(t, `^name=(a%20value%2F%20)*[a-z%0-9F]*~[0-9a-f]{16}$`, dir)
	}
	require.Equal(t, map[int64]int{1: 2, 2: 1}, rows)
}

func TestShortenCutsBetweenEncodedBytes(t *testing.T) {
	t.Parallel()
	require.Equal(t, "value", shorten("value", 5))
	encoded := escape(strings.Repeat("é", 60))
	for width := 100; width < 110; width++ {
		cut := shorten(encoded, width)
		require.LessOrEqual(t, len(cut), width)
		head, _, found := strings.Cut(cut, "~")
		require.True(t, found)
		require.Zero(t, len(head)%3, head) // %XX each
	}
}

func TestTooManyFoldersNameTheCure(t *testing.T) {
	t.Parallel()
	fsys := vfs.NewMem()
	rows := make([]sinktest.Row, partitionsMax+1)
	for i := range rows {
		rows[i] = sinktest.Row{ID: int64(i), Name: fmt.Sprint(i % 3)}
	}
	b := sinktest.Batch(stream.Append, rows...)
	defer b.Release()
	write := func(column string, epoch uint64) error {
		p := jsonPlace(t, fsys, stream.Options{"partition_by": []string{column}})
		s, err := p.Connect(sinktest.Config(stream.Append))
		require.NoError(t, err)
		require.NoError(t, s.Open(t.Context(), sinktest.Owner("q", epoch, -1)))
		return s.Write(t.Context(), stream.Delivery{Marker: sinktest.Marker("q", epoch, 0), Result: b})
	}
	err := write("id", 1)
	require.Equal(t, diag.SinkFailed, diag.CodeOf(err))
	require.Contains(t, diag.Render(err), "change partition_by")
	require.NoError(t, write("name", 2), "the same batch by other folders")
	files, err := Files(fsys, root)
	require.NoError(t, err)
	require.Len(t, files, 3)
}

func TestColumnNameThatIsNoFolder(t *testing.T) {
	t.Parallel()
	cfg := sinktest.Config(stream.Append)
	fields := cfg.Schema.Fields()
	fields[1].Name = strings.Repeat("é", 40)
	cfg.Schema = arrow.NewSchema(fields, nil)
	cfg.Options = stream.Options{"path": root, "partition_by": []string{fields[1].Name}}
	_, err := JSON().Open(t.Context(), cfg)
	require.Equal(t, diag.BadOption, diag.CodeOf(err))
}

// TestPublishedFilesObeyTheUmask looks at the modes on the real file system, under the umask this process has.
func TestPublishedFilesObeyTheUmask(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "out")
	folder, file := filepath.Join(t.TempDir(), "folder"), filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.Mkdir(folder, 0o777))
	require.NoError(t, os.WriteFile(file, nil, 0o666))
	cfg := sinktest.Config(stream.Append)
	cfg.FS = vfs.OS{}
	cfg.Options = stream.Options{"path": dir, "partition_by": []string{"name"}}
	s, err := JSON().Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, s.Open(t.Context(), sinktest.Owner("q", 1, -1)))
	b := sinktest.Batch(stream.Append, sinktest.Row{ID: 1, Name: "x"})
	defer b.Release()
	require.NoError(t, s.Write(t.Context(), stream.Delivery{Marker: sinktest.Marker("q", 1, 0), Result: b}))
	files, err := Files(vfs.OS{}, dir)
	require.NoError(t, err)
	for path, like := range map[string]string{
		filepath.Dir(dir): folder, dir: folder, filepath.Join(dir, "name=x"): folder, files[0].Path: file,
	} {
		info, err := os.Stat(path)
		require.NoError(t, err)
		want, err := os.Stat(like)
		require.NoError(t, err)
		require.Equal(t, want.Mode().Perm(), info.Mode().Perm(), path)
	}
}
