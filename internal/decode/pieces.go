package decode

import (
	"slices"

	"github.com/tidemill/tidemill/stream"
)

// A Result can be made of messages that come in pieces: Begin, then Add for each piece, then Finish or Abandon. Nothing
// of a piece is looked at again, but the copies of what does not decode. Messages are numbered through all pieces.

// Begin begins a Result, of so many payload bytes as far as is known. What was begun before is given up.
func (d *Decoder) Begin(bytes int64) {
	d.Abandon()
	d.begin(d.rowsIn(int(min(bytes, offsetMax))), offsetMax)
}

// Add decodes the next messages.
func (d *Decoder) Add(m *stream.Messages) {
	from, base := len(d.bad), d.base
	d.add(m)
	for i := from; i < len(d.bad); i++ {
		d.keep(i, from, m.Payload(d.bad[i].Message-base))
	}
}

// keep copies the bytes of a payload that fault i concerns, unless it has a copy, or that before it, of those from `from` on,
// has one of the same.
func (d *Decoder) keep(i, from int, payload []byte) {
	f := &d.bad[i]
	switch {
	case f.Bytes != nil:
	case i > from && f.same(d.bad[i-1]):
		f.Bytes = d.bad[i-1].Bytes
	case f.part(len(payload)):
		payload = payload[f.Start:f.End]
		fallthrough
	default:
		f.Bytes = append([]byte{}, payload...) // not nil, which would say that they are not known
	}
}

// part reports that a fault is of a part of a payload of so many bytes.
func (f Fault) part(size int) bool { return f.Index >= 0 && f.Start < f.End && f.End <= size }

// same reports that two faults are of the same bytes.
func (f Fault) same(g Fault) bool {
	return f.Message == g.Message && f.Start == g.Start && f.End == g.End
}

// Of returns the bytes of a fault: those of its row where it is one of several in the payload, which may be a whole file.
func (f Fault) Of(payload []byte) []byte {
	if f.Bytes != nil {
		return f.Bytes
	}
	if f.part(len(payload)) {
		return payload[f.Start:f.End]
	}
	return payload
}

// Cut takes back the messages from number n on.
func (d *Decoder) Cut(n int) {
	if n >= d.base {
		return
	}
	row, _ := slices.BinarySearch(d.message, int32(n))
	bad, _ := slices.BinarySearchFunc(d.bad, n, func(f Fault, n int) int { return f.Message - n })
	d.rollback(mark{row, bad})
	d.base = n
}

// Finish ends the Result as Decode does. m is what the transport says of the messages; their payloads are not looked at.
func (d *Decoder) Finish(m *stream.Messages) (Result, error) { return d.finish(m) }

// Abandon gives up what was begun, if anything was.
func (d *Decoder) Abandon() { d.drop() }
