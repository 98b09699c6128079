// Package invariant states what must hold if the program is right. A broken invariant panics; the query's
// goroutine recovers, fails that query with INTERNAL, and the other queries live on. Bad input is never an
// invariant: it gets a coded error.
package invariant

import "fmt"

// Check panics with the formatted message unless cond holds.
func Check(cond bool, format string, args ...any) {
	if !cond {
		panic("invariant broken: " + fmt.Sprintf(format, args...))
	}
}
