package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// readBatch finds the buffers of a record batch and returns its rows.
func (r *ipcReader) readBatch(batch int) (int, error) {
	length := r.meta.number(batch, 0, 8, 0)
	r.nodes, r.nodesN = r.meta.vector(batch, 1, 16)
	r.buffers, r.bufsN = r.meta.vector(batch, 2, 16)
	if r.meta.field(batch, 3) >= 0 {
		return 0, errors.New("the Arrow stream is compressed, which is not supported: send it plain")
	}
	// A row takes at least a bit, so that a few bytes can not claim any number of rows.
	if r.meta.bad || length < 0 || length > 8*int64(len(r.body)) {
		return 0, errArrowMeta
	}
	for i := range r.fields {
		if err := r.readColumn(&r.fields[i], 0); err != nil {
			return 0, err
		}
		if r.fields[i].rows != int(length) {
			return 0, errors.New("not a valid Arrow stream: its columns differ in length")
		}
	}
	return int(length), nil
}

// buffer returns the next buffer.
func (r *ipcReader) buffer() ([]byte, error) {
	if r.bufsN == 0 {
		return nil, errArrowMeta
	}
	off, size := r.meta.i64(r.buffers), r.meta.i64(r.buffers+8)
	r.buffers, r.bufsN = r.buffers+16, r.bufsN-1
	if r.meta.bad || off < 0 || size < 0 || off > int64(len(r.body)) || size > int64(len(r.body))-off {
		return nil, errArrowShort
	}
	return r.body[off : off+size], nil
}

// readColumn gives a field its buffers, checked against the number of its rows.
func (r *ipcReader) readColumn(f *ipcField, least int) error {
	if r.nodesN == 0 {
		return errArrowMeta
	}
	rows, nulls := r.meta.i64(r.nodes), r.meta.i64(r.nodes+8)
	r.nodes, r.nodesN = r.nodes+16, r.nodesN-1
	if rows < int64(least) || rows > 8*int64(len(r.body)) {
		return errArrowMeta
	}
	f.rows, f.valid = int(rows), nil
	if f.typ == typeNull {
		return nil
	}
	valid, err := r.buffer()
	if err != nil {
		return err
	}
	if nulls != 0 {
		if f.valid = valid; len(valid) < (f.rows+7)/8 {
			return errArrowBuf
		}
	}
	if f.typ == typeStruct {
		return r.readKids(f)
	}
	if f.fixed, err = r.buffer(); err != nil {
		return err
	}
	switch f.typ {
	case typeUtf8, typeBinary:
		if f.data, err = r.buffer(); err != nil {
			return err
		}
		return f.checkOffsets(len(f.data))
	case typeList, typeMap:
		if err = r.readKids(f); err != nil {
			return err
		}
		return f.checkOffsets(f.kids[0].rows)
	}
	if f.bits > 0 && f.rows > len(f.fixed)*8/f.bits {
		return errArrowBuf
	}
	return nil
}

// checkOffsets makes sure that offsets ascend up to limit. That also means that no two values share bytes, so
// that a batch can not unfold to more than it has.
func (f *ipcField) checkOffsets(limit int) error {
	if f.rows == 0 {
		return nil
	}
	if len(f.fixed)/4-1 < f.rows {
		return errArrowBuf
	}
	last := 0
	for j := range f.rows + 1 {
		at := int(binary.LittleEndian.Uint32(f.fixed[4*j:]))
		if at < last || at > limit {
			return errors.New("not a valid Arrow stream: its offsets do not ascend within their buffer")
		}
		last = at
	}
	return nil
}

func (r *ipcReader) readKids(f *ipcField) error {
	least := 0
	if f.typ == typeStruct {
		least = f.rows
	}
	for i := range f.kids {
		if err := r.readColumn(&f.kids[i], least); err != nil {
			return err
		}
	}
	return nil
}

// span returns the two offsets of value j.
func (f *ipcField) span(j int) (from, to int) {
	return int(binary.LittleEndian.Uint32(f.fixed[4*j:])), int(binary.LittleEndian.Uint32(f.fixed[4*j+4:]))
}

