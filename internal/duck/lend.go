package duck

// #include <stdlib.h>
// #include "lend.h"
import "C"

import (
	"fmt"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
)

// lender is a table function of an instance, which gives the rows of records under its name. DuckDB can not drop a
// function of this kind, so that those which a closed feed leaves are used again.
type lender struct {
	c      *C.tidemill_lender
	name   string
	schema *arrow.Schema
	ready  int // records whose columns have been described
	pins   runtime.Pinner
	held   []arrow.Record
}

// lenders are those of an instance. They live as long as it does.
type lenders struct {
	mu   sync.Mutex
	all  []*lender
	free []*lender
}

// take returns a lender for rows of schema.
func (ls *lenders) take(connection uintptr, schema *arrow.Schema) (*lender, error) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if len(ls.free) == 0 {
		l, err := newLender(connection, "__rows_"+strconv.Itoa(len(ls.all)+1))
		if err != nil {
			return nil, err
		}
		ls.all = append(ls.all, l)
		ls.free = append(ls.free, l)
	}
	l := ls.free[len(ls.free)-1]
	if err := l.describe(schema); err != nil {
		return nil, err
	}
	ls.free = ls.free[:len(ls.free)-1]
	return l, nil
}

// give takes a lender back, which no statement names any more.
func (ls *lenders) give(l *lender) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.free = append(ls.free, l)
}

// close frees all lenders of an instance that has been closed.
func (ls *lenders) close() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.all {
		l.takeBack()
		C.tidemill_lender_free(l.c)
	}
	ls.all, ls.free = nil, nil
}

func newLender(connection uintptr, name string) (*lender, error) {
	text := C.CString(name)
	defer C.free(unsafe.Pointer(text))
	c := C.tidemill_lender_new(C.uintptr_t(connection), text)
	if c == nil {
		return nil, internalFault("DuckDB does not take the table function %s", name)
	}
	return &lender{c: c, name: name}, nil
}

// describe gives the lender the columns of schema, and no rows.
func (l *lender) describe(schema *arrow.Schema) error {
	C.tidemill_lender_columns(l.c, C.int32_t(schema.NumFields()))
	l.schema, l.ready = schema, 0
	return l.room(1)
}

// room makes room for so many records, each described apart.
func (l *lender) room(records int) error {
	if C.tidemill_lender_room(l.c, C.int32_t(records)) != 0 {
		return errNoMemory()
	}
	for ; l.ready < records; l.ready++ {
		for i, f := range l.schema.Fields() {
			if err := describeColumn(l.column(l.ready, i), f); err != nil {
				return err
			}
		}
	}
	return nil
}

// column returns a column of a record.
func (l *lender) column(record, i int) *C.tidemill_column {
	return C.tidemill_column_at(C.tidemill_lender_record(l.c, C.int32_t(record)).column, C.int32_t(i))
}

func errNoMemory() error {
	return &Error{Kind: OutOfMemory, Message: "no memory for lent rows", Position: -1}
}

// describeColumn says what DuckDB is to take a field for. The schema has been found importable.
func describeColumn(c *C.tidemill_column, f arrow.Field) error {
	c.name = C.CString(f.Name)
	var parts []arrow.Field
	switch t := f.Type.(type) {
	case *arrow.Decimal128Type:
		c.width, c.scale = C.int32_t(t.Precision), C.int32_t(t.Scale)
	case *arrow.FixedSizeListType:
		c.width = C.int32_t(t.Len())
		parts = t.Fields()
	case *arrow.LargeStringType, *arrow.LargeBinaryType:
		c.wide = 1
	case *arrow.StructType:
		parts = t.Fields()
	case *arrow.ListType:
		parts = t.Fields()
	case *arrow.MapType:
		parts = t.Fields()
	}
	kind, ok := logicalOf(f.Type)
	if !ok {
		return internalFault("column %q: arrow type %s can not be lent", f.Name, f.Type)
	}
	c._type = C.int32_t(kind)
	if len(parts) == 0 {
		return nil
	}
	if C.tidemill_column_parts(c, C.int32_t(len(parts))) != 0 {
		return errNoMemory()
	}
	for i, part := range parts {
		if err := describeColumn(C.tidemill_column_at(c.part, C.int32_t(i)), part); err != nil {
			return err
		}
	}
	return nil
}

// LentAsIs reports whether a Feed gives a column of a type in that very type, so that a cast to it does nothing.
func LentAsIs(duckType string) bool {
	t, err := parseType(duckType)
	return err == nil && (t.name == "HUGEINT" || t.plain() && !t.has("JSON"))
}

// lend gives the rows of records, none of which is empty and each of which has the columns that were described, to whoever
// reads from now on, as often as they are read. No statement may be reading. The records are kept until takeBack.
func (l *lender) lend(recs []arrow.Record) error {
	l.takeBack()
	if err := l.room(len(recs)); err != nil {
		return err
	}
	for i, rec := range recs {
		rec.Retain()
		l.held = append(l.held, rec)
		for j, col := range rec.Columns() {
			if err := l.place(l.column(i, j), col.Data()); err != nil {
				l.takeBack()
				return fmt.Errorf("lend column %q: %w", rec.ColumnName(j), err)
			}
		}
		C.tidemill_lender_record(l.c, C.int32_t(i)).rows = C.int64_t(rec.NumRows())
		l.c.rows += C.int64_t(rec.NumRows())
	}
	l.c.records = C.int32_t(len(recs))
	return nil
}

// place says where the values of a column are.
func (l *lender) place(c *C.tidemill_column, data arrow.ArrayData) error {
	c.offset, c.valid, c.fixed, c.text = C.int64_t(data.Offset()), 0, 0, 0
	buffers := data.Buffers()
	if len(data.Children()) != int(c.parts) {
		return internalFault("it has %d parts, not %d", len(data.Children()), c.parts)
	}
	if data.NullN() != 0 && len(buffers) > 0 && buffers[0] != nil {
		c.valid = l.pin(buffers[0].Bytes())
	}
	if len(buffers) > 1 && buffers[1] != nil {
		c.fixed = l.pin(buffers[1].Bytes())
	}
	if len(buffers) > 2 && buffers[2] != nil {
		c.text = l.pin(buffers[2].Bytes())
	}
	for i, part := range data.Children() {
		if err := l.place(C.tidemill_column_at(c.part, C.int32_t(i)), part); err != nil {
			return err
		}
	}
	return nil
}

// pin keeps a buffer where it is until takeBack, and returns its address.
func (l *lender) pin(b []byte) C.uintptr_t {
	if len(b) == 0 {
		return 0
	}
	l.pins.Pin(&b[0])
	return C.uintptr_t(uintptr(unsafe.Pointer(&b[0])))
}

// takeBack ends lend. No statement may be reading.
func (l *lender) takeBack() {
	l.c.records, l.c.rows = 0, 0
	l.pins.Unpin()
	releaseRecords(l.held)
	clear(l.held)
	l.held = l.held[:0]
}
