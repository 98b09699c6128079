package exec

import (
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/invariant"
)

// positionBits is how much of a position numbers rows within a batch.
const positionBits = 31

// positionMemory is where the positions of a batch lie. After one run over all of history nothing would fill it again.
func (s *Session) positionMemory() memory.Allocator {
	if s.batch {
		return memory.DefaultAllocator
	}
	return &s.positions
}

// Idle gives up memory that is kept for the next batch, which is not to be expected soon.
func (s *Session) Idle() { s.positions.Drop() }

// positioned appends __pos to the records and leaves excluded rows out.
func (src *sourceRun) positioned(schema *arrow.Schema, batch int64, mem memory.Allocator) (out []arrow.Record, err error) {
	invariant.Check(src.base+src.rows < 1<<positionBits, "batch has %d rows", src.base+src.rows)
	ordinal := int64(0)
	for _, rec := range src.records {
		cols, err := src.read(rec)
		if err != nil {
			return out, err
		}
		pos := sequence(batch<<positionBits|(src.base+ordinal), int(rec.NumRows()), mem)
		whole := array.NewRecord(schema, append(cols, pos), rec.NumRows())
		pos.Release()
		out = append(out, src.slices(whole, ordinal)...)
		whole.Release()
		ordinal += rec.NumRows()
	}
	return out, nil
}

// sequence returns n numbers from first on.
func sequence(first int64, n int, mem memory.Allocator) arrow.Array {
	buf := memory.NewResizableBuffer(mem)
	defer buf.Release()
	buf.Resize(arrow.Int64Traits.BytesRequired(n))
	values := arrow.Int64Traits.CastFromBytes(buf.Bytes())
	for i := range values {
		values[i] = first + int64(i)
	}
	data := array.NewData(arrow.PrimitiveTypes.Int64, n, []*memory.Buffer{nil, buf}, nil, 0, 0)
	defer data.Release()
	return array.NewInt64Data(data)
}

// ordinal is the number of a position's row among the source's rows in this batch.
func (src *sourceRun) ordinal(pos int64) int64 { return pos&(1<<positionBits-1) - src.base }
