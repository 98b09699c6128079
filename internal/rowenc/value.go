package rowenc

import (
	"encoding/json"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// Value returns value i of a as Go has it: nil for NULL, bool, int64, uint64, float64, string, []byte, and
// json.Number for decimals. Dates, times and intervals are text in the forms of this package; nested values
// are json.RawMessage.
func Value(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i)
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Uint8:
		return uint64(a.Value(i))
	case *array.Uint16:
		return uint64(a.Value(i))
	case *array.Uint32:
		return uint64(a.Value(i))
	case *array.Uint64:
		return a.Value(i)
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.Binary:
		return append([]byte(nil), a.Value(i)...)
	case *array.Dictionary:
		return Value(a.Dictionary(), a.GetValueIndex(i))
	}
	c := cellOf(a)
	out := c.put(nil, i)
	switch c.kind {
	case kindPlain, kindFloat:
		return json.Number(out)
	case kindNested:
		return json.RawMessage(out)
	case kindText, kindQuoted:
	}
	return string(out)
}
