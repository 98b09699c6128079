package decode

import (
	"slices"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// meta is a column that the transport fills.
type meta struct {
	node *node
	what string
}

func newMeta(c stream.Column, n *node) (meta, error) {
	want := ""
	ok := false
	switch c.Name {
	case "subject", "file":
		want, ok = "VARCHAR", n.kind == kindText
	case "sequence":
		want, ok = "BIGINT or UBIGINT", (n.kind == kindInt || n.kind == kindUint) && n.width == 8
	case "published_at":
		want, ok = "TIMESTAMP", n.kind == kindTimestamp
	case "headers":
		want, ok = "MAP(VARCHAR, VARCHAR)", n.kind == kindMap && n.kids[1].kind == kindText
	default:
		return meta{}, diag.New(diag.UnknownColumn, "there is no METADATA column %q", c.Name).OfColumn(c.Name).
			WithHint("METADATA columns are subject, sequence, published_at, headers and file")
	}
	if !ok {
		return meta{}, diag.New(diag.BadType, "METADATA column %q can not be %s", c.Name, c.Type).OfColumn(c.Name).
			WithHint("declare it as %s", want)
	}
	return meta{n, c.Name}, nil
}

// fillMeta writes the transport's columns for all rows at once. What the transport does not know is NULL.
func (d *Decoder) fillMeta(m *stream.Messages) {
	for _, c := range d.metas {
		for row, msg := range d.message {
			if !d.setMeta(c, row, m, int(msg)) {
				c.node.setNull(row)
			}
		}
	}
}

func (d *Decoder) setMeta(c meta, row int, m *stream.Messages, msg int) bool {
	switch c.what {
	case "subject":
		return d.setName(c.node, row, m.Subject, msg)
	case "file":
		return d.setName(c.node, row, m.File, msg)
	case "sequence":
		if msg >= len(m.Sequence) || c.node.kind == kindInt && int64(m.Sequence[msg]) < 0 {
			return false
		}
		c.node.setInt(row, m.Sequence[msg])
	case "published_at":
		if msg >= len(m.Published) {
			return false
		}
		c.node.setInt(row, uint64(m.Published[msg]))
	default:
		return d.setHeaders(c.node, row, m, msg)
	}
	return true
}

func (d *Decoder) setName(n *node, row int, names []string, msg int) bool {
	if msg >= len(names) {
		return false
	}
	d.text = appendValid(d.text[:0], names[msg])
	d.setBytes(n, row, d.text)
	return true
}

// setHeaders writes a message's headers in the order of their names, so that a second read gives the same
// bytes.
func (d *Decoder) setHeaders(n *node, row int, m *stream.Messages, msg int) bool {
	if msg >= len(m.Headers) || m.Headers[msg] == nil {
		return false
	}
	headers := m.Headers[msg]
	names := make([]string, 0, len(headers))
	for name := range headers {
		names = append(names, name)
	}
	slices.Sort(names)
	j := n.start(row)
	for _, name := range names {
		d.roomFor(n, j)
		d.text = appendValid(d.text[:0], name)
		d.setBytes(n.kids[0], j, d.text)
		d.text = appendValid(d.text[:0], headers[name])
		d.setBytes(n.kids[1], j, d.text)
		j++
	}
	n.setEnd(row, j)
	n.setValid(row)
	return true
}

// appendValid appends s with what is not UTF-8 replaced: names come from outside and must not break a column.
func appendValid(b []byte, s string) []byte {
	for _, r := range s {
		b = append(b, string(r)...)
	}
	return b
}
