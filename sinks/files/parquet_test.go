package files

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/stream"
)

// fileOf writes one file of a result.
func fileOf(t *testing.T, c codec, result *duck.Table) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := c.create(&out, result.Schema)
	require.NoError(t, err)
	for _, r := range result.Records {
		require.NoError(t, w.write(r))
	}
	require.NoError(t, w.close())
	return out.Bytes()
}

// olderFileOf writes one as earlier versions did: by Arrow's own writer.
func olderFileOf(t *testing.T, result *duck.Table) []byte {
	t.Helper()
	var out bytes.Buffer
	props := parquet.NewWriterProperties(parquet.WithCompression(compress.Codecs.Zstd), parquet.WithVersion(parquet.V2_LATEST))
	w, err := pqarrow.NewFileWriter(result.Schema, &out, props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	require.NoError(t, err)
	for _, r := range result.Records {
		require.NoError(t, w.WriteBuffered(r))
	}
	require.NoError(t, w.Close())
	return out.Bytes()
}

// TestMergeOfOlderFiles merges files of earlier versions with such of this one, in any order.
func TestMergeOfOlderFiles(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	const sql = "SELECT * EXCLUDE (arr) FROM (" + everyType + ")" // earlier versions could not merge arrays that are NULL
	result, err := d.conn.Select(t.Context(), sql)
	require.NoError(t, err)
	defer result.Release()
	c, err := newCodec("parquet", stream.SinkConfig{})
	require.NoError(t, err)
	older, newer := olderFileOf(t, result), fileOf(t, c, result)
	require.NoError(t, os.MkdirAll(d.root, 0o700))
	for i, files := range [][][]byte{{older, newer, older}, {newer, older}, {older}} {
		var out bytes.Buffer
		n := len(files)
		require.NoError(t, c.merge(t.Context(), &out, func() ([]byte, error) {
			if len(files) == 0 {
				return nil, io.EOF
			}
			next := files[0]
			files = files[1:]
			return next, nil
		}))
		path := filepath.Join(d.root, fmt.Sprintf("%d.parquet", i))
		require.NoError(t, os.WriteFile(path, out.Bytes(), 0o600))
		d.same(fmt.Sprintf("SELECT e.* REPLACE (huge::DECIMAL(38,0) AS huge, u::VARCHAR AS u, en::VARCHAR AS en) FROM (%s) e, range(%d)", sql, n),
			fmt.Sprintf("SELECT * FROM '%s'", path))
	}
}

// TestNoRows writes a file without rows, which readers read all the same.
func TestNoRows(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	result, err := d.conn.Select(t.Context(), everyType+" WHERE false")
	require.NoError(t, err)
	defer result.Release()
	c, err := newCodec("parquet", stream.SinkConfig{})
	require.NoError(t, err)
	data := fileOf(t, c, result)
	pf, err := file.NewParquetReader(bytes.NewReader(data))
	require.NoError(t, err)
	require.Zero(t, pf.NumRows())
	require.NoError(t, pf.Close())
	path := filepath.Join(t.TempDir(), "empty.parquet")
	require.NoError(t, os.WriteFile(path, data, 0o600))
	d.same("SELECT * REPLACE ("+asRead+") FROM ("+everyType+" WHERE false)", fmt.Sprintf("SELECT * FROM '%s'", path))
}

// TestParquetFigures compares the least and the greatest of every row group's columns in the footer, by which readers skip
// row groups, with the rows'.
func TestParquetFigures(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	const sql = `SELECT i, CASE WHEN i % 3 > 0 THEN (i * 7919 % 100003)::INTEGER - 50000 END AS n, (i * 31 % 65536)::USMALLINT AS u, (i * 7919 % 251)::UTINYINT AS u8,
		18446744073709551615 - (i * 104729 % 1000003)::UBIGINT AS u64, 't' || i % 5000 AS s, CASE WHEN i < 150000 THEN i % 7 - 3.5 END::DOUBLE AS x,
		(i % 1000 - 500)::DECIMAL(9,2) AS d, (i - 100000)::DECIMAL(38,4) AS d38, DATE '2026-01-01' - (i % 77)::INTEGER AS day, TIMESTAMP '1969-01-01' + to_seconds(i * 1000) AS ts,
		TIME '00:00:00' + to_seconds(i % 80000) AS tod FROM range(300000) t(i)`
	d.write(Parquet(), nil, sql)
	columns, err := d.conn.Describe(t.Context(), sql)
	require.NoError(t, err)
	for _, c := range columns {
		want := d.rows(`SELECT i // 122880 AS g, min(%[1]s)::VARCHAR, max(%[1]s)::VARCHAR, count(*) - count(%[1]s) FROM (%[2]s) GROUP BY g ORDER BY g`, c.Name, sql)
		got := d.rows(`SELECT row_group_id, nullif(stats_min_value, '')::%[1]s::VARCHAR, nullif(stats_max_value, '')::%[1]s::VARCHAR, stats_null_count
			FROM parquet_metadata('%[2]s/*.parquet') WHERE path_in_schema = '%[3]s' ORDER BY row_group_id`, c.Type, d.root, c.Name)
		require.Len(t, want, 3)
		require.Equal(t, want, got, c.Name)
	}
}
