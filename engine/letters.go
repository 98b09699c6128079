package engine

import (
	"bytes"
	"context"
	"fmt"
	"sort"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/decode"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/sinks/letters"
	"github.com/tidemill/tidemill/stream"
)

// deliverLetters writes what the batch left out: rows and payloads that do not decode, impossible event times,
// poison, and late rows if the query asks for them. The file of a batch is the same when the batch runs again, so
// letters are held exactly once too.
func (q *Query) deliverLetters(ctx context.Context, w *work) error {
	var all []letters.Letter
	for _, in := range q.inputs {
		r := w.data[in.def.Name]
		if r == nil || in.def.Options.String("on_error") == "skip" {
			continue
		}
		for _, f := range r.faults {
			l := letters.Letter{Source: in.def.Name, Batch: w.intent.Batch, Index: int64(f.Index), Ordinal: -1, Kind: letters.Dead, Reason: shortReason(f.Reason)}
			all = append(all, f.letter(l))
		}
	}
	for _, d := range w.out.Dead {
		in := q.input(d.Source)
		if in.def.Options.String("on_error") == "skip" {
			continue
		}
		l, err := q.rowLetter(ctx, w, in, letters.Letter{Ordinal: d.Ordinal, Kind: letters.Dead, Reason: d.Reason})
		if err != nil {
			return err
		}
		all = append(all, l)
	}
	if q.lateLetters() {
		for _, in := range q.inputs {
			for _, ordinal := range w.out.Late[in.def.Name] {
				l, err := q.rowLetter(ctx, w, in, letters.Letter{Ordinal: ordinal, Kind: letters.Late, Reason: lateReason(w)})
				if err != nil {
					return err
				}
				all = append(all, l)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	sort.SliceStable(all, func(i, j int) bool { return letterLess(all[i], all[j]) })
	if err := q.letters.Write(w.intent.Batch, all); err != nil {
		return fmt.Errorf("write dead letters of batch %d: %w", w.intent.Batch, err)
	}
	return q.deliverDead(ctx, w, all)
}

// hasLetters reports whether deliverLetters may look at the batch's rows.
func (q *Query) hasLetters(w *work) bool {
	if len(w.out.Dead) > 0 {
		return true
	}
	for name, r := range w.data {
		if len(r.faults) > 0 || len(w.out.Late[name]) > 0 && q.lateLetters() {
			return true
		}
	}
	return false
}

func letterLess(a, b letters.Letter) bool {
	if a.Source != b.Source {
		return a.Source < b.Source
	}
	if a.Sequence != b.Sequence {
		return a.Sequence < b.Sequence
	}
	return a.Index < b.Index
}

// shortReason cuts a reason that quotes a long value.
func shortReason(reason string) string {
	const most = 1000
	runes := []rune(reason)
	if len(runes) <= most {
		return reason
	}
	return fmt.Sprintf("%s… (%d characters)", string(runes[:most]), len(runes))
}

func lateReason(w *work) string {
	return fmt.Sprintf("late: the watermark stood at %s", microsTime(w.intent.Late).Format("2006-01-02 15:04:05.999999"))
}

func (q *Query) input(name string) *input {
	for _, in := range q.inputs {
		if in.def.Name == name {
			return in
		}
	}
	return nil
}

// lateLetters reports that late rows become letters.
func (q *Query) lateLetters() bool { return q.def.Options.String("late") == "dead_letter" }

// rowLetter completes a letter for a decoded row: the payload it came from if the source gave payloads, and the row itself.
func (q *Query) rowLetter(ctx context.Context, w *work, in *input, l letters.Letter) (letters.Letter, error) {
	r, ordinal := w.data[in.def.Name], l.Ordinal
	l.Source, l.Batch, l.Reason = in.def.Name, w.intent.Batch, shortReason(l.Reason)
	if c, i := r.origin(ordinal); c != nil {
		if err := q.recall(ctx, w, in, c); err != nil {
			return l, err
		}
		l.Index = int64(c.index[i])
		l = transport(l, c.messages, int(c.message[i]))
		received := l.Payload
		l.Payload = r.lines.plain(received, in.def.Options.String("compression"))
		if r.packed(c, i) {
			l.Payload = r.lines.line(l, in.def.Options.String("format"))
		}
		if c.again != nil || !sameMemory(received, r.lines.text) {
			l.Payload = bytes.Clone(l.Payload)
		}
	} else if p, row := r.part(ordinal); p.File != "" {
		l.File, l.Sequence, l.Index = p.File, p.Sequence+uint64(row), row //nolint:gosec // a row's number
		whole, err := q.readAgain(ctx, w, in, p, row)
		if err != nil || whole != nil {
			l.Row = whole
			return l, err
		}
	} else {
		l.Sequence = uint64(ordinal)
	}
	l.Row = in.row(r, ordinal)
	return l, nil
}

// recall reads the payloads of a chunk again for its letters. Where on_data_loss is 'skip' and they are not what they were,
// the rows that were read of them stay read, and letters have no payloads.
func (q *Query) recall(ctx context.Context, w *work, in *input, c *chunk) error {
	err := q.retry(ctx, w.intent.Batch, func() error { return in.recall(ctx, w.data[in.def.Name], c) })
	if diag.CodeOf(err) != diag.DataLoss || in.def.Options.String("on_data_loss") != "skip" {
		return err
	}
	q.log.Warn("dead letters have no payloads", "source", in.def.Name, "batch", w.intent.Batch, "err", err)
	c.gone = true
	return nil
}

// row is a decoded row as JSON, with all declared columns, or those that the plan reads where its payload is gone.
func (in *input) row(r *rows, ordinal int64) []byte {
	if c, i := r.origin(ordinal); c != nil && !c.gone && in.whole != nil {
		rec := r.whole.of(in.whole, c)
		if rec == nil {
			return nil
		}
		return rowenc.JSON(nil, rec, int(i))
	}
	at := ordinal
	for _, rec := range r.records {
		if at < rec.NumRows() {
			return rowenc.JSON(nil, rec, int(at))
		}
		at -= rec.NumRows()
	}
	return nil
}

// wholeRows are the rows of one chunk with all columns, decoded when a letter asks for one.
type wholeRows struct {
	first int64 // ordinal of the chunk's first row
	rec   arrow.Record
}

// of returns the rows of a chunk, or nil if they do not fit one record with the columns that the plan does not read.
func (w *wholeRows) of(d *decode.Decoder, c *chunk) arrow.Record {
	if w.rec == nil || w.first != c.first {
		w.release()
		res, err := d.Decode(c.messages)
		if err != nil {
			return nil
		}
		w.first, w.rec = c.first, res.Rows
	}
	return w.rec
}

func (w *wholeRows) release() {
	if w.rec != nil {
		w.rec.Release()
		w.rec = nil
	}
}

// letter completes l with the bytes that the fault concerns: the row's own where it is one of several in its message,
// which may be a whole file.
func (f fault) letter(l letters.Letter) letters.Letter {
	l = transport(l, f.messages, f.Message)
	l.Payload = f.Of(l.Payload)
	return l
}

// packed reports whether row i of a chunk shares its message with other rows.
func (r *rows) packed(c *chunk, i int64) bool {
	message := c.message[i]
	if c.index[i] > 0 || i > 0 && c.message[i-1] == message || int(i)+1 < len(c.message) && c.message[i+1] == message {
		return true
	}
	for _, f := range r.faults {
		if f.messages == c.messages && f.Message == int(message) {
			return true
		}
	}
	return false
}

// lines are those of the message that was asked for last, so that many letters of one file cost one look at it.
type lines struct {
	received, text []byte // a message as it came, and what it holds
	of             []byte
	list           [][]byte
}

// plain returns what a message holds, decompressed if it came compressed.
func (x *lines) plain(received []byte, compression string) []byte {
	if !sameMemory(x.received, received) {
		x.received, x.text = received, decode.Plain(compression, received)
	}
	return x.text
}

func sameMemory(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// line returns the bytes of the letter's row in a message with a JSON object per line. Of other packed messages the
// letter has the row alone.
func (x *lines) line(l letters.Letter, format string) []byte {
	if format != "ndjson" || len(l.Payload) == 0 {
		return nil
	}
	if !sameMemory(x.of, l.Payload) {
		x.of, x.list = l.Payload, nil
		for line := range bytes.Lines(l.Payload) {
			if line = bytes.TrimSpace(line); len(line) > 0 {
				x.list = append(x.list, line)
			}
		}
	}
	if l.Index < 0 || l.Index >= int64(len(x.list)) {
		return nil
	}
	return x.list[l.Index]
}

// transport fills in what the source says of the message.
func transport(l letters.Letter, m *stream.Messages, i int) letters.Letter {
	l.Sequence = m.Sequence[i]
	if m.Data != nil {
		l.Payload = m.Payload(i)
	}
	if m.Published != nil {
		l.Published = time.UnixMicro(m.Published[i]).UTC()
	}
	if m.Subject != nil {
		l.Subject = m.Subject[i]
	}
	if m.File != nil {
		l.File = m.File[i]
	}
	return l
}
