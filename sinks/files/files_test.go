package files

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

const root = "/out"

// jsonPlace is a json sink over fsys, read as a glob over the folder would.
func jsonPlace(t *testing.T, fsys vfs.FS, extra stream.Options) sinktest.Place {
	t.Helper()
	return sinktest.Place{
		Connect: func(cfg stream.SinkConfig) (stream.Sink, error) {
			cfg.FS = fsys
			cfg.Options = stream.Options{"path": root}
			for k, v := range extra {
				cfg.Options[k] = v
			}
			return JSON().Open(t.Context(), cfg)
		},
		Rows: func() [][]any { return readJSON(t, fsys, glob(t, fsys, root)) },
	}
}

// glob returns the files that a reader finds who knows nothing of the log: everything with the format's
// extension.
func glob(t *testing.T, fsys vfs.FS, dir string) []string {
	t.Helper()
	names, err := fsys.List(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, name := range names {
		path := filepath.Join(dir, name)
		info, err := fsys.Stat(path)
		require.NoError(t, err)
		if info.IsDir() {
			found = append(found, glob(t, fsys, path)...)
		} else if filepath.Ext(name) == ".json" {
			found = append(found, path)
		}
	}
	return found
}

func readJSON(t *testing.T, fsys vfs.FS, paths []string) [][]any {
	t.Helper()
	var rows [][]any
	for _, path := range paths {
		data, err := vfs.ReadFile(fsys, path)
		require.NoError(t, err)
		for line := range strings.Lines(string(data)) {
			var r struct {
				ID   int64
				Name any
				N    int64
			}
			require.NoError(t, json.Unmarshal([]byte(line), &r), "%s: %q", path, line)
			if _, value, ok := strings.Cut(filepath.Base(filepath.Dir(path)), "name="); ok {
				r.Name = value
			}
			rows = append(rows, []any{r.ID, r.Name, r.N})
		}
	}
	return rows
}

func TestContract(t *testing.T) {
	t.Parallel()
	for name, extra := range map[string]stream.Options{
		"plain":   {},
		"compact": {"compact": true, "target_file_bytes": int64(1 << 10)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			features := sinktest.Features{Modes: []stream.Mode{stream.Append, stream.Complete}, Slots: true}
			sinktest.Run(t, features, func(t *testing.T) sinktest.Place { //nolint:thelper // a factory
				return jsonPlace(t, vfs.NewMem(), extra)
			})
		})
	}
}

// TestSameFolder lets two sinks of one query write to one folder: the second is refused before anything is written.
func TestSameFolder(t *testing.T) {
	t.Parallel()
	place := jsonPlace(t, vfs.NewMem(), nil)
	open := func(o stream.Owner) (stream.Sink, error) {
		s, err := place.Connect(sinktest.Config(stream.Append))
		require.NoError(t, err)
		return s, s.Open(t.Context(), o)
	}
	one, err := open(sinktest.Owner(sinktest.QueryA, 1, -1))
	require.NoError(t, err)
	_, err = open(sinktest.Owner(sinktest.QueryA, 1, -1))
	require.Equal(t, diag.SinkMismatch, diag.CodeOf(err), "%v", err)
	require.ErrorContains(t, err, "another sink of query")
	require.NoError(t, sinktest.Deliver(t.Context(), one, sinktest.Marker(sinktest.QueryA, 1, 0), stream.Append, sinktest.Row{ID: 1}))
	_, err = open(sinktest.Owner(sinktest.QueryA, 2, 0))
	require.NoError(t, err)
}
