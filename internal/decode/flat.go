package decode

import "github.com/tidemill/tidemill/stream"

// A flat decoder reads objects whose keys come in the order of an earlier one, byte for byte: nearly all objects of a
// stream do. It needs no look-up of keys, no check for double ones and no search for the end of the line. It reads many
// at a time: a scan in C finds where the values are, then each column takes its own, one after the other. It gives up on
// anything else, and then the general decoder reads the object from its start.
type flatObjects struct {
	scan   flatScan
	fields []*node // of each key; nil for one that is skipped
	absent []*node // fields that the objects have no key for
	rest   int     // objects that are left to the general decoder before the flat one is tried again
	pause  int     // how many it was the last time
	most   int     // how many objects are scanned at a time, see next
	day    flatDay // the date that was read last
}

// flatPause bounds for how many objects the flat decoder is not tried after it has given up several times in a row.
const flatPause = 63

// flatRead reads objects from b[p] on, each with a line break behind it, into the rows from d.row on, for the caller to
// commit. It returns how many, and where the next object begins. With ends, object i must end at ends[i].
func (d *Decoder) flatRead(b []byte, p int, ends []int) (rows, next int) {
	f := &d.flat
	if len(f.fields) == 0 || p >= len(b) || b[p] != '{' {
		return 0, p
	}
	if f.rest > 0 {
		f.rest--
		return 0, p
	}
	most := f.most
	if found := f.scan.run(b, p, ends, most); found > 0 {
		d.room(found)
		rows = d.flatColumns(b, found)
		f.next(found, rows)
	}
	if rows == 0 {
		f.pause = min(2*f.pause+1, flatPause)
		f.rest = f.pause
		return 0, p
	}
	f.pause = 0
	if next = f.scan.row(rows - 1).end(); next < len(b) && rows < most {
		f.rest = 1 // what it stopped at
	}
	return rows, next
}

// next says how many objects are scanned the next time: not many more than were good before one was not, since what was
// found behind that one is looked for again.
func (f *flatObjects) next(found, rows int) {
	if rows < found {
		f.most = rows
	}
	f.most = min(2*max(f.most, 1), flatRows)
}

// flatColumns lets the columns take the values of rows, and returns how many rows have good ones.
func (d *Decoder) flatColumns(b []byte, rows int) int {
	d.b = b
	for k, n := range d.flat.fields {
		spans := d.flat.scan.values(k)[:rows]
		switch {
		case d.flat.scan.odd[k] == 0 && (n == nil || n.kind == kindText && n.unread):
			// Plain strings need no further look.
		case d.flat.scan.odd[k] == 0 && n.kind == kindText:
			d.plainTexts(n, spans)
		case n != nil && n.kind == kindText && !n.unread:
			rows = d.flatTexts(n, spans)
		case n != nil && n.kind == kindTimestamp && d.tsUnit == unitISO:
			rows = d.flatTimes(n, spans)
		default:
			rows = d.flatValues(n, spans)
		}
	}
	for _, n := range d.flat.absent {
		for r := range rows {
			n.setNull(n.at(d.row + r))
		}
	}
	return rows
}

// plainTexts takes the values of a column of text, all of which are plain.
func (d *Decoder) plainTexts(n *node, spans []span) {
	for r := 0; r < len(spans); r++ {
		if r += n.texts(d.b, spans[r:], d.row+r); r < len(spans) {
			d.setBytes(n, d.row+r, spans[r].text(d.b)) // makes room
		}
	}
}

func (d *Decoder) flatTexts(n *node, spans []span) int {
	for r, s := range spans {
		if s.plain() {
			d.setBytes(n, d.row+r, s.text(d.b))
		} else if !d.flatValue(n, d.row+r, s) {
			return r
		}
	}
	return len(spans)
}

// flatTimes takes the values of a column of times. Those of other than the common forms are read one by one: several at a
// time where they are many, since a call that reads few costs more than it saves.
func (d *Decoder) flatTimes(n *node, spans []span) int {
	const few = 4
	for r := 0; r < len(spans); {
		read := 0
		if !n.unread {
			read = n.times(d.b, spans[r:], d.row+r, &d.flat.day)
		}
		r += read
		one := 1
		if read < few {
			one = 4 * few
		}
		for ; one > 0 && r < len(spans); one, r = one-1, r+1 {
			if !d.flatTime(n, n.at(d.row+r), spans[r]) {
				return r
			}
		}
	}
	return len(spans)
}

func (d *Decoder) flatTime(n *node, i int, s span) bool {
	if !s.plain() {
		return d.flatValue(n, i, s)
	}
	micros, ok := d.day.timestamp(s.text(d.b))
	if ok {
		n.setInt(i, uint64(micros))
	}
	return ok
}

func (d *Decoder) flatValues(n *node, spans []span) int {
	for r, s := range spans {
		i := 0
		if n != nil {
			i = n.at(d.row + r)
		}
		if !d.flatValue(n, i, s) {
			return r
		}
	}
	return len(spans)
}

// flatValue stores a value of any kind. It must be one, and all of it.
func (d *Decoder) flatValue(n *node, i int, s span) bool {
	d.p = int(s.start)
	ok := false
	if n == nil {
		ok = d.skip(1)
	} else {
		ok = d.value(n, i, 1)
	}
	return ok && d.p == s.end()
}

// flatMessages reads messages from number i on that are one object each, and returns how many.
func (d *Decoder) flatMessages(m *stream.Messages, i int) int {
	start := 0
	if i > 0 {
		start = m.Ends[i-1]
	}
	rows, _ := d.flatRead(m.Data, start, m.Ends[i:])
	for r := range rows {
		d.commit(d.base+i+r, 0)
	}
	return rows
}

// learnFlat makes an object with so many keys, which the general decoder has just read, the one that the flat decoder
// expects. If keys were left out of the order that has been learned, it is not known.
func (d *Decoder) learnFlat(keys, place int) {
	o, f := d.top, &d.flat
	if keys != place || place > len(o.order) || f.scan.expects(o.order[:keys]) {
		return
	}
	f.scan.expect(o.order[:keys])
	f.most = flatRows
	f.fields, f.absent = f.fields[:0], f.absent[:0]
	for _, l := range o.order[:keys] {
		var n *node
		if l.field >= 0 {
			n = o.fields[l.field]
		}
		f.fields = append(f.fields, n)
	}
	for i, n := range o.fields {
		if o.seen[i] != o.stamp {
			f.absent = append(f.absent, n)
		}
	}
}
