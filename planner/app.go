package planner

import (
	"strings"
	"time"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
	"github.com/tidemill/tidemill/trigger"
)

// App is what one SQL text declares, checked statement by statement: names resolve, options fit their
// connector's Spec, column types are DuckDB's. Bodies have been parsed but not planned. Definitions stand in the
// order of the text.
type App struct {
	Text    *diag.Text
	Sources []*Source
	Tables  []*Table
	Views   []*View
	Macros  []*Macro
	Sinks   []*Sink
	Queries []*Query

	// Lost are names of definitions that could not be read. Only texts with faults have any, and nothing is known of what
	// bears such a name: a relation may have any columns, a function any result.
	Lost []string
}

// Source is a CREATE SOURCE.
type Source struct {
	Name      string
	Span      diag.Span // of the name
	Connector string
	Columns   []Column
	Watermark *Watermark           // nil: the source has no say in the query's watermark
	Options   stream.Options       // of the connector and of every source (stream.SourceFields)
	Typed     bool                 // gives rows, not payloads: there is nothing to decode
	OptionAt  map[string]diag.Span // where the values of the options that were written stand

	// What follows is set only where the declaration has faults.
	Open     bool // there may be columns that could not be read
	Doubtful bool // the type of a column is UnknownType, or the watermark could not be read
}

// Parquet reports that the rows come out of Parquet files. The file source takes a path for its word.
func (s *Source) Parquet() bool {
	return s.Connector == "file" &&
		(s.Options.String("format") == "parquet" || strings.HasSuffix(s.Options.String("path"), ".parquet"))
}

// UnknownType is the type of a column whose declaration could not be read: that of NULL, which goes with all others.
const UnknownType = `"NULL"`

// Column is a declared column, computed or not.
type Column struct {
	stream.Column
	Expr string    // DuckDB expression of a computed column, verbatim; "" for the others
	Span diag.Span // of the name
	At   int       // byte offset of Expr in the text
}

// Watermark is a WATERMARK FOR column AS column - delay.
type Watermark struct {
	Column string
	Delay  time.Duration
	Span   diag.Span // of the column's name
}

// Table is a CREATE TABLE ... AS: reference data, loaded as an immutable copy before the first batch and again
// at every refresh.
type Table struct {
	Name    string
	Span    diag.Span
	Body    string // the SELECT, verbatim; FROM-first and replacement scans of files are allowed
	At      int    // byte offset of Body in the text
	Refresh time.Duration
	Columns []stream.Column // filled in when the body could be described without reading absent files
	Unread  string          // why not, in DuckDB's words; "" when it could
}

// View is a CREATE VIEW: a SELECT that queries may read as if it stood there.
type View struct {
	Name string
	Span diag.Span
	Body string
	At   int
}

// Macro is a CREATE MACRO, scalar or table, given to DuckDB as it is.
type Macro struct {
	Name string
	Span diag.Span
	Text string // the whole statement, verbatim, with OR REPLACE put in
	At   int
}

// Sink is a CREATE SINK.
type Sink struct {
	Name      string
	Span      diag.Span
	Connector string
	Options   stream.Options
	OptionAt  map[string]diag.Span // where the values of the options that were written stand
	Modes     []stream.Mode
	Slots     bool
	Place     string // what one sink of one query alone may write to, or ""
}

// Query is a CREATE QUERY.
type Query struct {
	Name     string
	Span     diag.Span
	Sinks    []string
	SinkSpan []diag.Span
	Trigger  trigger.Spec
	Mode     stream.Mode
	ModeSpan diag.Span // of OUTPUT MODE's word, or of the name when absent
	Options  stream.Options
	Body     string
	At       int    // byte offset of Body in the text
	Text     string // the whole CREATE QUERY statement, verbatim
}
