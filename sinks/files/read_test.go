package files

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemill/tidemill/internal/duck"
	"github.com/tidemill/tidemill/internal/duck/ducktest"
	"github.com/tidemill/tidemill/internal/vfs"
	"github.com/tidemill/tidemill/sinks/sinktest"
	"github.com/tidemill/tidemill/stream"
)

// everyType is a result with every type that DuckDB hands over, NULLs and extremes included.
const everyType = `SELECT i, CASE WHEN i % 7 <> 0 THEN i % 2 = 0 END AS b, (i % 100)::TINYINT AS i8, i::SMALLINT AS i16, i::INTEGER AS i32,
	CASE WHEN i % 5 <> 0 THEN -9223372036854775807 + i END AS i64, i::UTINYINT AS u8, i::USMALLINT AS u16, i::UINTEGER AS u32,
	18446744073709551615 - i::UBIGINT AS u64, (170141183460469231731687303715884105::HUGEINT - i) AS huge,
	(i / 3)::DECIMAL(9,2) AS d9, CASE WHEN i % 3 <> 0 THEN (-i)::DECIMAL(38,10) END AS d38, (i / 7)::FLOAT AS f32, CASE i WHEN 1 THEN 'NaN'::DOUBLE WHEN 2 THEN 'inf'::DOUBLE ELSE i / 7 END AS f64,
	CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'a"b,c' || chr(10) || 'd' ELSE 'Ærø ' || i END AS s, encode('x' || i) AS blob,
	DATE '2026-01-01' + (i * 100)::INTEGER AS day, TIMESTAMP '2026-01-01 00:00:00.000001' - to_seconds(i * 100000007) AS ts, TIME '00:00:00.000001' + to_seconds(i) AS tod,
	CASE WHEN i % 6 <> 0 THEN [i, NULL, i + 1] END AS list, [[i], [], NULL] AS lists, {'x': i, 'y': CASE WHEN i % 2 = 0 THEN 'q' END} AS st,
	CASE WHEN i % 5 <> 1 THEN MAP {'k' || i: i, 'z': NULL} END AS m, [{'a': i}] AS ls,
	(CASE WHEN i % 4 <> 3 THEN [i, NULL, i] END)::BIGINT[3] AS arr, ('0b9e6d2a-0000-4000-8000-' || lpad(i::VARCHAR, 12, '0'))::UUID AS u,
	['ok', 'bad', NULL][i % 3 + 1]::ENUM('ok', 'bad') AS en, to_timestamp(i * 1000.5) AS tz,
	NULL::BIGINT AS none, NULL::VARCHAR[] AS nones, [CASE WHEN i % 3 = 0 THEN MAP {i: ['', NULL, 'é']} END, MAP {}] AS deep
	FROM range(200) t(i)`

// asRead are the columns that files have in another type than DuckDB: it would write a HUGEINT, say, as a DOUBLE.
const asRead = "huge::DECIMAL(38,0) AS huge, u::VARCHAR AS u, en::VARCHAR AS en, arr::BIGINT[] AS arr"

type disk struct {
	t    *testing.T
	conn *duck.Conn
	root string
}

func newDisk(t *testing.T) disk {
	t.Helper()
	conn := ducktest.Conn(t, duck.Options{Threads: 2})
	return disk{t, conn, filepath.Join(t.TempDir(), "out")}
}

func (d disk) rows(sql string, args ...any) [][]any {
	d.t.Helper()
	rows, err := d.conn.Rows(d.t.Context(), fmt.Sprintf(sql, args...))
	require.NoError(d.t, err)
	return rows
}

// write delivers the result of a SELECT, once per batch.
func (d disk) write(connector stream.SinkConnector, options stream.Options, batches ...string) {
	d.t.Helper()
	var sink stream.Sink
	for b, sql := range batches {
		result, err := d.conn.Select(d.t.Context(), sql)
		require.NoError(d.t, err)
		if sink == nil {
			cfg := sinktest.Config(stream.Append)
			cfg.FS, cfg.Schema, cfg.Options = vfs.OS{}, result.Schema, stream.Options{"path": d.root}
			for k, v := range options {
				cfg.Options[k] = v
			}
			sink, err = connector.Open(d.t.Context(), cfg)
			require.NoError(d.t, err)
			require.NoError(d.t, sink.Open(d.t.Context(), sinktest.Owner(sinktest.QueryA, 1, -1)))
		}
		require.NoError(d.t, sink.Write(d.t.Context(), stream.Delivery{
			Marker: sinktest.Marker(sinktest.QueryA, 1, int64(b)), Mode: stream.Append,
			Result: stream.Batch{Schema: result.Schema, Records: result.Records},
		}))
		result.Release()
	}
	require.NoError(d.t, sink.Close())
}

// same requires that two SELECTs give the same rows, duplicates counted, and the same types.
func (d disk) same(want, got string) {
	d.t.Helper()
	a, err := d.conn.Describe(d.t.Context(), want)
	require.NoError(d.t, err)
	b, err := d.conn.Describe(d.t.Context(), got)
	require.NoError(d.t, err)
	require.Equal(d.t, a, b)
	require.Equal(d.t, [][]any{{int64(0), int64(0)}}, d.rows(
		"SELECT (SELECT count(*) FROM ((%[1]s) EXCEPT ALL (%[2]s))), (SELECT count(*) FROM ((%[2]s) EXCEPT ALL (%[1]s)))", want, got))
}

