package decode

import (
	"math"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/pool"
	"github.com/tidemill/tidemill/stream"
)

const (
	// depthMax is how deep JSON values may nest.
	depthMax = 64
	// faultsMax is how many rows of one payload may be set aside on their own; with more, the payload as a
	// whole is one fault. It bounds what a payload made of nothing but faults can cost.
	faultsMax = 10_000
	// wholePayload is the Index of a fault that concerns a payload and not one of its rows.
	wholePayload = -1
)

// Options say what payloads look like and what becomes of them.
type Options struct {
	Columns         []stream.Column  // declared and not computed, METADATA ones included, in declared order
	Unread          []string         // of Columns, those that are checked only: a Result does not have them
	Format          string           // json, ndjson, csv, arrow or text
	TimestampFormat string           // iso (default), s, ms, us or ns
	CSVDelimiter    string           // one byte; default ","
	CSVHeader       bool             // each payload begins with a line of column names
	CSVNull         string           // the unquoted text that means NULL
	Compression     string           // none (default), or auto: payloads that are compressed are decompressed first
	Alloc           memory.Allocator // nil for Go's heap
	Recycle         bool             // in place of Alloc: memory of Results that are done with is filled again
}

// Fault is a payload, or one row of it, that does not decode.
type Fault struct {
	Message    int    // which message
	Index      int    // which row within the message, from 0; -1 for the payload as a whole
	Start, End int    // the bytes within the payload that it concerns, those of a row within what it decompresses to
	Bytes      []byte // a copy of them where no payload has them, of the whole payload if they are not known
	Reason     string // one line: the column, what was expected and the value, shortened
}

// Result is what Decode made of some messages: each row of each payload is either in Rows or in Bad, and a
// payload that is broken as a whole is one Fault and has no rows.
type Result struct {
	Rows    arrow.Record
	Message []int32 // of each row: the message it came from, ascending
	Index   []int32 // of each row: its number within its message, faulty rows counted
	Bad     []Fault // ascending by message, then index
}

// Release frees the rows. It may be called more than once.
func (r *Result) Release() {
	if r.Rows != nil {
		r.Rows.Release()
		r.Rows = nil
	}
}

// Decoder decodes messages of one source. It may be used again and again, by one goroutine at a time.
type Decoder struct {
	alloc   memory.Allocator
	pool    *pool.Memory // is alloc; nil if memory is not filled again
	schema  *arrow.Schema
	columns []*node     // those of a Result, in declared order
	checked []*node     // those that are unread: each value is decoded into the same place
	top     *object     // those that payloads fill
	flat    flatObjects // of objects with those keys
	metas   []meta      // those that the transport fills
	payload func(d *Decoder, msg int, b []byte)
	single  bool          // most payloads are one object
	packed  *decompressor // nil: payloads are taken as they are
	tsUnit  tsUnit
	day     lastDay
	csv     csvFormat

	b    []byte // the text being scanned
	p    int    // position in b
	num  number // what scanNumber found last
	text []byte // scratch for unescaped strings

	reason string // why the last value failed

	row, rowCap  int // rows so far, and how many the top columns have room for
	base, bytes  int // messages that were added before those at hand, and their bytes
	message      []int32
	index        []int32
	bad          []Fault
	rowsPerBytes float64 // seen so far, to size columns at once
	tooBig       bool    // a column outgrew what its offsets can count
}

// New returns a decoder, or a coded error when a column's type or an option can not be decoded with the
// format.
func New(o Options) (*Decoder, error) {
	d := &Decoder{alloc: o.Alloc, flat: flatObjects{scan: flatScan{width: flatWidth()}}}
	if o.Recycle {
		d.pool = &pool.Memory{}
		d.alloc = d.pool
	}
	if d.alloc == nil {
		d.alloc = memory.DefaultAllocator
	}
	err := d.setColumns(o.Columns, o.Unread)
	if err != nil {
		return nil, err
	}
	unit, ok := parseTSUnit(o.TimestampFormat)
	if !ok {
		return nil, diag.New(diag.BadOption, "timestamp_format %q is not known", o.TimestampFormat).OfOption("timestamp_format").
			WithHint("write iso, s, ms, us or ns")
	}
	d.tsUnit = unit
	if d.packed, err = newDecompressor(o.Compression); err != nil {
		return nil, err
	}
	return d, d.setFormat(o)
}

