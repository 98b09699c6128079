package stream

import (
	"context"
	"log/slog"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/clock"
	"github.com/tidemill/tidemill/internal/vfs"
)

// FieldType is the type of an option's value.
type FieldType int

// The types an option can have.
const (
	String   FieldType = iota // 'text'
	Int                       // 42
	Bool                      // true
	Duration                  // '10 seconds', also '250 ms'
	Bytes                     // '64 MiB' or a number of bytes
	Enum                      // one of Field.Values
	Secret                    // 'env:NAME' or 'file:PATH'; the value is never printed
	List                      // 'a, b, c'
)

// Field describes one option of a WITH clause.
type Field struct {
	Name     string
	Type     FieldType
	Summary  string   // one sentence
	Default  string   // as it would be written, without quotes; empty for none
	Required bool     // no default, and the connector can not do without
	Min, Max int64    // bounds of Int, Bytes and Duration (nanoseconds); both 0 for none
	Values   []string // of Enum
	Numbers  bool     // of String: a number may stand without quotes
	Fixed    bool     // must not change while the checkpoint lives: a new value makes another query
}

// Spec describes a connector once: parsing of WITH, lint, docs/connectors.md and the command line come from it.
type Spec struct {
	Name      string // the value of connector = '...'
	Summary   string // one sentence
	Guarantee string // one sentence: what a source replays, what a sink promises
	Fields    []Field
	Example   string // a whole CREATE statement
}

// Options are the checked values of a WITH clause, defaults filled in. Asking for an undeclared name panics:
// it is a fault of the program, not of the user.
type Options map[string]any

// Has reports whether the option has a value.
func (o Options) Has(name string) bool { _, ok := o[name]; return ok }

// String returns the value of a String, Enum or Secret option, or "". A Secret is revealed.
func (o Options) String(name string) string {
	if s, ok := o[name].(SecretValue); ok {
		return s.Reveal()
	}
	return option[string](o, name)
}

// Int returns the value of an Int or Bytes option, or 0.
func (o Options) Int(name string) int64 { return option[int64](o, name) }

// Bool returns the value of a Bool option, or false.
func (o Options) Bool(name string) bool { return option[bool](o, name) }

// Duration returns the value of a Duration option, or 0.
func (o Options) Duration(name string) time.Duration { return option[time.Duration](o, name) }

// List returns the value of a List option, or nil.
func (o Options) List(name string) []string { return option[[]string](o, name) }

func option[T any](o Options, name string) T {
	v, ok := o[name]
	if !ok {
		var zero T
		return zero
	}
	return v.(T) //nolint:forcetypeassert // sqlfront filled it in from the same Spec
}

// Column is one declared column of a source.
type Column struct {
	Name     string
	Type     string         // DuckDB's spelling, normalised by DuckDB, for example DECIMAL(10,2)
	Arrow    arrow.DataType // what the decoder and typed sources produce for it
	Metadata bool           // filled from the transport: subject, sequence, published_at, headers, file
}

// SourceConfig is what a source connector gets to open.
type SourceConfig struct {
	Name    string
	Columns []Column // declared, not computed, METADATA ones included, in declared order
	Options Options
	Clock   clock.Clock
	FS      vfs.FS
	Dir     string // a directory of the source's own under the query's data dir, for spools and seen-file logs
	Log     *slog.Logger
	Query   string // uuid of the query that consumes the source; empty for readers that must leave nothing behind
	// Beside says that a Source of the query is open on Dir. This one reads what that one has named, for the same offsets
	// the same rows, and changes nothing there. Query is empty then.
	Beside bool
}

// SourceConnector is a kind of source.
type SourceConnector struct {
	Spec Spec
	// Typed connectors give Rows and have no format option.
	Typed bool
	// Files says that a payload is a whole file, so that format = 'parquet' can be read.
	Files bool
	// Open checks what can be checked without the network and returns a Source. It does not block on the outside.
	Open func(ctx context.Context, cfg SourceConfig) (Source, error)
}

// SinkConfig is what a sink connector gets to open.
type SinkConfig struct {
	Name    string
	Options Options
	Schema  *arrow.Schema // of the result, without the op column
	Keys    []int         // in update mode
	Unnamed bool          // in update mode, rows replace earlier ones, but the result has no columns that name them
	Mode    Mode
	Clock   clock.Clock
	FS      vfs.FS
	Dir     string // a directory of the sink's own under the query's data dir, for staged results
	Log     *slog.Logger
	Stage   Stager
}

// Stager keeps a result durably while a sink that can not take it in one atomic step works through it.
type Stager interface {
	// Stage makes the bytes durable under the batch's number and logs it; a second call for the same batch with
	// other bytes is refused. Staged bytes are dropped after the batch's Commit.
	Stage(ctx context.Context, batch int64, sink string, data []byte) error
	// Staged returns what Stage kept for the batch, or nil.
	Staged(ctx context.Context, batch int64, sink string) ([]byte, error)
}

// SinkConnector is a kind of sink.
type SinkConnector struct {
	Spec  Spec
	Modes []Mode // what it can hold; any other mode is refused with SINK_MODE
	// Slots says whether Delivery.Replace works, so that cron slots and backfills may write here.
	Slots bool
	// Place names, for messages too, what the sink of a name and its options writes to, where the marker there can be
	// that of one sink of one query only. Nil says that any number of queries may write to one place. It touches
	// nothing outside.
	Place func(sink string, options Options) string
	// Open checks the options against the mode, the keys and the columns of the result, and returns a Sink. It
	// touches nothing outside before Sink.Open, so lint calls it as run does: what it refuses, both refuse.
	Open func(ctx context.Context, cfg SinkConfig) (Sink, error)
}

// Registry is the set of connectors a process knows, by name. It is built once, explicitly, and not changed.
type Registry struct {
	Sources map[string]SourceConnector
	Sinks   map[string]SinkConnector
}
