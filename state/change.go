package state

import "github.com/apache/arrow/go/v17/arrow"

// Change is what one operator table adds to a state version.
type Change struct {
	Table   string
	Columns []string // DuckDB types of the table's columns in order, "name TYPE", to make the table again
	Keys    []string // names of the key columns; empty for a table of rows that are only added and dropped whole

	Base    bool           // Records are the whole table, whatever was there before
	Dropped bool           // the table is gone; nothing else is set
	Records []arrow.Record // rows to put; in a delta they replace rows of the same key, or are added if Keys is empty
	Deleted []arrow.Record // delta only: the key columns of rows that are gone
}

// Release frees the records.
func (c Change) Release() {
	for _, r := range c.Records {
		r.Release()
	}
	for _, r := range c.Deleted {
		r.Release()
	}
}
