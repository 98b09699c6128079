package stream

import "fmt"

// Mode is a query's output mode, as in Spark: which rows of the result a batch hands to the sink.
type Mode int

// The output modes.
const (
	// Append hands over rows that will never change again.
	Append Mode = iota
	// Update hands over the rows that changed in this batch, by key.
	Update
	// Complete hands over the whole result, which replaces the one before.
	Complete
)

// String returns the mode as it is written in SQL, in lower case.
func (m Mode) String() string {
	switch m {
	case Append:
		return "append"
	case Update:
		return "update"
	case Complete:
		return "complete"
	}
	return fmt.Sprintf("mode(%d)", int(m))
}
