package file_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/internal/vfs"
)

const recycledSource = `CREATE SOURCE src (id BIGINT, k VARCHAR, b BOOLEAN, l VARCHAR[], p STRUCT(x BIGINT, y VARCHAR), ts TIMESTAMP,
	WATERMARK FOR ts AS ts - INTERVAL '20 seconds')
	WITH (connector = 'file', path = '/in/*.ndjson', format = 'ndjson', max_files_per_batch = 1);
CREATE TABLE ref AS SELECT 'long name of key ' || i AS k, 'reference of ' || i AS r FROM range(0, 40) t(i);
CREATE SINK mem WITH (connector = 'memory');
`

// recycledRows are the rows of file n: long texts, so that they do not fit where DuckDB keeps short ones, and NULLs of
// every type.
func recycledRows(n int) string {
	var b strings.Builder
	for i := range 600 {
		at := fmt.Sprintf("2026-01-01T00:%02d:%02d", n, i*60/600)
		if i%7 == 3 {
			fmt.Fprintf(&b, `{"id":%d,"ts":"%s"}`+"\n", 1000*n+i, at)
			continue
		}
		fmt.Fprintf(&b, `{"id":%d,"k":"long name of key %d","b":%v,"l":["first text of %d in %d",null],"p":{"x":%d,"y":"text of a part %d"},"ts":"%s"}`+"\n",
			1000*n+i, (i+n)%50, i%3 == 0, i, n, i, i, at)
	}
	return b.String()
}

// TestRecycledMemory asks that nothing of a query's state or results lies in the memory of a batch's columns, which the
// next batches fill again; under the race detector it is overwritten as soon as it is given back.
func TestRecycledMemory(t *testing.T) {
	t.Parallel()
	for mode, bodies := range map[string][]string{
		"APPEND": {
			`SELECT * FROM src`,
			`SELECT id, upper(k) AS k, l[1] AS f, p.y AS y, b FROM src WHERE k <> 'long name of key 7' OR k IS NULL`,
			`SELECT window_start, k, count(*) AS n, min(p.y) AS y, max(k) AS m, bool_or(b) AS o FROM tumble(src, ts, INTERVAL '45 seconds') GROUP BY window_start, k`,
			`SELECT window_start, list(k ORDER BY id) AS ks, list(l ORDER BY id) AS ls FROM tumble(src, ts, INTERVAL '45 seconds') GROUP BY window_start`,
			`SELECT s.id, s.k, r.r FROM src s LEFT JOIN ref r ON s.k = r.k`,
			`SELECT DISTINCT k, b FROM src`,
		},
		"UPDATE": {
			`SELECT k, count(*) AS n, min(p.y) AS y, max(l[1]) AS l, bool_and(b) AS b FROM src GROUP BY k`,
			`SELECT k, median(id) AS m, list(DISTINCT p.y ORDER BY p.y) AS y FROM src GROUP BY k`,
			`SELECT k, arg_max(p.y, id) AS y, any_value(k) AS a, count(DISTINCT p.y) AS d FROM src GROUP BY k`,
		},
		"COMPLETE": {`SELECT k, l[1] AS f, first(p ORDER BY id) AS p, count(*) AS n FROM src GROUP BY k, f`},
	} {
		for i, body := range bodies {
			t.Run(fmt.Sprint(mode, i), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, recycledSource+"CREATE QUERY q INTO mem OUTPUT MODE "+mode+" AS "+body+";")
				mem := w.disk.(*vfs.Mem)
				for n := range 6 {
					put(t, mem, fmt.Sprintf("/in/%02d.ndjson", n), recycledRows(n))
				}
				q, err := engine.Open(t.Context(), w.options(), w.app, "q")
				require.NoError(t, err)
				require.NoError(t, q.Finish(t.Context()))
				require.NoError(t, q.Close(t.Context()))
				require.Equal(t, answer(t, w), w.table())
			})
		}
	}
}

// answer is what one batch run over all of history gives, whose memory is not filled again.
func answer(t *testing.T, w *world) (list []string) {
	t.Helper()
	res, err := engine.Batch(t.Context(), w.options(), w.app, "q", engine.BatchOptions{})
	require.NoError(t, err)
	defer res.Release()
	for _, rec := range res.Result.Records {
		for i := range int(rec.NumRows()) {
			var row []any
			for _, c := range rec.Columns() {
				row = append(row, rowenc.Value(c, i))
			}
			list = append(list, fmt.Sprintln(row...))
		}
	}
	sort.Strings(list)
	return list
}
