package engine

import (
	"context"
	"fmt"

	"github.com/tidemill/tidemill/internal/decode"
	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// loaded is what a source gave for a range, decoded.
type loaded struct {
	*stream.Input // its Messages have no payloads if they came in pieces
	decode.Result
	rng    stream.Range
	pieces bool
}

// load reads and decodes a range, piece by piece if the source can give pieces.
func (in *input) load(ctx context.Context, rng stream.Range) (*loaded, error) {
	pieces, ok := in.src.(stream.Pieces)
	if !ok || in.decoder == nil || in.keeps {
		return in.loadWhole(ctx, rng)
	}
	t := &taker{decoder: in.decoder, messages: &stream.Messages{}}
	raw, err := pieces.ReadPieces(ctx, rng, t)
	if err != nil || t.messages.Len() == 0 {
		in.decoder.Abandon()
	}
	if err != nil {
		return nil, fmt.Errorf("read source %q: %w", in.def.Name, err)
	}
	l := &loaded{Input: raw, rng: rng, pieces: true}
	if t.messages.Len() == 0 {
		return l, nil
	}
	raw.Messages = t.messages
	if l.Result, err = in.decoder.Finish(t.messages); err != nil {
		raw.Release()
		return nil, fmt.Errorf("decode source %q: %w", in.def.Name, err)
	}
	return l, nil
}

func (in *input) loadWhole(ctx context.Context, rng stream.Range) (*loaded, error) {
	raw, err := in.readRange(ctx, rng)
	if err != nil {
		return nil, fmt.Errorf("read source %q: %w", in.def.Name, err)
	}
	l := &loaded{Input: raw, rng: rng}
	if raw.Messages.Len() == 0 {
		return l, nil
	}
	if l.Result, err = in.decoder.Decode(raw.Messages); err != nil {
		raw.Release()
		return nil, fmt.Errorf("decode source %q: %w", in.def.Name, err)
	}
	return l, nil
}

// taker decodes messages as they come and keeps what the transport says of them. It implements stream.PieceTaker.
type taker struct {
	decoder  *decode.Decoder
	messages *stream.Messages // without payloads
}

func (t *taker) Expect(bytes int64) { t.decoder.Begin(bytes) }

func (t *taker) Take(m *stream.Messages) {
	t.decoder.Add(m)
	to, before := t.messages, 0
	if n := to.Len(); n > 0 {
		before = to.Ends[n-1]
	}
	for _, end := range m.Ends {
		to.Ends = append(to.Ends, before+end)
	}
	to.Sequence, to.Published = append(to.Sequence, m.Sequence...), append(to.Published, m.Published...)
	to.Subject, to.Headers = append(to.Subject, m.Subject...), append(to.Headers, m.Headers...)
	to.File = append(to.File, m.File...)
}

func (t *taker) Cut(n int) {
	t.decoder.Cut(n)
	m := t.messages
	m.Ends, m.Sequence, m.Published = m.Ends[:n], m.Sequence[:n], m.Published[:min(n, len(m.Published))]
	m.Subject, m.Headers = m.Subject[:min(n, len(m.Subject))], m.Headers[:min(n, len(m.Headers))]
	m.File = m.File[:min(n, len(m.File))]
}

// add adds what was loaded to r, and takes it over.
func (in *input) add(ctx context.Context, r *rows, l *loaded) error {
	defer l.Input.Release()
	r.lost += l.Lost
	r.crc = l.CRC
	for _, rec := range l.Input.Rows {
		rec.Retain()
		r.count += rec.NumRows()
		r.records = append(r.records, rec)
	}
	in.addParts(r, l)
	faults := len(r.faults)
	if l.Messages.Len() > 0 {
		in.addMessages(r, l)
	}
	if l.Broken != nil {
		r.count += int64(l.Broken.Messages.Len())
		for i, reason := range l.Broken.Reasons {
			whole := decode.Fault{Message: i, Index: -1, End: len(l.Broken.Messages.Payload(i)), Reason: reason}
			r.faults = append(r.faults, fault{whole, l.Broken.Messages})
		}
	}
	if len(r.faults) > faults && in.def.Options.String("on_error") == "fail" {
		return in.refuse(ctx, r, r.faults[faults])
	}
	return nil
}

func (in *input) addMessages(r *rows, l *loaded) {
	c := chunk{first: r.size(), messages: l.Messages, decoder: in.decoder, message: l.Message, index: l.Index, crc: l.CRC,
		bytes: int64(l.Messages.Ends[l.Messages.Len()-1])}
	if l.pieces {
		c.again = &l.rng
	} else {
		c.owner, _ = in.src.(stream.Recycler)
	}
	r.chunks = append(r.chunks, c)
	r.count += int64(l.Messages.Len())
	if l.Result.Rows != nil {
		r.records = append(r.records, l.Result.Rows)
	}
	for _, f := range l.Bad {
		r.faults = append(r.faults, fault{f, l.Messages})
	}
}

// refuse is the error of a payload that does not decode, for on_error = 'fail'.
func (in *input) refuse(ctx context.Context, r *rows, f fault) error {
	if n := len(r.chunks); n > 0 && r.chunks[n-1].messages == f.messages {
		if err := in.recall(ctx, r, &r.chunks[n-1]); err != nil {
			return err
		}
	}
	return diag.New(diag.DecodeFailed, "source %q: %s does not decode: %s", in.def.Name,
		f.place(in.def.Options.String("format")), f.Reason).
		WithHint("mend the producer, or set on_error = 'dead_letter' or 'skip' on the source")
}

// recalled is the chunk whose payloads were read again last.
type recalled struct {
	chunk    *chunk
	messages *stream.Messages
	owner    stream.Recycler // of messages; nil if nobody takes them back
}

func (x *recalled) drop() {
	if x.chunk != nil {
		x.chunk.messages.Data = nil
	}
	if x.owner != nil {
		x.owner.Recycle(x.messages)
	}
	*x = recalled{}
}

// recall reads the payloads of a chunk again if they were not kept: only letters need them. They stay until those of
// another chunk are recalled, or r is released.
func (in *input) recall(ctx context.Context, r *rows, c *chunk) error {
	if c.again == nil || c.messages.Data != nil || c.gone {
		return nil
	}
	r.recalled.drop()
	r.lines = lines{}
	raw, err := in.src.Read(ctx, *c.again)
	if err != nil {
		return fmt.Errorf("read source %q again: %w", in.def.Name, err)
	}
	if raw.CRC != c.crc || raw.Messages.Len() != c.messages.Len() {
		return diag.New(diag.DataLoss, "source %q gives other payloads after %s up to %s than a moment before", in.def.Name,
			c.again.From, c.again.To).WithHint("files must stay as they are while they are read; spool = 'copy' keeps what they were")
	}
	r.recalled = recalled{chunk: c, messages: raw.Messages}
	r.recalled.owner, _ = in.src.(stream.Recycler)
	c.messages.Data = raw.Messages.Data
	return nil
}
