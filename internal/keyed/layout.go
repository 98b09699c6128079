package keyed

import (
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
)

// form says how a value lies in memory.
type form int

const (
	formFixed  form = iota // its bytes in Arrow, 1 to 16 of them; BOOLEAN takes a byte
	formText               // a length and the bytes: VARCHAR and BLOB
	formStruct             // the parts
	formList               // a count and the items
	formArray              // the items: a list of a fixed size
	formMap                // a count and the entries
)

// class says how the bytes of a fixed value compare.
type class int

const (
	classBool class = iota
	classInt
	classUint
	classFloat
	classDecimal
	classInterval
)

// shape is what an Arrow type means to a Store.
type shape struct {
	form  form
	class class
	width int            // of a fixed value
	size  int            // of a fixed-size list
	leaf  arrow.DataType // without parts
	parts []shape
}

// shapeOf describes a type, or says that rows of it can not be kept.
func shapeOf(t arrow.DataType) (shape, error) { //nolint:funlen // one case per type
	fixed := func(c class, width int) (shape, error) { return shape{class: c, width: width, leaf: t}, nil }
	switch t := t.(type) {
	case *arrow.BooleanType:
		return fixed(classBool, 1)
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Date32Type,
		*arrow.Time64Type, *arrow.TimestampType:
		return fixed(classInt, t.(arrow.FixedWidthDataType).Bytes()) //nolint:forcetypeassert // all of these are
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type:
		return fixed(classUint, t.(arrow.FixedWidthDataType).Bytes()) //nolint:forcetypeassert // all of these are
	case *arrow.Float32Type:
		return fixed(classFloat, 4)
	case *arrow.Float64Type:
		return fixed(classFloat, 8)
	case *arrow.Decimal128Type:
		return fixed(classDecimal, 16)
	case *arrow.MonthDayNanoIntervalType:
		return fixed(classInterval, 16)
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		return shape{form: formText, leaf: t}, nil
	case *arrow.StructType:
		parts := make([]arrow.DataType, t.NumFields())
		for i, f := range t.Fields() {
			parts[i] = f.Type
		}
		return nestedShape(formStruct, 0, parts...)
	case *arrow.MapType: // before the list that it is made of
		return nestedShape(formMap, 0, t.KeyType(), t.ItemType())
	case *arrow.ListType:
		return nestedShape(formList, 0, t.Elem())
	case *arrow.FixedSizeListType:
		return nestedShape(formArray, int(t.Len()), t.Elem())
	default:
		return shape{}, fmt.Errorf("rows of Arrow type %s can not be kept", t)
	}
}

func nestedShape(f form, size int, types ...arrow.DataType) (shape, error) {
	s := shape{form: f, size: size, parts: make([]shape, len(types))}
	for i, t := range types {
		var err error
		if s.parts[i], err = shapeOf(t); err != nil {
			return shape{}, err
		}
	}
	return s, nil
}

// lossy reports whether different values of the shape may be the same key: -0.0 and 0.0, one month and 30
// days.
func (s *shape) lossy() bool {
	if s.form == formFixed {
		return s.class == classFloat || s.class == classInterval
	}
	for i := range s.parts {
		if s.parts[i].lossy() {
			return true
		}
	}
	return false
}

// equal compares types, but not the names and the nullability of parts, which do not matter here.
func (s *shape) equal(o *shape) bool {
	if s.form != o.form || s.size != o.size || len(s.parts) != len(o.parts) ||
		!arrow.TypeEqual(s.leaf, o.leaf) {
		return false
	}
	for i := range s.parts {
		if !s.parts[i].equal(&o.parts[i]) {
			return false
		}
	}
	return true
}

// column is one column of the rows of a Store as it keeps them.
type column struct {
	source int  // the column of the records
	key    bool // its bytes are normalised: equal keys have equal bytes
	shape  shape
	width  int // bytes in the row; 0 says that they are in the arena
	at     int // where they are in the row
	null   int // the bit of the row, counted from its first byte, that says NULL
}

const flagsBytes = 1 // the byte before the columns of a row

