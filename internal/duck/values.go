package duck

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	duckdb "github.com/marcboeker/go-duckdb"
)

// Interval is a DuckDB INTERVAL. The parts do not carry into each other.
type Interval struct {
	Months int32
	Days   int32
	Micros int64
}

// bindable returns arg in a type that the driver binds.
func bindable(arg any) (any, error) {
	switch v := arg.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint8, uint16, uint32, uint64, float32, float64, []byte,
		time.Time:
		return v, nil
	case *big.Int:
		if v == nil {
			return nil, nil
		}
		return v, nil
	case uint:
		return uint64(v), nil
	case Interval:
		return duckdb.Interval{Months: v.Months, Days: v.Days, Micros: v.Micros}, nil
	case string:
		if strings.IndexByte(v, 0) >= 0 {
			return nil, errors.New("is text with a NUL byte")
		}
		if !utf8.ValidString(v) {
			return nil, errors.New("is text that is not valid UTF-8")
		}
		return v, nil
	default:
		return nil, fmt.Errorf("has the Go type %T, which can not be bound", arg)
	}
}

// goValue returns a value of the driver in the types that Rows promises.
func goValue(v any, isUUID bool) any {
	switch v := v.(type) {
	case int8:
		return int64(v)
	case int16:
		return int64(v)
	case int32:
		return int64(v)
	case uint8:
		return int64(v)
	case uint16:
		return int64(v)
	case uint32:
		return int64(v)
	case float32:
		return float64(v)
	case []byte:
		if id, err := uuid.FromBytes(v); isUUID && err == nil {
			return id.String()
		}
		return v
	case duckdb.Interval:
		return Interval{Months: v.Months, Days: v.Days, Micros: v.Micros}
	case duckdb.Decimal:
		return decimalText(v.Value, int(v.Scale))
	default:
		return nestedValue(v)
	}
}

func nestedValue(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = goValue(v[i], false)
		}
		return v
	case map[string]any:
		for k := range v {
			v[k] = goValue(v[k], false)
		}
		return v
	case duckdb.Map:
		out := make(map[any]any, len(v))
		for k, val := range v {
			out[goValue(k, false)] = goValue(val, false)
		}
		return out
	default:
		return v
	}
}

// decimalText writes value / 10^scale with all its digits.
func decimalText(value *big.Int, scale int) string {
	if scale == 0 {
		return value.String()
	}
	digits := new(big.Int).Abs(value).String()
	if missing := scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	sign := ""
	if value.Sign() < 0 {
		sign = "-"
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}
