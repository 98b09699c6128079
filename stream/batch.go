package stream

import "github.com/apache/arrow/go/v17/arrow"

// OpColumn is the name of the optional column that says what a row of an update does to its key.
const OpColumn = "__op"

// The values of OpColumn.
const (
	OpUpsert = "upsert"
	OpDelete = "delete"
)

// Batch is a result on its way to a sink: rows in Arrow form, and how they apply.
type Batch struct {
	Schema  *arrow.Schema  // without the op column
	Records []arrow.Record // each has Schema's columns, then the op column if Op is set
	Keys    []int          // in update mode, the columns that name a row; empty: there is one row; nil: rows are only added
	Op      bool           // the last column of each record is OpColumn (utf8)
}

// NumRows returns the rows in all records.
func (b Batch) NumRows() int64 {
	var n int64
	for _, r := range b.Records {
		n += r.NumRows()
	}
	return n
}

// Retain keeps the records for another owner.
func (b Batch) Retain() {
	for _, r := range b.Records {
		r.Retain()
	}
}

// Release frees the records.
func (b Batch) Release() {
	for _, r := range b.Records {
		r.Release()
	}
}
