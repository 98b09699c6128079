package duck

// // Weak for the same reason as in arrow_stream.c.
// extern const char *duckdb_library_version(void) __attribute__((weak));
import "C"

// Version is that of the DuckDB which is linked in, such as "v1.2.3".
func Version() string { return C.GoString(C.duckdb_library_version()) }
