package duck

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// TestTakeIsAJoin takes rows of two tables together, with columns of each width and with NULLs, out of records that are
// slices, and compares them with what DuckDB's join gives.
func TestTakeIsAJoin(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	exec := func(sql string) {
		t.Helper()
		_, err := c.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	query := func(sql string, cols []Column) *Table {
		t.Helper()
		got, err := c.Query(t.Context(), nil, sql, cols)
		require.NoError(t, err)
		t.Cleanup(got.Release)
		return got
	}
	const value = "CASE WHEN i % 7 <> 0 THEN "
	exec("CREATE TEMP TABLE l AS SELECT i * 3 AS p, " + value + "repeat('é', (i % 40)::INT) END AS s, " + value + "i % 3 = 0 END AS b, " +
		value + "(i % 100)::TINYINT END AS n8, (i % 30000)::SMALLINT AS n16, i::INTEGER AS n32 FROM range(5000) t(i)")
	exec("CREATE TEMP TABLE r AS SELECT i * 5 + 1 AS p, " + value + "make_timestamp(i * 1000) END AS at, (i * 7)::DECIMAL(30, 2) AS d, " +
		"encode(i::VARCHAR) AS x, i::DOUBLE AS f, 'same' AS s FROM range(4000) t(i)")
	exec("CREATE TEMP TABLE w AS SELECT (i * 7919 % 5000) * 3 AS lp, (i * 104729 % 4000) * 5 + 1 AS rp, i FROM range(150000) t(i)")
	left := []Column{{"p", "BIGINT"}, {"s", "VARCHAR"}, {"b", "BOOLEAN"}, {"n8", "TINYINT"}, {"n16", "SMALLINT"}, {"n32", "INTEGER"}}
	right := []Column{{"p", "BIGINT"}, {"at", "TIMESTAMP"}, {"d", "DECIMAL(30,2)"}, {"x", "BLOB"}, {"f", "DOUBLE"}, {"s", "VARCHAR"}}
	var cols []Taken
	for i := 1; i <= 5; i++ {
		cols = append(cols, Taken{"l_" + left[i].Name, 0, i}, Taken{"r_" + right[i].Name, 1, i})
		require.True(t, Takes(left[i].Type))
		require.True(t, Takes(right[i].Type))
	}
	want := query("SELECT l.s AS l_s, r.at AS r_at, l.b AS l_b, r.d AS r_d, l.n8 AS l_n8, r.x AS r_x, l.n16 AS l_n16, r.f AS r_f, "+
		"l.n32 AS l_n32, r.s AS r_s FROM w JOIN l ON l.p = w.lp JOIN r ON r.p = w.rp ORDER BY w.i",
		[]Column{{"l_s", "VARCHAR"}, {"r_at", "TIMESTAMP"}, {"l_b", "BOOLEAN"}, {"r_d", "DECIMAL(30,2)"}, {"l_n8", "TINYINT"},
			{"r_x", "BLOB"}, {"l_n16", "SMALLINT"}, {"r_f", "DOUBLE"}, {"l_n32", "INTEGER"}, {"r_s", "VARCHAR"}})
	which := query("SELECT lp, rp FROM w ORDER BY i", []Column{{"lp", "BIGINT"}, {"rp", "BIGINT"}})
	got, err := c.Take(which, []*Table{sliced(query("FROM l", left), 1700), sliced(query("FROM r", right), 999)}, cols)
	require.NoError(t, err)
	defer got.Release()
	require.True(t, got.Schema.Equal(want.Schema), "%s\n%s", got.Schema, want.Schema)
	a, b := array.NewTableFromRecords(want.Schema, want.Records), array.NewTableFromRecords(got.Schema, got.Records)
	defer a.Release()
	defer b.Release()
	require.EqualValues(t, 150_000, b.NumRows())
	for i, col := range cols {
		require.True(t, array.ChunkedEqual(a.Column(i).Data(), b.Column(i).Data()), col.Name)
	}
	_, err = c.Take(which, []*Table{query("FROM r", right), query("FROM r", right)}, nil)
	require.ErrorContains(t, err, "is not there")
	require.False(t, Takes("INTEGER[]"))
}

// sliced cuts the records of a table into pieces that begin inside of their buffers.
func sliced(t *Table, rows int64) *Table {
	out := &Table{Schema: t.Schema}
	for _, rec := range t.Records {
		for from := int64(0); from < rec.NumRows(); from += rows {
			out.Records = append(out.Records, rec.NewSlice(from, min(from+rows, rec.NumRows())))
		}
	}
	return out
}

// TestTakeOverflows takes long texts many times: in records of bounded size, most of them where large results lie.
func TestTakeOverflows(t *testing.T) {
	t.Parallel()
	mem := memory.NewCheckedAllocator(memory.NewGoAllocator())
	defer mem.AssertSize(t, 0)
	_, c := openTest(t, Options{Overflow: Overflow{After: 20 << 20, Memory: mem}})
	query := func(sql string, cols ...Column) *Table {
		t.Helper()
		got, err := c.Query(t.Context(), nil, sql, cols)
		require.NoError(t, err)
		return got
	}
	side := query("SELECT i, repeat('x', 10_000) AS x FROM range(10) t(i)", Column{"i", "BIGINT"}, Column{"x", "VARCHAR"})
	defer side.Release()
	which := query("SELECT i % 10 AS i FROM range(10_000) t(i)", Column{"i", "BIGINT"})
	defer which.Release()
	got, err := c.Take(which, []*Table{side}, []Taken{{"x", 0, 1}})
	require.NoError(t, err)
	defer got.Release()
	require.EqualValues(t, 10_000, got.NumRows())
	require.Greater(t, mem.CurrentAlloc(), 70<<20)
	for _, rec := range got.Records {
		require.LessOrEqual(t, RecordBytes(rec), int64(resultBytesMax)+1<<10)
		require.Equal(t, arrow.STRING, rec.Column(0).DataType().ID())
	}
}
