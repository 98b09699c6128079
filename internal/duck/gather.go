package duck

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// gather joins recs, which have the types of schema, into big records that the caller releases.
func gather(recs []arrow.Record, schema *arrow.Schema) ([]arrow.Record, error) {
	return gatherUpTo(recs, schema, recordRowsMax)
}

// gatherUpTo is gather with another bound on the rows of a record.
func gatherUpTo(recs []arrow.Record, schema *arrow.Schema, rows int64) ([]arrow.Record, error) {
	g := newGatherer(schema, rows)
	defer g.drop()
	for _, rec := range recs {
		if err := g.add(rec); err != nil {
			return nil, err
		}
	}
	if err := g.flush(); err != nil {
		return nil, err
	}
	return g.take().Records, nil
}

// Overflow is where records of results lie that have no room in the memory of Go.
type Overflow struct {
	After  int64            // bytes of a result that are Go's
	Memory memory.Allocator // for what comes then; nil: all of it is Go's
}

// gatherer joins small records into big ones in the memory of Go, or in what overflow has for it.
type gatherer struct {
	schema   *arrow.Schema
	rowsMax  int64 // of a record
	bytesMax int64
	overflow Overflow
	out      *Table
	taken    int64 // bytes of out
	parts    []arrow.Record
	rows     int64
	bytes    int64
}

func newGatherer(schema *arrow.Schema, rowsMax int64) gatherer {
	return gatherer{schema: schema, rowsMax: rowsMax, bytesMax: recordBytesMax, out: &Table{Schema: schema}}
}

// add retains rec until the next flush.
func (g *gatherer) add(rec arrow.Record) error {
	if rec.NumRows() == 0 {
		return nil
	}
	for i, f := range g.schema.Fields() {
		if got := rec.Column(i).DataType(); !arrow.TypeEqual(got, f.Type) {
			return internalFault("column %q came as %s, expected %s", f.Name, got, f.Type)
		}
	}
	size := RecordBytes(rec)
	if len(g.parts) > 0 && (g.rows+rec.NumRows() > g.rowsMax || g.bytes+size > g.bytesMax) {
		if err := g.flush(); err != nil {
			return err
		}
	}
	rec.Retain()
	g.parts = append(g.parts, rec)
	g.rows += rec.NumRows()
	g.bytes += size
	return nil
}

// flush copies the parts into one record of the table.
func (g *gatherer) flush() error {
	if len(g.parts) == 0 {
		return nil
	}
	cols := make([]arrow.Array, g.schema.NumFields())
	defer func() {
		for _, col := range cols {
			if col != nil {
				col.Release()
			}
		}
	}()
	slices := make([]arrow.Array, len(g.parts))
	for i := range cols {
		for j, part := range g.parts {
			slices[j] = part.Column(i)
		}
		col, err := array.Concatenate(slices, g.memory())
		if err != nil {
			return fmt.Errorf("gather column %q: %w", g.schema.Field(i).Name, err)
		}
		cols[i] = col
	}
	g.out.Records = append(g.out.Records, array.NewRecord(g.schema, cols, g.rows))
	g.taken += g.bytes
	g.releaseParts()
	return nil
}

// memory is where the parts are copied to.
func (g *gatherer) memory() memory.Allocator {
	if g.overflow.Memory == nil || g.taken+g.bytes <= g.overflow.After {
		return memory.DefaultAllocator
	}
	return g.overflow.Memory
}

func (g *gatherer) releaseParts() {
	for _, part := range g.parts {
		part.Release()
	}
	g.parts, g.rows, g.bytes = g.parts[:0], 0, 0
}

// take hands the table over.
func (g *gatherer) take() *Table {
	t := g.out
	g.out = nil
	return t
}

// drop releases what has not been taken.
func (g *gatherer) drop() {
	g.releaseParts()
	if g.out != nil {
		g.out.Release()
	}
}

// RecordBytes returns how many bytes the buffers of a record have, those of a slice as a whole.
func RecordBytes(rec arrow.Record) int64 {
	var n int64
	for _, col := range rec.Columns() {
		n += dataBytes(col.Data())
	}
	return n
}

func dataBytes(data arrow.ArrayData) int64 {
	var n int64
	for _, buf := range data.Buffers() {
		if buf != nil {
			n += int64(buf.Len())
		}
	}
	for _, child := range data.Children() {
		n += dataBytes(child)
	}
	return n
}
