package rowenc

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// kind says what a value needs around it.
type kind int

const (
	kindPlain  kind = iota // put writes what JSON and CSV take bare
	kindFloat              // the same, but null in JSON unless finite
	kindQuoted             // put writes text that JSON takes in quotes without escapes
	kindText               // text gives a string that needs escapes
	kindNested             // put writes JSON
)

// cell writes the values of one array that are not NULL.
type cell struct {
	kind   kind
	put    func(dst []byte, i int) []byte
	text   func(i int) string
	finite func(i int) bool
}

func plain(put func([]byte, int) []byte) cell  { return cell{kind: kindPlain, put: put} }
func quoted(put func([]byte, int) []byte) cell { return cell{kind: kindQuoted, put: put} }
func nested(put func([]byte, int) []byte) cell { return cell{kind: kindNested, put: put} }

func text(get func(int) string) cell {
	return cell{kind: kindText, text: get, put: func(dst []byte, i int) []byte { return append(dst, get(i)...) }}
}

func signed[T int8 | int16 | int32 | int64](get func(int) T) cell {
	return plain(func(dst []byte, i int) []byte { return strconv.AppendInt(dst, int64(get(i)), 10) })
}

func unsigned[T uint8 | uint16 | uint32 | uint64](get func(int) T) cell {
	return plain(func(dst []byte, i int) []byte { return strconv.AppendUint(dst, uint64(get(i)), 10) })
}

func float(get func(int) float64, bits int) cell {
	return cell{
		kind:   kindFloat,
		put:    func(dst []byte, i int) []byte { return appendFloat(dst, get(i), bits) },
		finite: func(i int) bool { v := get(i); return !math.IsNaN(v) && !math.IsInf(v, 0) },
	}
}

// cellOf returns how the values of a are written.
func cellOf(a arrow.Array) cell { //nolint:funlen // one case per type
	switch a := a.(type) {
	case *array.Boolean:
		return plain(func(dst []byte, i int) []byte { return strconv.AppendBool(dst, a.Value(i)) })
	case *array.Int8:
		return signed(a.Value)
	case *array.Int16:
		return signed(a.Value)
	case *array.Int32:
		return signed(a.Value)
	case *array.Int64:
		return signed(a.Value)
	case *array.Uint8:
		return unsigned(a.Value)
	case *array.Uint16:
		return unsigned(a.Value)
	case *array.Uint32:
		return unsigned(a.Value)
	case *array.Uint64:
		return unsigned(a.Value)
	case *array.Float16:
		return float(func(i int) float64 { return float64(a.Value(i).Float32()) }, 32)
	case *array.Float32:
		return float(func(i int) float64 { return float64(a.Value(i)) }, 32)
	case *array.Float64:
		return float(a.Value, 64)
	case *array.Decimal128:
		return decimal128Cell(a)
	case *array.Decimal256:
		scale := a.DataType().(arrow.DecimalType).GetScale() //nolint:forcetypeassert // its only type
		return plain(func(dst []byte, i int) []byte { return append(dst, a.Value(i).ToString(scale)...) })
	case *array.String:
		return text(a.Value)
	case *array.LargeString:
		return text(a.Value)
	case *array.Binary:
		return base64Cell(a.Value)
	case *array.LargeBinary:
		return base64Cell(a.Value)
	case *array.FixedSizeBinary:
		return base64Cell(a.Value)
	case *array.Dictionary:
		return dictionaryCell(a)
	case array.ExtensionArray:
		return cellOf(a.Storage())
	}
	if c, ok := timeCell(a); ok {
		return c
	}
	if c, ok := nestedCell(a); ok {
		return c
	}
	return text(a.ValueStr)
}

func decimal128Cell(a *array.Decimal128) cell {
	scale := a.DataType().(*arrow.Decimal128Type).Scale //nolint:forcetypeassert // its only type
	return plain(func(dst []byte, i int) []byte {
		v := a.Value(i)
		// Most values fit 64 bits; those need no big integers, which cost more than all the rest of a row.
		if low := int64(v.LowBits()); v.HighBits() == low>>63 { //nolint:gosec // reinterpreted on purpose
			return appendScaled(dst, low, int(scale))
		}
		if scale <= 0 {
			return v.BigInt().Append(dst, 10)
		}
		return append(dst, v.ToString(scale)...)
	})
}

