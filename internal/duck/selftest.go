package duck

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

const selfTestTable = "__selftest"

// selfTested is set when the DuckDB that is linked has passed: another instance is the same code.
var selfTested atomic.Bool //nolint:gochecknoglobals // of the process, as the library is

func selfTestOnce(ctx context.Context, c *Conn) error {
	if selfTested.Load() {
		return nil
	}
	err := selfTest(ctx, c)
	if err == nil {
		selfTested.Store(true)
	}
	return err
}

// selfTest sends rows of several types through Import, with columns swapped, dropped and filtered, and back
// through Select. It fails when a value or the order differs: then the record stream and DuckDB disagree.
func selfTest(ctx context.Context, c *Conn) error {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "s", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "x", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "at", Type: &arrow.TimestampType{Unit: arrow.Microsecond}, Nullable: true},
	}, nil)
	rec := selfTestRecord(schema)
	defer rec.Release()
	tail := rec.NewSlice(1, 3)
	defer tail.Release()
	if err := c.Import(ctx, selfTestTable, "s, x, n, at", []arrow.Record{rec, tail}, schema); err != nil {
		return err
	}
	t, err := c.Select(ctx, "SELECT at, n, s || '!' AS s, sum(n) OVER () AS total FROM "+selfTestTable+
		" WHERE x > 0.5")
	if err != nil {
		return err
	}
	defer t.Release()
	const want = `[1970-01-01 00:00:00.000002Z,2,b!,4 1970-01-01 00:00:00.000002Z,2,b!,4]`
	if got := selfTestText(t); got != want {
		return internalFault("rows sent as Arrow came back as %s, expected %s", got, want)
	}
	_, err = c.Exec(ctx, "DROP TABLE "+selfTestTable)
	return err
}

func selfTestRecord(schema *arrow.Schema) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	b.Field(0).(*array.Int64Builder).AppendValues([]int64{1, 2, 0}, []bool{true, true, false})
	texts := []string{"a", "b", "a text of more than twelve bytes"}
	b.Field(1).(*array.StringBuilder).AppendValues(texts, nil)
	b.Field(2).(*array.Float64Builder).AppendValues([]float64{0.5, 1.5, 0}, []bool{true, true, false})
	b.Field(3).(*array.TimestampBuilder).AppendValues([]arrow.Timestamp{1, 2, 3}, nil)
	return b.NewRecord()
}

func selfTestText(t *Table) string {
	var rows []string
	for _, rec := range t.Records {
		for i := range int(rec.NumRows()) {
			row := ""
			for j, col := range rec.Columns() {
				if j > 0 {
					row += ","
				}
				row += col.ValueStr(i)
			}
			rows = append(rows, row)
		}
	}
	return fmt.Sprint(rows)
}
