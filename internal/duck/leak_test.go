package duck

import (
	"bytes"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/stretchr/testify/require"
)

// residentBytes returns what the process holds after the garbage is collected.
func residentBytes(t *testing.T) int64 {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("no /proc/self/status on this system")
	}
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
			kib, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
			require.NoError(t, err)
			return kib << 10
		}
	}
	t.Fatal("no VmRSS in /proc/self/status")
	return 0
}

// batchOf returns a record of n rows and five columns.
func batchOf(t testing.TB, mem memory.Allocator, n int) arrow.Record {
	t.Helper()
	return batchNamed(mem, n, "tags")
}

// batchNamed is batchOf with a name for the last column.
func batchNamed(mem memory.Allocator, n int, last string) arrow.Record {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "customer", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "amount", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
		{Name: last, Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(mem, schema)
	defer b.Release()
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		b.Field(1).(*array.StringBuilder).Append("customer number " + strconv.Itoa(i%100))
		b.Field(2).(*array.Float64Builder).Append(float64(i) / 4)
		b.Field(3).(*array.TimestampBuilder).Append(arrow.Timestamp(i))
		l := b.Field(4).(*array.ListBuilder)
		l.Append(true)
		l.ValueBuilder().(*array.StringBuilder).Append("a")
	}
	return b.NewRecord()
}

// runBatches takes n batches of rows rows in and out and returns how much the process grew over the last three quarters
// of them. Each is imported and selected from; with feed, every other one is lent and queried instead. A schema that
// stays behind shows by the length of its names, which DuckDB copies and hashes many times.
func runBatches(t *testing.T, n, rows, nameBytes int, feed bool) int64 {
	t.Helper()
	_, c := openTest(t, Options{Sealed: true, Threads: 2})
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	longName := strings.Repeat("n", nameBytes)
	lender, err := c.OpenFeed(t.Context(), "__feed", []Column{{Name: "id", Type: "BIGINT"},
		{Name: "customer", Type: "VARCHAR"}, {Name: "amount", Type: "DOUBLE"}, {Name: "ts", Type: "TIMESTAMP"},
		{Name: longName, Type: "VARCHAR[]"}})
	require.NoError(t, err)
	defer func() { require.NoError(t, lender.Close(t.Context())) }()
	var before int64
	for i := range n {
		if i == n/4 {
			before = residentBytes(t)
		}
		rec := batchNamed(mem, rows, longName)
		const sql = "SELECT customer, sum(amount) AS total FROM delta GROUP BY customer"
		var tb *Table
		var err error
		if feed && i%2 == 1 {
			require.NoError(t, lender.Lend([]arrow.Record{rec}))
			tb, err = c.Query(t.Context(), []string{FeedSQL("__feed", "delta", "*", false)}, sql, []Column{{Name: "customer",
				Type: "VARCHAR"}, {Name: "total", Type: "DOUBLE"}})
			lender.Return()
		} else {
			selection := ""
			if i%4 == 0 {
				selection = "amount, customer, ts"
			}
			require.NoError(t, c.Import(t.Context(), "delta", selection, []arrow.Record{rec}, rec.Schema()))
			tb, err = c.Select(t.Context(), sql)
		}
		rec.Release()
		require.NoError(t, err)
		require.Equal(t, int64(min(rows, 100)), tb.NumRows())
		tb.Release()
	}
	grown := residentBytes(t) - before
	t.Logf("grew by %d KiB over %d batches", grown>>10, n-n/4)
	return grown
}

// TestBatchesLeaveNothingBehind asks that a batch frees what it took. A schema is over 4 KB here: those of the 7,500
// imported batches, or of the 7,500 lent ones, would be over 30 MB. In the short run it is over 20 KB, and those of 1,500
// imported batches are as much.
func TestBatchesLeaveNothingBehind(t *testing.T) {
	batches, nameBytes := 20_000, 4_000
	if testing.Short() {
		batches, nameBytes = 2000, 20_000
	}
	grown := runBatches(t, batches, 100, nameBytes, !testing.Short())
	require.Less(t, grown, int64(16<<20+raceSlack), "grew by %d KiB over the last three quarters", grown>>10)
}