// filters looks for values of every scalar column: a reader skips row groups by the figures in the file's
// footer, so a wrong figure loses rows without a word.
func (d disk) filters(want string) {
	d.t.Helper()
	_, err := d.conn.Exec(d.t.Context(), "CREATE OR REPLACE TEMP TABLE wanted AS "+want)
	require.NoError(d.t, err)
	columns, err := d.conn.Describe(d.t.Context(), "FROM wanted")
	require.NoError(d.t, err)
	for _, c := range columns[:20] {
		for _, op := range []string{"=", "<=", ">=", "<", ">"} {
			for _, i := range []int{1, 2, 57, 100, 199} {
				value := d.rows("SELECT %s::VARCHAR FROM wanted WHERE i = %d LIMIT 1", c.Name, i)[0][0]
				if value == nil {
					continue
				}
				filter := fmt.Sprintf("WHERE %s %s %s::%s", c.Name, op, duck.QuoteLiteral(fmt.Sprint(value)), c.Type)
				require.Equal(d.t, d.rows("SELECT count(*) FROM wanted %s", filter),
					d.rows("SELECT count(*) FROM '%s/*.parquet' %s", d.root, filter), "%s", filter)
			}
		}
	}
}

func TestParquetTypes(t *testing.T) {
	t.Parallel()
	for _, compression := range []string{"zstd", "snappy", "none"} {
		d := newDisk(t)
		d.write(Parquet(), stream.Options{"compression": compression}, everyType, everyType)
		want := "SELECT * REPLACE (" + asRead + ") FROM (" + everyType + " UNION ALL " + everyType + ")"
		d.same(want, fmt.Sprintf("SELECT * FROM read_parquet('%s/**/*.parquet', hive_partitioning = false)", d.root))
		d.same(want, fmt.Sprintf("SELECT * FROM '%s/*.parquet'", d.root))
		if compression == "zstd" { // the figures in the footer are the same
			d.filters(want)
		}
	}
}

// TestParquetMerged reads the same rows after compaction has made one file of many.
func TestParquetMerged(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	batches := make([]string, mergeFiles)
	for i := range batches {
		batches[i] = everyType
	}
	d.write(Parquet(), stream.Options{"compact": true}, batches...)
	found, err := filepath.Glob(d.root + "/*.parquet")
	require.NoError(t, err)
	require.Len(t, found, 1)
	d.same("SELECT e.* REPLACE ("+asRead+") FROM ("+everyType+") e, range(16)",
		fmt.Sprintf("SELECT * FROM '%s/*.parquet'", d.root))
}

// TestParquetLarge crosses the bounds of records and row groups, nested columns included.
func TestParquetLarge(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	const sql = `SELECT i, CASE WHEN i % 3 <> 0 THEN 's' || i % 1000 END AS s, CASE WHEN i % 4 <> 0 THEN [i, NULL] END AS l,
		{'a': i, 'b': [i % 2 = 0]} AS st, MAP {'k': i} AS m FROM range(300000) t(i)`
	d.write(Parquet(), nil, sql)
	const digest = "SELECT count(*), sum(hash(i, s, l, st, m)::HUGEINT) FROM "
	require.Equal(t, d.rows("%s (%s)", digest, sql), d.rows("%s '%s/*.parquet'", digest, d.root))
}

// TestPartitionsInfinite reads infinite dates and timestamps back out of the folders' names.
func TestPartitionsInfinite(t *testing.T) {
	t.Parallel()
	const sql = `SELECT i, CASE i WHEN 0 THEN 'infinity'::DATE WHEN 1 THEN '-infinity'::DATE ELSE '2026-01-02'::DATE END AS day,
		CASE i WHEN 0 THEN 'infinity'::TIMESTAMP WHEN 1 THEN '-infinity'::TIMESTAMP ELSE '2026-01-02 10:00:00.5'::TIMESTAMP END AS ts
		FROM range(3) t(i)`
	d := newDisk(t)
	d.write(JSON(), stream.Options{"partition_by": []string{"day", "ts"}}, sql)
	d.same(sql, fmt.Sprintf("SELECT i, day, ts FROM read_json('%s/**/*.json', columns = {'i': BIGINT}, "+
		"hive_partitioning = true, hive_types = {'day': DATE, 'ts': TIMESTAMP})", d.root))
}

func TestPartitions(t *testing.T) {
	t.Parallel()
	const sql = `SELECT i, CASE i % 6 WHEN 0 THEN NULL WHEN 1 THEN 'NO' WHEN 2 THEN '../../etc' WHEN 3 THEN 'a=b/c% ' WHEN 4 THEN 'NULL' ELSE 'Ærø' END AS country,
		DATE '2026-01-01' + (i % 3)::INTEGER AS day, MAP {'k': i} AS m, [i] AS l, {'a': 'x' || i} AS st, 'v' || i AS s, (i / 4)::DECIMAL(12,3) AS d
		FROM range(1000) t(i)`
	for name, c := range map[string]stream.SinkConnector{"parquet": Parquet(), "json": JSON(), "csv": CSV()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDisk(t)
			d.write(c, stream.Options{"partition_by": []string{"country", "day"}}, sql)
			dirs, err := os.ReadDir(d.root)
			require.NoError(t, err)
			var names []string
			for _, e := range dirs {
				names = append(names, e.Name())
			}
			require.Equal(t, []string{
				"_log", "_staging", "country=%4EULL", "country=%C3%86r%C3%B8", "country=..%2F..%2Fetc", "country=NO",
				"country=__HIVE_DEFAULT_PARTITION__", "country=a%3Db%2Fc%25%20",
			}, names)
			if name == "parquet" {
				d.same(sql, fmt.Sprintf("SELECT i, nullif(country, '__HIVE_DEFAULT_PARTITION__') AS country, day, m, l, st, s, d FROM read_parquet('%s/**/*.parquet', hive_partitioning = true, hive_types = {'country': VARCHAR, 'day': DATE})", d.root))
			}
		})
	}
}
