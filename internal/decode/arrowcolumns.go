package decode

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow/bitutil"
)

// arrowColumns copies the rows of a batch, column by column. It reports false, and has taken none of them, where a row holds
// what DuckDB can not, or a column outgrows its offsets: arrowRows finds out which.
func (d *Decoder) arrowColumns(f Fault, r *ipcReader, rows int) bool {
	d.room(rows)
	for i, n := range d.top.fields {
		if !d.copyColumn(n, r.columns[i], rows) {
			return false
		}
	}
	for j := range rows {
		d.commit(f.Message, f.Index+j)
	}
	return true
}

// copyColumn stores the values of c, nil for NULLs, as values d.row and up of n.
func (d *Decoder) copyColumn(n *node, c *ipcField, rows int) bool {
	switch whole := c != nil && c.valid == nil; {
	case whole && (n.kind == kindText || n.kind == kindBlob):
		return d.copyTexts(n, c, rows)
	case whole && n.width > 0:
		return d.copyNumbers(n, c.fixed[:n.width*rows])
	}
	for j := range rows {
		if c == nil {
			n.setNull(n.at(d.row + j))
		} else if !d.copyValue(n, n.at(d.row+j), c, j) {
			return false
		}
	}
	return true
}

// copyNumbers copies values of a fixed width, none of which is NULL.
func (d *Decoder) copyNumbers(n *node, values []byte) bool {
	for at := 0; at < len(values) && n.bounded(); at += n.width {
		if !n.holds(values[at:]) {
			return false
		}
	}
	if !n.unread {
		copy(n.fixed[n.width*d.row:], values)
		bitutil.SetBitsTo(n.valid, int64(d.row), int64(len(values)/n.width), true)
	}
	return true
}

// copyTexts copies texts or blobs, none of which is NULL.
func (d *Decoder) copyTexts(n *node, c *ipcField, rows int) bool {
	if rows == 0 {
		return true
	}
	from, _ := c.span(0)
	_, to := c.span(rows - 1)
	if n.kind == kindText && !c.validTexts(from, to, rows) {
		return false
	}
	if n.unread {
		return true
	}
	start := n.start(d.row)
	if !d.roomForBytes(n, start+to-from) {
		return false
	}
	copy(n.data[start:], c.data[from:to])
	for j := range rows {
		_, end := c.span(j)
		n.setEnd(d.row+j, start+end-from)
	}
	bitutil.SetBitsTo(n.valid, int64(d.row), int64(rows), true)
	return true
}

// validTexts reports whether each text is valid UTF-8, in one pass over their bytes: they are together, and none begins within
// a character.
func (c *ipcField) validTexts(from, to, rows int) bool {
	for j := 1; j < rows; j++ {
		if at := int(binary.LittleEndian.Uint32(c.fixed[4*j:])); at < to && !utf8.RuneStart(c.data[at]) {
			return false
		}
	}
	return utf8.Valid(c.data[from:to])
}
