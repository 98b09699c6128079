package decode

import (
	"math"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/tidemill/tidemill/internal/diag"
	"github.com/tidemill/tidemill/stream"
)

const offsetMax = math.MaxInt32

// newColumn returns the node of a declared column.
func newColumn(c stream.Column) (*node, error) {
	t, rest, ok := parseType(c.Type, 0)
	if !ok || strings.TrimSpace(rest) != "" {
		return nil, diag.New(diag.BadType, "column %q: type %s can not be read", c.Name, c.Type).OfColumn(c.Name)
	}
	n := &node{path: c.Name, name: c.Name, sql: c.Type, dtype: c.Arrow}
	if !n.setUp(t) {
		return nil, diag.New(diag.BadType, "column %q: a payload can not be decoded into type %s", c.Name, c.Type).OfColumn(c.Name).
			WithHint("declare it as VARCHAR and convert it in a computed column; there is no decoder for INTERVAL, " +
				"BIT, UNION, fixed-size arrays, UHUGEINT, TIMESTAMP_S, _MS and _NS, and MAP keys must be VARCHAR")
	}
	return n, nil
}

// sqlType is a DuckDB type as it is spelled: DECIMAL(10,2), STRUCT(a BIGINT, b VARCHAR[]), MAP(VARCHAR,
// DOUBLE).
type sqlType struct {
	base  string    // upper case, without arguments; LIST for T[]
	args  []string  // numbers of DECIMAL, values of ENUM
	names []string  // of a struct's fields
	kids  []sqlType // element, key and value, or fields
	text  string
}

