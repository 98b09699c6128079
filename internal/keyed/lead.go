package keyed

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/tidemill/tidemill/internal/invariant"
)

// Order is one column of an order of rows.
type Order struct {
	Column     int // of the schema
	Descending bool
	NullsFirst bool
}

// Lead puts those rows of rec whose key has no row yet, or a row that comes after them in an order; of rows with the same
// key the first one counts, and of rows that are alike in the order the one that was there before. The texts of a row that
// is not put are not looked at, unless the order needs them. It returns how many rows the batch touched for the first
// time. After an error the batch must be rolled back.
func (s *Store) Lead(rec arrow.Record, by []Order) (touched int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	invariant.Check(s.open.Load(), "no batch of the keyed store is open")
	o, err := s.newRace(rec, by)
	if err != nil {
		return 0, fmt.Errorf("keep first rows: %w", err)
	}
	before := len(s.undo.slots)
	o.pick(o.leaders(), false)
	o.pick(o.winners(), true)
	for r := range s.in.rows {
		s.lookAhead(r)
		slot, fresh, err := s.findOrAdd(r)
		if err == nil {
			err = s.put(slot, r, fresh)
		}
		if err != nil {
			return 0, fmt.Errorf("keep first rows: %w", err)
		}
	}
	return len(s.undo.slots) - before, nil
}

