// Package rowenc writes rows of Arrow records as JSON objects and CSV lines, without loss.
//
// The forms, the same in both: integers and decimals (HUGEINT included) are bare numbers with every digit;
// floats the shortest text that reads back the same (in JSON, NaN and the infinities are null); booleans true
// and false; dates YYYY-MM-DD; times HH:MM:SS.ffffff; timestamps YYYY-MM-DDTHH:MM:SS.ffffff, with a Z if the
// type has a time zone (9 digits for nanoseconds); infinite dates and timestamps "infinity" and "-infinity";
// intervals ISO 8601 durations such as P1M2DT3.5S; BLOB base64; dictionaries their values. Lists are JSON
// arrays, structs JSON objects, maps JSON objects if their keys are text, else arrays of {"key", "value"}. In
// CSV a nested value is its JSON in quotes, NULL is nothing between two delimiters, and the empty string is "".
// Bytes of text that are not UTF-8 become U+FFFD in JSON.
package rowenc

import (
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
)

// Rows encodes the rows of one record. Make it with Bind; it borrows the record and must not outlive it. Its
// methods may be called concurrently.
type Rows struct {
	columns []column
}

// column is one column of a record and how its values are written.
type column struct {
	array arrow.Array
	key   []byte // the name as JSON, with the colon
	cell
}

// Bind prepares the first columns of rec; a negative number means all.
func Bind(rec arrow.Record, columns int) *Rows {
	if columns < 0 {
		columns = int(rec.NumCols())
	}
	r := &Rows{columns: make([]column, columns)}
	for i := range r.columns {
		array := rec.Column(i)
		key := append(appendString(nil, rec.ColumnName(i)), ':')
		r.columns[i] = column{array: array, key: key, cell: cellOf(array)}
	}
	return r
}

// JSON appends row as one JSON object, without a newline, and returns the longer slice.
func (r *Rows) JSON(dst []byte, row int) []byte {
	dst = append(dst, '{')
	for i := range r.columns {
		if i > 0 {
			dst = append(dst, ',')
		}
		c := &r.columns[i]
		dst = append(dst, c.key...)
		dst = appendJSON(dst, c.array, c.cell, row)
	}
	return append(dst, '}')
}

// CSV appends row as one line with a newline, and returns the longer slice.
func (r *Rows) CSV(dst []byte, row int, delimiter byte) []byte {
	for i := range r.columns {
		if i > 0 {
			dst = append(dst, delimiter)
		}
		c := &r.columns[i]
		if !c.array.IsNull(row) {
			dst = c.appendCSV(dst, row, delimiter)
		}
	}
	return append(dst, '\n')
}

// Header appends the column names as one CSV line with a newline, and returns the longer slice.
func Header(dst []byte, schema *arrow.Schema, delimiter byte) []byte {
	for i, f := range schema.Fields() {
		if i > 0 {
			dst = append(dst, delimiter)
		}
		dst = appendField(dst, f.Name, delimiter)
	}
	return append(dst, '\n')
}

// Text appends value row of column i as bare text (as CSV does, but without quotes); ok is false for NULL.
func (r *Rows) Text(dst []byte, i, row int) (_ []byte, ok bool) {
	c := &r.columns[i]
	if c.array.IsNull(row) {
		return dst, false
	}
	if c.kind == kindText {
		return append(dst, c.text(row)...), true
	}
	return c.put(dst, row), true
}

// JSON appends one row of rec as a JSON object. For many rows, Bind once.
func JSON(dst []byte, rec arrow.Record, row int) []byte {
	return Bind(rec, -1).JSON(dst, row)
}

func appendJSON(dst []byte, array arrow.Array, c cell, row int) []byte {
	if array.IsNull(row) {
		return append(dst, "null"...)
	}
	switch c.kind {
	case kindText:
		return appendString(dst, c.text(row))
	case kindQuoted:
		dst = c.put(append(dst, '"'), row)
		return append(dst, '"')
	case kindFloat:
		if !c.finite(row) {
			return append(dst, "null"...)
		}
	case kindPlain, kindNested:
	}
	return c.put(dst, row)
}

func (c *column) appendCSV(dst []byte, row int, delimiter byte) []byte {
	switch c.kind {
	case kindText:
		return appendField(dst, c.text(row), delimiter)
	case kindNested:
		return appendField(dst, string(c.put(nil, row)), delimiter)
	case kindPlain, kindQuoted, kindFloat:
	}
	return c.put(dst, row)
}

// appendField appends s as a CSV field, in quotes if it needs them. The empty string does, because NULL has
// none.
func appendField(dst []byte, s string, delimiter byte) []byte {
	quote := s == ""
	for i := 0; i < len(s) && !quote; i++ {
		c := s[i]
		quote = c == delimiter || c == '"' || c == '\n' || c == '\r'
	}
	if !quote && s[0] != ' ' && s[len(s)-1] != ' ' {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < 0x80 {
			i++
			continue
		}
		if c >= 0x80 {
			size, valid := runeSize(s[i:])
			if valid {
				i += size
				continue
			}
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// appendFloat writes v as encoding/json does: without an exponent where that is short.
func appendFloat(dst []byte, v float64, bits int) []byte {
	format := byte('f')
	if a := max(v, -v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, bits)
}