func (d *Decoder) setColumns(columns []stream.Column, unread []string) error {
	var fields []arrow.Field
	var payload []*node
	var faults diag.List
	for _, c := range columns {
		n, err := newColumn(c)
		if err != nil {
			faults = append(faults, diag.All(err)...)
			continue
		}
		n.unread = slices.Contains(unread, c.Name)
		if n.unread {
			d.checked = append(d.checked, n)
		} else {
			fields = append(fields, arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true})
			d.columns = append(d.columns, n)
		}
		if !c.Metadata {
			payload = append(payload, n)
			continue
		}
		m, err := newMeta(c, n)
		if err != nil {
			faults = append(faults, diag.All(err)...)
			continue
		}
		if !n.unread {
			d.metas = append(d.metas, m)
		}
	}
	if len(faults) > 0 {
		return faults
	}
	d.schema = arrow.NewSchema(fields, nil)
	d.top = newObject(payload)
	if len(d.top.index) < len(payload) {
		return diag.New(diag.DuplicateColumn, "two columns of the source have the same name")
	}
	return nil
}

func (d *Decoder) setFormat(o Options) error {
	switch o.Format {
	case "json", "":
		d.payload, d.single = (*Decoder).jsonPayload, true
	case "ndjson":
		d.payload = (*Decoder).ndjsonPayload
	case "csv":
		d.payload = (*Decoder).csvPayload
		return d.setCSV(o)
	case "arrow":
		d.payload = (*Decoder).arrowPayload
	case "text":
		d.payload = (*Decoder).textPayload
		if len(d.top.fields) != 1 || d.top.fields[0].kind != kindText && d.top.fields[0].kind != kindBlob {
			return diag.New(diag.BadOption, "format 'text' needs exactly one VARCHAR or BLOB column that is not METADATA").
				OfOption("format").
				WithHint("declare one VARCHAR column for the text, or a BLOB for bytes of any kind, or choose another format")
		}
	case "parquet":
		return diag.New(diag.BadOption, "format 'parquet' works with connector = 'file' only").OfOption("format").
			WithHint("use json, ndjson, csv, arrow or text")
	default:
		return diag.New(diag.BadOption, "format %q is not known", o.Format).OfOption("format").
			WithHint("use json, ndjson, csv, arrow or text")
	}
	return nil
}

// Schema returns the schema of every Result: all columns but the unread ones, in declared order.
func (d *Decoder) Schema() *arrow.Schema { return d.schema }

// Decode decodes all messages. The caller releases the Result, which does not alias the messages. An error
// means that the batch is too large to be held in Arrow columns; bad input is never an error.
func (d *Decoder) Decode(m *stream.Messages) (Result, error) {
	if m == nil {
		m = &stream.Messages{}
	}
	d.begin(d.foretell(m))
	d.add(m)
	return d.finish(m)
}

func tooBig() error {
	return diag.New(diag.BatchFailed, "a batch of more than 2 GiB in one column can not be held").
		WithHint("lower max_bytes_per_batch or max_rows_per_batch of the source")
}

// foretell returns how many rows messages may have, and how many bytes of text, to begin with.
func (d *Decoder) foretell(m *stream.Messages) (rows, bytes int) {
	rows, bytes = d.rowsIn(len(m.Data)), len(m.Data)
	if d.packed != nil { // their bytes say little, as one message may be a thousand times as long as the next
		rows, bytes = min(rows, d.packed.rows+d.packed.rows/16), max(bytes, d.packed.bytes)
	}
	return max(m.Len(), rows), bytes
}

// rowsIn foretells how many rows so many bytes give, from those of the Result before.
func (d *Decoder) rowsIn(bytes int) int { return int(d.rowsPerBytes * float64(bytes) * 1.05) }

// begin sizes the columns for so many rows out of so many bytes.
func (d *Decoder) begin(rows, bytes int) {
	d.row, d.rowCap, d.base, d.bytes, d.tooBig = 0, 0, 0, 0, false
	d.bad = nil
	if d.packed != nil {
		d.packed.bytes = 0
	}
	for _, n := range d.checked {
		n.grow(d.alloc, 1)
	}
	if d.pool != nil {
		d.pool.Turn()
	}
	d.message = d.places(rows)
	d.index = d.places(rows)
	if rows == 0 {
		return
	}
	d.growRows(rows)
	for _, n := range d.top.fields {
		if n.unread {
			continue
		}
		if want := min(int(n.rowBytes*float64(rows)*1.05), bytes, offsetMax); want > len(n.data) && n.dataBuf != nil {
			n.data = resize(d.alloc, &n.dataBuf, want)
		}
	}
}