// appendScaled appends v divided by ten to the power of scale, with all its decimals.
func appendScaled(dst []byte, v int64, scale int) []byte {
	if scale <= 0 { // DuckDB has no negative scales
		return strconv.AppendInt(dst, v, 10)
	}
	size := uint64(v)
	if v < 0 {
		dst = append(dst, '-')
		size = -size
	}
	var digits [64]byte
	text := strconv.AppendUint(digits[:0], size, 10)
	if point := len(text) - scale; point > 0 {
		dst = append(append(dst, text[:point]...), '.')
		return append(dst, text[point:]...)
	}
	dst = append(dst, '0', '.')
	for range scale - len(text) {
		dst = append(dst, '0')
	}
	return append(dst, text...)
}

func base64Cell(get func(int) []byte) cell {
	return quoted(func(dst []byte, i int) []byte { return base64.StdEncoding.AppendEncode(dst, get(i)) })
}

func dictionaryCell(a *array.Dictionary) cell {
	c := cellOf(a.Dictionary())
	inner := c
	if c.text != nil {
		c.text = func(i int) string { return inner.text(a.GetValueIndex(i)) }
	}
	if c.finite != nil {
		c.finite = func(i int) bool { return inner.finite(a.GetValueIndex(i)) }
	}
	c.put = func(dst []byte, i int) []byte { return inner.put(dst, a.GetValueIndex(i)) }
	return c
}

// nestedCell returns how lists, structs and maps are written.
func nestedCell(a arrow.Array) (cell, bool) {
	switch a := a.(type) {
	case *array.Map:
		return mapCell(a), true
	case array.ListLike:
		items := a.ListValues()
		c := cellOf(items)
		return nested(func(dst []byte, i int) []byte {
			dst = append(dst, '[')
			start, end := a.ValueOffsets(i)
			for j := start; j < end; j++ {
				if j > start {
					dst = append(dst, ',')
				}
				dst = appendJSON(dst, items, c, int(j))
			}
			return append(dst, ']')
		}), true
	case *array.Struct:
		return structCell(a), true
	}
	return cell{}, false
}

func structCell(a *array.Struct) cell {
	kind := a.DataType().(*arrow.StructType) //nolint:forcetypeassert // its only type
	columns := make([]column, a.NumField())
	for i := range columns {
		field := a.Field(i)
		columns[i] = column{array: field, key: append(appendString(nil, kind.Field(i).Name), ':'),
			cell: cellOf(field)}
	}
	rows := &Rows{columns: columns}
	return nested(rows.JSON)
}

func mapCell(a *array.Map) cell {
	keys, items := a.Keys(), a.Items()
	key, item := cellOf(keys), cellOf(items)
	return nested(func(dst []byte, i int) []byte {
		object := key.kind == kindText
		dst = append(dst, bracket(object, '{', '['))
		start, end := a.ValueOffsets(i)
		for j := start; j < end; j++ {
			if j > start {
				dst = append(dst, ',')
			}
			if object {
				dst = append(appendString(dst, key.text(int(j))), ':')
				dst = appendJSON(dst, items, item, int(j))
				continue
			}
			dst = appendJSON(append(dst, `{"key":`...), keys, key, int(j))
			dst = appendJSON(append(dst, `,"value":`...), items, item, int(j))
			dst = append(dst, '}')
		}
		return append(dst, bracket(object, '}', ']'))
	})
}

func bracket(object bool, curly, square byte) byte {
	if object {
		return curly
	}
	return square
}

// runeSize returns the length of the first rune of s, and whether it is one.
func runeSize(s string) (size int, valid bool) {
	r, size := utf8.DecodeRuneInString(s)
	return size, r != utf8.RuneError || size > 1
}