// TouchedBy returns what Touched does, in the order of a BIGINT column without NULL.
func (s *Store) TouchedBy(column int) []arrow.Record {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.l.columns[s.l.shown[column]]
	type placed struct {
		at   int64
		slot uint32
	}
	rows := make([]placed, 0, len(s.undo.slots))
	for i, slot := range s.touched() {
		s.pace(i)
		rows = append(rows, placed{signed(s.rows.row(slot)[c.at:], c.width), slot})
	}
	slices.SortFunc(rows, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	slots := make([]uint32, len(rows))
	for i := range rows {
		slots[i] = rows[i].slot
	}
	return s.records(slots, s.l.schema)
}

// race finds the rows of a record that come first. Its rows are those of the store's input.
type race struct {
	s   *Store
	rec arrow.Record
	by  []Order
}

// newRace encodes a record, but for texts that are not of the key.
func (s *Store) newRace(rec arrow.Record, by []Order) (*race, error) {
	o := &race{s: s, rec: rec}
	for _, b := range by {
		if b.Column >= s.l.keys { // rows with the same key are alike in it
			o.by = append(o.by, b)
		}
	}
	if err := s.l.orderable(o.by); err != nil {
		return nil, err
	}
	if err := s.l.encodeFixed(&s.in, rec, true); err != nil {
		return nil, err
	}
	s.l.encodeBlobs(&s.in, rec, false)
	s.hashKeys()
	return o, nil
}

// orderable checks that rows can be put in an order.
func (l *layout) orderable(by []Order) error {
	for _, b := range by {
		if b.Column >= l.schema.NumFields() {
			return fmt.Errorf("there is no column %d to order by", b.Column)
		}
		s := &l.columns[b.Column].shape
		if s.form != formText && (s.form != formFixed || s.class == classInterval) {
			return fmt.Errorf("rows can not be put in order by column %q", l.schema.Field(l.columns[b.Column].source).Name)
		}
	}
	return nil
}

// leaders returns the rows that come before all others of their key in the record, ascending.
func (o *race) leaders() []int32 {
	s, e := o.s, &o.s.in
	cells := make([]int32, 1<<bits.Len(uint(2*e.rows))) // by hash: a row, from 1
	mask := uint64(len(cells) - 1)
	beaten := make([]bool, e.rows)
	for r := range e.rows {
		at := s.hashes[r] & mask
		for cells[at] != 0 && !o.alike(r, int(cells[at]-1)) {
			at = (at + 1) & mask
		}
		was := int(cells[at] - 1)
		if was >= 0 && !o.precedes(o.came(r), o.came(was)) {
			beaten[r] = true
			continue
		}
		if was >= 0 {
			beaten[was] = true
		}
		cells[at] = int32(r + 1)
	}
	rows := make([]int32, 0, e.rows)
	for r, lost := range beaten {
		if !lost {
			rows = append(rows, int32(r))
		}
	}
	return rows
}

// alike reports whether two rows have the same key.
func (o *race) alike(a, b int) bool {
	if o.s.hashes[a] != o.s.hashes[b] {
		return false
	}
	fixedA, blobA := o.s.in.key(a, o.s.l)
	fixedB, blobB := o.s.in.key(b, o.s.l)
	return string(fixedA) == string(fixedB) && string(blobA) == string(blobB)
}

// winners returns the rows that come before what the store has of their key.
func (o *race) winners() []int32 {
	s := o.s
	rows := make([]int32, 0, s.in.rows)
	for r := range s.in.rows {
		s.lookAhead(r)
		slot, ok := s.find(r)
		if ok {
			row := s.rows.row(slot)
			ok = row[0]&flagLive != 0 && !o.precedes(o.came(r), o.kept(row))
		}
		if !ok {
			rows = append(rows, int32(r))
		}
	}
	return rows
}

// pick leaves no others in the input than these rows; with all, their texts are encoded too.
func (o *race) pick(rows []int32, all bool) {
	e, from := &o.s.in, make([]int32, len(rows))
	for to, r := range rows {
		copy(e.fixed[to*e.stride:(to+1)*e.stride], e.fixed[int(r)*e.stride:])
		o.s.hashes[to] = o.s.hashes[r]
		from[to] = int32(e.source(int(r)))
	}
	e.rows, e.from = len(rows), from
	o.s.hashes = o.s.hashes[:e.rows]
	o.s.l.encodeBlobs(e, o.rec, all)
}

// runner is a row: of the input, or one that is kept.
type runner struct {
	body []byte // what lies behind the flags
	row  int    // of the record; -1 if it is kept
	kept []byte // with its flags
}

func (o *race) came(r int) runner {
	e := &o.s.in
	return runner{body: e.fixed[r*e.stride : (r+1)*e.stride], row: e.source(r)}
}

func (o *race) kept(row []byte) runner { return runner{body: row[flagsBytes:], row: -1, kept: row} }

// precedes reports whether a comes before b.
func (o *race) precedes(a, b runner) bool {
	for _, by := range o.by {
		c := &o.s.l.columns[by.Column]
		bit, at := byte(1)<<(c.null%8), c.null/8-flagsBytes
		if nullA, nullB := a.body[at]&bit != 0, b.body[at]&bit != 0; nullA || nullB {
			if nullA != nullB {
				return nullA == by.NullsFirst
			}
			continue
		}
		n := o.compare(a, b, c)
		if n != 0 {
			return n < 0 != by.Descending
		}
	}
	return false
}

func (o *race) compare(a, b runner, c *column) int {
	if c.width == 0 {
		return cmp.Compare(o.text(a, c), o.text(b, c))
	}
	at := c.at - flagsBytes
	return compareFixed(a.body[at:at+c.width], b.body[at:at+c.width], &c.shape)
}

// text returns what a row has in a column of texts.
func (o *race) text(r runner, c *column) string {
	if r.row >= 0 {
		return textOf(o.rec.Column(c.source), r.row)
	}
	l := o.s.l
	rest := o.s.arena.payload(o.s.ref(r.kept), l.header)[len(o.s.blobKey(r.kept)):]
	for _, i := range l.varValues {
		v := &l.columns[i]
		if v == c {
			break
		}
		if r.kept[v.null/8]&(1<<(v.null%8)) == 0 {
			rest = skipValue(rest, &v.shape, false)
		}
	}
	n, w := binary.Uvarint(rest)
	return string(rest[w : w+int(n)])
}

func textOf(a arrow.Array, r int) string {
	switch a := a.(type) {
	case *array.String:
		return a.Value(r)
	case *array.LargeString:
		return a.Value(r)
	case *array.Binary:
		return string(a.Value(r))
	case *array.LargeBinary:
		return string(a.Value(r))
	default:
		panic(fmt.Sprintf("text of a %s", a.DataType()))
	}
}