// parseType reads one type at the start of s and returns what follows it.
func parseType(s string, depth int) (t sqlType, rest string, ok bool) {
	if depth > depthMax {
		return t, s, false
	}
	start := strings.TrimLeft(s, " ")
	i := 0
	for i < len(start) && (isWord(start[i]) || start[i] == ' ') {
		i++
	}
	t.base = strings.ToUpper(strings.TrimSpace(start[:i]))
	rest = start[i:]
	if t.base == "" {
		return t, s, false
	}
	if strings.HasPrefix(rest, "(") {
		if rest, ok = t.parseArgs(rest[1:], depth); !ok {
			return t, s, false
		}
	}
	t.text = strings.TrimSpace(start[:len(start)-len(rest)])
	for strings.HasPrefix(rest, "[") {
		if !strings.HasPrefix(rest, "[]") {
			return sqlType{base: "ARRAY"}, "", true
		}
		rest = rest[2:]
		t = sqlType{base: "LIST", kids: []sqlType{t}, text: t.text + "[]"}
		if depth++; depth > depthMax {
			return t, s, false
		}
	}
	return t, rest, true
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// parseArgs reads what stands between the parentheses of a type, and the closing one.
func (t *sqlType) parseArgs(s string, depth int) (rest string, ok bool) {
	for {
		s = strings.TrimLeft(s, " ")
		switch t.base {
		case "DECIMAL", "NUMERIC":
			i := strings.IndexAny(s, ",)")
			if i < 0 {
				return s, false
			}
			t.args, s = append(t.args, strings.TrimSpace(s[:i])), s[i:]
		case "ENUM":
			var v string
			if v, s, ok = parseQuoted(s, '\''); !ok {
				return s, false
			}
			t.args = append(t.args, v)
		default:
			if s, ok = t.parseKid(s, depth); !ok {
				return s, false
			}
		}
		s = strings.TrimLeft(s, " ")
		if strings.HasPrefix(s, ")") {
			return s[1:], true
		}
		if !strings.HasPrefix(s, ",") {
			return s, false
		}
		s = s[1:]
	}
}

// parseKid reads a type argument, behind its name in a struct.
func (t *sqlType) parseKid(s string, depth int) (rest string, ok bool) {
	if t.base == "STRUCT" {
		var name string
		if strings.HasPrefix(s, `"`) {
			if name, s, ok = parseQuoted(s, '"'); !ok {
				return s, false
			}
		} else {
			i := strings.IndexByte(s, ' ')
			if i <= 0 {
				return s, false
			}
			name, s = s[:i], s[i:]
		}
		t.names = append(t.names, name)
	}
	kid, rest, ok := parseType(s, depth+1)
	t.kids = append(t.kids, kid)
	return rest, ok
}

// parseQuoted reads text between quotes, where a doubled quote means one.
func parseQuoted(s string, quote byte) (text, rest string, ok bool) {
	if s == "" || s[0] != quote {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == quote {
			b.WriteByte(quote)
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", s, false
}

// setUp prepares the node for a type whose Arrow form is n.dtype. It reports false if there is no decoder for
// it.
func (n *node) setUp(t sqlType) bool {
	switch dt := n.dtype.(type) {
	case *arrow.BooleanType:
		n.kind = kindBool
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		n.kind, n.width = kindInt, dt.(arrow.FixedWidthDataType).Bytes() //nolint:forcetypeassert // integers have a width
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type:
		n.kind, n.width = kindUint, dt.(arrow.FixedWidthDataType).Bytes() //nolint:forcetypeassert // integers have a width
	case *arrow.Float32Type:
		n.kind, n.width = kindFloat, 4
	case *arrow.Float64Type:
		n.kind, n.width = kindDouble, 8
	case *arrow.Decimal128Type:
		n.kind, n.width, n.prec, n.scale = kindDecimal, 16, int(dt.Precision), int(dt.Scale)
		return t.base != "UHUGEINT"
	case *arrow.Date32Type:
		n.kind, n.width = kindDate, 4
	case *arrow.Time64Type:
		n.kind, n.width = kindTime, 8
		return dt.Unit == arrow.Microsecond
	case *arrow.TimestampType:
		n.kind, n.width = kindTimestamp, 8
		// TIMESTAMP_NS and its like hold less than microseconds can say, so they would fail later and for a
		// whole batch.
		return dt.Unit == arrow.Microsecond && !strings.HasPrefix(t.base, "TIMESTAMP_")
	case *arrow.StringType:
		return n.initText(t)
	case *arrow.BinaryType:
		n.kind = kindBlob
		return t.base == "BLOB"
	case *arrow.ListType:
		n.kind = kindList
		return t.base == "LIST" && n.addKid("[]", dt.Elem(), t.kids[0])
	case *arrow.MapType:
		n.kind, n.keys = kindMap, map[string]struct{}{}
		return t.base == "MAP" && len(t.kids) == 2 &&
			n.addKid(" key", dt.KeyType(), t.kids[0]) && n.kids[0].kind == kindText &&
			n.addKid("[]", dt.ItemType(), t.kids[1])
	case *arrow.StructType:
		return n.initStruct(t, dt)
	default:
		return false
	}
	return true
}

func (n *node) initText(t sqlType) bool {
	switch t.base {
	case "VARCHAR", "TEXT", "STRING", "CHAR", "BPCHAR":
		n.kind = kindText
	case "UUID":
		n.kind = kindUUID
	case "JSON":
		n.kind = kindJSON
	case "ENUM":
		n.kind, n.values = kindEnum, make(map[string]struct{}, len(t.args))
		for _, v := range t.args {
			n.values[v] = struct{}{}
		}
	default:
		return false
	}
	return true
}

func (n *node) initStruct(t sqlType, dt *arrow.StructType) bool {
	n.kind = kindStruct
	if t.base != "STRUCT" || len(t.kids) != dt.NumFields() || len(t.names) != len(t.kids) || len(t.kids) == 0 {
		return false
	}
	for i, kid := range t.kids {
		if !n.addKid("."+t.names[i], dt.Field(i).Type, kid) {
			return false
		}
		n.kids[i].name = t.names[i]
	}
	n.object = newObject(n.kids)
	return len(n.object.index) == len(n.kids)
}

func (n *node) addKid(path string, dt arrow.DataType, t sqlType) bool {
	kid := &node{path: n.path + path, sql: t.text, dtype: dt}
	n.kids = append(n.kids, kid)
	return kid.setUp(t)
}

// describe is the declared type as it is shown in messages.
func (n *node) describe() string {
	if n.kind == kindEnum {
		return "one of the " + strconv.Itoa(len(n.values)) + " values of its ENUM"
	}
	return n.sql
}
