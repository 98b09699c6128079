package duck

// #include <stdlib.h>
// #include "window.h"
import "C"

import (
	"fmt"
	"unsafe"
)

// windowFunction is a function of every instance, which DuckDB does not have: see WindowSQL.
const windowFunction = "__window"

// WindowSQL writes the start of the latest window that holds a TIMESTAMP, where windows are so many microseconds wide and one
// begins so many after 1970, fewer than the width, moved by as many as SQL says. It is what time_bucket gives, and INTERVALs
// that are added to it, several times faster, and also where those overflow on their way. An infinite time stays what it
// is; a window that does not fit TIMESTAMP is an error.
func WindowSQL(time string, width, first int64, move string) string {
	return fmt.Sprintf("%s(%s, %d, %d, %s)", windowFunction, time, width, first, move)
}

// registerWindow makes the function one of an instance.
func registerWindow(connection uintptr) error {
	name := C.CString(windowFunction)
	defer C.free(unsafe.Pointer(name))
	if C.tidemill_register_window(C.uintptr_t(connection), name) != 0 {
		return internalFault("function %q can not be registered", windowFunction)
	}
	return nil
}
