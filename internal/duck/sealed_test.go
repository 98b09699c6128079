package duck

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// forbidden are statements that reach out of a sealed database or undo the seal. %dir% is a readable folder.
func forbidden(dir string) []string {
	csv, db := QuoteLiteral(filepath.Join(dir, "f.csv")), QuoteLiteral(filepath.Join(dir, "other.db"))
	out := QuoteLiteral(filepath.Join(dir, "out"))
	return []string{
		"FROM read_csv(" + csv + ")",
		"FROM read_csv_auto(" + csv + ")",
		"FROM " + csv,
		"SELECT * FROM \"" + filepath.Join(dir, "f.csv") + "\"",
		"FROM '" + filepath.Join(dir, "*.csv") + "'",
		"FROM read_json(" + csv + ")",
		"FROM read_json_auto(" + csv + ")",
		"FROM read_json_objects(" + csv + ")",
		"FROM read_ndjson(" + csv + ")",
		"FROM read_ndjson_objects(" + csv + ")",
		"FROM read_parquet(" + csv + ")",
		"FROM parquet_scan(" + csv + ")",
		"FROM parquet_metadata(" + csv + ")",
		"FROM parquet_schema(" + csv + ")",
		"FROM parquet_file_metadata(" + csv + ")",
		"FROM parquet_kv_metadata(" + csv + ")",
		"FROM read_text(" + csv + ")",
		"FROM read_blob(" + csv + ")",
		"FROM glob('" + dir + "/*')",
		"FROM sniff_csv(" + csv + ")",
		"CREATE TABLE stolen AS FROM read_text('/etc/passwd')",
		"COPY (SELECT 1) TO " + out,
		"COPY (SELECT 1) TO " + out + " (FORMAT parquet)",
		"COPY (SELECT 1) TO " + out + " (FORMAT json)",
		"COPY (SELECT 1) TO '/dev/stdout'",
		"CREATE TABLE t(a VARCHAR); COPY t FROM " + csv,
		"ATTACH " + db + " AS other",
		"ATTACH " + db + " AS other (READ_ONLY)",
		"ATTACH 'http://127.0.0.1:1/x.db' AS other",
		"ATTACH 'sqlite:" + filepath.Join(dir, "x") + "'",
		"EXPORT DATABASE " + out,
		"IMPORT DATABASE " + out,
		"INSTALL httpfs",
		"FORCE INSTALL icu",
		"INSTALL " + out,
		"LOAD httpfs",
		"LOAD " + out,
		"FROM 'https://127.0.0.1:1/x.csv'",
		"FROM 's3://bucket/x.parquet'",
		"SET memory_limit='64GB'",
		"SET threads=64",
		"SET enable_external_access=true",
		"SET lock_configuration=false",
		"RESET lock_configuration",
		"RESET memory_limit",
		"SET temp_directory=" + out,
		"SET max_temp_directory_size='1TB'",
		"SET autoinstall_known_extensions=true",
		"SET autoload_known_extensions=true",
		"SET allow_community_extensions=true",
		"SET allow_unsigned_extensions=true",
		"SET extension_directory=" + out,
		"SET secret_directory=" + out,
		"SET home_directory=" + out,
		"PRAGMA memory_limit='64GB'",
		"PRAGMA threads=64",
		"CREATE PERSISTENT SECRET s (TYPE S3)",
		"FROM arrow_scan(1, 2, 3)",
		"FROM arrow_scan_dumb(1, 2, 3)",
		"FROM seq_scan('x')",
		"SELECT getenv('HOME')",
		"SELECT * FROM query('FROM read_text(''/etc/passwd'')')",
	}
}

func TestASealedDatabaseReachesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f.csv"), []byte("a,b\n1,2\n"), 0o600))
	db, first := openTest(t, Options{Sealed: true, TempDir: filepath.Join(dir, "spill")})
	second, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, second.Close()) }()
	stmts := forbidden(dir)
	require.GreaterOrEqual(t, len(stmts), 40)
	for _, c := range []*Conn{first, second} {
		for _, stmt := range stmts {
			_, err := c.Exec(t.Context(), stmt)
			var e *Error
			require.ErrorAs(t, err, &e, stmt)
			require.NotEqual(t, Fatal, e.Kind, stmt)
		}
		_, err = c.Exec(t.Context(), "SET memory_limit='64GB'")
		requireKind(t, Permission, err)
		_, err = c.Exec(t.Context(), "FROM read_text('/etc/passwd')")
		requireKind(t, Permission, err)
		_, err = c.Exec(t.Context(), "DROP TABLE IF EXISTS t")
		require.NoError(t, err)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range left {
		require.Contains(t, []string{"f.csv", "spill"}, entry.Name())
	}
	rec := batchOf(t, memory.DefaultAllocator, 5)
	defer rec.Release()
	require.NoError(t, first.Import(t.Context(), "x", "", []arrow.Record{rec}, rec.Schema()))
	rows, err := first.Rows(t.Context(), "SELECT count(*) FROM x")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(5)}}, rows)
}

