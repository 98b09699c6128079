package decode

import (
	"bytes"
	"encoding/base64"
	"fmt"
)

// jsonPayload decodes one object, or an array of objects. A payload that is not JSON as a whole is one fault.
func (d *Decoder) jsonPayload(msg int, b []byte) {
	m := d.mark()
	d.b, d.p = skipBOM(b), 0
	shift := len(b) - len(d.b)
	ok := false
	switch d.peek() {
	case '{':
		ok = d.jsonRow(m, msg, 0, shift)
	case '[':
		ok = d.jsonArray(m, msg, shift)
	case 0:
		if d.p >= len(d.b) {
			d.reason = "the payload is empty"
			break
		}
		fallthrough
	default:
		ok = d.syntax("an object or an array of objects")
	}
	if ok && (d.peek() != 0 || d.p < len(d.b)) {
		ok = d.syntax("nothing behind the value (many objects one after the other are format = 'ndjson')")
	}
	if !ok {
		d.badPayload(m, msg, len(b), d.reason)
	}
}

func skipBOM(b []byte) []byte { return bytes.TrimPrefix(b, []byte("\xEF\xBB\xBF")) }

func (d *Decoder) jsonArray(m mark, msg, shift int) bool {
	d.p++
	if d.peek() == ']' {
		d.p++
		return true
	}
	for i := 0; ; i++ {
		d.peek()
		if !d.jsonRow(m, msg, i, shift) {
			return false
		}
		if ended, ok := d.ended(']'); ended || !ok {
			return ok
		}
	}
}

// jsonRow decodes the value at d.p as row number index of its message. A row that is JSON but does not fit
// the columns is set aside. It returns false if the text is not JSON, or too much of it is set aside.
func (d *Decoder) jsonRow(m mark, msg, index, shift int) bool {
	start := d.p
	if d.jsonObject() {
		d.commit(msg, index)
		return true
	}
	reason := d.reason
	d.p = start
	if !d.skip(0) {
		return false
	}
	f := Fault{Message: msg, Index: index, Start: shift + start, End: shift + d.p, Reason: reason}
	if !d.badRow(m, f) {
		d.reason = fmt.Sprintf("more than %d of its rows do not decode, the last because: %s", faultsMax, reason)
		return false
	}
	return true
}

// jsonObject decodes the object at d.p into the row d.row.
func (d *Decoder) jsonObject() bool {
	if d.peek() != '{' {
		d.reason = "expected an object, got " + show(d.b[d.p:], 80)
		return false
	}
	d.room(1)
	return d.object(d.top, d.row, 1)
}

// ndjsonPayload decodes one object a line. Empty lines are no rows; a line that does not decode is one fault.
func (d *Decoder) ndjsonPayload(msg int, b []byte) {
	m := d.mark()
	index, p := 0, len(b)-len(skipBOM(b))
	for p < len(b) {
		rows, next := d.flatRead(b, p, nil)
		for range rows {
			d.commit(msg, index)
			index++
		}
		if p = next; rows > 0 {
			continue
		}
		start, line := p, b[p:]
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
		}
		p += len(line) + 1
		d.b, d.p = line, 0
		if d.peek() == 0 && d.p >= len(line) {
			continue
		}
		ok := d.jsonObject()
		if ok && (d.peek() != 0 || d.p < len(line)) {
			ok = d.syntax("the end of the line")
		}
		if ok {
			d.commit(msg, index)
		} else if !d.badRow(m, Fault{Message: msg, Index: index, Start: start, End: start + len(line), Reason: d.reason}) {
			d.badPayload(m, msg, len(b), fmt.Sprintf("more than %d of its lines do not decode, the last because: %s",
				faultsMax, d.reason))
			return
		}
		index++
	}
}

// textPayload takes the payload itself as the value of the only column: as text, or as bytes of any kind.
func (d *Decoder) textPayload(msg int, b []byte) {
	d.room(1)
	if n := d.top.fields[0]; n.kind == kindBlob {
		d.setBytes(n, n.at(d.row), b)
	} else if !d.setText(n, n.at(d.row), b) {
		d.badRow(d.mark(), Fault{Message: msg, End: len(b), Reason: d.reason})
		return
	}
	d.commit(msg, 0)
}

// object decodes the object at d.p into value i of each field. Keys must be the fields' names exactly; other
// keys are skipped, and fields without a key are NULL.
func (d *Decoder) object(o *object, i, depth int) bool {
	if depth > depthMax {
		return d.tooDeep()
	}
	o.stamp++
	found, place, keys := 0, 0, 0
	d.p++
	if d.peek() == '}' {
		d.p++
		return o.fillNulls(i)
	}
	for {
		field, ok := d.key(o, &place)
		if !ok {
			return false
		}
		keys++
		if field < 0 {
			ok = d.skip(depth)
		} else {
			if o.seen[field] == o.stamp {
				d.reason = fmt.Sprintf("column %q: its key stands twice in the object", o.fields[field].path)
				return false
			}
			o.seen[field] = o.stamp
			found++
			ok = d.value(o.fields[field], o.fields[field].at(i), depth)
		}
		if !ok {
			return false
		}
		switch d.peek() {
		case ',':
			d.p++
		case '}':
			d.p++
			if o == d.top {
				d.learnFlat(keys, place)
			}
			if found == len(o.fields) {
				return true
			}
			return o.fillNulls(i)
		default:
			return d.syntax(`"," or "}"`)
		}
	}
}