// TestFailedImportsLeaveNothingBehind takes the paths on which the view could not be read or dropped.
func TestFailedImportsLeaveNothingBehind(t *testing.T) {
	_, c := openTest(t, Options{Sealed: true})
	mem := memory.NewCheckedAllocator(memory.DefaultAllocator)
	defer mem.AssertSize(t, 0)
	rec := batchOf(t, mem, 100)
	defer rec.Release()
	recs := []arrow.Record{rec}
	for range 50 {
		requireKind(t, Conversion, c.Import(t.Context(), "x", "customer::INTEGER", recs, rec.Schema()))
		requireKind(t, Binder, c.Import(t.Context(), "x", "nope", recs, rec.Schema()))

		_, err := c.Exec(t.Context(), "BEGIN")
		require.NoError(t, err)
		requireKind(t, Conversion, c.Import(t.Context(), "x", "customer::INTEGER", recs, rec.Schema()))
		// In the aborted transaction nothing works until ROLLBACK, and says so.
		require.Error(t, c.Import(t.Context(), "x", "", recs, rec.Schema()))
		_, err = c.Exec(t.Context(), "ROLLBACK")
		require.NoError(t, err)
	}
	views, err := c.Rows(t.Context(), "SELECT view_name FROM duckdb_views() WHERE NOT internal")
	require.NoError(t, err)
	require.Empty(t, views)
}

// TestAViewOverAClosedStreamFailsCleanly reads what must never be read.
func TestAViewOverAClosedStreamFailsCleanly(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	rec := batchOf(t, memory.DefaultAllocator, 10)
	defer rec.Release()
	stream, err := newRecordStream([]arrow.Record{rec}, rec.Schema())
	require.NoError(t, err)
	require.NoError(t, stream.scan(c.raw, "v"))
	stream.close()
	stream.close()
	_, err = c.Rows(t.Context(), "FROM v")
	var e *Error
	require.ErrorAs(t, err, &e)
	_, err = c.Exec(t.Context(), "DROP VIEW v")
	require.NoError(t, err)
	stream.free()
}

func TestImportInATransactionIsPartOfIt(t *testing.T) {
	t.Parallel()
	_, c := openTest(t, Options{})
	rec := batchOf(t, memory.DefaultAllocator, 10)
	defer rec.Release()
	for _, end := range []string{"COMMIT", "ROLLBACK"} {
		_, err := c.Exec(t.Context(), "BEGIN; CREATE OR REPLACE TABLE kept AS SELECT 1 AS x")
		require.NoError(t, err)
		require.NoError(t, c.Import(t.Context(), "imported", "", []arrow.Record{rec}, rec.Schema()))
		tb, err := c.Select(t.Context(), "SELECT count(*) AS n FROM imported")
		require.NoError(t, err)
		require.Equal(t, "10", tb.Records[0].Column(0).ValueStr(0))
		tb.Release()
		_, err = c.Exec(t.Context(), end)
		require.NoError(t, err)
		_, err = c.Rows(t.Context(), "FROM imported")
		require.Equal(t, end == "ROLLBACK", err != nil)
		_, err = c.Exec(t.Context(), "DROP TABLE IF EXISTS imported; DROP TABLE IF EXISTS kept")
		require.NoError(t, err)
	}
}

func BenchmarkImport100kRows(b *testing.B)  { benchmarkImport(b, 100_000, "") }
func BenchmarkImport100kSome(b *testing.B)  { benchmarkImport(b, 100_000, "ts, amount") }
func BenchmarkImportTinyBatch(b *testing.B) { benchmarkImport(b, 10, "") }
func BenchmarkImportTinySome(b *testing.B)  { benchmarkImport(b, 10, "ts, amount") }

func benchmarkImport(b *testing.B, rows int, selection string) {
	_, c := openTest(b, Options{Sealed: true, Threads: 2})
	rec := batchOf(b, memory.DefaultAllocator, rows)
	defer rec.Release()
	recs := []arrow.Record{rec}
	for b.Loop() {
		require.NoError(b, c.Import(b.Context(), "x", selection, recs, rec.Schema()))
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkSelect100kRows(b *testing.B) {
	_, c := openTest(b, Options{Sealed: true, Threads: 2})
	rec := batchOf(b, memory.DefaultAllocator, 100_000)
	defer rec.Release()
	require.NoError(b, c.Import(b.Context(), "x", "", []arrow.Record{rec}, rec.Schema()))
	for b.Loop() {
		tb, err := c.Select(b.Context(), "FROM x")
		require.NoError(b, err)
		tb.Release()
	}
}

func BenchmarkSelectTiny(b *testing.B) {
	_, c := openTest(b, Options{Sealed: true, Threads: 2})
	for b.Loop() {
		tb, err := c.Select(b.Context(), "SELECT 1 AS x")
		require.NoError(b, err)
		tb.Release()
	}
}
