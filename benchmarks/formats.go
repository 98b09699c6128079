package benchmarks

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// format is a way to write rows into messages.
type format struct {
	name   string // of the lane
	option string // of CREATE SOURCE
	pack   int    // rows of a message
	encode func(m maker, from, to int64) ([]byte, error)
}

// formats are the lanes of ingest.
func formats() []format {
	return []format{
		{"json", "json", 1, linesOf(maker.Append, false)},
		{"ndjson", "ndjson", 1000, linesOf(maker.Append, true)},
		{"csv", "csv", 1000, linesOf(maker.appendCSV, true)},
		{"arrow", "arrow", 1000, maker.arrow},
	}
}

func linesOf(add func(maker, []byte, int64) []byte, end bool) func(maker, int64, int64) ([]byte, error) {
	return func(m maker, from, to int64) ([]byte, error) {
		body := make([]byte, 0, 260*(to-from))
		for n := from; n < to; n++ {
			if body = add(m, body, n); end {
				body = append(body, '\n')
			}
		}
		return body, nil
	}
}

// appendCSV appends row n to b as a line of CSV.
func (m maker) appendCSV(b []byte, n int64) []byte {
	r := m.row(n)
	b = strconv.AppendInt(b, r.id, 10)
	b = strconv.AppendInt(append(b, ",user-"...), r.user, 10)
	b = append(append(append(append(b, ','), r.country...), ','), r.category...)
	b = appendCents(append(b, ','), r.cents)
	b = append(append(append(append(b, ','), r.note...), ' '), noteTail...)
	return r.at.AppendFormat(append(b, ','), rowTime)
}

func rowSchema() *arrow.Schema {
	text := arrow.BinaryTypes.String
	return arrow.NewSchema([]arrow.Field{{Name: "order_id", Type: arrow.PrimitiveTypes.Int64}, {Name: "user_id", Type: text},
		{Name: "country", Type: text}, {Name: "category", Type: text},
		{Name: "amount", Type: &arrow.Decimal128Type{Precision: 10, Scale: 2}}, {Name: "note", Type: text},
		{Name: "ts", Type: &arrow.TimestampType{Unit: arrow.Microsecond}}}, nil)
}

// arrow returns rows [from, to) as an Arrow IPC stream.
func (m maker) arrow(from, to int64) ([]byte, error) {
	schema := rowSchema()
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	text := func(column int, value string) { b.Field(column).(*array.StringBuilder).Append(value) }
	for n := from; n < to; n++ {
		r := m.row(n)
		b.Field(0).(*array.Int64Builder).Append(r.id)
		text(1, "user-"+strconv.FormatInt(r.user, 10))
		text(2, r.country)
		text(3, r.category)
		b.Field(4).(*array.Decimal128Builder).Append(decimal128.FromI64(r.cents))
		text(5, r.note+" "+noteTail)
		b.Field(6).(*array.TimestampBuilder).Append(arrow.Timestamp(r.at.UnixMicro()))
	}
	rec := b.NewRecord()
	defer rec.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(rec); err != nil {
		return nil, fmt.Errorf("encode rows as Arrow: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encode rows as Arrow: %w", err)
	}
	return out.Bytes(), nil
}
