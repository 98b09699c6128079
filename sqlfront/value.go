package sqlfront

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidemill/tidemill/stream"
)

// fieldValue converts text to the Go value of a field. The reason says what is wrong with it, or is "".
func fieldValue(f stream.Field, text string) (value any, reason string) {
	switch f.Type {
	case stream.String, stream.Secret:
		return text, ""
	case stream.Int:
		n, err := strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 10, 64)
		if err != nil {
			return nil, "is not a whole number"
		}
		return n, outOfBounds(f, n)
	case stream.Bool:
		switch strings.ToLower(text) {
		case "true":
			return true, ""
		case "false":
			return false, ""
		}
		return nil, "is not true or false"
	case stream.Duration:
		d, reason := ParseDuration(text)
		if reason != "" {
			return nil, reason
		}
		if d < 0 {
			return nil, "is negative"
		}
		return d, outOfBounds(f, int64(d))
	case stream.Bytes:
		n, ok := parseBytes(text)
		if !ok {
			return nil, "is not a number of bytes"
		}
		return n, outOfBounds(f, n)
	case stream.Enum:
		if i := slices.Index(f.Values, strings.ToLower(text)); i >= 0 {
			return f.Values[i], ""
		}
		return nil, "is not one of " + strings.Join(f.Values, ", ")
	case stream.List:
		return listValue(text)
	}
	return nil, fmt.Sprintf("has the unknown type %d", f.Type)
}

func listValue(text string) (any, string) {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			return nil, "has an empty item"
		}
		items = append(items, item)
	}
	return items, ""
}

// outOfBounds returns the reason why n does not fit the field, or "".
func outOfBounds(f stream.Field, n int64) string {
	if f.Min == 0 && f.Max == 0 {
		if n < 0 && f.Type == stream.Bytes {
			return "is negative"
		}
		return ""
	}
	switch {
	case n < f.Min && f.Max > f.Min, n > f.Max && f.Max > f.Min:
		return fmt.Sprintf("is out of bounds: %s to %s", bound(f.Type, f.Min), bound(f.Type, f.Max))
	case n < f.Min:
		return "is less than " + bound(f.Type, f.Min)
	}
	return ""
}

// bound prints a limit in the unit of its type.
func bound(t stream.FieldType, n int64) string {
	switch t {
	case stream.Duration:
		return durationText(time.Duration(n))
	case stream.Bytes:
		return bytesText(n)
	default:
		return strconv.FormatInt(n, 10)
	}
}

// durationText prints a duration as it would be written in an option.
func durationText(d time.Duration) string {
	units := []struct {
		unit time.Duration
		name string
	}{
		{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"},
		{time.Millisecond, "millisecond"}, {time.Microsecond, "microsecond"},
	}
	for _, u := range units {
		if d >= u.unit && d%u.unit == 0 {
			n := int64(d / u.unit)
			return fmt.Sprintf("%d %s%s", n, u.name, map[bool]string{false: "s"}[n == 1])
		}
	}
	if d == 0 {
		return "0"
	}
	return d.String()
}

// bytesText prints a size as it would be written in an option.
func bytesText(n int64) string {
	for _, u := range []struct {
		size int64
		name string
	}{{1 << 40, "TiB"}, {1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.size && n%u.size == 0 {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseBytes reads '64 MiB', '1.5GB' or a number of bytes.
func parseBytes(text string) (int64, bool) {
	number, unit := cutNumber(strings.ReplaceAll(strings.TrimSpace(text), "_", ""))
	size := int64(0)
	switch strings.ToLower(strings.TrimSpace(unit)) {
	case "", "b", "byte", "bytes":
		size = 1
	case "kb":
		size = 1e3
	case "mb":
		size = 1e6
	case "gb":
		size = 1e9
	case "tb":
		size = 1e12
	case "kib", "k":
		size = 1 << 10
	case "mib", "m":
		size = 1 << 20
	case "gib", "g":
		size = 1 << 30
	case "tib", "t":
		size = 1 << 40
	}
	count, ok := new(big.Rat).SetString(number)
	if !ok || size == 0 || len(number) > 40 {
		return 0, false
	}
	count.Mul(count, new(big.Rat).SetInt64(size))
	n := new(big.Int).Quo(count.Num(), count.Denom())
	return n.Int64(), n.IsInt64() && count.IsInt()
}

// typeName names a type of option in a message.
func typeName(t stream.FieldType) string {
	switch t {
	case stream.Int:
		return "a whole number"
	case stream.Bool:
		return "true or false"
	case stream.Duration:
		return "a duration"
	case stream.Bytes:
		return "a number of bytes"
	case stream.Enum:
		return "one of several words"
	case stream.List:
		return "a list"
	default:
		return "text"
	}
}

func typeHint(t stream.FieldType) string {
	switch t {
	case stream.Duration:
		return durationExamples
	case stream.Bytes:
		return "write it like '64 MiB', '1 GB' or 1048576"
	case stream.List:
		return "write it like 'a, b, c'"
	default:
		return ""
	}
}