// places returns room for the message, or the index, of so many rows.
func (d *Decoder) places(rows int) []int32 {
	if d.pool == nil || rows == 0 {
		return make([]int32, 0, rows)
	}
	return arrow.Int32Traits.CastFromBytes(d.pool.Allocate(4 * rows))[:0]
}

// Recycle takes back Message and Index of a Result that nobody looks at any more. It may be called beside other methods.
func (d *Decoder) Recycle(message, index []int32) {
	if d.pool != nil {
		d.pool.Free(arrow.Int32Traits.CastToBytes(message[:cap(message)]))
		d.pool.Free(arrow.Int32Traits.CastToBytes(index[:cap(index)]))
	}
}

// Idle gives up memory that is kept to be filled again, until there is something to decode.
func (d *Decoder) Idle() {
	if d.pool != nil {
		d.pool.Drop()
	}
	if d.packed != nil {
		d.packed.Idle()
	}
}

// add decodes messages behind those that were added before.
func (d *Decoder) add(m *stream.Messages) {
	if d.base+m.Len() > math.MaxInt32 || len(m.Data) > math.MaxInt32 {
		d.tooBig = true
	}
	for i := 0; i < m.Len() && !d.tooBig; {
		rows := 0
		if d.single {
			rows = d.flatMessages(m, i)
		}
		if rows == 0 {
			d.one(d.base+i, m.Payload(i))
		}
		i += max(1, rows)
	}
	d.b = nil
	d.base, d.bytes = d.base+m.Len(), d.bytes+len(m.Data)
}

// finish returns what was decoded, with what the transport says of the messages.
func (d *Decoder) finish(m *stream.Messages) (Result, error) {
	if !d.tooBig {
		d.fillMeta(m)
	}
	if d.tooBig {
		d.drop()
		return Result{}, tooBig()
	}
	return d.result(), nil
}

func (d *Decoder) growRows(rows int) {
	for _, n := range d.columns {
		n.grow(d.alloc, rows)
	}
	d.rowCap = rows
}

// room makes sure that so many rows from number d.row on may be written.
func (d *Decoder) room(rows int) {
	if d.row+rows > d.rowCap {
		d.growRows(max(64, 2*d.rowCap, d.row+rows))
	}
}

// commit takes the row that has just been written into all payload columns.
func (d *Decoder) commit(msg, index int) {
	d.message = append(d.message, int32(msg))
	d.index = append(d.index, int32(index))
	d.row++
}

// mark is a point to which rollback returns.
type mark struct{ row, bad int }

func (d *Decoder) mark() mark { return mark{d.row, len(d.bad)} }

func (d *Decoder) rollback(m mark) {
	d.row, d.bad = m.row, d.bad[:m.bad]
	d.message, d.index = d.message[:m.row], d.index[:m.row]
}

// badPayload makes the whole payload one fault, whatever was found in it so far.
func (d *Decoder) badPayload(m mark, msg, size int, reason string) {
	d.rollback(m)
	d.bad = append(d.bad, Fault{Message: msg, Index: wholePayload, End: size, Reason: reason})
}

// badRow sets one row aside. It reports false when the payload has too many of them.
func (d *Decoder) badRow(m mark, f Fault) bool {
	if len(d.bad)-m.bad >= faultsMax {
		return false
	}
	if last := len(d.bad) - 1; last >= 0 && d.bad[last].Reason == f.Reason {
		f.Reason = d.bad[last].Reason
	}
	d.bad = append(d.bad, f)
	return true
}

func (d *Decoder) result() Result {
	arrays := make([]arrow.Array, len(d.columns))
	for i, n := range d.columns {
		n.grow(d.alloc, d.row)
		data := n.finish(d.row)
		arrays[i] = array.MakeFromData(data)
		data.Release()
	}
	r := Result{Rows: array.NewRecord(d.schema, arrays, int64(d.row)), Message: d.message, Index: d.index, Bad: d.bad}
	for _, a := range arrays {
		a.Release()
	}
	if d.packed != nil {
		d.packed.rows = d.row
	}
	if d.row > 0 && d.bytes > 0 {
		d.rowsPerBytes = float64(d.row) / float64(d.bytes)
	}
	d.message, d.index, d.bad = nil, nil, nil
	for _, n := range d.checked {
		n.free()
	}
	return r
}

func (d *Decoder) drop() {
	for _, n := range slices.Concat(d.columns, d.checked) {
		n.free()
	}
	d.message, d.index, d.bad = nil, nil, nil
}