// TestTheSealShutsOnlyItsOwnInstance proves that the statements above fail by the seal, and not by
// themselves.
func TestTheSealShutsOnlyItsOwnInstance(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "f.csv"), []byte("a,b\n1,2\n"), 0o600))
	openTest(t, Options{Sealed: true})
	_, loader := openTest(t, Options{})
	for _, stmt := range []string{
		"FROM read_csv('" + dir + "/f.csv')", "FROM '" + dir + "/f.csv'",
		"FROM read_text('" + dir + "/f.csv')",
		"COPY (SELECT 1) TO '" + dir + "/out.csv'", "ATTACH '" + dir + "/other.db' AS other", "SET threads=2",
	} {
		_, err := loader.Exec(t.Context(), stmt)
		require.NoError(t, err, stmt)
	}
	settings, err := loader.Rows(t.Context(), `SELECT value FROM duckdb_settings() WHERE name IN
		('autoinstall_known_extensions', 'autoload_known_extensions', 'allow_community_extensions',
		'allow_persistent_secrets')`)
	require.NoError(t, err)
	require.Equal(t, [][]any{{"false"}, {"false"}, {"false"}, {"false"}}, settings)
}

const bigSQL = "SELECT i, md5(i::VARCHAR) AS a, md5((i + 1)::VARCHAR) AS b FROM range(250000) t(i) ORDER BY a"

func TestOutOfMemoryLeavesTheConnectionUsable(t *testing.T) {
	t.Parallel()
	for _, sealed := range []bool{false, true} {
		_, c := openTest(t, Options{Sealed: sealed, MemoryLimit: 24 << 20, Threads: 2})
		for range 2 {
			_, err := c.Select(t.Context(), bigSQL)
			e := requireKind(t, OutOfMemory, err)
			require.False(t, e.RowFault())
			rows, err := c.Rows(t.Context(), "SELECT count(*) FROM range(1000)")
			require.NoError(t, err)
			require.Equal(t, [][]any{{int64(1000)}}, rows)
		}
	}
}

func TestASealedDatabaseSpills(t *testing.T) {
	t.Parallel()
	spill := filepath.Join(t.TempDir(), "spill of 'it'")
	_, c := openTest(t, Options{Sealed: true, MemoryLimit: 24 << 20, Threads: 2, TempDir: spill})
	n, err := c.Exec(t.Context(), "CREATE TEMP TABLE big AS "+bigSQL)
	require.NoError(t, err)
	require.Equal(t, int64(250_000), n)
	rows, err := c.Rows(t.Context(), "SELECT count(*), count(*) FILTER (a < before) FROM "+
		"(SELECT a, lag(a) OVER () AS before FROM big)")
	require.NoError(t, err)
	require.Equal(t, [][]any{{int64(250_000), int64(0)}}, rows)
	files, err := os.ReadDir(spill)
	require.NoError(t, err)
	require.NotEmpty(t, files)
}

func TestSpillingIsBounded(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{Sealed: true, MemoryLimit: 24 << 20, Threads: 2, TempDir: t.TempDir(),
		TempMax: 8 << 20})
	_, err := c.Select(t.Context(), bigSQL)
	requireKind(t, OutOfMemory, err)
	_, err = c.Rows(t.Context(), "SELECT 1")
	require.NoError(t, err)
}

func TestOpenRefusesBadOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{MemoryLimit: -1}, {Threads: -1}, {TempMax: -1}, {Path: "a?b"},
		{Path: "100%"},
		{TempDir: "a\x00b"}} {
		_, err := Open(t.Context(), o)
		requireKind(t, InvalidInput, err)
	}
	_, err := Open(t.Context(), Options{Path: filepath.Join(t.TempDir(), "no", "such", "folder.db")})
	requireKind(t, IO, err)
}
