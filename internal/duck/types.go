package duck

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// ArrowType returns the Arrow type that Select yields for a DuckDB type, in the spelling of Describe, and
// that Import takes for a column to be of that type. Types without an Arrow twin come as a near one:
// HUGEINT as decimal128(38,0), UUID, ENUM, BIT, VARINT, JSON and TIME WITH TIME ZONE as text, TIMESTAMP_S,
// _MS and _NS as microseconds. UNION has none and is an *Error of kind Binder.
func ArrowType(duckType string) (arrow.DataType, error) {
	t, err := parseType(duckType)
	if err != nil {
		message := fmt.Sprintf("type %s: %s", duckType, err)
		return nil, &Error{Kind: Binder, Message: message, Position: -1, Err: err}
	}
	return t.arrow(), nil
}

// scalarType is a DuckDB type without parts: the Arrow type of its column and, when the Arrow interface of
// DuckDB gives something else, the type to cast it to first.
type scalarType struct {
	arrow arrow.DataType
	cast  string
}

func scalarOf(name string) (scalarType, bool) {
	switch name {
	case "BOOLEAN":
		return scalarType{arrow: arrow.FixedWidthTypes.Boolean}, true
	case "TINYINT":
		return scalarType{arrow: arrow.PrimitiveTypes.Int8}, true
	case "SMALLINT":
		return scalarType{arrow: arrow.PrimitiveTypes.Int16}, true
	case "INTEGER":
		return scalarType{arrow: arrow.PrimitiveTypes.Int32}, true
	case "BIGINT":
		return scalarType{arrow: arrow.PrimitiveTypes.Int64}, true
	case "UTINYINT":
		return scalarType{arrow: arrow.PrimitiveTypes.Uint8}, true
	case "USMALLINT":
		return scalarType{arrow: arrow.PrimitiveTypes.Uint16}, true
	case "UINTEGER":
		return scalarType{arrow: arrow.PrimitiveTypes.Uint32}, true
	case "UBIGINT":
		return scalarType{arrow: arrow.PrimitiveTypes.Uint64}, true
	case "FLOAT":
		return scalarType{arrow: arrow.PrimitiveTypes.Float32}, true
	case "DOUBLE":
		return scalarType{arrow: arrow.PrimitiveTypes.Float64}, true
	case "VARCHAR", "JSON":
		return scalarType{arrow: arrow.BinaryTypes.String}, true
	case "BLOB":
		return scalarType{arrow: arrow.BinaryTypes.Binary}, true
	case "DATE":
		return scalarType{arrow: arrow.FixedWidthTypes.Date32}, true
	case "TIME":
		return scalarType{arrow: arrow.FixedWidthTypes.Time64us}, true
	case "INTERVAL":
		return scalarType{arrow: arrow.FixedWidthTypes.MonthDayNanoInterval}, true
	case "TIMESTAMP":
		return scalarType{arrow: &arrow.TimestampType{Unit: arrow.Microsecond}}, true
	case "TIMESTAMP WITH TIME ZONE":
		return scalarType{arrow: &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}}, true
	case `"NULL"`:
		// A table column can not be of the type of NULL: it becomes INTEGER.
		return scalarType{arrow: arrow.PrimitiveTypes.Int32, cast: "INTEGER"}, true
	default:
		return castOf(name)
	}
}

// castOf lists the types that Arrow does not carry as they are.
func castOf(name string) (scalarType, bool) {
	switch name {
	case "HUGEINT", "UHUGEINT":
		// Checked by the cast: 128 bits hold more than the 38 digits that the Arrow type admits.
		return scalarType{arrow: &arrow.Decimal128Type{Precision: 38}, cast: "DECIMAL(38,0)"}, true
	case "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS":
		return scalarType{arrow: &arrow.TimestampType{Unit: arrow.Microsecond}, cast: "TIMESTAMP"}, true
	case "UUID", "BIT", "VARINT", "TIME WITH TIME ZONE":
		return scalarType{arrow: arrow.BinaryTypes.String, cast: "VARCHAR"}, true
	default:
		return scalarType{}, false
	}
}

// typeTree is a parsed DuckDB type.
type typeTree struct {
	scalar scalarType // of a leaf
	name   string     // leaf: how SQL spells it; else LIST, ARRAY, STRUCT or MAP
	size   int        // of an ARRAY
	fields []string   // names of a STRUCT
	parts  []*typeTree
}

