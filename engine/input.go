package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/decode"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/planner"
	"github.com/tidemill/tidemill/stream"
)

// input is one source of the query: how it is read and decoded, and what has been read ahead.
type input struct {
	def     *planner.Source
	src     stream.Source
	decoder *decode.Decoder // nil for sources that give rows
	whole   *decode.Decoder // of all columns, where decoder leaves out those that the plan does not read; else nil
	dead    *output         // where dead letters are published as well; nil for nowhere
	keeps   bool            // payloads are kept until the batch is done, since rows of it are likely to become letters
	limit   stream.Limit
	unread  []string   // columns that a source that gives rows leaves out; nil for none
	room    int64      // messages that the pace leaves a batch; zero before it is asked
	ahead   chan ahead // what is being read ahead; nil when nothing is
	cancel  context.CancelFunc
	lastNew time.Time // when it last had something new
	behind  int64
}

// ahead is the next range of a source, read and decoded while the batch before it runs.
type ahead struct {
	rng   stream.Range
	until stream.Offset // where it had to end
	avail stream.Available
	rows  *rows
	err   error
}

// rows is one source's part of a batch after decoding. Ordinals count the records' rows through.
type rows struct {
	records []arrow.Record
	chunks  []chunk
	faults  []fault
	parts   []part // of records, where the source gives rows out of files
	count   int64  // messages, or rows of sources that give rows
	crc     uint32
	lost    int64
	lines   lines      // of the message that dead letters were cut from last
	whole   wholeRows  // of the chunk that letters were written of last
	again   *readAgain // of the range that letters were written of last, where the source left columns out

	recalled recalled
}

// chunk says where the rows of one Read come from.
type chunk struct {
	first    int64            // ordinal of its first row
	messages *stream.Messages // without payloads where these were not kept
	decoder  *decode.Decoder  // takes back what follows
	message  []int32          // of each row
	index    []int32
	bytes    int64           // of payload
	owner    stream.Recycler // takes the messages back; nil if nobody does
	again    *stream.Range   // where the payloads can be read again; nil where they are kept
	crc      uint32          // of that range
	gone     bool            // they can not be read again, and on_data_loss = 'skip'
}

// fault is a payload, or a row of one, that does not decode.
type fault struct {
	decode.Fault
	messages *stream.Messages
}

func (r *rows) release() {
	if r == nil {
		return
	}
	for _, rec := range r.records {
		rec.Release()
	}
	r.records = nil
	r.whole.release()
	r.again.release()
	r.again = nil
	r.recalled.drop()
	for i, c := range r.chunks {
		if c.owner != nil {
			c.owner.Recycle(c.messages)
		}
		if c.decoder != nil {
			c.decoder.Recycle(c.message, c.index)
		}
		r.chunks[i].owner, r.chunks[i].decoder = nil, nil
	}
}

// size returns the number of decoded rows.
func (r *rows) size() int64 {
	var n int64
	for _, rec := range r.records {
		n += rec.NumRows()
	}
	return n
}

// bytes returns the payload bytes of the batch.
func (r *rows) bytes() int64 {
	var n int64
	for _, c := range r.chunks {
		n += c.bytes
	}
	return n
}

// origin returns the chunk that the row with this ordinal comes from, nil if there is none, and its place there.
func (r *rows) origin(ordinal int64) (*chunk, int64) {
	for i := len(r.chunks) - 1; i >= 0; i-- {
		if c := &r.chunks[i]; ordinal >= c.first {
			return c, ordinal - c.first
		}
	}
	return nil, ordinal
}

// declared returns the columns a source itself fills in.
func declared(s *planner.Source) []stream.Column {
	var cols []stream.Column
	for _, c := range s.Columns {
		if c.Expr == "" {
			cols = append(cols, c.Column)
		}
	}
	return cols
}

func limitOf(s *planner.Source) stream.Limit {
	l := stream.Limit{
		Rows:  s.Options.Int("max_rows_per_batch"),
		Bytes: s.Options.Int("max_bytes_per_batch"),
		Files: s.Options.Int("max_files_per_batch"),
	}
	if l.Rows == 0 && (s.Connector == "jetstream" || s.Connector == "generator") {
		l.Rows = batchMessages
	}
	if l.Bytes == 0 && (s.Connector == "jetstream" || s.Connector == "file") {
		l.Bytes = batchBytes
	}
	return l
}

// home says where a source keeps what it must find again, and for whom.
type home struct {
	dir    string
	query  string // uuid of the query that consumes the source, empty for a look at it
	beside bool   // the query has it open on dir as well
}

// openInput opens a source by its connector.
func openInput(ctx context.Context, opt Options, app *planner.App, s *planner.Source, h home) (*input, error) {
	in, err := openSource(ctx, opt, s, h)
	return in, placedIn(err, app.Text, s.Span, s.OptionAt, s.Columns)
}

func openSource(ctx context.Context, opt Options, s *planner.Source, h home) (*input, error) {
	connector, ok := opt.Registry.Sources[s.Connector]
	if !ok {
		return nil, diag.New(diag.UnknownConnector, "source %q: connector %q is not in this build", s.Name, s.Connector)
	}
	cols := declared(s)
	src, err := connector.Open(ctx, stream.SourceConfig{Name: s.Name, Columns: cols, Options: s.Options,
		Clock: opt.Clock, FS: opt.FS, Dir: h.dir, Log: opt.Log.With("source", s.Name), Query: h.query, Beside: h.beside})
	if err != nil {
		return nil, fmt.Errorf("open source %q: %w", s.Name, err)
	}
	in := &input{def: s, src: src, limit: limitOf(s), lastNew: opt.Clock.Now(), behind: -1}
	if s.Typed || s.Parquet() {
		return in, nil
	}
	if in.decoder, err = newDecoder(s, nil, false); err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return in, nil
}