// arrowRows copies the rows of a batch, and sets aside those that hold what DuckDB can not.
func (d *Decoder) arrowRows(m mark, f Fault, r *ipcReader, rows int) error {
	big := d.tooBig
	if d.arrowColumns(f, r, rows) {
		return nil
	}
	d.tooBig = big // it may have been for texts of rows that are set aside
	for j := range rows {
		d.room(1)
		ok := true
		for i, n := range d.top.fields {
			if c := r.columns[i]; c == nil {
				n.setNull(n.at(d.row))
			} else if ok = d.copyValue(n, n.at(d.row), c, j); !ok {
				break
			}
		}
		if ok {
			d.commit(f.Message, f.Index)
		} else {
			f.Reason = d.reason
			if !d.badRow(m, f) {
				return fmt.Errorf("more than %d of its rows do not decode, the last because: %s", faultsMax, d.reason)
			}
		}
		f.Index++
	}
	return nil
}

// copyValue stores value j of c as value i of n.
func (d *Decoder) copyValue(n *node, i int, c *ipcField, j int) bool {
	if c.valid != nil && c.valid[j>>3]&(1<<(j&7)) == 0 {
		n.setNull(i)
		return true
	}
	switch n.kind {
	case kindBool:
		n.setBool(i, c.fixed[j>>3]&(1<<(j&7)) != 0)
	case kindText, kindUUID, kindJSON, kindEnum, kindBlob:
		from, to := c.span(j)
		if n.kind != kindBlob {
			return d.setText(n, i, c.data[from:to])
		}
		d.setBytes(n, i, c.data[from:to])
	case kindList, kindMap:
		return d.copyList(n, i, c, j)
	case kindStruct:
		n.setValid(i)
		for k, kid := range n.kids {
			if !d.copyValue(kid, i, &c.kids[k], j) {
				return false
			}
		}
	default:
		return d.copyFixed(n, i, c, j)
	}
	return true
}

func (d *Decoder) copyFixed(n *node, i int, c *ipcField, j int) bool {
	value := c.fixed[j*n.width : (j+1)*n.width]
	if n.bounded() && !n.holds(value) {
		if n.kind == kindDecimal {
			return d.wrongText(n, "a number within the range of "+n.sql, nil)
		}
		return d.wrongText(n, "a time within DuckDB's range", fmt.Append(nil, int64(word(value))))
	}
	copy(n.fixed[i*n.width:], value)
	n.setValid(i)
	return true
}

// word returns a value of up to eight bytes.
func word(value []byte) uint64 {
	var w [8]byte
	copy(w[:], value)
	return binary.LittleEndian.Uint64(w[:])
}

// bounded reports whether the column's type holds less than its bytes do.
func (n *node) bounded() bool {
	return n.kind == kindDecimal || n.kind == kindDate || n.kind == kindTime || n.kind == kindTimestamp
}

// holds reports whether the type of a bounded column has the value that stands here.
func (n *node) holds(value []byte) bool {
	switch n.kind {
	case kindDate:
		days := int32(binary.LittleEndian.Uint32(value))
		return days >= daysMin && days <= daysMax
	case kindTime:
		return binary.LittleEndian.Uint64(value) < microsPerDay
	case kindTimestamp:
		return inRange(int64(binary.LittleEndian.Uint64(value)))
	}
	lo, hi := binary.LittleEndian.Uint64(value), binary.LittleEndian.Uint64(value[8:])
	if int64(hi) < 0 {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		hi, _ = bits.Sub64(0, hi, borrow)
	}
	return below10(hi, lo, n.prec)
}

// copyList copies a list or a map.
func (d *Decoder) copyList(n *node, i int, c *ipcField, j int) bool {
	kid := &c.kids[0]
	from, to := c.span(j)
	start := n.start(i)
	for k := from; k < to; k++ {
		at := start + k - from
		d.roomFor(n, at)
		if n.kind == kindList {
			if !d.copyValue(n.kids[0], at, kid, k) {
				return false
			}
			continue
		}
		if kid.kids[0].valid != nil && kid.kids[0].valid[k>>3]&(1<<(k&7)) == 0 {
			return d.wrongText(n, "keys that are not NULL", nil)
		}
		if !d.copyValue(n.kids[0], at, &kid.kids[0], k) || !d.copyValue(n.kids[1], at, &kid.kids[1], k) {
			return false
		}
	}
	n.setEnd(i, start+to-from)
	n.setValid(i)
	return n.kind == kindList || d.uniqueKeys(n, start, start+to-from)
}
