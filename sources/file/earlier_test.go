package file_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/engine"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sources/file"
	"github.com/tidemill/tidemill/stream"
)

// whole is a source that leaves no columns in its files, as earlier versions did not.
type whole struct{ stream.Source }

// remarkRow is a Parquet file of one row with a number and a text.
func remarkRow(t *testing.T, id int, remark string) string {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "remark", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	return strings.ReplaceAll(parquetOf(t, schema, fmt.Sprintf(`[{"id":%d,"remark":"spoilt"}]`, id)), "spoilt", remark)
}

// TestReplayOfWholeFiles runs batches again that an earlier version committed, for which a file with damage in a column that
// nobody reads was a broken payload: its rows were not in the state, and do not get there.
func TestReplayOfWholeFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, `CREATE SOURCE src (remark VARCHAR, id BIGINT)
		WITH (connector = 'file', path = '/in/*.parquet', format = 'parquet');
	CREATE SINK mem WITH (connector = 'memory');
	CREATE QUERY q INTO mem OUTPUT MODE COMPLETE AS SELECT id, count(*) AS n FROM src GROUP BY id;`)
	mem := w.disk.(*vfs.Mem)
	now := file.Connector()
	earlier := now
	earlier.Open = func(ctx context.Context, cfg stream.SourceConfig) (stream.Source, error) {
		s, err := now.Open(ctx, cfg)
		return whole{s}, err
	}
	put(t, mem, "/in/a.parquet", remarkRow(t, 1, "spoilt"))
	put(t, mem, "/in/b.parquet", remarkRow(t, 1, "\xff\xff\xff\xff\xff\xff"))
	w.reg.Sources["file"] = earlier
	q, err := engine.Open(t.Context(), w.options(), w.app, "q")
	require.NoError(t, err)
	require.NoError(t, q.Idle(t.Context()))
	put(t, mem, "/in/b2.parquet", remarkRow(t, 2, "spoilt"))
	require.NoError(t, q.Idle(t.Context()))
	require.Equal(t, []string{"1 1\n", "2 1\n"}, w.table())
	require.NoError(t, q.Abandon())

	w.reg.Sources["file"] = now
	put(t, mem, "/in/c.parquet", remarkRow(t, 1, "\xff\xff\xff\xff\xff\xff"))
	n := inputs
	require.NoError(t, w.run(&n, mem))
	require.Equal(t, []string{"1 2\n", "2 1\n"}, w.table())
	require.Len(t, lettersOf(t, mem, 0, 1), 1)
}