func newDecoder(s *planner.Source, unread []string, recycle bool) (*decode.Decoder, error) {
	d, err := decode.New(decode.Options{Columns: declared(s), Unread: unread, Recycle: recycle, Format: s.Options.String("format"),
		TimestampFormat: s.Options.String("timestamp_format"), CSVDelimiter: s.Options.String("csv_delimiter"),
		CSVHeader: s.Options.Bool("csv_header"), CSVNull: s.Options.String("csv_null"),
		Compression: s.Options.String("compression")})
	if err != nil {
		return nil, fmt.Errorf("source %q: %w", s.Name, err)
	}
	return d, nil
}

func (in *input) close() error {
	in.dropAhead()
	if in.dead != nil {
		if err := in.dead.sink.Close(); err != nil {
			return errors.Join(fmt.Errorf("close the dead letter subject of source %q: %w", in.def.Name, err), in.src.Close())
		}
	}
	if err := in.src.Close(); err != nil {
		return fmt.Errorf("close source %q: %w", in.def.Name, err)
	}
	return nil
}

// available asks how far the source could go, unless that has been read ahead already.
func (in *input) available(ctx context.Context, from stream.Offset, identity string, limit stream.Limit) (stream.Available, error) {
	if in.ahead != nil {
		a := <-in.ahead
		in.ahead = nil
		if a.err == nil && a.rng.From == from && a.avail.To != from && a.until == limit.Until {
			in.ahead = make(chan ahead, 1)
			in.ahead <- a
			return a.avail, nil
		}
		a.rows.release()
		if diag.CodeOf(a.err) == diag.Internal { // it panicked, and may be in any state
			return stream.Available{}, fmt.Errorf("read ahead: %w", a.err)
		}
	}
	avail, err := in.src.Available(ctx, from, identity, limit)
	if err != nil {
		return avail, fmt.Errorf("ask source %q: %w", in.def.Name, err)
	}
	if avail.To == from && in.decoder != nil {
		in.decoder.Idle()
	}
	return avail, nil
}

// read returns the decoded rows of rng, from what has been read ahead if that is the same range.
func (in *input) read(ctx context.Context, rng stream.Range) (*rows, error) {
	if in.ahead != nil {
		a := <-in.ahead
		in.ahead = nil
		if a.err == nil && a.rng == rng {
			return a.rows, nil
		}
		a.rows.release()
	}
	if rng.From == rng.To {
		return &rows{}, nil
	}
	return in.readNow(ctx, rng)
}

func (in *input) readNow(ctx context.Context, rng stream.Range) (*rows, error) {
	got, err := in.load(ctx, rng)
	if err != nil {
		return nil, err
	}
	r := &rows{}
	if err := in.add(ctx, r, got); err != nil {
		r.release()
		return nil, err
	}
	return r, nil
}

// readAhead starts reading and decoding the range after from in the background, so that decoding has a core of its
// own.
func (in *input) readAhead(ctx context.Context, from stream.Offset, identity string, limit stream.Limit) {
	in.inBackground(ctx, func(ctx context.Context, a *ahead) (err error) {
		a.rng, a.until = stream.Range{From: from, To: from, Identity: identity}, limit.Until
		a.avail, err = in.src.Available(ctx, from, identity, limit)
		if err == nil && a.avail.To != from {
			a.rng.To, a.rng.Identity = a.avail.To, a.avail.Identity
			a.rows, err = in.readNow(ctx, a.rng)
		}
		return err
	})
}

// inBackground reads ahead on a goroutine, which ends when it has answered or ctx is done; dropAhead waits for it.
func (in *input) inBackground(ctx context.Context, read func(context.Context, *ahead) error) {
	ctx, cancel := context.WithCancel(ctx)
	answer := make(chan ahead, 1)
	in.ahead, in.cancel = answer, cancel
	go func() {
		defer cancel()
		var a ahead
		a.err = guarded("source "+in.def.Name, func() error { return read(ctx, &a) })
		answer <- a
	}()
}

// settle waits until nothing is being read ahead; what has been read stays.
func (in *input) settle() {
	if in.ahead != nil {
		a := <-in.ahead
		in.ahead <- a
	}
}

func (in *input) dropAhead() {
	if in.ahead == nil {
		return
	}
	if in.cancel != nil {
		in.cancel()
	}
	a := <-in.ahead
	in.ahead = nil
	a.rows.release()
}

// place names the payload in an error, and the line or row of it where it holds several.
func (f fault) place(format string) string {
	whole := fmt.Sprintf("message %d", f.messages.Sequence[f.Message])
	if f.messages.File != nil {
		whole = fmt.Sprintf("file %q", f.messages.File[f.Message])
	}
	switch {
	case f.Index < 0, format == "text" && f.messages.File == nil:
		return whole
	case format == "ndjson", format == "csv", format == "text":
		return fmt.Sprintf("line %d of %s", f.line(format), whole)
	case format == "arrow", bytes.HasPrefix(bytes.TrimSpace(f.messages.Payload(f.Message)), []byte("[")):
		return fmt.Sprintf("row %d of %s", f.Index+1, whole)
	}
	return whole
}

// line is the number of the fault's first line in its message, or in its file, which may be cut into several messages.
func (f fault) line(format string) int {
	line, m := 1, f.messages
	for i := f.Message - 1; i >= 0 && m.File != nil && m.File[i] == m.File[f.Message]; i-- {
		if line += bytes.Count(m.Payload(i), []byte{'\n'}); format == "text" { // a line each, without its end
			line++
		}
	}
	return line + bytes.Count(m.Payload(f.Message)[:f.Start], []byte{'\n'})
}
