package decode

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Numbers of the Arrow format, from its Schema.fbs and Message.fbs.
const (
	headerSchema = 1
	headerBatch  = 3

	typeNull      = 1
	typeInt       = 2
	typeFloat     = 3
	typeBinary    = 4
	typeUtf8      = 5
	typeBool      = 6
	typeDecimal   = 7
	typeDate      = 8
	typeTime      = 9
	typeTimestamp = 10
	typeInterval  = 11
	typeList      = 12
	typeStruct    = 13
	typeFixedBin  = 15
	typeMap       = 17
	typeDuration  = 18

	unitDay   = 0
	unitMicro = 2

	fieldsMax = 10_000 // fields of one schema, nested ones included
)

var (
	errArrowMeta  = errors.New("not a valid Arrow stream: its metadata is damaged")
	errArrowShort = errors.New("not a valid Arrow stream: it ends too early")
	errArrowBuf   = errors.New("not a valid Arrow stream: a buffer is shorter than its rows need")
)

// ipcField is a field of the stream's schema and, within a record batch, its buffers.
type ipcField struct {
	name   string
	typ    byte
	bits   int // of integers, times and decimals; bytes*8 of fixed-size binary
	signed bool
	unit   int // of times; precision of floats
	prec   int
	scale  int
	dict   bool
	kids   []ipcField

	rows  int
	valid []byte // nil when all values are valid
	fixed []byte // values or offsets
	data  []byte
}

// ipcReader walks through one stream.
type ipcReader struct {
	fields  []ipcField
	columns []*ipcField // for each payload column its field, nil for NULL
	count   int
	schema  bool

	// Within a record batch:
	meta           flat
	body           []byte
	nodes, buffers int
	nodesN, bufsN  int
}

// arrowPayload decodes an Arrow IPC stream. Columns are found by name and must have the declared type. A
// stream that is damaged is one fault; a row that holds what DuckDB can not is set aside.
func (d *Decoder) arrowPayload(msg int, b []byte) {
	m := d.mark()
	if err := d.arrowStream(m, msg, b); err != nil {
		d.badPayload(m, msg, len(b), err.Error())
	}
}

func (d *Decoder) arrowStream(m mark, msg int, b []byte) error {
	if len(b) == 0 {
		return errors.New("the payload is empty")
	}
	if len(b) >= 6 && string(b[:6]) == "ARROW1" {
		return errors.New("an Arrow file (Feather) where an Arrow stream was expected")
	}
	r := &ipcReader{}
	rest, index := b, 0
	for len(rest) > 0 {
		if len(rest) < 8 || binary.LittleEndian.Uint32(rest) != 0xFFFFFFFF {
			return errors.New("not a valid Arrow stream: a message does not begin with its mark")
		}
		size := int(binary.LittleEndian.Uint32(rest[4:]))
		rest = rest[8:]
		if size == 0 {
			if len(rest) > 0 {
				return errors.New("not a valid Arrow stream: something follows its end")
			}
			break
		}
		if size > len(rest) {
			return errArrowShort
		}
		meta := flat{b: rest[:size]}
		rest = rest[size:]
		table := meta.follow(0)
		bodySize := meta.number(table, 3, 8, 0)
		if meta.bad || bodySize < 0 || bodySize > int64(len(rest)) {
			return errArrowShort
		}
		r.meta, r.body = meta, rest[:bodySize]
		rest = rest[bodySize:]
		rows, err := r.message(d.top.fields, table)
		if err != nil {
			return err
		}
		if err := d.arrowRows(m, Fault{Message: msg, Index: index, End: len(b)}, r, rows); err != nil {
			return err
		}
		index += rows
	}
	if !r.schema {
		return errors.New("not a valid Arrow stream: it has no schema")
	}
	return nil
}

// message reads a schema or the buffers of a record batch, and returns the rows of the latter.
func (r *ipcReader) message(columns []*node, table int) (rows int, err error) {
	header := r.meta.sub(table, 2)
	switch r.meta.number(table, 1, 1, 0) {
	case headerSchema:
		if r.schema {
			return 0, errors.New("not a valid Arrow stream: it has two schemas")
		}
		r.schema = true
		return 0, r.readSchema(columns, header)
	case headerBatch:
		if !r.schema {
			return 0, errors.New("not a valid Arrow stream: rows come before the schema")
		}
		return r.readBatch(header)
	}
	return 0, errors.New("the Arrow stream has dictionaries or other messages, which are not supported: " +
		"send plain columns")
}

func (r *ipcReader) readSchema(columns []*node, schema int) error {
	if r.meta.number(schema, 0, 2, 0) != 0 {
		return errors.New("the Arrow stream is big-endian, which is not supported")
	}
	fields, err := r.readFields(schema, 1, 0)
	if err != nil {
		return err
	}
	r.fields = fields
	r.columns = make([]*ipcField, len(columns))
	for i, n := range columns {
		if r.columns[i], err = find(r.fields, n); err != nil {
			return err
		}
	}
	return nil
}

// find returns the field for a column, nil if there is none.
func find(fields []ipcField, n *node) (*ipcField, error) {
	var found *ipcField
	for i := range fields {
		f := &fields[i]
		if f.name != n.name {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("column %q stands twice in the Arrow schema", n.path)
		}
		found = f
	}
	if found == nil {
		return nil, nil //nolint:nilnil // a column that is not there is NULL
	}
	return found, found.match(n)
}

