package file_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/vfs"
)

const nativeSource = `CREATE SOURCE src (id BIGINT, ts TIMESTAMP, k VARCHAR, v DECIMAL(10, 2), w BIGINT AS (id * 2),
  WATERMARK FOR ts AS ts) WITH (connector = 'file', path = '%s/*.parquet');
CREATE TABLE names AS FROM (VALUES ('k1', 'one'), ('k2', 'two')) t(k, name);
CREATE MACRO twice(x) AS x * 2;
CREATE VIEW seven AS SELECT * FROM src WHERE id %% 7 <> 0;
CREATE SINK out WITH (connector = 'memory');
CREATE QUERY q INTO out%s AS %s;
`

const nativeRows = `SELECT i AS id, TIMESTAMP '2026-01-01' + to_seconds(i) AS ts, 'k' || (i %% 5) AS k, (i / 4)::DECIMAL(10, 2) AS v,
  'more' AS more FROM range(%d, %d) t(i)`

// parquetFile writes what a SELECT gives.
func parquetFile(t *testing.T, path, sql string) {
	t.Helper()
	_, err := ducktest.Conn(t, duck.Options{}).Exec(t.Context(), "COPY ("+sql+") TO "+duck.QuoteLiteral(path)+" (FORMAT parquet)")
	require.NoError(t, err)
}

// ways are a batch over files that DuckDB can see, and over the same ones that only the engine can. What a log tells of the first is
// whether DuckDB was started to read them, and whether the engine had to do so in the end.
type ways struct {
	disk, mem     *engine.BatchResult
	tried, gaveUp bool
}

func bothWays(t *testing.T, mode, body string, files ...string) ways {
	t.Helper()
	var log bytes.Buffer
	dir := t.TempDir()
	var results []*engine.BatchResult
	for _, onDisk := range []bool{true, false} {
		in := dir
		if !onDisk {
			in = "/in"
		}
		w := newWorld(t, fmt.Sprintf(nativeSource, in, mode, body))
		options := w.options()
		if onDisk {
			options.FS, options.DataDir = vfs.OS{}, t.TempDir()
			options.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		}
		for i, sql := range files {
			name := fmt.Sprintf("%d.parquet", i)
			if onDisk {
				parquetFile(t, filepath.Join(dir, name), sql)
				continue
			}
			data, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			put(t, w.disk, "/in/"+name, string(data))
		}
		res, err := engine.Batch(t.Context(), options, w.app, "q", engine.BatchOptions{})
		require.NoError(t, err)
		t.Cleanup(res.Release)
		results = append(results, res)
	}
	return ways{disk: results[0], mem: results[1], tried: strings.Contains(log.String(), "DuckDB reads the files"),
		gaveUp: strings.Contains(log.String(), "rows are read by the engine")}
}

func resultTexts(r *engine.BatchResult) []string {
	var out []string
	for _, rec := range r.Result.Records {
		for row := range int(rec.NumRows()) {
			var cells []string
			for c := range r.Result.Schema.NumFields() {
				cells = append(cells, rec.Column(c).ValueStr(row))
			}
			out = append(out, strings.Join(cells, "|"))
		}
	}
	return out
}

