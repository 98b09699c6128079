package duck

// #include <stdlib.h>
// #include "arrow_stream.h"
import "C"

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/cdata"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// recordStream lends records to DuckDB. It holds a reference to each array, and the garbage collector keeps
// their buffers in place, until close.
type recordStream struct {
	c       *C.tidemill_stream
	records int
	pins    runtime.Pinner
}

// smallRecordRows is the average below which records are joined before they are lent: DuckDB gives each
// record buffers of full size (5,000 records of one row took 1 GB), and is slowest on many small ones.
const smallRecordRows = 16_384

// newRecordStream exports recs, which must all have been checked against schema.
func newRecordStream(recs []arrow.Record, schema *arrow.Schema) (*recordStream, error) {
	full, err := importRecords(recs, schema)
	if err != nil {
		return nil, err
	}
	defer func() {
		for _, rec := range full {
			rec.Release()
		}
	}()
	return lendRecords(full, schema)
}

// lendRecords exports records that have rows, as they are.
func lendRecords(full []arrow.Record, schema *arrow.Schema) (*recordStream, error) {
	s := &recordStream{c: C.tidemill_stream_new(C.int64_t(len(full))), records: len(full)}
	if s.c == nil {
		return nil, &Error{Kind: OutOfMemory, Message: "no memory for the record stream", Position: -1}
	}
	cdata.ExportArrowSchema(schema, (*cdata.CArrowSchema)(unsafe.Pointer(&s.c.schema)))
	for i, rec := range full {
		if err := s.export(rec, C.tidemill_stream_array(s.c, C.int64_t(i))); err != nil {
			s.c.array_count = C.int64_t(i)
			C.tidemill_stream_arm(s.c)
			s.close()
			s.free()
			return nil, fmt.Errorf("export record %d: %w", i, err)
		}
	}
	C.tidemill_stream_arm(s.c)
	return s, nil
}

// importRecords returns what is to be lent, which the caller releases. Records without rows are left out,
// because the scan takes one for the end of the stream.
func importRecords(recs []arrow.Record, schema *arrow.Schema) ([]arrow.Record, error) {
	var full []arrow.Record
	var rows int64
	for _, rec := range recs {
		if rec.NumRows() > 0 {
			rows += rec.NumRows()
			full = append(full, rec)
		}
	}
	if len(full) > 1 && rows/int64(len(full)) < smallRecordRows {
		return gather(full, schema)
	}
	for _, rec := range full {
		rec.Retain()
	}
	return full, nil
}

// export hands the columns of rec to out, copied where they would be misread.
func (s *recordStream) export(rec arrow.Record, out *C.struct_ArrowArray) error {
	cols := make([]arrow.Array, rec.NumCols())
	defer func() {
		for _, col := range cols {
			if col != nil {
				col.Release()
			}
		}
	}()
	for i, col := range rec.Columns() {
		if !misread(col.Data()) {
			col.Retain()
			cols[i] = col
			continue
		}
		flat, err := array.Concatenate([]arrow.Array{col}, memory.DefaultAllocator)
		if err != nil {
			return fmt.Errorf("copy column %q: %w", rec.ColumnName(i), err)
		}
		cols[i] = flat
	}
	whole := array.NewRecord(rec.Schema(), cols, rec.NumRows())
	defer whole.Release()
	for _, col := range cols {
		s.pin(col.Data())
	}
	cdata.ExportArrowRecordBatch(whole, (*cdata.CArrowArray)(unsafe.Pointer(out)), nil)
	return nil
}

// misread reports whether the reader in DuckDB or the exporter of arrow/go gets the offset of a sliced array
// wrong: the one takes the bits of booleans from the wrong place and forgets the offset of a struct inside a
// list, the other counts the offset of a struct twice.
func misread(data arrow.ArrayData) bool {
	if len(data.Children()) == 0 {
		return data.Offset() != 0 && data.DataType().ID() == arrow.BOOL
	}
	return offsetWithin(data)
}

func offsetWithin(data arrow.ArrayData) bool {
	if data.Offset() != 0 {
		return true
	}
	for _, child := range data.Children() {
		if offsetWithin(child) {
			return true
		}
		if data.DataType().ID() == arrow.STRUCT && child.Len() != data.Len() {
			return true
		}
	}
	return false
}

// pin keeps the buffers where they are: C memory points to them after the export has returned.
func (s *recordStream) pin(data arrow.ArrayData) {
	for _, buf := range data.Buffers() {
		if buf != nil && buf.Len() > 0 {
			s.pins.Pin(&buf.Bytes()[0])
		}
	}
	for _, child := range data.Children() {
		s.pin(child)
	}
}

// scan makes the view name over the stream on con.
func (s *recordStream) scan(con uintptr, name string) error {
	cName := C.CString(name)
	defer C.free(unsafe.Pointer(cName))
	return scanResult(C.tidemill_scan(C.uintptr_t(con), cName, s.c))
}

func scanResult(state C.int) error {
	switch state {
	case 0:
		return nil
	case 2:
		return errNoArrowScan
	default:
		return errScanRefused
	}
}

// interrupt stops the statement that a connection runs, from any goroutine.
func interrupt(con uintptr) { C.tidemill_interrupt(C.uintptr_t(con)) }

// close gives the records back; a view that still names the stream gets an error when it is read.
func (s *recordStream) close() {
	C.tidemill_stream_close(s.c)
	s.pins.Unpin()
}

// free ends the stream. It must be closed, and no view may name it any more.
func (s *recordStream) free() {
	C.tidemill_stream_free(s.c)
	s.c = nil
}

var (
	errNoArrowScan = errors.New("the linked DuckDB has no duckdb_arrow_scan (built with no_duckdb_arrow?)")
	errScanRefused = errors.New("duckdb_arrow_scan refused the stream")
)

// rawConnection returns the duckdb_connection of a driver connection. The driver does not export it; the
// field is looked up by name, and a driver that has another shape is refused instead of trusted.
func rawConnection(con driver.Conn) (uintptr, error) {
	v := reflect.ValueOf(con)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return 0, fmt.Errorf("driver connection is a %T, expected a pointer to a struct", con)
	}
	field := v.Elem().FieldByName("duckdbCon")
	if !field.IsValid() || field.Kind() != reflect.Pointer || field.IsNil() {
		return 0, fmt.Errorf("driver connection %T has no usable field duckdbCon", con)
	}
	return field.Pointer(), nil
}
