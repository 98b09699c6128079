package memory

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

// build makes a record out of rows of loose values.
func build(name string, columns []stream.Column, rows [][]any) (arrow.Record, error) {
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.Name, Type: c.Arrow, Nullable: true}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for i, row := range rows {
		if len(row) != len(columns) {
			return nil, diag.New(diag.RowFault, "source %q: row %d has %d values, its columns are %d: %s",
				name, i+1, len(row), len(columns), columnNames(columns))
		}
		for k, v := range row {
			if err := add(b.Field(k), v); err != nil {
				return nil, diag.Wrap(diag.RowFault, err, "source %q: row %d, column %q of type %s",
					name, i+1, columns[k].Name, columns[k].Type)
			}
		}
	}
	return b.NewRecord(), nil
}

func columnNames(columns []stream.Column) string {
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}

func wrong(v any, want string) error { return fmt.Errorf("%v is not %s", v, want) }

// add appends one value.
func add(b array.Builder, v any) error {
	if v == nil {
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.BooleanBuilder:
		x, ok := v.(bool)
		if !ok {
			return wrong(v, "true or false")
		}
		b.Append(x)
	case *array.StringBuilder:
		s, ok := v.(string)
		if !ok {
			return wrong(v, "text")
		}
		b.Append(s)
	case *array.BinaryBuilder:
		s, ok := v.(string)
		raw, err := base64.StdEncoding.DecodeString(s)
		if !ok || err != nil {
			return wrong(v, "base64 text")
		}
		b.Append(raw)
	case *array.Date32Builder, *array.Time64Builder, *array.TimestampBuilder:
		return addTime(b, v)
	case *array.ListBuilder, *array.StructBuilder, *array.MapBuilder:
		return addNested(b, v)
	default:
		return addNumber(b, v)
	}
	return nil
}

// exactNumber returns v as an exact fraction.
func exactNumber(v any) (*big.Rat, bool) {
	switch x := v.(type) {
	case int:
		return new(big.Rat).SetInt64(int64(x)), true
	case int64:
		return new(big.Rat).SetInt64(x), true
	case uint64:
		return new(big.Rat).SetUint64(x), true
	case float64:
		r := new(big.Rat).SetFloat64(x)
		return r, r != nil
	case fmt.Stringer: // json.Number, *big.Int, ...
		return parseNumber(x.String())
	case string:
		return parseNumber(x)
	}
	return nil, false
}

func parseNumber(s string) (*big.Rat, bool) {
	if len(s) > 64 || strings.ContainsAny(s, "/_xXpP") {
		return nil, false
	}
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		if e, err := strconv.Atoi(s[i+1:]); err != nil || e > 400 || e < -400 {
			return nil, false // the fraction would have as many digits
		}
	}
	return new(big.Rat).SetString(s)
}

func addNumber(b array.Builder, v any) error {
	switch b := b.(type) {
	case *array.Float64Builder:
		f, ok := toFloat(v)
		if !ok {
			return wrong(v, "a number")
		}
		b.Append(f)
		return nil
	case *array.Float32Builder:
		f, ok := toFloat(v)
		if !ok {
			return wrong(v, "a number")
		}
		b.Append(float32(f))
		return nil
	}
	r, ok := exactNumber(v)
	if !ok {
		return wrong(v, "a number")
	}
	if b, isDecimal := b.(*array.Decimal128Builder); isDecimal {
		return addDecimal(b, r, v)
	}
	if !r.IsInt() {
		return wrong(v, "an integer")
	}
	return addInteger(b, r.Num(), v)
}

func toFloat(v any) (float64, bool) {
	switch x := v.(type) {
	case float64:
		return x, true
	case string:
		f, err := strconv.ParseFloat(x, 64)
		return f, err == nil
	}
	r, ok := exactNumber(v)
	if !ok {
		return 0, false
	}
	f, _ := r.Float64()
	return f, true
}

