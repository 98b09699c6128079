package file

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/stream"
)

// parquetEntries writes a file of the rows of each SELECT, in row groups of 2,048.
func parquetEntries(t *testing.T, selects ...string) []entry {
	t.Helper()
	conn, dir := ducktest.Conn(t, duck.Options{}), t.TempDir()
	files := make([]entry, len(selects))
	for i, sql := range selects {
		path := filepath.Join(dir, strconv.Itoa(i)+".parquet")
		_, err := conn.Exec(t.Context(), "COPY ("+sql+") TO "+duck.QuoteLiteral(path)+" (FORMAT parquet, ROW_GROUP_SIZE 2048)")
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		files[i] = entry{Path: path, Size: info.Size()}
	}
	return files
}

func TestFooters(t *testing.T) {
	t.Parallel()
	files := parquetEntries(t,
		"SELECT i AS id, TIMESTAMP '1970-01-02' + to_seconds(i) AS ts, [i] AS list, 1 AS other, 1 AS gone FROM range(5000) t(i)",
		"SELECT i AS id, CASE WHEN i > 9 THEN TIMESTAMP '1970-01-01' + to_seconds(i) END AS ts, [i::INTEGER] AS list, 1::BIGINT AS other, "+
			"1 AS fresh FROM range(20) t(i)")
	set, err := parquetSet(t.Context(), vfs.OS{}, files, "ts")
	require.NoError(t, err)
	require.Equal(t, &stream.ParquetSet{
		Paths: []string{files[0].Path, files[1].Path}, Rows: 5020,
		Alike: map[string]bool{"id": true, "ts": true, "list": false, "other": false, "gone": false},
		Times: &stream.ParquetTimes{Nulls: 10, Least: 10e6, Most: (86400 + 4999) * 1e6},
	}, set)
}

func TestFooterTimes(t *testing.T) {
	t.Parallel()
	first := func(typ, more string) string {
		return "SELECT (TIMESTAMP '1970-01-01 00:00:02' + to_seconds(i))::" + typ + " AS ts FROM range(3) t(i)" + more
	}
	for name, c := range map[string]struct {
		sql  string
		want *stream.ParquetTimes
	}{
		"microseconds": {first("TIMESTAMP", ""), &stream.ParquetTimes{Least: 2e6, Most: 4e6}},
		"milliseconds": {first("TIMESTAMP_MS", ""), &stream.ParquetTimes{Least: 2e6, Most: 4e6}},
		"infinite":     {first("TIMESTAMP", " UNION ALL SELECT 'infinity'::TIMESTAMP"), &stream.ParquetTimes{Least: 2e6, Most: math.MaxInt64}},
		"none":         {"SELECT NULL::TIMESTAMP AS ts FROM range(3)", &stream.ParquetTimes{Nulls: 3, Least: math.MaxInt64, Most: math.MinInt64}},
		"nanoseconds":  {first("TIMESTAMP_NS", ""), nil},
		"dates":        {first("DATE", ""), nil},
		"numbers":      {"SELECT 1::BIGINT AS ts", nil},
		"nested":       {"SELECT {'ts': TIMESTAMP '2026-01-01'} AS ts", nil},
		"no column":    {"SELECT 1 AS x", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, err := parquetSet(t.Context(), vfs.OS{}, parquetEntries(t, c.sql), "ts")
			require.NoError(t, err)
			require.Equal(t, c.want, set.Times)
		})
	}
}

func TestAddTimes(t *testing.T) {
	t.Parallel()
	times := noTimes()
	require.False(t, add(times, []byte{1, 2, 3}, 1), "a damaged footer")
	require.False(t, add(times, []byte{0, 0, 0, 0, 0, 0, 0, 0x7f}, 1000), "milliseconds of which no microseconds are")
	require.Equal(t, noTimes(), times)
	require.True(t, add(times, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 1000))
	require.Equal(t, &stream.ParquetTimes{Least: -1000, Most: -1000}, times)
}

func TestFootersThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	files := parquetEntries(t, "SELECT 1 AS id", "SELECT 2 AS id")
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	_, err := parquetSet(ctx, vfs.OS{}, files, "")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	for cut := range files[1].Size { // a file that is still being written
		files[1].Size = cut
		set, err := parquetSet(t.Context(), vfs.OS{}, files, "")
		require.NoError(t, err)
		require.Nil(t, set)
	}
	set, err := parquetSet(t.Context(), vfs.OS{}, nil, "")
	require.NoError(t, err)
	require.Nil(t, set)
}
