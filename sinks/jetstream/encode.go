package jetstream

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/internal/rowenc"
	"github.com/tidemill/tidemill/stream"
)

// message is one message of a batch.
type message struct {
	subject string
	deleted bool // a tombstone: no body
	body    []byte
}

// encoder turns a result into messages. The same result gives the same messages.
type encoder struct {
	*sink
	most     int // bytes in one body
	rows     int // in one message
	messages []message
	made     func([]message) // called with all messages so far whenever one more is there
	arena    []byte
	subjects map[string]string // so that equal subjects share their text
	open     map[string]int    // ndjson: subject → index in packs
	packs    []pack
}

// Bodies of rows lie one behind the other in blocks of arenaBytes. A block that has less than arenaRow left is full.
const (
	arenaBytes = 256 << 10
	arenaRow   = 2 << 10
)

// pack is a message of JSON lines that is being filled.
type pack struct {
	subject string
	rows    int
	body    []byte
}

func (s *sink) encode(b stream.Batch, maxPayload int, made func([]message)) ([]message, error) {
	e := &encoder{
		sink: s, made: made, most: maxPayload - min(64<<10, maxPayload/2), rows: int(s.cfg.Options.Int("rows_per_message")),
		subjects: map[string]string{}, open: map[string]int{},
	}
	if e.rows <= 0 {
		e.rows = 1000
	}
	for _, rec := range b.Records {
		if err := e.record(b, rec); err != nil {
			return nil, err
		}
	}
	for i := range e.packs {
		if err := e.flush(&e.packs[i]); err != nil {
			return nil, err
		}
	}
	return e.messages, nil
}

func (e *encoder) add(m message) {
	e.messages = append(e.messages, m)
	e.made(e.messages)
}

func (e *encoder) record(b stream.Batch, rec arrow.Record) error {
	columns := int(rec.NumCols())
	if b.Op && e.payload != "ndjson" { // a line says itself what it does to its key
		columns--
	}
	switch e.payload {
	case "arrow":
		return e.arrow(rec, columns, 0, rec.NumRows())
	case "ndjson":
		return e.lines(rowenc.Bind(rec, columns), int(rec.NumRows()))
	}
	var op *array.String
	if b.Op {
		op, _ = rec.Column(columns).(*array.String)
	}
	rows := rowenc.Bind(rec, columns)
	for i := range int(rec.NumRows()) {
		subject := e.subject(rows, i)
		if op != nil && op.Value(i) == stream.OpDelete {
			e.add(message{subject: subject, deleted: true})
			continue
		}
		if cap(e.arena)-len(e.arena) < arenaRow {
			e.arena = make([]byte, 0, arenaBytes)
		}
		start := len(e.arena)
		e.arena = rows.JSON(e.arena, i)
		body := e.arena[start:len(e.arena):len(e.arena)]
		if len(body) > e.most {
			return e.large(len(body))
		}
		e.add(message{subject: subject, body: body})
	}
	return nil
}

func (e *encoder) subject(rows *rowenc.Rows, row int) string {
	if !e.template.dynamic() && len(e.template.parts) == 1 {
		return e.template.parts[0].text
	}
	start := len(e.arena)
	text := e.template.render(e.arena, rows, row)[start:]
	if s, ok := e.subjects[string(text)]; ok {
		return s
	}
	s := string(text)
	e.subjects[s] = s
	return s
}

// lines packs rows as JSON lines, by subject.
func (e *encoder) lines(rows *rowenc.Rows, n int) error {
	for i := range n {
		subject := e.subject(rows, i)
		at, ok := e.open[subject]
		if !ok {
			at = len(e.packs)
			e.open[subject] = at
			e.packs = append(e.packs, pack{subject: subject})
		}
		p := &e.packs[at]
		if p.rows == e.rows {
			if err := e.flush(p); err != nil {
				return err
			}
		}
		before := len(p.body)
		p.body = append(rows.JSON(p.body, i), '\n')
		if size := len(p.body) - before; size > e.most {
			return e.large(size)
		}
		if len(p.body) > e.most { // the row begins the next message
			row := p.body[before:]
			p.body = p.body[:before:before]
			if err := e.flush(p); err != nil {
				return err
			}
			p.body = append(p.body, row...)
		}
		p.rows++
	}
	return nil
}