func addDecimal(b *array.Decimal128Builder, r *big.Rat, v any) error {
	dt := b.Type().(*arrow.Decimal128Type) //nolint:forcetypeassert // the builder's own type
	if f, ok := v.(float64); ok {
		// A float stands for the shortest decimal that means it: 12.34 is meant, not 12.339999999999999857.
		r, _ = parseNumber(strconv.FormatFloat(f, 'f', -1, 64))
	}
	if r == nil {
		return wrong(v, "a number")
	}
	scaled := new(big.Rat).Mul(r, new(big.Rat).SetInt(pow10(int(dt.Scale))))
	if !scaled.IsInt() || new(big.Int).Abs(scaled.Num()).Cmp(pow10(int(dt.Precision))) >= 0 {
		return wrong(v, fmt.Sprintf("exact in %d digits, %d of them behind the point", dt.Precision, dt.Scale))
	}
	b.Append(decimal128.FromBigInt(scaled.Num()))
	return nil
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func addInteger(b array.Builder, n *big.Int, v any) error {
	signed, unsigned := func(lo, hi int64) bool {
		return n.IsInt64() && n.Int64() >= lo && n.Int64() <= hi
	}, func(hi uint64) bool { return n.IsUint64() && n.Uint64() <= hi }
	ok := false
	switch b := b.(type) {
	case *array.Int8Builder:
		if ok = signed(math.MinInt8, math.MaxInt8); ok {
			b.Append(int8(n.Int64()))
		}
	case *array.Int16Builder:
		if ok = signed(math.MinInt16, math.MaxInt16); ok {
			b.Append(int16(n.Int64()))
		}
	case *array.Int32Builder:
		if ok = signed(math.MinInt32, math.MaxInt32); ok {
			b.Append(int32(n.Int64()))
		}
	case *array.Int64Builder:
		if ok = signed(math.MinInt64, math.MaxInt64); ok {
			b.Append(n.Int64())
		}
	case *array.Uint8Builder:
		if ok = unsigned(math.MaxUint8); ok {
			b.Append(uint8(n.Uint64()))
		}
	case *array.Uint16Builder:
		if ok = unsigned(math.MaxUint16); ok {
			b.Append(uint16(n.Uint64()))
		}
	case *array.Uint32Builder:
		if ok = unsigned(math.MaxUint32); ok {
			b.Append(uint32(n.Uint64()))
		}
	case *array.Uint64Builder:
		if ok = unsigned(math.MaxUint64); ok {
			b.Append(n.Uint64())
		}
	}
	if !ok {
		return wrong(v, "within the range of "+b.Type().String())
	}
	return nil
}

func addTime(b array.Builder, v any) error {
	if t, ok := v.(time.Time); ok {
		v = t.UTC().Format("2006-01-02 15:04:05.999999")
	}
	s, ok := v.(string)
	switch b := b.(type) {
	case *array.Date32Builder:
		t, err := time.Parse(time.DateOnly, s)
		if !ok || err != nil {
			return wrong(v, "a date as YYYY-MM-DD")
		}
		b.Append(arrow.Date32FromTime(t))
	case *array.Time64Builder:
		t, err := time.Parse(time.TimeOnly, s)
		if !ok || err != nil {
			return wrong(v, "a time as HH:MM:SS")
		}
		midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
		b.Append(arrow.Time64(t.Sub(midnight).Microseconds()))
	case *array.TimestampBuilder:
		for _, layout := range []string{time.DateTime, "2006-01-02T15:04:05", time.RFC3339, time.DateOnly} {
			if t, err := time.Parse(layout, s); err == nil {
				b.Append(arrow.Timestamp(t.UnixMicro()))
				return nil
			}
		}
		return wrong(v, "a timestamp as YYYY-MM-DD HH:MM:SS")
	}
	return nil
}

func addNested(b array.Builder, v any) error {
	switch b := b.(type) {
	case *array.MapBuilder: // before lists: a map's values are a list of pairs
		return addMap(b, v)
	case *array.ListBuilder:
		list, ok := v.([]any)
		if !ok {
			return wrong(v, "a list")
		}
		b.Append(true)
		for _, x := range list {
			if err := add(b.ValueBuilder(), x); err != nil {
				return err
			}
		}
	case *array.StructBuilder:
		return addStruct(b, v)
	}
	return nil
}

func addStruct(b *array.StructBuilder, v any) error {
	fields, ok := v.(map[string]any)
	if !ok {
		return wrong(v, "a map of the struct's fields")
	}
	dt := b.Type().(*arrow.StructType) //nolint:forcetypeassert // the builder's own type
	for name := range fields {
		if _, known := dt.FieldIdx(name); !known {
			return fmt.Errorf("the struct has no field %q", name)
		}
	}
	b.Append(true)
	for i := range dt.NumFields() {
		if err := add(b.FieldBuilder(i), fields[dt.Field(i).Name]); err != nil {
			return err
		}
	}
	return nil
}

func addMap(b *array.MapBuilder, v any) error {
	entries, ok := v.(map[string]any)
	if !ok {
		return wrong(v, "a map")
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	b.Append(true)
	for _, name := range names {
		if err := add(b.KeyBuilder(), name); err != nil {
			return err
		}
		if err := add(b.ItemBuilder(), entries[name]); err != nil {
			return err
		}
	}
	return nil
}
