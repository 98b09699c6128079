package duck

// #include <stdlib.h>
// #include "arrow_read.h"
import "C"

import (
	"errors"
	"fmt"
	"strings"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/cdata"
)

// recordReader reads the result of one statement chunk by chunk, while DuckDB makes it: the result is nowhere as a whole. The
// driver's reader would not do: an exception on the way, such as for strings of more than 2 GiB in a chunk, ends the process;
// Arrow is made of all chunks before the first is seen; and it takes a core to wait for DuckDB's other threads.
type recordReader struct {
	c      *C.tidemill_read
	schema *arrow.Schema
}

func newReader() *recordReader {
	return &recordReader{c: (*C.tidemill_read)(C.calloc(1, C.sizeof_tidemill_read))}
}

// runStatements runs one or more statements and returns how many rows the last one changed.
func runStatements(connection uintptr, sql string) (int64, error) {
	text := C.CString(sql)
	defer C.free(unsafe.Pointer(text))
	r := newReader()
	defer r.close()
	var changed C.int64_t
	err := r.failed(C.tidemill_run(C.uintptr_t(connection), text, r.c, &changed))
	return int64(changed), err
}

func (r *recordReader) failed(state C.int) error {
	switch state {
	case 0:
		return nil
	case 2:
		return errors.New("the linked DuckDB has no Arrow interface")
	}
	return errors.New(C.GoString(r.c.error))
}

// next returns a chunk, or nil at the end.
func (r *recordReader) next() (arrow.Record, error) {
	chunk := (*C.struct_ArrowArray)(C.calloc(1, C.sizeof_struct_ArrowArray))
	defer C.free(unsafe.Pointer(chunk))
	switch C.tidemill_read_next(r.c, chunk) {
	case 0:
	case 1:
		return nil, chunkFault(errors.New(C.GoString(r.c.error)))
	default:
		return nil, errors.New(C.GoString(r.c.error))
	}
	if chunk.release == nil {
		return nil, nil //nolint:nilnil // the end
	}
	rec, err := cdata.ImportCRecordBatchWithSchema((*cdata.CArrowArray)(unsafe.Pointer(chunk)), r.schema)
	if err != nil {
		return nil, fmt.Errorf("import a chunk: %w", err)
	}
	return rec, nil
}

// chunkFault tells values that are too large for Arrow, which are their rows' fault, from all else.
func chunkFault(err error) error {
	if !strings.Contains(err.Error(), "maximum total string size") && !strings.Contains(err.Error(), "maximum combined list offset") {
		return internalFault("read a result: %v", err)
	}
	return &Error{Kind: OutOfRange, Message: "texts or lists of the result are too large: rows that leave together may hold 2 GiB of a column",
		Position: -1, Err: err}
}

func (r *recordReader) close() {
	C.tidemill_read_close(r.c)
	C.free(unsafe.Pointer(r.c))
}