// readFields reads a vector of fields with their children.
func (r *ipcReader) readFields(table, i, depth int) ([]ipcField, error) {
	start, n := r.meta.vector(table, i, 4)
	if r.count += n; r.count > fieldsMax || depth > depthMax {
		return nil, errors.New("the Arrow schema has too many fields or is nested too deep")
	}
	fields := make([]ipcField, n)
	for k := range fields {
		if err := r.readField(&fields[k], r.meta.follow(start+4*k), depth); err != nil {
			return nil, err
		}
	}
	if r.meta.bad {
		return nil, errArrowMeta
	}
	return fields, nil
}

func (r *ipcReader) readField(f *ipcField, table, depth int) error {
	m := &r.meta
	f.name = m.text(table, 0)
	f.typ = byte(m.number(table, 2, 1, 0))
	f.dict = m.field(table, 4) >= 0
	t := m.sub(table, 3)
	if m.bad || t < 0 {
		return errArrowMeta
	}
	switch f.typ {
	case typeInt:
		f.bits, f.signed = int(m.number(t, 0, 4, 0)), m.number(t, 1, 1, 0) != 0
	case typeFloat:
		f.unit = int(m.number(t, 0, 2, 0))
		if f.unit < 0 || f.unit > 2 {
			return errArrowMeta
		}
		f.bits = 16 << f.unit
	case typeDecimal:
		f.prec, f.scale, f.bits = int(m.number(t, 0, 4, 0)), int(m.number(t, 1, 4, 0)), int(m.number(t, 2, 4, 128))
	case typeDate:
		f.unit = int(m.number(t, 0, 2, 1))
		f.bits = 32 << (f.unit & 1)
	case typeTime:
		f.unit, f.bits = int(m.number(t, 0, 2, 1)), int(m.number(t, 1, 4, 32))
	case typeTimestamp, typeDuration:
		f.unit, f.bits = int(m.number(t, 0, 2, 0)), 64
	case typeInterval:
		f.bits = []int{32, 64, 128}[max(0, min(2, m.number(t, 0, 2, 0)))]
	case typeFixedBin:
		f.bits = 8 * int(m.number(t, 0, 4, 0))
	case typeBool:
		f.bits = 1
	case typeNull, typeBinary, typeUtf8, typeList, typeStruct, typeMap:
	default:
		return fmt.Errorf("field %q of the Arrow stream has a type that is not supported (large, view, union or run-end encoded)",
			show([]byte(f.name), 80))
	}
	if f.bits < 0 || f.dict {
		return fmt.Errorf("field %q of the Arrow stream is dictionary-encoded, which is not supported: send plain columns",
			show([]byte(f.name), 80))
	}
	var err error
	f.kids, err = r.readFields(table, 5, depth+1)
	if list := f.typ == typeList || f.typ == typeMap; err == nil && list && len(f.kids) != 1 {
		err = errArrowMeta
	}
	return err
}

// match checks that the field's values are those of the column, without any conversion.
func (f *ipcField) match(n *node) error {
	ok := false
	switch n.kind {
	case kindBool:
		ok = f.typ == typeBool
	case kindInt, kindUint:
		ok = f.typ == typeInt && f.bits == 8*n.width && f.signed == (n.kind == kindInt)
	case kindFloat, kindDouble:
		ok = f.typ == typeFloat && f.bits == 8*n.width
	case kindDecimal:
		ok = f.typ == typeDecimal && f.bits == 128 && f.prec == n.prec && f.scale == n.scale
	case kindDate:
		ok = f.typ == typeDate && f.unit == unitDay
	case kindTime:
		ok = f.typ == typeTime && f.unit == unitMicro && f.bits == 64
	case kindTimestamp:
		ok = f.typ == typeTimestamp && f.unit == unitMicro
	case kindBlob:
		ok = f.typ == typeBinary
	case kindList:
		if f.typ == typeList {
			return f.kids[0].match(n.kids[0])
		}
	case kindMap:
		if f.typ == typeMap && f.kids[0].typ == typeStruct && len(f.kids[0].kids) == 2 {
			return errors.Join(f.kids[0].kids[0].match(n.kids[0]), f.kids[0].kids[1].match(n.kids[1]))
		}
	case kindStruct:
		if f.typ == typeStruct {
			return f.matchStruct(n)
		}
	default:
		ok = f.typ == typeUtf8
	}
	if !ok {
		return fmt.Errorf("column %q: its type in the Arrow stream is not the one of %s (%s)", n.path, n.sql, n.dtype)
	}
	return nil
}

// matchStruct wants the same fields in the same order.
func (f *ipcField) matchStruct(n *node) error {
	if len(f.kids) != len(n.kids) {
		return fmt.Errorf("column %q: it has %d fields in the Arrow stream, expected %d", n.path, len(f.kids), len(n.kids))
	}
	for i := range f.kids {
		if f.kids[i].name != n.kids[i].name {
			return fmt.Errorf("column %q: field %d is another one in the Arrow stream than %q", n.path, i+1, n.kids[i].name)
		}
		if err := f.kids[i].match(n.kids[i]); err != nil {
			return err
		}
	}
	return nil
}