func (o *object) fillNulls(i int) bool {
	for f, n := range o.fields {
		if o.seen[f] != o.stamp {
			n.setNull(n.at(i))
		}
	}
	return true
}

// key reads a key and its colon, and returns the field it names or -1. It first compares the bytes with the
// key that the last object had at this place, then with the one behind that, since keys are often left out.
func (d *Decoder) key(o *object, place *int) (field int, ok bool) {
	if d.peek() != '"' {
		return 0, d.syntax("a key in quotes")
	}
	rest := d.b[d.p:]
	for ahead := range 2 {
		if at := *place + ahead; at < len(o.order) {
			if guess := &o.order[at]; bytes.HasPrefix(rest, guess.raw) {
				d.p += len(guess.raw)
				*place = at + 1
				return guess.field, true
			}
		}
	}
	start := d.p
	name, ok := d.str()
	if !ok {
		return 0, false
	}
	field, known := o.index[string(name)]
	if !known {
		field = -1
	}
	if d.peek() != ':' {
		return 0, d.syntax(`":"`)
	}
	d.p++
	o.learn(*place, d.b[start:d.p], field)
	*place++
	return field, true
}

// wrong reports that the value at start is not what the column takes.
func (d *Decoder) wrong(n *node, expected string, start int) bool {
	return d.wrongText(n, expected, d.valueAt(start))
}

func (d *Decoder) wrongText(n *node, expected string, got []byte) bool {
	d.reason = fmt.Sprintf("column %q: expected %s, got %s", n.path, expected, show(got, 80))
	return false
}

// valueAt returns the text of the value at start, or what is left of it.
func (d *Decoder) valueAt(start int) []byte {
	d.p = start
	if d.skip(0) {
		return d.b[start:d.p]
	}
	return d.b[start:]
}

// value decodes the value at d.p as value i of n.
func (d *Decoder) value(n *node, i, depth int) bool {
	c := d.peek()
	start := d.p
	if c == 'n' {
		if !d.literal("null") {
			return false
		}
		n.setNull(i)
		return true
	}
	switch n.kind {
	case kindText, kindUUID, kindEnum, kindBlob, kindDate, kindTime:
		return d.fromString(n, i, c)
	case kindTimestamp:
		if d.tsUnit == unitISO {
			return d.fromString(n, i, c)
		}
		return d.fromNumber(n, i, c)
	case kindBool:
		if c == 't' && d.literal("true") || c == 'f' && d.literal("false") {
			n.setBool(i, c == 't')
			return true
		}
		return d.wrong(n, "true or false", start)
	case kindJSON:
		if !d.skip(depth) {
			return false
		}
		d.setBytes(n, i, d.b[start:d.p])
		return true
	case kindList:
		return d.list(n, i, depth+1, c)
	case kindMap:
		return d.mapping(n, i, depth+1, c)
	case kindStruct:
		if c != '{' {
			return d.wrong(n, "an object", start)
		}
		n.setValid(i)
		return d.object(n.object, i, depth+1)
	default:
		return d.fromNumber(n, i, c)
	}
}

func (d *Decoder) fromString(n *node, i int, c byte) bool {
	start := d.p
	if c != '"' {
		return d.wrong(n, n.describe()+" as a string", start)
	}
	s, ok := d.str()
	if !ok {
		return false
	}
	if n.kind == kindText { // checked by str
		if !n.unread {
			d.setBytes(n, i, s)
		}
		return true
	}
	return d.setString(n, i, s)
}

func (d *Decoder) fromNumber(n *node, i int, c byte) bool {
	if c != '-' && (c < '0' || c > '9') {
		return d.wrong(n, n.describe()+" as a number", d.p)
	}
	return d.scanNumber() && d.setNumber(n, i)
}

// setNumber stores the number that was scanned last.
func (d *Decoder) setNumber(n *node, i int) bool {
	switch n.kind {
	case kindInt, kindUint:
		return d.setInteger(n, i)
	case kindDecimal:
		return d.setDecimal(n, i)
	case kindFloat:
		return d.setFloat(n, i)
	case kindTimestamp:
		return d.setEpoch(n, i)
	default:
		return d.setDouble(n, i)
	}
}