// arrow names the inner fields as DuckDB's Arrow interface does.
func (t *typeTree) arrow() arrow.DataType {
	switch t.name {
	case "LIST":
		return arrow.ListOfField(arrow.Field{Name: "l", Type: t.parts[0].arrow(), Nullable: true})
	case "ARRAY":
		return arrow.FixedSizeListOfField(int32(t.size),
			arrow.Field{Name: "a", Type: t.parts[0].arrow(), Nullable: true})
	case "STRUCT":
		fields := make([]arrow.Field, len(t.parts))
		for i, p := range t.parts {
			fields[i] = arrow.Field{Name: t.fields[i], Type: p.arrow(), Nullable: true}
		}
		return arrow.StructOf(fields...)
	case "MAP":
		return arrow.MapOf(t.parts[0].arrow(), t.parts[1].arrow())
	default:
		return t.scalar.arrow
	}
}

// plain reports whether Arrow carries the type without a cast.
func (t *typeTree) plain() bool {
	if len(t.parts) == 0 {
		return t.scalar.cast == ""
	}
	for _, p := range t.parts {
		if !p.plain() {
			return false
		}
	}
	return true
}

// has reports whether the type or a part of it is of that name.
func (t *typeTree) has(name string) bool {
	return t.name == name || slices.ContainsFunc(t.parts, func(p *typeTree) bool { return p.has(name) })
}

// target is the type to cast to, in SQL.
func (t *typeTree) target() string {
	switch t.name {
	case "LIST":
		return t.parts[0].target() + "[]"
	case "ARRAY":
		return t.parts[0].target() + "[" + strconv.Itoa(t.size) + "]"
	case "MAP":
		return "MAP(" + t.parts[0].target() + ", " + t.parts[1].target() + ")"
	case "STRUCT":
		fields := make([]string, len(t.parts))
		for i, p := range t.parts {
			fields[i] = QuoteIdent(t.fields[i]) + " " + p.target()
		}
		return "STRUCT(" + strings.Join(fields, ", ") + ")"
	default:
		if t.scalar.cast != "" {
			return t.scalar.cast
		}
		return t.name
	}
}

// typeDepthMax bounds the nesting that is parsed, and so the recursion.
const typeDepthMax = 64

func parseType(s string) (*typeTree, error) {
	p := typeParser{rest: s}
	t, err := p.parse(0)
	if err != nil {
		return nil, err
	}
	if p.rest != "" {
		return nil, fmt.Errorf("unexpected %q after the type", p.rest)
	}
	return t, nil
}

type typeParser struct{ rest string }

func (p *typeParser) parse(depth int) (*typeTree, error) {
	if depth > typeDepthMax {
		return nil, fmt.Errorf("nested deeper than %d levels", typeDepthMax)
	}
	t, err := p.parseBase(depth)
	if err != nil {
		return nil, err
	}
	for strings.HasPrefix(p.rest, "[") {
		size, rest, ok := strings.Cut(p.rest[1:], "]")
		if !ok {
			return nil, fmt.Errorf("no ] after [")
		}
		p.rest = rest
		if size == "" {
			t = &typeTree{name: "LIST", parts: []*typeTree{t}}
			continue
		}
		n, err := strconv.ParseInt(size, 10, 32)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("array size %q is not a number from 1 on", size)
		}
		t = &typeTree{name: "ARRAY", size: int(n), parts: []*typeTree{t}}
	}
	return t, nil
}

func (p *typeParser) parseBase(depth int) (*typeTree, error) {
	switch {
	case p.skip("STRUCT("):
		return p.parseStruct(depth)
	case p.skip("MAP("):
		return p.parseMap(depth)
	case p.skip("DECIMAL("):
		return p.parseDecimal()
	case p.skip("ENUM("):
		return p.parseEnum()
	}
	end := strings.IndexAny(p.rest, "[,)(")
	if end < 0 {
		end = len(p.rest)
	}
	name := p.rest[:end]
	scalar, ok := scalarOf(name)
	if !ok {
		return nil, fmt.Errorf("%q has no Arrow type", name)
	}
	p.rest = p.rest[end:]
	if name == `"NULL"` {
		name = "INTEGER"
	}
	return &typeTree{name: name, scalar: scalar}, nil
}

func (p *typeParser) parseStruct(depth int) (*typeTree, error) {
	t := &typeTree{name: "STRUCT"}
	for {
		name, err := p.ident()
		if err != nil {
			return nil, err
		}
		if !p.skip(" ") {
			return nil, fmt.Errorf("field %q has no type", name)
		}
		part, err := p.parse(depth + 1)
		if err != nil {
			return nil, err
		}
		t.fields, t.parts = append(t.fields, name), append(t.parts, part)
		if p.skip(")") {
			return t, nil
		}
		if !p.skip(", ") {
			return nil, fmt.Errorf("expected , or ) before %q", p.rest)
		}
	}
}