// layout is where the parts of a row are.
type layout struct {
	schema  *arrow.Schema
	keys    int
	time    int      // the column that rows expire by; -1 is none
	columns []column // keys first, then values, then keys as they were put where normalising changes them
	shown   []int    // the entry of columns that has the value of a column of the schema
	timeAt  *column  // of columns; nil without

	keyEnd, bodyEnd int // of the row: the bytes of the key, and of all columns
	blobAt          int // of the row: the reference to the arena; -1 without
	linkAt          int // of the row: the neighbours of the same time; -1 without
	rowBytes        int

	varKeys, varValues []int // of columns: those in the arena
	header             int   // bytes before a blob
}

func newLayout(o Options) (*layout, error) {
	l := &layout{schema: o.Schema, keys: o.Keys, time: -1, blobAt: -1, linkAt: -1}
	if o.Schema == nil || o.Keys < 0 || o.Keys > o.Schema.NumFields() ||
		o.Schema.NumFields() == 0 {
		return nil, errors.New("lay out keyed rows: the schema has not as many columns as the key")
	}
	if err := l.addColumns(); err != nil {
		return nil, err
	}
	if err := l.setTime(o.Time); err != nil {
		return nil, err
	}
	l.place()
	return l, nil
}

func (l *layout) addColumns() error {
	l.shown = make([]int, l.schema.NumFields())
	var spelled []column
	for i, f := range l.schema.Fields() {
		s, err := shapeOf(f.Type)
		if err != nil {
			return fmt.Errorf("lay out column %q: %w", f.Name, err)
		}
		l.shown[i] = i
		l.columns = append(l.columns, column{source: i, key: i < l.keys, shape: s, width: s.width})
		c := &l.columns[i]
		if !c.key || !s.lossy() {
			continue
		}
		l.shown[i] = l.schema.NumFields() + len(spelled)
		spelled = append(spelled, column{source: i, shape: s, width: s.width})
		if s.class == classInterval && s.form == formFixed {
			c.width = normalInterval
		}
	}
	l.columns = append(l.columns, spelled...)
	return nil
}

func (l *layout) setTime(name string) error {
	if name == "" {
		return nil
	}
	found := l.schema.FieldIndices(name)
	if len(found) != 1 {
		return fmt.Errorf("lay out keyed rows: %d columns are named %q, which rows expire by", len(found), name)
	}
	l.time = found[0]
	switch t := l.schema.Field(l.time).Type.(type) {
	case *arrow.Int64Type:
		return nil
	case *arrow.TimestampType:
		if t.Unit == arrow.Microsecond {
			return nil
		}
	}
	return fmt.Errorf("lay out keyed rows: column %q is %s, rows expire by BIGINT or TIMESTAMP", name,
		l.schema.Field(l.time).Type)
}

// place gives every column its bytes: flags, NULL bits of the key, the key, NULL bits of the values, values,
// reference, links. The key is one run of bytes, which compares at once.
func (l *layout) place() {
	at := flagsBytes
	for _, part := range [][]column{l.columns[:l.keys], l.columns[l.keys:]} {
		nulls := at
		at += (len(part) + 7) / 8
		for i := range part {
			part[i].null = nulls*8 + i
			part[i].at = at
			at += part[i].width
		}
		if l.keyEnd == 0 {
			l.keyEnd = at
		}
	}
	l.bodyEnd = at
	for i := range l.columns {
		switch c := &l.columns[i]; {
		case c.width > 0:
		case c.key:
			l.varKeys = append(l.varKeys, i)
		default:
			l.varValues = append(l.varValues, i)
		}
	}
	if len(l.varKeys)+len(l.varValues) > 0 {
		l.blobAt = at
		at += 4
		l.header = 8
		if len(l.varKeys) > 0 && len(l.varValues) > 0 {
			l.header = 12
		}
	}
	if l.time >= 0 {
		l.timeAt = &l.columns[l.time]
		l.linkAt = at
		at += 8
	}
	l.rowBytes = max(at, flagsBytes+4) // a free row holds the number of the next
}
