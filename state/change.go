package state

import (
	"iter"

	"github.com/apache/arrow/go/v17/arrow"
)

// Change is what one operator table adds to a state version.
type Change struct {
	Table   string
	Columns []string // DuckDB types of the table's columns in order, "name TYPE", to make the table again
	Keys    []string // names of the key columns; empty for a table of rows that are only added and dropped whole

	Base    bool           // Records are the whole table, whatever was there before
	More    bool           // of Load: Records are more of the base before, so that none replaces another
	Dropped bool           // the table is gone; nothing else is set
	Records []arrow.Record // rows to put; in a delta they replace rows of the same key, or are added if Keys is empty
	Deleted []arrow.Record // delta only: the key columns of rows that are gone

	// Rows stand in the place of Records and Deleted if set: they are read while they are written.
	Rows Rows
}

// Rows are the rows of a Change, read once: first those to put, then the keys of those that are gone. Each record is for
// the reader to release. A Change that is released closes them.
type Rows interface {
	Empty() bool
	Rows() iter.Seq[arrow.Record]
	Gone() iter.Seq[arrow.Record]
	Close()
}

// rows returns where the rows of the change come from.
func (c Change) rows() Rows {
	if c.Rows != nil {
		return c.Rows
	}
	return given{c}
}

// given are rows that are in memory.
type given struct{ change Change }

func (g given) Empty() bool { return numRows(g.change.Records)+numRows(g.change.Deleted) == 0 }

func (g given) Rows() iter.Seq[arrow.Record] { return retained(g.change.Records) }

func (g given) Gone() iter.Seq[arrow.Record] { return retained(g.change.Deleted) }

func (g given) Close() {}

func retained(records []arrow.Record) iter.Seq[arrow.Record] {
	return func(yield func(arrow.Record) bool) {
		for _, rec := range records {
			rec.Retain()
			if !yield(rec) {
				return
			}
		}
	}
}

// Release frees the records.
func (c Change) Release() {
	if c.Rows != nil {
		c.Rows.Close()
	}
	for _, r := range c.Records {
		r.Release()
	}
	for _, r := range c.Deleted {
		r.Release()
	}
}