func (p *typeParser) parseMap(depth int) (*typeTree, error) {
	key, err := p.parse(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.skip(", ") {
		return nil, fmt.Errorf("expected , before %q", p.rest)
	}
	value, err := p.parse(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.skip(")") {
		return nil, fmt.Errorf("expected ) before %q", p.rest)
	}
	return &typeTree{name: "MAP", parts: []*typeTree{key, value}}, nil
}

func (p *typeParser) parseDecimal() (*typeTree, error) {
	inner, rest, ok := strings.Cut(p.rest, ")")
	precision, scale, comma := strings.Cut(inner, ",")
	if !ok || !comma {
		return nil, fmt.Errorf("expected DECIMAL(precision,scale)")
	}
	w, err := strconv.Atoi(strings.TrimSpace(precision))
	if err != nil || w < 1 || w > 38 {
		return nil, fmt.Errorf("decimal precision %q is not from 1 to 38", precision)
	}
	s, err := strconv.Atoi(strings.TrimSpace(scale))
	if err != nil || s < 0 || s > w {
		return nil, fmt.Errorf("decimal scale %q is not from 0 to %d", scale, w)
	}
	p.rest = rest
	return &typeTree{
		name:   fmt.Sprintf("DECIMAL(%d,%d)", w, s),
		scalar: scalarType{arrow: &arrow.Decimal128Type{Precision: int32(w), Scale: int32(s)}},
	}, nil
}

// parseEnum skips the values: quoted, so brackets inside them do not count.
func (p *typeParser) parseEnum() (*typeTree, error) {
	for {
		if !p.skip("'") {
			return nil, fmt.Errorf("expected a quoted value before %q", p.rest)
		}
		if _, err := p.quoted('\''); err != nil {
			return nil, err
		}
		if p.skip(")") {
			break
		}
		if !p.skip(", ") {
			return nil, fmt.Errorf("expected , or ) before %q", p.rest)
		}
	}
	return &typeTree{name: "ENUM", scalar: scalarType{arrow: arrow.BinaryTypes.String, cast: "VARCHAR"}}, nil
}

func (p *typeParser) skip(text string) bool {
	rest, ok := strings.CutPrefix(p.rest, text)
	p.rest = rest
	return ok
}

func (p *typeParser) ident() (string, error) {
	if p.skip(`"`) {
		return p.quoted('"')
	}
	end := strings.IndexByte(p.rest, ' ')
	if end < 1 {
		return "", fmt.Errorf("expected a field name before %q", p.rest)
	}
	name := p.rest[:end]
	p.rest = p.rest[end:]
	return name, nil
}

// quoted reads up to the closing quote; a doubled one stands for itself.
func (p *typeParser) quoted(quote byte) (string, error) {
	var out strings.Builder
	for i := 0; i < len(p.rest); i++ {
		if p.rest[i] != quote {
			out.WriteByte(p.rest[i])
			continue
		}
		if i+1 < len(p.rest) && p.rest[i+1] == quote {
			out.WriteByte(quote)
			i++
			continue
		}
		p.rest = p.rest[i+1:]
		return out.String(), nil
	}
	return "", fmt.Errorf("no closing %c", quote)
}

// importable refuses Arrow types that the scan of DuckDB or the exporter of arrow/go does not carry safely.
func importable(t arrow.DataType) error {
	switch t := t.(type) {
	case *arrow.BooleanType, *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type,
		*arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type, *arrow.Float32Type,
		*arrow.Float64Type, *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType,
		*arrow.LargeBinaryType, *arrow.Date32Type, *arrow.TimestampType,
		*arrow.MonthDayNanoIntervalType, *arrow.Decimal128Type:
		return nil
	case *arrow.Time64Type:
		if t.Unit != arrow.Microsecond {
			return fmt.Errorf("arrow type %s can not be imported, only microseconds", t)
		}
		return nil
	case *arrow.StructType:
		if t.NumFields() == 0 {
			return fmt.Errorf("arrow type %s has no fields", t)
		}
		for _, f := range t.Fields() {
			if err := importable(f.Type); err != nil {
				return err
			}
		}
		return nil
	case *arrow.ListType:
		return importable(t.Elem())
	case *arrow.FixedSizeListType:
		return importable(t.Elem())
	case *arrow.MapType:
		if err := importable(t.KeyType()); err != nil {
			return err
		}
		return importable(t.ItemType())
	default:
		return fmt.Errorf("arrow type %s can not be imported", t)
	}
}