// setString stores a value that is written as text.
func (d *Decoder) setString(n *node, i int, s []byte) bool {
	switch n.kind {
	case kindUUID:
		return d.setUUID(n, i, s)
	case kindEnum:
		if _, ok := n.values[string(s)]; !ok {
			return d.wrongText(n, n.describe(), s)
		}
		d.setBytes(n, i, s)
	case kindBlob:
		size := base64.StdEncoding.DecodedLen(len(s))
		if cap(d.text)-len(s) < size { // s may lie in d.text
			d.text = append(make([]byte, 0, 2*(len(s)+size)), s...)
			s = d.text
		}
		out := d.text[len(s):cap(d.text)][:size]
		size, err := base64.StdEncoding.Strict().Decode(out, s)
		if err != nil {
			return d.wrongText(n, "base64", s)
		}
		d.setBytes(n, i, out[:size])
	case kindDate:
		days, rest, ok := isoDate(s)
		if !ok || len(rest) > 0 {
			return d.wrongText(n, "a date as YYYY-MM-DD", s)
		}
		n.setInt(i, uint64(days))
	case kindTime:
		micros, rest, ok := isoTime(s)
		if !ok || len(rest) > 0 {
			return d.wrongText(n, "a time as HH:MM:SS", s)
		}
		n.setInt(i, uint64(micros))
	case kindTimestamp:
		micros, ok := d.day.timestamp(s)
		if !ok {
			return d.wrongText(n, "a TIMESTAMP as YYYY-MM-DD HH:MM:SS within DuckDB's range", s)
		}
		n.setInt(i, uint64(micros))
	default:
		return d.setText(n, i, s)
	}
	return true
}

// setUUID stores a UUID in lower case, as DuckDB writes it.
func (d *Decoder) setUUID(n *node, i int, s []byte) bool {
	if len(s) != 36 {
		return d.wrongText(n, "a UUID", s)
	}
	var lower [36]byte
	for k, c := range s {
		hyphen := k == 8 || k == 13 || k == 18 || k == 23
		if c >= 'A' && c <= 'F' {
			c |= 0x20
		}
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if hyphen && c != '-' || !hyphen && !hex {
			return d.wrongText(n, "a UUID", s)
		}
		lower[k] = c
	}
	d.setBytes(n, i, lower[:])
	return true
}

func (d *Decoder) list(n *node, i, depth int, c byte) bool {
	if c != '[' {
		return d.wrong(n, "an array", d.p)
	}
	if depth > depthMax {
		return d.tooDeep()
	}
	j := n.start(i)
	d.p++
	if d.peek() == ']' {
		d.p++
		n.setEnd(i, j)
		n.setValid(i)
		return true
	}
	for ; ; j++ {
		d.roomFor(n, j)
		if !d.value(n.kids[0], j, depth) {
			return false
		}
		if ended, ok := d.ended(']'); !ok {
			return false
		} else if ended {
			n.setEnd(i, j+1)
			n.setValid(i)
			return true
		}
	}
}

// mapping decodes an object whose keys are data.
func (d *Decoder) mapping(n *node, i, depth int, c byte) bool {
	if c != '{' {
		return d.wrong(n, "an object", d.p)
	}
	if depth > depthMax {
		return d.tooDeep()
	}
	j := n.start(i)
	first := j
	d.p++
	if d.peek() == '}' {
		d.p++
		n.setEnd(i, j)
		n.setValid(i)
		return true
	}
	for ; ; j++ {
		d.roomFor(n, j)
		if !d.mapEntry(n, j, depth) {
			return false
		}
		if ended, ok := d.ended('}'); !ok {
			return false
		} else if ended {
			n.setEnd(i, j+1)
			n.setValid(i)
			return d.uniqueKeys(n, first, j+1)
		}
	}
}

func (d *Decoder) mapEntry(n *node, j, depth int) bool {
	if d.peek() != '"' {
		return d.syntax("a key in quotes")
	}
	key, ok := d.str()
	if !ok {
		return false
	}
	d.setBytes(n.kids[0], j, key)
	if d.peek() != ':' {
		return d.syntax(`":"`)
	}
	d.p++
	return d.value(n.kids[1], j, depth)
}

// uniqueKeys checks a map's keys, pair by pair while there are few.
func (d *Decoder) uniqueKeys(n *node, first, end int) bool {
	keys := n.kids[0]
	at := func(j int) []byte { return keys.data[keys.start(j):keys.start(j+1)] }
	if end-first <= 8 {
		for a := first; a < end; a++ {
			for b := first; b < a; b++ {
				if bytes.Equal(at(a), at(b)) {
					return d.doubleKey(n, at(a))
				}
			}
		}
		return true
	}
	keysSeen := n.keys
	if end-first > 1024 {
		keysSeen = make(map[string]struct{}, end-first) // a map that was large once is slow to clear for ever
	}
	clear(keysSeen)
	for j := first; j < end; j++ {
		if _, double := keysSeen[string(at(j))]; double {
			return d.doubleKey(n, at(j))
		}
		keysSeen[string(at(j))] = struct{}{}
	}
	return true
}

func (d *Decoder) doubleKey(n *node, key []byte) bool {
	d.reason = fmt.Sprintf("column %q: the key %s stands twice in the object", n.path, show(key, 80))
	return false
}