// TestDuckDBReadsWhatItMay compares a batch in which DuckDB reads the files with one in which the engine does.
func TestDuckDBReadsWhatItMay(t *testing.T) {
	t.Parallel()
	first, second := fmt.Sprintf(nativeRows, 0, 3000), fmt.Sprintf(nativeRows, 3000, 5000)
	for name, c := range map[string]struct {
		mode, body string
		native     bool
		alone      bool // DuckDB reads the files, and yet it is known which rows were used
		files      []string
	}{
		"filter":     {body: "SELECT id, w, upper(k) AS k FROM src WHERE v > 1000", alone: true, files: []string{first, second}},
		"few":        {body: "SELECT id, upper(k) AS k FROM src WHERE id % 50 = 7", alone: true, files: []string{first, second}},
		"either":     {body: "SELECT id, w FROM src WHERE v > 1000 OR id % 3 = 0 OR k = 'k2'", alone: true, files: []string{first, second}},
		"one of":     {body: "SELECT id, k FROM seven WHERE k IN ('k4', 'k0', 'k2') AND NOT id % 5 = 3", alone: true, files: []string{first, second}},
		"few of two": {body: "SELECT id, name FROM (SELECT *, k = 'k1' OR id > 2990 AS other, 'n' AS name FROM src) WHERE other OR id % 50 = 7", alone: true, files: []string{first, second}},
		"costly":     {body: "SELECT id, CASE lower(k) WHEN 'k1' THEN 'a' WHEN 'k2' THEN 'b' END AS c FROM src WHERE lower(k) IN ('k1', 'k2', 'k3') OR lower(k) = 'k4'", files: []string{first, second}},
		"costly too": {body: "SELECT id, k, lower(k) AS c FROM src WHERE lower(k) IN ('k1', 'k2', 'k3') OR lower(k) = 'k4'", alone: true, files: []string{first, second}},
		"groups":     {body: "SELECT k, count(*) AS n, sum(v) AS v, max(ts) AS last FROM src GROUP BY k", mode: " OUTPUT MODE UPDATE", native: true, files: []string{first, second}},
		"tumble":     {body: "SELECT window_start, k, twice(count(*)) AS n FROM tumble(src, ts, INTERVAL '1 minute') GROUP BY ALL", native: true, files: []string{first, second}},
		"hop":        {body: "SELECT window_end, sum(w) AS w FROM hop(seven, ts, INTERVAL '1 minute', INTERVAL '2 minutes') GROUP BY ALL", native: true, files: []string{first, second}},
		"join":       {body: "SELECT name, count(*) AS n FROM src JOIN names USING (k) GROUP BY name", mode: " OUTPUT MODE UPDATE", native: true, files: []string{first, second}},
		"no times":   {body: "SELECT window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '1 minute') GROUP BY ALL", native: true, files: []string{first, "SELECT i AS id, NULL::TIMESTAMP AS ts, 'k' AS k, 1::DECIMAL(10, 2) AS v FROM range(3) t(i)"}},
		"infinite":   {body: "SELECT window_start, count(*) AS n FROM tumble(src, ts, INTERVAL '1 minute') GROUP BY ALL", files: []string{first, "SELECT 1::BIGINT AS id, 'infinity'::TIMESTAMP AS ts, 'k' AS k, 1::DECIMAL(10, 2) AS v"}},
		"other type": {body: "SELECT k, count(*) AS n FROM src GROUP BY k", mode: " OUTPUT MODE UPDATE", files: []string{first, "SELECT 1::INTEGER AS id, TIMESTAMP '2026-01-01' AS ts, 'k' AS k, 1::DECIMAL(10, 2) AS v"}},
		"no column":  {body: "SELECT k, count(*) AS n FROM src GROUP BY k", mode: " OUTPUT MODE UPDATE", files: []string{first, "SELECT 1::BIGINT AS id, TIMESTAMP '2026-01-01' AS ts, 'k' AS k"}},
		"ordered":    {body: "SELECT k, first(v) AS v FROM src GROUP BY k", mode: " OUTPUT MODE UPDATE", files: []string{first}},
		"clock":      {body: "SELECT k, count(*) AS n FROM src WHERE ts > now() GROUP BY k", mode: " OUTPUT MODE UPDATE", files: []string{first}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both := bothWays(t, c.mode, c.body, c.files...)
			disk, mem := both.disk, both.mem
			require.False(t, both.gaveUp, "DuckDB was started for nothing")
			require.Equal(t, c.native || c.alone, both.tried)
			require.Equal(t, c.native, disk.ByDuckDB)
			require.False(t, mem.ByDuckDB)
			got, want := resultTexts(disk), resultTexts(mem)
			require.NotEmpty(t, want)
			if c.mode != "" || c.native { // rows that leave one by one keep their order
				sort.Strings(got)
				sort.Strings(want)
			}
			require.Equal(t, want, got)
			n, m := disk.Sources["src"], mem.Sources["src"]
			require.Equal(t, m.In, n.In)
			require.Equal(t, m.NullTime, n.NullTime)
			require.Equal(t, mem.Faults, disk.Faults)
			if !c.native {
				require.Equal(t, m, n)
			}
		})
	}
}
