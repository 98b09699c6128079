package decode

import (
	"bytes"
	"slices"
)

// A flat decoder reads objects whose keys come in the order of an earlier one, byte for byte: nearly all objects of a
// stream do. It needs no look-up of keys, no check for double ones and no search for the end of the line. It gives up on
// anything else, and then the general decoder reads the object from its start.
type flatObjects struct {
	keys   []flatKey
	absent []*node // fields that the objects have no key for
	rest   int     // objects that are left to the general decoder before the flat one is tried again
	pause  int     // how many it was the last time
}

// flatKey is one key with its quotes and its colon.
type flatKey struct {
	raw   []byte
	field *node // nil for a key that is skipped
}

// flatPause bounds for how many objects the flat decoder is not tried after it has given up several times in a row.
const flatPause = 63

// flatRow reads the object at the start of b, and a line break behind it, into the row d.row. It returns how many bytes
// it read, or 0 if the object is not for it.
func (d *Decoder) flatRow(b []byte) int {
	if len(d.flat.keys) == 0 || b[0] != '{' {
		return 0
	}
	if d.flat.rest > 0 {
		d.flat.rest--
		return 0
	}
	d.room()
	d.b = b
	end := d.flatEnd(d.flatFields(1))
	if end == 0 {
		d.flat.pause = min(2*d.flat.pause+1, flatPause)
		d.flat.rest = d.flat.pause
		return 0
	}
	d.flat.pause = 0
	for _, n := range d.flat.absent {
		n.setNull(n.at(d.row))
	}
	return end
}

// flatFields reads the keys and values from p on, and returns the end of the last value, or 0.
func (d *Decoder) flatFields(p int) int {
	b := d.b
	for k := range d.flat.keys {
		key := &d.flat.keys[k]
		if k > 0 {
			if p >= len(b) || b[p] != ',' {
				return 0
			}
			p++
			if p < len(b) && b[p] == ' ' {
				p++
			}
		}
		end := p + len(key.raw)
		if end >= len(b) || string(b[p:end]) != string(key.raw) {
			return 0
		}
		if p = end; b[p] == ' ' {
			p++
		}
		if n := key.field; n != nil && n.kind == kindText && p < len(b) && b[p] == '"' {
			p = d.flatText(n, p+1)
		} else {
			p = d.flatValue(n, p)
		}
		if p == 0 {
			return 0
		}
	}
	return p
}

// flatText stores the text that begins at p and returns what follows its quote, or 0.
func (d *Decoder) flatText(n *node, p int) int {
	end := d.plain(p)
	if end >= len(d.b) || d.b[end] != '"' {
		return d.flatValue(n, p-1)
	}
	if !n.unread {
		d.setBytes(n, d.row, d.b[p:end])
	}
	return end + 1
}

// flatValue stores a value of any kind. White space within it may be a line break, which ends a row.
func (d *Decoder) flatValue(n *node, p int) int {
	d.p = p
	ok := false
	if n == nil {
		ok = d.skip(1)
	} else {
		ok = d.value(n, n.at(d.row), 1)
	}
	if !ok || bytes.IndexByte(d.b[p:d.p], '\n') >= 0 {
		return 0
	}
	return d.p
}

// flatEnd reads the end of the object at p and of its line, and returns what follows, or 0.
func (d *Decoder) flatEnd(p int) int {
	b := d.b
	if p == 0 || p >= len(b) || b[p] != '}' {
		return 0
	}
	p++
	if p < len(b) && b[p] == '\r' {
		p++
	}
	if p == len(b) {
		return p
	}
	if b[p] != '\n' {
		return 0
	}
	return p + 1
}

// learnFlat makes an object with so many keys, which the general decoder has just read, the one that the flat decoder
// expects. If keys were left out of the order that has been learned, it is not known.
func (d *Decoder) learnFlat(keys, place int) {
	o := d.top
	if keys != place || place > len(o.order) {
		return
	}
	same := len(d.flat.keys) == keys
	for k := 0; same && k < keys; k++ {
		same = bytes.Equal(d.flat.keys[k].raw, o.order[k].raw)
	}
	if same {
		return
	}
	d.flat.keys, d.flat.absent = slices.Grow(d.flat.keys[:0], keys)[:keys], d.flat.absent[:0]
	for k, l := range o.order[:keys] {
		key := &d.flat.keys[k]
		key.raw, key.field = append(key.raw[:0], l.raw...), nil
		if l.field >= 0 {
			key.field = o.fields[l.field]
		}
	}
	for f, n := range o.fields {
		if o.seen[f] != o.stamp {
			d.flat.absent = append(d.flat.absent, n)
		}
	}
}
