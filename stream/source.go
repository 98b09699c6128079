package stream

import (
	"context"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
)

// Offset is a position in a source: everything up to and including it has been read. It is opaque to everyone
// but the source that made it, and stable: it is written to the log as it is. Offsets of one source compare
// equal with == exactly if they name the same position. The empty Offset is never a position.
type Offset string

// Limit bounds what one batch takes from a source. Zero means no bound. A source may take one message or file
// more than Bytes allows, so that a single large one can not stop it.
type Limit struct {
	Rows  int64 // messages for jetstream, rows for typed sources; the file source cuts between files only
	Bytes int64
	Files int64
	Until Offset // a batch never ends past this position; "" for no bound. It is an offset the same source gave
}

// Available says how far a source could go.
type Available struct {
	To       Offset // the newest offset that may end a batch; from itself when nothing is new
	Identity string // names the life of the thing read, for example stream name and creation time
	Behind   int64  // messages or rows that wait after To; -1 if the source can not know
}

// Range is what one batch reads of one source: the rows after From, up to and including To.
type Range struct {
	From     Offset `json:"from"`
	To       Offset `json:"to"`
	Identity string `json:"identity"`
}

// A Source is a replayable input. One query's goroutines call it; no method is called concurrently with another
// of the same Source, except Read beside Available (prefetch) and Close beside anything.
//
// A fault that a later try may cure reports Temporary() bool as true anywhere in its error chain; the engine
// retries it with backoff. Everything else stops the query.
type Source interface {
	// Start resolves the position before the first row a new query reads ("earliest", "latest", a time, ...).
	// It is called once in the life of a query; the engine stores the answer and never asks again. identity is of what
	// is there now, as in Available; "" if nothing but the query's own directory can be replaced.
	Start(ctx context.Context) (from Offset, identity string, err error)

	// Available returns the newest offset that may end a batch which starts after from and keeps to limit.
	// It asks the outside once and does not wait for data. It fails with DATA_LOSS if rows after from are gone
	// (unless on_data_loss = 'skip'), and with SOURCE_REPLACED if identity is not empty and not what is there now.
	Available(ctx context.Context, from Offset, identity string, limit Limit) (Available, error)

	// Read returns the rows of r. The same range gives the same rows in the same order for as long as r.To is
	// not acknowledged, also in a later process. The caller releases the Input.
	Read(ctx context.Context, r Range) (*Input, error)

	// Acknowledge tells the source that everything up to to is held by a durable state version and may be
	// forgotten. It may be called again with the same or an older offset, which does nothing.
	Acknowledge(ctx context.Context, to Offset) error

	// Close frees connections and goroutines. It is idempotent and waits.
	Close() error
}

// Waiter is a Source that can say when asking again is worth it, so that the engine need not poll.
type Waiter interface {
	// Wait returns nil when something after from may be there, or the context's error. Spurious returns are fine.
	Wait(ctx context.Context, from Offset) error
}

// Recycler is a Source that fills the memory of Messages again, which costs less than new memory does.
type Recycler interface {
	// Recycle takes back what Read gave: nobody looks at its payloads any more. It may be called beside any other method.
	Recycle(m *Messages)
}

// Pieces is a Source that can hand over messages while it reads them, so that they are decoded while the processor has
// them at hand, and no batch lies in memory as a whole.
type Pieces interface {
	// ReadPieces does what Read does, but gives the messages to to instead of returning them. The same range has the
	// same messages, numbers and checksum either way. Read, of another range or the same, may be called beside it.
	ReadPieces(ctx context.Context, r Range, to PieceTaker) (*Input, error)
}

// PieceTaker takes the messages of one range, in order. Messages are numbered from 0. If the read fails after all, what
// was taken is void.
type PieceTaker interface {
	// Expect says once, before anything is taken, how many payload bytes are to come, roughly.
	Expect(bytes int64)
	// Take is given the next messages, whose memory is filled again when it returns.
	Take(m *Messages)
	// Cut takes back all messages from number n on: they were not what the range holds.
	Cut(n int)
}

// Narrow is a Source of rows that can leave columns in the files they lie in, which costs nothing where reading them would.
type Narrow interface {
	// ReadWithout does what Read does, but its records lack the columns with these names. That they are there and have types
	// that fit is checked as in Read; their values are not looked at, so that what Read calls broken for the sake of these
	// values alone has rows here. Parts name rows as in Read. It may be called beside Read and Available.
	ReadWithout(ctx context.Context, r Range, unread []string) (*Input, error)
}

