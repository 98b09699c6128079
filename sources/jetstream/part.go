package jetstream

import (
	"slices"

	"github.com/tidemill/tidemill/stream"
)

// part is messages [from, end) of a chunk. It stays as it is while more is added to the chunk.
type part struct {
	chunk     *chunk
	from, end int
	start     int             // where the payload of the first message begins
	all       stream.Messages // of the chunk, as it was when its last message was taken
	markers   []uint64
	before    stream.Sum   // of the chunk's messages before these
	sums      []stream.Sum // as all
}

func (p *part) len() int           { return p.end - p.from }
func (p *part) sequence() []uint64 { return p.all.Sequence[p.from:p.end] }

// stop returns where the payload of the last message ends.
func (p *part) stop() int {
	if p.end == p.from {
		return p.start
	}
	return p.all.Ends[p.end-1]
}

// sum adds the part's messages, without the markers, to those of parts before it.
func (p *part) sum(s stream.Sum) stream.Sum {
	if p.len() == 0 {
		return s
	}
	rows, bytes := p.len()-len(p.markers), p.stop()-p.start
	return s.Run(p.sums[p.end-1].Since(p.before, rows, bytes), rows, bytes)
}

// cut keeps the first n messages.
func (p *part) cut(n int) {
	p.end = p.from + n
	for len(p.markers) > 0 && (n == 0 || p.markers[len(p.markers)-1] > p.all.Sequence[p.end-1]) {
		p.markers = p.markers[:len(p.markers)-1]
	}
}

// extend takes in the part that follows in the same chunk, and reports whether it is that.
func (p *part) extend(next part) bool {
	if p.chunk != next.chunk || p.end != next.from {
		return false
	}
	p.end, p.all, p.sums, p.markers = next.end, next.all, next.sums, append(p.markers, next.markers...)
	return true
}

// messages returns the part without copying a payload.
func (p *part) messages() *stream.Messages {
	m := &stream.Messages{Data: p.all.Data[p.start:p.stop():p.stop()], Ends: p.all.Ends[p.from:p.end:p.end],
		Sequence: p.all.Sequence[p.from:p.end:p.end]}
	if p.start > 0 {
		m.Ends = make([]int, 0, p.len())
		for _, e := range p.all.Ends[p.from:p.end] {
			m.Ends = append(m.Ends, e-p.start)
		}
	}
	if p.all.Subject != nil {
		m.Subject = p.all.Subject[p.from:p.end:p.end]
	}
	if p.all.Published != nil {
		m.Published = p.all.Published[p.from:p.end:p.end]
	}
	if p.all.Headers != nil {
		m.Headers = p.all.Headers[p.from:p.end:p.end]
	}
	return m
}

// joined copies parts behind one another, into memory that may have been used before.
func joined(parts []part, m stream.Messages) *stream.Messages {
	for _, p := range parts {
		shift := len(m.Data) - p.start
		m.Data = append(m.Data, p.all.Data[p.start:p.stop()]...)
		for _, e := range p.all.Ends[p.from:p.end] {
			m.Ends = append(m.Ends, e+shift)
		}
		m.Sequence = append(m.Sequence, p.sequence()...)
		if p.all.Subject != nil {
			m.Subject = append(m.Subject, p.all.Subject[p.from:p.end]...)
		}
		if p.all.Published != nil {
			m.Published = append(m.Published, p.all.Published[p.from:p.end]...)
		}
		if p.all.Headers != nil {
			m.Headers = append(m.Headers, p.all.Headers[p.from:p.end]...)
		}
	}
	return &m
}

// without returns messages but those of some sequences, which have no bytes; nil if none are left.
func without(m *stream.Messages, markers []uint64) *stream.Messages {
	switch len(markers) {
	case 0:
		return m
	case m.Len():
		return nil
	}
	rest := &stream.Messages{Data: m.Data}
	for i, seq := range m.Sequence {
		if _, marker := slices.BinarySearch(markers, seq); marker {
			continue
		}
		rest.Ends = append(rest.Ends, m.Ends[i])
		rest.Sequence = append(rest.Sequence, seq)
		if m.Subject != nil {
			rest.Subject = append(rest.Subject, m.Subject[i])
		}
		if m.Published != nil {
			rest.Published = append(rest.Published, m.Published[i])
		}
		if m.Headers != nil {
			rest.Headers = append(rest.Headers, m.Headers[i])
		}
	}
	return rest
}