func (e *encoder) flush(p *pack) error {
	if p.rows == 0 {
		return nil
	}
	if err := e.addPacked(p.subject, p.body); err != nil {
		return err
	}
	if p.rows = 0; e.compress == nil {
		p.body = make([]byte, 0, len(p.body)+len(p.body)/16) // the next one is about as long
	}
	p.body = p.body[:0]
	return nil
}

// addPacked adds a message of several rows, which keeps body unless it is compressed.
func (e *encoder) addPacked(subject string, body []byte) error {
	if e.compress != nil {
		var err error
		if body, err = e.compress.Compress(body); err != nil {
			return fmt.Errorf("sink %q: %w", e.cfg.Name, err)
		}
	}
	e.add(message{subject: subject, body: body})
	return nil
}

// arrow packs rows [from, to) as Arrow IPC streams, in halves where they are too large.
func (e *encoder) arrow(rec arrow.Record, columns int, from, to int64) error {
	for ; from < to; from += int64(e.rows) {
		end := min(to, from+int64(e.rows))
		body, err := ipcBytes(rec, columns, from, end)
		switch {
		case err != nil:
			return fmt.Errorf("encode rows for sink %q: %w", e.cfg.Name, err)
		case len(body) <= e.most:
			if err := e.addPacked(e.template.parts[0].text, body); err != nil {
				return err
			}
		case end-from == 1:
			return e.large(len(body))
		default:
			half := (from + end) / 2
			if err := e.arrow(rec, columns, from, half); err != nil {
				return err
			}
			if err := e.arrow(rec, columns, half, end); err != nil {
				return err
			}
		}
	}
	return nil
}

func ipcBytes(rec arrow.Record, columns int, from, to int64) ([]byte, error) {
	schema := arrow.NewSchema(rec.Schema().Fields()[:columns], nil)
	whole := array.NewRecord(schema, rec.Columns()[:columns], rec.NumRows())
	defer whole.Release()
	slice := whole.NewSlice(from, to)
	defer slice.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(schema))
	if err := w.Write(slice); err != nil {
		return nil, err //nolint:wrapcheck // the caller wraps it
	}
	if err := w.Close(); err != nil {
		return nil, err //nolint:wrapcheck // the caller wraps it
	}
	return out.Bytes(), nil
}

func (e *encoder) large(n int) error {
	return diag.New(diag.SinkFailed, "a row for sink %q is %d bytes long, but a message may have %d", e.cfg.Name,
		n, e.most).
		WithHint("raise max_payload of the NATS server, or select less")
}

// stagedMagic begins staged bytes; then come, for each message, the lengths of subject and body as uvarints,
// a byte that is 1 for a tombstone, subject and body.
const stagedMagic = "TMJS1\n"

func pickle(messages []message) []byte {
	size := len(stagedMagic)
	for _, m := range messages {
		size += 2*binary.MaxVarintLen64 + 1 + len(m.subject) + len(m.body)
	}
	data := append(make([]byte, 0, size), stagedMagic...)
	for _, m := range messages {
		data = binary.AppendUvarint(data, uint64(len(m.subject)))
		data = binary.AppendUvarint(data, uint64(len(m.body)))
		flag := byte(0)
		if m.deleted {
			flag = 1
		}
		data = append(append(append(data, flag), m.subject...), m.body...)
	}
	return data
}

// unpickle is the inverse of pickle; it returns false for anything that pickle did not make. The messages
// alias data.
func unpickle(data []byte) ([]message, bool) {
	rest, ok := bytes.CutPrefix(data, []byte(stagedMagic))
	if !ok {
		return nil, false
	}
	var messages []message
	for len(rest) > 0 {
		subject, n := binary.Uvarint(rest)
		if n <= 0 {
			return nil, false
		}
		body, k := binary.Uvarint(rest[n:])
		if k <= 0 {
			return nil, false
		}
		rest = rest[n+k:]
		if len(rest) < 1 || rest[0] > 1 || subject > uint64(len(rest)-1) || body > uint64(len(rest)-1)-subject {
			return nil, false
		}
		m := message{deleted: rest[0] == 1, subject: string(rest[1 : 1+subject]),
			body: rest[1+subject : 1+subject+body]}
		messages = append(messages, m)
		rest = rest[1+subject+body:]
	}
	return messages, true
}

// checksum is the CRC32C over the subjects and bodies of messages, which the marker carries.
func checksum(messages []message) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var crc uint32
	for _, m := range messages {
		crc = crc32.Update(crc, table, []byte(m.subject))
		crc = crc32.Update(crc, table, m.body)
	}
	return crc
}