// TimeBound is a Source that knows when its rows were stored, so that a stretch of its history can be read alone.
type TimeBound interface {
	// At returns the offset before the first row that was stored at or after t by the clock of the source, which is
	// the offset of the newest row when none was. It may lie before the position that Start gives; Limit.Until takes it.
	At(ctx context.Context, t time.Time) (Offset, error)
}

// ParquetFiles is a Source whose rows are those of Parquet files, so that a run over all of history can let DuckDB read
// them.
type ParquetFiles interface {
	// ParquetFiles returns what the files that are there now say of themselves, and of the column times unless it is "". It is
	// nil if the rows are not those of Parquet files, there is none, or one can not be read.
	ParquetFiles(ctx context.Context, times string) (*ParquetSet, error)
}

// ParquetSet is what the footers of Parquet files say.
type ParquetSet struct {
	Paths []string // in the order in which they are read
	Rows  int64
	Alike map[string]bool // the columns that all of them have, of the same type
	// Times is nil unless the column that was asked for is one of timestamps, of which each row group says how they lie.
	Times *ParquetTimes
}

// ParquetTimes says where the timestamps of a column lie, in microseconds since 1970. Where there is none Least is above Most.
type ParquetTimes struct{ Nulls, Least, Most int64 }

// Input is what a source gave for one range. Exactly one of Messages and Rows is set; both are nil when the
// range holds nothing.
type Input struct {
	// Messages are undecoded payloads; the engine decodes them with the source's declared format.
	Messages *Messages
	// Rows are records with rows, in order, of the declared columns that are not computed (METADATA ones included), in
	// declared order.
	Rows []arrow.Record
	// Parts say which files the rows of Rows come from, in their order, so that a row can be named; nil when the source
	// has no files.
	Parts []Part
	// Broken are payloads of which the source itself knows that they are damaged, such as the end of a packed file that
	// is cut short. They have no rows, count as messages, and are dealt with as on_error says; nil for none.
	Broken *Broken
	// Lost counts positions in the range that are gone and were skipped under on_data_loss = 'skip'.
	Lost int64
	// CRC is the CRC32C (Castagnoli) over (sequence as 8 bytes little endian, payload) of every message in order,
	// so that a second read of the range can be told from the first. Zero for sources that give Rows, unless they
	// can do better.
	CRC uint32
}

// Part is a run of rows that come from one file.
type Part struct {
	File     string
	Sequence uint64 // of its first row, counting up
	Rows     int64
}

// Broken are damaged payloads, each with the reason why it can not be used, one line.
type Broken struct {
	Messages *Messages
	Reasons  []string
}

// Release frees the Arrow data. It may be called on nil and more than once.
func (in *Input) Release() {
	if in == nil {
		return
	}
	for _, rec := range in.Rows {
		rec.Release()
	}
	in.Rows = nil
}

// Messages are payloads in one arena, with what the transport says of each. Payload i is
// Data[Ends[i-1]:Ends[i]] (from 0 for the first). The slices beside Ends are nil when the source has no such
// thing or nobody asked for it, else as long as Ends.
type Messages struct {
	Data      []byte
	Ends      []int
	Sequence  []uint64            // position within the source, ascending
	Published []int64             // server time of the message, microseconds since 1970 UTC
	Subject   []string            // NATS subject
	Headers   []map[string]string // first value of each header
	File      []string            // path as the source names it
}

// Len returns the number of messages. A nil Messages has none.
func (m *Messages) Len() int {
	if m == nil {
		return 0
	}
	return len(m.Ends)
}

// Payload returns the bytes of message i, which alias the arena.
func (m *Messages) Payload(i int) []byte {
	start := 0
	if i > 0 {
		start = m.Ends[i-1]
	}
	return m.Data[start:m.Ends[i]]
}

// Append adds one payload with its sequence; the other slices are the caller's to keep in step.
func (m *Messages) Append(sequence uint64, payload []byte) {
	m.Data = append(m.Data, payload...)
	m.Ends = append(m.Ends, len(m.Data))
	m.Sequence = append(m.Sequence, sequence)
}
